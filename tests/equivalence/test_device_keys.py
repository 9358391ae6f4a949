"""A device's keys against a plain dictionary: the words of packets and SAs, by hand, and which SA a key finds.

Neither side of the dictionary is made by offload/keys.py or a kernel: `said_by_packet` and `said_by_sa` are written
out here, and Python's own dict compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from espsim.batch.device.snapshot import _keys, _packets
from espsim.core.address import parse_address
from espsim.offload.keys import PacketKey, of_packet, of_sa, words
from espsim.sad.association import Encap, Mark, SecurityAssociation
from tests.equivalence.kernel_settings import quick
from tests.equivalence.test_kernel_device import columns_of
from tests.support import gcm_sa

# Addresses that differ in one half, in the family alone, or in one bit.
V4 = ["0.0.0.9", "9.9.9.1", "9.9.9.2", "137.9.9.1"]
V6 = ["::9", "::9.9.9.1", "2001:db8::9", "2001:db8:0:1::9", "2001:db8::", "a001:db8::9", "2001:db8::8000:0:0:9"]
SPIS = [1, 2, 0x1000001, 0x1000002, 0xFF000001, 0xFFFFFFFF, 0x80000001]
MARKS = [Mark(), Mark(5, 7), Mark(5, 0xFF), Mark(0x105, 0xFFF), Mark(12, 3)]
PORTS = [None, None, (4500, 4500), (4500, 7), (7, 4500), (0, 0)]
FIELDS = [
    "spi",
    "spi24",
    "dst",
    "src",
    "ipver",
    "mark",
    "udp_ports",
    "proto",
    "esp",
    "port",
    "lf",
    "match_id",
    "profile",
]
MASKS = [0xFFFFFFFF, 7, 0xF00, 0]


def said_by_packet(packet: PacketKey, mark_mask: int) -> dict[str, Any]:
    return {
        "spi": packet.spi, "spi24": packet.spi % 2**24, "dst": packet.dst, "src": packet.src,
        "ipver": {4: 4, 16: 6}[len(packet.dst)], "mark": packet.mark & mark_mask, "udp_ports": packet.udp_ports,
        "proto": 50, "esp": 1, "port": packet.port, "lf": packet.port, "match_id": 0, "profile": 0,
    }  # fmt: skip


def said_by_sa(sa: SecurityAssociation, port: int) -> dict[str, Any]:
    ports = None if sa.encap is None else (sa.encap.sport, sa.encap.dport)
    return {
        "spi": sa.spi, "spi24": sa.spi % 2**24, "dst": sa.dst, "src": sa.src, "ipver": {4: 4, 16: 6}[len(sa.dst)],
        "mark": sa.mark.value & sa.mark.mask, "udp_ports": ports, "proto": 50, "esp": 1, "port": port, "lf": port,
        "match_id": 0, "profile": 0,
    }  # fmt: skip


ENDS = st.one_of(*(st.tuples(st.sampled_from(names), st.sampled_from(names)) for names in (V4, V6)))
SOME_FIELDS = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=6, unique=True)


@st.composite
def sas(draw: st.DrawFn) -> tuple[SecurityAssociation, int]:
    (src, dst), ports = draw(ENDS), draw(st.sampled_from(PORTS))
    encap = Encap("espinudp", *ports, bytes(4)) if ports is not None else None
    sa = gcm_sa(src, dst, draw(st.sampled_from(SPIS)), mark=draw(st.sampled_from(MARKS)), encap=encap)
    return sa, draw(st.sampled_from([0, 0, 1]))


@st.composite
def packets(draw: st.DrawFn) -> PacketKey:
    src, dst = map(parse_address, draw(ENDS))
    mark, ports = draw(st.sampled_from([0, 5, 13, 0x105, 0xFFFFFFFF])), draw(st.sampled_from(PORTS))
    return PacketKey(src, dst, draw(st.sampled_from(SPIS)), mark=mark, udp_ports=ports)


def of_each(sa: SecurityAssociation) -> PacketKey:
    ports = None if sa.encap is None else (sa.encap.sport, sa.encap.dport)
    return PacketKey(sa.src, sa.dst, sa.spi, mark=sa.mark.value, udp_ports=ports)


@quick
@given(sas(), packets(), SOME_FIELDS, st.sampled_from(MASKS))
def test_a_field_is_what_packet_and_sa_say(held, packet, fields, mark_mask):
    sa, port = held
    by_packet, by_sa = said_by_packet(packet, mark_mask), said_by_sa(sa, port)
    assert of_packet(packet, fields, mark_mask) == tuple(by_packet[field] for field in fields)
    assert of_sa(sa, port, fields) == tuple(by_sa[field] for field in fields)


def test_what_hardware_cannot_see_never_tells_packets_apart():
    """The driver writes an SA's reqid, and no packet has one."""
    sa = gcm_sa(reqid=77)
    assert of_sa(sa, 0, ["reqid", "spi"]) == (77, sa.spi)
    assert of_packet(of_each(sa), ["reqid", "spi"]) == (0, sa.spi)


@quick
@given(st.lists(sas(), max_size=12), st.lists(packets(), max_size=20), SOME_FIELDS, st.sampled_from(MASKS))
def test_a_key_finds_what_a_dictionary_finds(held, asked, fields, mark_mask):
    """The first SA under a packet's key, by the kernel's words and table. SAs of another port have no key there."""
    asked = asked + [of_each(sa) for sa, _ in held]
    values = [of_sa(sa, port, fields) for sa, port in held]
    tells_ports = bool({"port", "lf"} & set(fields))
    plain: dict[tuple[Any, ...], list[int]] = {}
    for n, (sa, port) in enumerate(held):
        said = said_by_sa(sa, port)
        if port == 0 or not tells_ports:
            # The rule's mark is compared under the mask that packets are looked at with.
            plain.setdefault(tuple(said[f] & mark_mask if f == "mark" else said[f] for f in fields), []).append(n)
    keys = _keys(fields, values, 0, mark_mask=mark_mask)
    want = [plain.get(tuple(said_by_packet(packet, mark_mask)[f] for f in fields), []) for packet in asked]
    assert keys.find(columns_of(asked)).tolist() == [found[0] if found else -1 for found in want]
    assert {n for found in plain.values() if len(found) > 1 for n in found[:1]} <= set(np.flatnonzero(keys.many))


@quick
@given(st.lists(packets(), min_size=2, max_size=20), SOME_FIELDS)
def test_keys_are_equal_where_their_fields_are(asked, fields):
    """Words of two packets, by the kernel and for hashing: equal exactly if a dictionary takes them for one key."""
    made, _ = _packets(fields, [of_packet(packet, fields) for packet in asked], None)
    by_kernel = [tuple(row) for row in _keys(fields, [], 0).key.words(columns_of(asked)).tolist()]
    again = [tuple(row) for row in _keys(fields, [], 0).key.words(made).tolist()]
    said = [tuple(said_by_packet(packet, 0xFFFFFFFF)[field] for field in fields) for packet in asked]
    hashed = [words(of_packet(packet, fields)) for packet in asked]
    assert by_kernel == again
    for n, one in enumerate(said):
        for m, other in enumerate(said):
            assert (by_kernel[n] == by_kernel[m]) == (one == other)
            # A hash may be of fewer facts than a comparison (no ports are ports 0), but never of others.
            assert one != other or hashed[n] == hashed[m]
