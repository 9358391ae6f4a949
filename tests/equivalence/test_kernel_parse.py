"""kernels.parse against reference.outer, for any bytes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.batch.inbound.parse import parse_rows
from espsim.batch.inbound.triple import NO_PORT
from espsim.core.numbers import CUT, DELIVERED, LINK_PART, NOT_ESP, PART
from espsim.core.verdict import Verdict
from espsim.reference.outer import parse_outer
from espsim.wire import esp
from tests.equivalence.any_traffic import harmed, with_extensions
from tests.equivalence.kernel_settings import UNJITTED, quick
from tests.support import extension, fragment_header, ipv4, ipv6, udp

PORTS = frozenset({4500, 4501, 0})
COLUMNS = {
    "verdict": (np.uint8, ()), "flags": (np.uint8, ()), "family": (np.uint8, ()), "proto": (np.uint8, ()),
    "tos": (np.uint8, ()), "where": (np.int32, (4,)), "sport": (np.uint32, ()), "dport": (np.uint32, ()),
    "spi": (np.uint32, ()), "seq": (np.uint32, ()), "daddr": (np.uint64, (2,)), "saddr": (np.uint64, (2,)),
}  # fmt: skip


def parsed(arena: bytes, rows: list[tuple[int, int]], *, part: bool = False) -> dict[str, Any]:
    """Every column, filled with garbage before."""
    ports = np.zeros(65536, np.uint8)
    ports[list(PORTS)] = 1
    columns = {name: np.full((len(rows), *more), 77, kind) for name, (kind, more) in COLUMNS.items()}
    offset, length = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.int32)
    link = np.full(len(rows), LINK_PART if part else 0, np.uint8)
    parse_rows(np.frombuffer(arena, np.uint8), offset, length, link, ports, *columns.values())
    return columns


def address(pair: Any, family: int) -> bytes:
    high, low = int(pair[0]), int(pair[1])
    return low.to_bytes(4) if family == 4 else high.to_bytes(8) + low.to_bytes(8)


def same(packet: bytes, row: dict[str, Any]) -> None:
    outer = parse_outer(packet, PORTS)
    if outer is None:
        assert row["verdict"] == NOT_ESP
        return
    assert bool(row["flags"] & CUT) == outer.cut
    if outer.fragment or outer.end - outer.esp < esp.HEADER_LENGTH:
        assert row["verdict"] == (Verdict.FRAGMENT if outer.fragment else Verdict.HEADER)
        assert not any(
            np.any(row[name]) for name in ("family", "proto", "tos", "where", "spi", "seq", "daddr", "saddr")
        )
        return
    assert row["verdict"] == Verdict.DELIVERED
    assert (row["spi"], row["seq"]) == esp.parse(packet, outer.esp)
    assert tuple(row["where"]) == (outer.headers, outer.esp, outer.end, outer.next_header_at)
    assert (row["tos"], row["proto"], row["family"]) == (outer.tos, 50, 4 if len(outer.dst) == 4 else 6)
    assert (address(row["saddr"], row["family"]), address(row["daddr"], row["family"])) == (outer.src, outer.dst)
    assert (row["sport"], row["dport"]) == (outer.ports or (NO_PORT, NO_PORT))


ESP = st.binary(max_size=40) | st.binary(min_size=8, max_size=60).map(lambda b: b"\0\0\1\0" + b)
PAYLOADS = st.one_of(
    ESP.map(lambda b: (50, b)),
    st.builds(lambda b, port: (17, udp(b, 4500, port)), ESP, st.sampled_from([4500, 4501, 0, 500])),
    st.builds(lambda b, n: (17, struct.pack("!HHHH", 9, 4500, n, 0) + b), ESP, st.integers(0, 80)),
    st.tuples(st.sampled_from([1, 6, 51]), ESP),
)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """IP packets around ESP, plain or in UDP, with options, extension headers and fragments; then some damage."""
    proto, payload = draw(PAYLOADS)
    if draw(st.booleans()):
        flags = draw(st.sampled_from([0, 0, 0, 0x4000, 0x2000, 0x2001, 1, 0x8000]))
        packet = ipv4(payload, proto=proto, tos=draw(st.integers(0, 255)), flags=flags,
                      options=bytes(draw(st.sampled_from([0, 0, 4, 40]))))  # fmt: skip
    else:
        proto, payload = draw(with_extensions(proto, payload))
        packet = ipv6(payload, next_header=proto, traffic_class=draw(st.integers(0, 255)))
    return draw(harmed(packet)) + bytes(draw(st.sampled_from([0, 0, 6])))


def check(batch: list[bytes], before: bytes = b"") -> None:
    arena, rows = bytearray(before), []
    for packet in batch:
        rows.append((len(arena), len(packet)))
        arena += packet
    columns = parsed(bytes(arena), rows)
    for n, packet in enumerate(batch):
        same(packet, {name: column[n] for name, column in columns.items()})


@quick
@given(st.lists(packets() | st.binary(max_size=80), max_size=12), st.binary(max_size=9))
@example([b""], b"")
@example([ipv4(bytes([7]) * 65515, proto=50)], b"x")
def test_parse_is_the_reference_for_any_bytes(batch, before):
    check(batch, before)


TEXT = bytes(range(1, 25))
VALUES = [*range(72), 0x60, 0x6F, 0x7F, 0x80, 0x94, 0x95, 0xA0, 0xC0, 0xF8, 0xF9, 0xFE, 0xFF]
WHOLE = {
    "v4": ipv4(TEXT, proto=50, options=bytes(4)),
    "v4 in UDP": ipv4(udp(TEXT, 4500, 4500), proto=17),
    "v4 in UDP, first fragment": ipv4(udp(TEXT, 4500, 4500), proto=17, flags=0x2000),
    "v6": ipv6(TEXT, next_header=50, traffic_class=0xA5),
    "v6 in UDP": ipv6(udp(TEXT, 4500, 4500), next_header=17),
    "v6, extensions": ipv6(extension(43) + extension(60, 16) + extension(50) + TEXT, next_header=0),
    "v6, fragment": ipv6(fragment_header(50) + TEXT, next_header=44),
    "v6, fragment in UDP": ipv6(extension(44) + fragment_header(17, more=True) + udp(TEXT, 4500, 4500), next_header=60),
}


@pytest.mark.skipif(UNJITTED, reason="thousands of packets")
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", WHOLE)
def test_every_byte_and_every_length(name, every):
    """Each byte with every value that has a meaning; cut at each length; with Ethernet padding after the packet.

    In the suite every seventh of the packets is padded and cut.
    """
    whole = WHOLE[name]
    check([whole[:length] for length in range(len(whole) + 1)])
    changed = []
    for at in range(len(whole) - len(TEXT) + 8):
        for value in VALUES:
            changed.append(whole[:at] + bytes((value,)) + whole[at + 1 :])
    check(changed)
    changed = changed[::every]
    check([packet + bytes(40) for packet in changed])
    for kept in (8, 1):  # what was captured ends inside or just before ESP
        check([packet[: len(whole) - len(TEXT) + kept] for packet in changed])
    check([packet[: len(whole) - len(TEXT)] for packet in changed])


@quick
@given(st.integers(-100, 200), st.integers(-100, 200))
def test_a_row_that_leaves_the_arena_is_not_read(offset, length):
    packet = ipv4(bytes(80), proto=50)
    columns = parsed(packet, [(offset, length)])
    inside = offset >= 0 and length >= 0 and offset + length <= len(packet)
    if inside:
        same(packet[offset : offset + length], {name: column[0] for name, column in columns.items()})
    else:
        assert columns["verdict"][0] == Verdict.HEADER


def test_rows_at_the_end_of_the_numbers_are_not_read():
    for row in ((2**63 - 1, 100), (2**63 - 1, 2**31 - 1), (-(2**63), 2**31 - 1), (0, -1)):
        assert parsed(bytes(100), [row])["verdict"][0] == Verdict.HEADER


def test_a_part_of_a_datagram_is_told_by_the_link_column():
    """Only in a row without a packet; in other rows the bits of `link` mean other things."""
    packet = ipv4(bytes(range(40)), proto=50)
    columns = parsed(packet, [(0, 0), (0, len(packet))], part=True)
    assert columns["verdict"].tolist() == [PART, DELIVERED]
    assert columns["flags"].tolist() == [0, 0]
