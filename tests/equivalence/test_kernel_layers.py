"""batch/inbound/layers.py against reference.layers, for any bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.batch.inbound import layers
from espsim.core.layers import Layer
from espsim.core.numbers import DELIVERED, NOT_ESP
from espsim.reference.layers import layer_of
from tests.equivalence.any_traffic import harmed, with_extensions
from tests.equivalence.kernel_settings import quick
from tests.support import extension, fragment_header, ipv4, ipv6

PORTS = frozenset({4500, 4501, 4789})


def named(packets: list[bytes], links: list[int]) -> list[int]:
    """All rows, in one arena without gaps."""
    ports = np.zeros(65536, np.uint8)
    ports[list(PORTS)] = 1
    length = np.array([len(packet) for packet in packets], np.int32)
    offset = np.concatenate(([0], np.cumsum(length)[:-1])).astype(np.int64)
    kind = np.full(len(packets), 77, np.uint8)
    arena = np.frombuffer(bytearray(b"".join(packets)), np.uint8)
    verdict = np.full(len(packets), NOT_ESP, np.uint8)
    layers.name(arena, offset, length, np.array(links, np.uint8), ports, verdict, kind)
    return kind.tolist()


def datagram(sport: int, dport: int, size: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", sport, dport, size, 0) + data


UDP_PORTS = st.sampled_from([4500, 4501, 500, 4789, 8472, 6081, 2152, 53, 9])
DATA = st.sampled_from([b"", b"\xff", b"\xff\xff", bytes(3), bytes(4), bytes(28), b"\1" * 28]) | st.binary(max_size=9)
DATAGRAMS = st.builds(
    lambda sport, dport, data, wrong: datagram(sport, dport, 8 + len(data) if wrong is None else wrong, data),
    UDP_PORTS, UDP_PORTS, DATA, st.none() | st.integers(0, 20),
)  # fmt: skip


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """IP packets of every kind, with options, extension headers and fragments; then some damage."""
    proto = draw(st.sampled_from([1, 4, 6, 17, 17, 17, 47, 51, 58, 132]))
    payload = draw(DATAGRAMS) if proto == 17 else draw(st.binary(max_size=30))
    if draw(st.booleans()):
        flags = draw(st.sampled_from([0, 0, 0x2000, 1, 0x2001]))
        packet = ipv4(payload, proto=proto, flags=flags, options=bytes(draw(st.sampled_from([0, 0, 8]))))
    else:
        proto, payload = draw(with_extensions(proto, payload))
        packet = ipv6(payload, next_header=proto)
    return draw(harmed(packet))


@quick
@given(st.lists(packets() | st.binary(max_size=60), min_size=1, max_size=12))
@example([b"\x45" * 19, b"\x60" * 39, b"\x44" * 20])
def test_any_packets(batch):
    links = [n % 2 for n in range(len(batch))]
    want = [layer_of(p, PORTS) if p else link for p, link in zip(batch, links, strict=True)]
    assert named(batch, links) == want


def test_rows_of_esp_have_no_kind():
    kind = np.full(1, 77, np.uint8)
    arena, one = np.frombuffer(bytearray(ipv4(b"x", proto=6)), np.uint8), np.zeros(1, np.int64)
    verdict = np.full(1, DELIVERED, np.uint8)
    layers.name(arena, one, np.array([21], np.int32), verdict, np.zeros(65536, np.uint8), verdict, kind)
    assert kind[0] == 0


@pytest.mark.parametrize(
    ("packet", "layer"),
    [
        (ipv4(b"x" * 8, proto=1), "ip"),
        (ipv4(b"x" * 8, proto=4), "ip"),
        (ipv4(b"x" * 8, proto=6), "tcp"),
        (ipv4(b"x" * 8, proto=47), "gre"),
        (ipv4(b"x" * 8, proto=51), "ah"),
        (ipv6(b"x" * 8, next_header=51), "ah"),
        (ipv6(extension(47, 8), next_header=60), "gre"),
        (ipv4(datagram(4500, 4500, 9, b"\xff"), proto=17), "keepalive"),
        (ipv4(datagram(4500, 40000, 9, b"\xff"), proto=17), "keepalive"),
        (ipv4(datagram(4500, 4500, 10, b"\xff\xff"), proto=17), "udp"),
        (ipv4(datagram(4500, 4500, 40, bytes(32)), proto=17), "ike"),
        (ipv4(datagram(500, 500, 40, bytes(32)), proto=17), "ike"),
        (ipv4(datagram(9, 8472, 40, bytes(32)), proto=17), "vxlan"),
        (ipv4(datagram(9, 6081, 40, bytes(32)), proto=17), "geneve"),
        (ipv4(datagram(9, 2152, 40, bytes(32)), proto=17), "gtp-u"),
        (ipv4(datagram(2152, 9, 40, bytes(32)), proto=17), "udp"),
        (ipv4(datagram(9, 6081, 40, bytes(32)), proto=17, flags=1), "udp"),  # not the first fragment
        (ipv6(fragment_header(17, 1, more=False) + datagram(9, 6081, 40, b""), next_header=44), "udp"),
        (ipv4(b"xxx", proto=17), "udp"),
        (b"\x45\0", "ip"),
        (b"\x50\0", "other"),
        (b"", "other"),
    ],
)  # fmt: skip
def test_kinds(packet, layer):
    assert layer_of(packet, PORTS).label == layer
    if packet:
        assert Layer(named([packet, bytes(40)], [0, 0])[0]).label == layer
