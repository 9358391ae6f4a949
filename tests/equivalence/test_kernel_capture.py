"""io/rows against the plain code of io: link types, walks cut anywhere, records out."""

from __future__ import annotations

import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.core.arrays import I32, I64, U8
from espsim.core.errors import InputError
from espsim.core.numbers import MAX_RECORD, OUTGOING
from espsim.io.linktype import ip_packet, link_layer, outgoing, supported
from espsim.io.pcap import ClassicPcap, frame_header
from espsim.io.pcapng import Interface, Pcapng, packet_block
from espsim.io.rows.blocks import FINER, MOST_SECONDS, MOST_UNITS, SECRETS, blocks, gather_ng, skim
from espsim.io.rows.classic import FULL, LONGEST, MORE, ODD, classic, number
from espsim.io.rows.records import gather, head
from espsim.io.secrets import ESP_SA
from espsim.io.source import ByteSource, CaptureCut
from tests.equivalence.kernel_settings import quick

ALONE = np.zeros(0, np.uint8)  # nothing is joined
LINKTYPES = [n for n in range(400) if supported(n)]
# Bytes that link headers consist of, so that random bytes hit the rules.
PIECES = st.sampled_from(
    [
        b"\x08\x00",
        b"\x86\xdd",
        b"\x88\x47",
        b"\x88\x48\0\0\1\x40",
        b"\0\1\1\x40",
        b"\x88\x64\x11\0\0\1\0\x16",
        b"\0\x21",
        b"\x57",
        b"\x02\x81",
        b"\xff\x03",
        b"\x08\x06",
        b"\x02\0\0\0",
        b"\x08\0\1\0\x08\6\0\0",
        b"\0\x05\0\1\0\0\0\0",
        b"\x18\0\x09\0",
        b"\0\x18\0\x09",
        b"\x81\x00",
        b"\x88\xa8\0\7",
        b"\x91\0\0\7",
        b"\x45",
        b"\x60",
        b"\x4f",
        b"\0",
        b"\x05",
    ]
    + [n.to_bytes(4, order) for n in (2, 10, 24, 28, 30, 1) for order in ("little", "big")]
)
FRAMES = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda head, pieces, tail: bytes(head) + b"".join(pieces) + tail,
        st.sampled_from([0, 2, 12, 14]),
        st.lists(PIECES, max_size=8),
        st.binary(max_size=30),
    ),
)


def columns(rows: int) -> tuple[I64, I32, I64, U8, I32, I32]:
    kinds = np.int64, np.int32, np.int64, np.uint8, np.int32, np.int32
    return tuple(np.full(rows, 77, kind) for kind in kinds)  # type: ignore[return-value]


def row_is(arena, offset, length, linktype, data):
    ip = ip_packet(linktype, data)
    assert bytes(arena[offset : offset + length]) == (ip or b"")[:LONGEST]
    assert 0 <= offset <= len(arena) - length


def array(data):
    return np.frombuffer(bytearray(data), np.uint8)


def test_the_numbers_of_other_rooms():
    assert LONGEST >= 40 + 65535
    assert (MOST_UNITS - 1) * 10**9 < 2**64
    assert 2 * MOST_SECONDS * 10**9 + 10**9 < 2**63


@quick
@given(st.sampled_from(LINKTYPES), FRAMES)
@example(1, bytes(12) + b"\x81\0\0\1\x88\xa8\0\2\x86\xdd\x60")
@example(1, bytes(12) + b"\x81\0\0\1\x08")
@example(0, b"\2\0\0\0\x45")
@example(0, b"\0\0\0\x1e\x60")
@example(108, b"\2\0\0\0\x45")
@example(101, b"\x0f")
@example(113, bytes(14) + b"\x08\0\x45")
@example(276, b"\x86\xdd" + bytes(18) + b"\x60")
@example(276, b"\x86\xdd" + bytes(18))
@example(113, b"\0\4" + bytes(12) + b"\x08\0\x45")
@example(113, b"\4\4" + bytes(12) + b"\x08\0\x45")
@example(113, b"\0\4" + bytes(12) + b"\x08\0\x65")
@example(276, b"\x86\xdd" + bytes(8) + b"\4" + bytes(9) + b"\x60")
@example(276, b"\x86\xdd" + bytes(8) + b"\3" + bytes(9) + b"\x60")
@example(1, bytes(12) + b"\x08\6\x45")
@example(1, bytes(12) + b"\x88\x47\0\0\0\x40\0\0\1\x40\x60")
@example(1, bytes(12) + b"\x88\x47\0\0\1\x40")
@example(1, bytes(12) + b"\x88\x64\x11\0\0\1\0\2\0\x21\x45")
@example(1, bytes(12) + b"\x88\x64\x11\x09\0\1\0\2\0\x21\x45")
@example(1, bytes(12) + b"\x88\x64\x11\0\0\1\0\2\0")
@example(9, b"\xff\3\x21\x45")
@example(9, b"\x02\x81\0\0\1\0\x45")
@example(9, b"\xff\3\0")
@example(50, b"\x0f\0\x08\0\x45")
@example(50, b"\x8f")
@example(51, b"\x11\0\0\1\0\2\0\x57\x60")
@example(239, b"\2\0\0\0\5\0\3\0\1\0\0\0\x05\0\x09\0\x45")
@example(239, b"\x0a\0\0\0\0\5\0\x09\x60")
@example(239, b"\x0a\0\0\0\0\5\0\x09\x45")
@example(239, b"\7\0\0\0\x08\0\1\0\x08\6\0\0\x05\0\x09\0\x45")
@example(239, b"\3\0\0\0\5\0\x09\0\x45")
@example(239, b"\2\0\0\0\3\0\1\0\5\0\x09\0\x45")
@example(239, b"\2\0\0\0\x08\0\1\0\x08")
def test_link_types(linktype, data):
    # Between frames that would be IP, so that reading beyond the edge is noticed.
    arena = array(struct.pack("<IIII", 0, 0, len(data), 0) + data + b"\x45\0\x08\0\x45\0")
    offset, length, time_ns, link, captured, wire = columns(1)
    found = classic(
        arena, 0, 16 + len(data), False, 1, linktype, ALONE, offset, length, time_ns, link, captured, wire, 0
    )
    assert found == (1, 16 + len(data), FULL)
    row_is(arena, int(offset[0]), int(length[0]), linktype, data)
    if ip_packet(linktype, data) is None:
        assert link[0] == link_layer(linktype, data)
    else:
        assert link[0] == (OUTGOING if outgoing(linktype, data) else 0)
    assert offset[0] >= 16
    assert offset[0] + length[0] <= 16 + len(data)


def test_every_other_link_type_is_not_ip():
    data = bytes(12) + b"\x08\0\x45\0\x08\0\x45\0\x08\0" + b"\x45" * 30
    for linktype in set(range(400)) - set(LINKTYPES):
        arena = array(struct.pack("<IIII", 0, 0, len(data), 0) + data)
        offset, length, time_ns, link, captured, wire = columns(1)
        classic(arena, 0, len(arena), False, 1, linktype, ALONE, offset, length, time_ns, link, captured, wire, 0)
        assert length[0] == 0


@quick
@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), FRAMES), max_size=6),
    st.booleans(), st.sampled_from([1, 1000]), st.integers(0, 300), st.integers(1, 7), st.sampled_from([0, 1, 5]),
    st.binary(max_size=30),
)  # fmt: skip
@example([(1, 2, b"\x45")], False, 1, 300, 2, 0, struct.pack("<IIII", 0, 0, MAX_RECORD + 1, 0))
@example([(1, 2, b"\x45")], True, 1, 300, 2, 0, b"\xff" * 16)
@example([(1, 2, b"\x45")], True, 1, 300, 2, 0, bytes(15))
def test_classic(frames, big, unit, cut, rows, first, rest):
    order = ">" if big else "<"
    data = b"".join(struct.pack(order + "IIII", s, f, len(d), 9) + d for s, f, d in frames) + rest
    head = struct.pack(order + "IHHiIII", 0xA1B23C4D if unit == 1 else 0xA1B2C3D4, 2, 4, 0, 0, 0, 101)
    arena, end = array(bytes(first) + data), first + min(cut, len(data))
    offset, length, time_ns, link, captured, wire = columns(rows)
    row, at, why = classic(arena, first, end, big, unit, 101, ALONE, offset, length, time_ns, link, captured, wire, 0)

    source = ByteSource(io.BytesIO(head + data[: end - first]), "x")
    steps = ClassicPcap(source, source.read(4)).steps()
    for n in range(row):
        record = next(steps)
        assert (time_ns[n], captured[n], wire[n]) == (record.time_ns, len(record.data), record.wire)
        row_is(arena, int(offset[n]), int(length[n]), 101, record.data)
    assert source.at - len(head) == at - first
    if why == FULL:
        assert row == rows
    else:
        with pytest.raises((InputError, StopIteration)) as caught:
            next(steps)
        assert why == (ODD if "damaged" in str(caught.value) else MORE)


def test_classic_goes_on_where_it_stopped():
    """Any two walks are one: `row` and `at` are where the second begins."""
    data = b"".join(struct.pack("<IIII", n, 0, n, n) + b"\x45" * n for n in range(20))
    whole, parts = columns(20), columns(20)
    classic(array(data), 0, len(data), False, 1, 101, ALONE, *whole, 0)
    for cut in range(len(data)):
        row, at, why = classic(array(data), 0, cut, False, 1, 101, ALONE, *parts, 0)
        assert why == MORE
        assert classic(array(data), at, len(data), False, 1, 101, ALONE, *parts, row) == (20, len(data), FULL)
        assert [column.tolist() for column in whole] == [column.tolist() for column in parts]


def test_a_row_is_cut_behind_what_ip_can_be():
    data = bytes(12) + b"\x08\0" + b"\x45" * 70_000
    arena = array(struct.pack("<IIII", 0, 0, len(data), 0) + data)
    offset, length, time_ns, link, captured, wire = columns(1)
    classic(arena, 0, len(arena), False, 1, 1, ALONE, offset, length, time_ns, link, captured, wire, 0)
    assert (offset[0], length[0]) == (30, LONGEST)


# -- pcapng ---------------------------------------------------------------------------------------------------------

SECTION_SIZE = 28
UNITS = [1, 1000, 10**6, 10**9, 1 << 10, MOST_UNITS, 3]
TICKS = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32 * 10**6, 2**32 * 10**6 + 10**6, 1_700_000_000_123_456])


def block(order, kind, body, total=None, again=None):
    body += bytes(-len(body) % 4)
    total = len(body) + 12 if total is None else total
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total if again is None else again)


def enhanced_block(order, interface, ticks, data, captured=None, **harm):
    size = len(data) if captured is None else captured
    return block(
        order, 6, struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, size, 9) + data, **harm
    )


def section_block(order, version=1, **harm):
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, version, 0, -1), **harm)


def interface_block(order, linktype, snaplen=0, *options, **harm):
    body = struct.pack(order + "HHI", linktype, 0, snaplen)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(order, 1, body, **harm)


HARM = st.sampled_from([{}] * 6 + [{"total": 11}, {"total": 30}, {"total": 31}, {"again": 4}])
OPTIONS = st.one_of(
    st.builds(lambda n: (9, bytes([n])), st.integers(0, 255)),
    st.builds(lambda n: (14, n.to_bytes(8, "little", signed=True)), st.integers(-(2**63), 2**63 - 1)),
    st.builds(
        lambda n, order: (14, n.to_bytes(8, order, signed=True)), st.integers(-9, 9), st.sampled_from(["little", "big"])
    ),
    st.tuples(st.sampled_from([0, 2, 9, 14]), st.binary(max_size=9)),
)
BLOCKS = st.one_of(
    st.tuples(st.just("packet"), st.integers(0, 4), TICKS, FRAMES, HARM | st.just({"captured": 99})),
    st.tuples(
        st.just("interface"), st.sampled_from([1, 101, 113, 105]), st.sampled_from([0, 9]),
        st.lists(OPTIONS, max_size=3), HARM,
    ),
    st.tuples(st.just("section"), st.sampled_from("<>"), st.sampled_from([1, 1, 1, 2]), HARM),
    st.tuples(st.just("simple"), st.integers(0, 70), FRAMES),
    st.tuples(st.just("obsolete"), st.integers(0, 2), TICKS, FRAMES),
    st.tuples(st.just("other"), st.sampled_from([0, 1, 2, 3, 5, 0x0A0D0D0A, 0xBAD]), st.binary(max_size=30)),
    st.tuples(st.just("secrets"), st.sampled_from([ESP_SA, 0x544C534B]), st.integers(0, 20), st.binary(max_size=20)),
)  # fmt: skip
PACKETS = st.tuples(st.just("packet"), st.integers(0, 2), TICKS, FRAMES, st.just({}))
INTERFACES = st.tuples(
    st.sampled_from([1, 101, 0, 113, 105]), st.sampled_from(UNITS), st.integers(-10, 10) | st.just(MOST_SECONDS)
)


def laid_out(order, contents):
    """Blocks one after the other, each in the byte order of its section."""
    out = b""
    for what, *facts in contents:
        match what:
            case "packet":
                out += enhanced_block(order, *facts[:3], **facts[3])
            case "interface":
                out += interface_block(order, facts[0], facts[1], *facts[2], **facts[3])
            case "section":
                order = facts[0]
                out += section_block(order, facts[1], **facts[2])
            case "simple":
                out += block(order, 3, struct.pack(order + "I", facts[0]) + facts[1])
            case "secrets":
                out += block(order, 10, struct.pack(order + "II", *facts[:2]) + facts[2])
            case "obsolete":
                ticks, data = facts[1:]
                head = struct.pack(order + "HHIIII", facts[0], 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), 9)
                out += block(order, 2, head + data)
            case _:
                out += block(order, *facts)
    return out


def plain_form(order, interfaces, data):
    """The plain reader after a section header, with these interfaces."""
    source = ByteSource(io.BytesIO(section_block(order) + data), "x")
    source.read(4)
    form = Pcapng(source)
    form.interfaces.extend(Interface(linktype, 0, units, offset) for linktype, units, offset in interfaces)
    return source, form


def table_of(interfaces, room):
    table = np.full((len(interfaces) + room, 4), 77, np.int64)
    for row, (linktype, units, offset) in enumerate(interfaces):
        table[row] = linktype if supported(linktype) else ~linktype, units, offset, 0
    return table


SUPPORTED = np.array(LINKTYPES, np.int64)


@quick
@given(
    st.lists(PACKETS, max_size=4), st.lists(BLOCKS, max_size=6), st.booleans(), st.lists(INTERFACES, max_size=3),
    st.integers(0, 600), st.integers(1, 7), st.integers(0, 3), st.binary(max_size=20),
)  # fmt: skip
@example([("packet", 0, 2**64 - 1, b"\x45", {})], [], True, [(101, MOST_UNITS, MOST_SECONDS)], 400, 2, 0, b"")
@example([("packet", 0, (2**32 + 1) * 10**6, b"\x45", {})], [], True, [(101, 10**6, 0)], 400, 2, 0, b"")
@example([("packet", 0, 5, b"\x45", {})], [], True, [(101, 1, -6)], 400, 2, 0, b"")
@example([], [("packet", 0, 5, b"\x45", {"total": MAX_RECORD + 4})], True, [(101, 1, 0)], 400, 2, 0, b"")
@example([], [("section", ">", 1, {}), ("interface", 101, 0, [(9, b"\x0a")], {}), ("packet", 0, 5, b"\x45", {})],
         False, [], 400, 2, 1, b"")  # fmt: skip
def test_blocks(packets, contents, big, interfaces, cut, rows, room, rest):
    order = ">" if big else "<"
    data = (laid_out(order, packets + contents) + rest)[:cut]
    arena = array(data + laid_out(order, [("packet", 0, 1, b"\x45", {})]))
    section = np.array([big, len(interfaces), 5], np.int64)
    table = table_of(interfaces, room)
    offset, length, time_ns, link, captured, wire = columns(rows)
    row, at, why = blocks(
        arena, 0, len(data), section, table, SUPPORTED, ALONE, offset, length, time_ns, link, captured, wire, 0
    )

    source, form = plain_form(order, interfaces, data)
    before, sections, steps = form.interfaces, 0, form.steps()
    found = []
    while source.at - SECTION_SIZE < at:
        record = next(steps)
        sections += form.interfaces is not before
        before = form.interfaces
        if record is not None:
            found.append(record)
    assert source.at - SECTION_SIZE == at
    assert len(found) == row
    for n, record in enumerate(found):
        assert (time_ns[n], captured[n], wire[n]) == (record.time_ns, len(record.data), record.wire)
        row_is(arena, int(offset[n]), int(length[n]), record.linktype, record.data)
    assert section.tolist() == [form.order == ">", len(form.interfaces), 5 + sections]
    for noted, interface in zip(table.tolist(), form.interfaces, strict=False):
        linktype = noted[0] if noted[0] >= 0 else ~noted[0]
        assert (linktype, noted[3], noted[1], noted[2]) == (
            interface.linktype, interface.snaplen, interface.units, interface.offset
        )  # fmt: skip
    if why == FULL:
        assert row == rows
    elif why == MORE:
        with pytest.raises((InputError, StopIteration)) as caught:
            next(steps)
        assert "damaged" not in str(caught.value)
    else:
        with contextlib.suppress(InputError):
            try:
                next(steps)
            except CaptureCut:
                if number(arena, at, bool(section[0])) != SECRETS:
                    pytest.fail("a block that is not whole is not for the plain code")


def usual(order, units=9):
    """Blocks of every kind as they usually are, and the frames in them."""
    clock = (9, bytes([units])), (14, struct.pack(order + "q", -3))
    out = interface_block(order, 101, 7, *clock) + block(order, 0xBAD, b"") + interface_block(order, 1)
    for n in range(9):
        out += enhanced_block(order, 0, 1_700_000_000 * 10**units + n, b"\x45" * n) + block(order, 5, bytes(n))
    head = struct.pack(order + "HHIIII", 1, 0, 0, 1, 20, 20)
    return out + block(order, 3, struct.pack(order + "I", 20) + b"\x45" * 7) + block(order, 2, head + bytes(20))


def test_usual_blocks_are_all_the_kernel_s():
    """Every usual clock and both byte orders: else the plain code could do all the work unnoticed."""
    for order in "<>":
        for units in (3, 6, 9):
            other = ">" if order == "<" else "<"
            data = usual(order, units) + section_block(other) + usual(other, units) + section_block(order)
            offset, length, time_ns, link, captured, wire = columns(30)
            section, table = np.array([order == ">", 0, 0], np.int64), table_of([], 2)
            found = blocks(
                array(data),
                0,
                len(data),
                section,
                table,
                SUPPORTED,
                ALONE,
                offset,
                length,
                time_ns,
                link,
                captured,
                wire,
                0,
            )
            assert found == (22, len(data), MORE)
            assert section.tolist() == [order == ">", 0, 2]
            one = [*(1_699_999_997 * 10**9 + n * (10**9 // 10**units) for n in range(9)), 0, 1000]
            assert time_ns[:22].tolist() == one + one
            assert length[:22].tolist() == ([*range(9), 7, 0]) * 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_skim(order):
    other, row = ">" if order == "<" else "<", np.zeros(4, np.int64)
    passed = block(order, 6, bytes(40)) + block(order, 0xBAD, b"") + interface_block(order, 1, 0, (9, b"\x03"))
    passed += section_block(other) + interface_block(other, 1) + block(other, 3, bytes(9))

    def looked(data, size=None):
        return skim(array(data), len(data) if size is None else size, order == ">", row)

    assert looked(passed) == (len(passed), other == ">", MORE)
    assert looked(passed, len(passed) - 4) == (len(passed), other == ">", MORE)  # the last block continues after that
    fine = interface_block(other, 1, 0, (9, b"\x09"))
    for clock in (b"\x09", b"\x07", b"\xff", b"\x8a", b"\x7f"):
        assert looked(passed + interface_block(other, 1, 0, (9, clock))) == (len(passed), other == ">", FINER)
    assert looked(passed + fine, len(passed) + len(fine) - 5) == (len(passed), other == ">", MORE)  # not all of it
    assert looked(passed + block(other, 1, bytes(4))) == (len(passed), other == ">", ODD)
    assert looked(passed + block(other, 7, b"", total=8)) == (len(passed), other == ">", ODD)
    assert looked(block(order, 6, b"", total=0xFFFFFFFC)) == (0xFFFFFFFC, order == ">", MORE)


# -- out --------------------------------------------------------------------------------------------------------------

TIMES = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**33 * 10**9) | st.sampled_from([-1, 0, 2**32 * 10**9 - 1])


@quick
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 24), TIMES, st.sampled_from([0, 1, 1, 255])), max_size=8),
    st.booleans(), st.integers(0, 120), st.booleans(),
)  # fmt: skip
def test_gather(rows, nanosecond, room, ng):
    arena = array(range(64))
    at, length, time_ns, keep = (
        np.array([row[n] for row in rows], kind) for n, kind in enumerate((np.int64, np.int32, np.int64, np.uint8))
    )
    want, first = b"", 0
    for start, size, time, kept in rows:
        if kept:
            data = bytes(range(start, start + size))
            record = packet_block(data, time, nanosecond) if ng else frame_header(time, size, nanosecond) + data
            if len(want) + len(record) > room:
                break
            want += record
        first += 1
    out = np.full(room + 8, 77, np.uint8)
    row, done = (gather_ng if ng else gather)(arena, at, length, time_ns, keep, nanosecond, 0, out[:room])
    assert (row, out[:done].tobytes()) == (first, want)
    assert out[room:].tolist() == [77] * 8


@pytest.mark.parametrize(
    ("at", "length"), [(-1, 1), (0, -1), (60, 5), (65, 0), (2**63 - 1, 2**31 - 1), (-(2**63), 2**31 - 1)]
)
def test_gather_stops_at_a_row_outside(at, length):
    out = np.zeros(200, np.uint8)
    columns_ = (np.array([0, at], np.int64), np.array([4, length], np.int32), np.zeros(2, np.int64))
    assert gather(array(range(64)), *columns_, np.ones(2, np.uint8), True, 0, out) == (1, 20)
    assert gather_ng(array(range(64)), *columns_, np.ones(2, np.uint8), True, 0, out) == (1, 36)


@quick
@given(
    st.lists(st.tuples(st.binary(max_size=40), TIMES, st.booleans()), max_size=8),
    st.booleans(), st.sampled_from([None, "gap", "order", "end"]),
)  # fmt: skip
def test_head_makes_the_records_that_gather_makes(rows, nanosecond, fault):
    """Of packets that lie end to end, with 16 bytes before each; where one does not, it says so."""
    room, at, whole = 16, [], bytearray()
    for data, _, kept in rows:
        at.append(len(whole) + room if kept else 0)
        whole += bytes(room) + data if kept else b""
    keep = array([kept for *_, kept in rows])
    columns_ = (
        np.array(at, np.int64), np.array([len(data) for data, *_ in rows], np.int32),
        np.array([time for _, time, _ in rows], np.int64),
    )  # fmt: skip
    kept_rows = np.flatnonzero(keep)
    if fault and len(kept_rows):
        last = kept_rows[-1]
        if fault == "end":
            columns_[1][last] += 1
        else:
            columns_[0][last] += 1 if fault == "gap" else -1
        assert head(array(whole), *columns_, keep, nanosecond) == -1
        return
    arena, out = array(whole), np.zeros(len(whole), np.uint8)
    assert gather(arena, *columns_, keep, nanosecond, 0, out) == (len(rows), len(whole))
    assert head(arena, *columns_, keep, nanosecond) == len(whole)
    assert arena.tobytes() == out.tobytes()
