"""pcapng in an arena: packet blocks become rows, interfaces and sections are noted, blocks of other types passed over.

    blocks      every block that is as usual        io/pcapng.py, Pcapng.steps
    hop_ng      where blocks begin, and no more     as classic.hop
    skim        the clocks of interfaces ahead      io/pcapng.py, Pcapng._finer_than_microseconds
    gather_ng   enhanced packet blocks of rows      io/pcapng.py, packet_block

A block, and an enhanced (6) and a simple (3) packet block (offsets on the right; io/pcapng.py has the others):

    | type u32 | total length u32 | body, padded to 4 ... | total length u32 |
    | type u32 | total length u32 | interface u32 | time high u32 |                 0
    | time low u32 | captured length u32 | length on the wire u32 | data ... |     16
    | type u32 | total length u32 | length on the wire u32 | data ... |             0

`classic` says what a walk returns. The plain code reads what is not usual: a block that is damaged or longer than the
arena, a clock or an offset beyond MOST_UNITS and MOST_SECONDS, a link type that is not supported, secrets.

A section is a column of three: BIG (1: big-endian), COUNT (of its interfaces), SECTIONS (how many section headers were
walked over so far). An interface is a row of four: LINKTYPE (`~linktype` where the plain code has to read its packets),
UNITS of a second, OFFSET in seconds, SNAPLEN.

What this does not do: read options of packets (direction flags, comments), statistics or name resolution.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import MAX_RECORD
from espsim.io.rows.classic import FULL, MORE, ODD, number, put_row
from espsim.jit.bytes import be16, copy, le16, put32_le
from espsim.jit.compiling import inlined, kernel

SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET, SECRETS = 0x0A0D0D0A, 1, 2, 3, 6, 10
BIG, COUNT, SECTIONS = 0, 1, 2
LINKTYPE, UNITS, OFFSET, SNAPLEN = 0, 1, 2, 3

MOST_UNITS = 1 << 34
"""The finest clock that kernels read: so many units a second. Then units below a second, times 10^9, fit 64 bits."""
MOST_SECONDS = 1 << 32
"""The latest time, and the largest offset either way, that kernels read, in seconds."""

FINER = 3
"""Why `skim` stopped, beside MORE and ODD: a clock with ticks between microseconds."""

_SECOND = 1_000_000_000
_MICROSECONDS = 1_000_000
_NS = np.uint64(_SECOND)
_32 = np.uint64(32)
_MOST = np.uint64(MOST_SECONDS)
_MOST_TEN, _MOST_TWO = 10, 34
"""10^10 and 2^34 are the most units that are not above MOST_UNITS."""
_DAMAGED, _UNUSUAL, _USUAL = 0, 1, 2

# Offsets in a block: its length, its body, and the bytes of length after it; the least block has no body.
_TOTAL, _BODY, _AFTER, _LEAST = 4, 8, 4, 12
# Offsets in a section header, and its least length.
_MAGIC, _MAJOR, _LEAST_SECTION = 8, 12, 28
_BYTE_ORDER = 0x1A2B3C4D
# Offsets in an enhanced packet block (an obsolete one has the same but for a 16-bit interface), and bytes around data.
_WHICH, _TIME, _TIME_LOW, _CAPTURED, _ON_WIRE, _DATA, _AROUND = 8, 12, 16, 20, 24, 28, 32
# The same of a simple packet block.
_SIMPLE_ON_WIRE, _SIMPLE_DATA, _SIMPLE_AROUND = 8, 12, 16
# Offsets in the body of an interface block; options: code u16, length u16, value, padded to 4.
_SNAPLEN, _OPTIONS, _OPTION = 4, 8, 4
_IF_TSRESOL, _IF_TSOFFSET = 9, 14


@inlined
def _half(arena: U8, at: Int, big: bool) -> int:
    """A u16 of the file."""
    return be16(arena, at) if big else le16(arena, at)


@inlined
def _order(arena: U8, at: Int, big: bool) -> tuple[bool, bool]:
    """(big-endian, whether it says so) of the section header at `at`, whose first 12 bytes are there."""
    if number(arena, at + _MAGIC, True) == _BYTE_ORDER:
        return True, True
    if number(arena, at + _MAGIC, False) == _BYTE_ORDER:
        return False, True
    return big, False


@inlined
def _extent(arena: U8, at: Int, end: Int, big: bool) -> tuple[int, int, bool, int]:
    """(type, bytes, big-endian, why) of the block at `at`; `why` is FULL where all of it is there.

    1. The first 8 bytes have to be there, of a section header 12: its byte-order magic says how to read the length.
    2. The length has to be possible, and small enough where kernels look into the block.
    3. Secrets are the plain code's.
    """
    if at + _BODY > end:
        return 0, 0, big, MORE
    kind = number(arena, at, big)
    if kind == SECTION:  # the same in either order
        if at + _MAJOR > end:
            return kind, 0, big, MORE
        big, known = _order(arena, at, big)
        if not known:
            return kind, 0, big, ODD
    total = number(arena, at + _TOTAL, big)
    if total < _LEAST or total & 3:
        return kind, total, big, ODD
    wanted = kind in (INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET)
    if kind == SECRETS or (wanted and total > MAX_RECORD):
        return kind, total, big, ODD
    return kind, total, big, MORE if at + total > end else FULL


@inlined
def _nanoseconds(arena: U8, at: Int, big: bool, units: np.uint64, offset_s: Int) -> int:
    """Nanoseconds since the epoch of the ticks at `at`; -1: the plain code has to read them."""
    ticks = np.uint64(number(arena, at, big)) << _32 | np.uint64(number(arena, at + 4, big))
    seconds = ticks // units
    if seconds > _MOST:
        return -1
    below = (ticks - seconds * units) * _NS // units
    total = (np.int64(seconds) + offset_s) * _SECOND + np.int64(below)
    return total if total >= 0 else -1


# -- interfaces -------------------------------------------------------------------------------------------------------


@inlined
def _units_of(resolution: Int) -> int:
    """Units of a second by if_tsresol; 0: more than MOST_UNITS."""
    power = resolution & 0x7F
    if resolution & 0x80:
        return 1 << power if power <= _MOST_TWO else 0
    if power > _MOST_TEN:
        return 0
    units = 1
    for _ in range(power):
        units *= 10
    return units


@inlined
def _seconds_of(arena: U8, at: Int, big: bool) -> int:
    """if_tsoffset: an i64."""
    first, second = number(arena, at, big), number(arena, at + 4, big)
    high, low = (first, second) if big else (second, first)
    if high >= 1 << 31:
        high -= 1 << 32
    return (high << 32) + low


@inlined
def _interface(arena: U8, at: Int, end: Int, big: bool, row: I64) -> int:
    """The body of an interface block, from `at` to `end`, into a row: _USUAL, or why the plain code has to read it.

    1. Link type and snap length.
    2. Of its options if_tsresol and if_tsoffset; without them the clock counts microseconds of the epoch.

    UNITS is 0 where there are more than MOST_UNITS.
    """
    if end - at < _OPTIONS:
        return _DAMAGED
    row[LINKTYPE], row[SNAPLEN] = _half(arena, at, big), number(arena, at + _SNAPLEN, big)
    units, seconds = _MICROSECONDS, 0
    at += _OPTIONS
    while at + _OPTION <= end:
        code, length = _half(arena, at, big), _half(arena, at + 2, big)
        if code == 0:
            break
        if at + _OPTION + length > end:
            return _DAMAGED
        if code == _IF_TSRESOL and length == 1:
            units = _units_of(np.int64(arena[at + _OPTION]))
        elif code == _IF_TSOFFSET and length == 8:
            seconds = _seconds_of(arena, at + _OPTION, big)
        at += _OPTION + (length + 3 & ~3)
    row[UNITS], row[OFFSET] = units, seconds
    return _USUAL if units > 0 and -MOST_SECONDS <= seconds <= MOST_SECONDS else _UNUSUAL


@inlined
def _add_interface(
    arena: U8, at: Int, end: Int, big: bool, section: I64, interfaces: I64, linktypes: I64
) -> bool:  # fmt: skip
    """One more interface of the section; False: there is no room for it, or the plain code has to read it."""
    count = section[COUNT]
    if count == len(interfaces) or _interface(arena, at, end, big, interfaces[count]) != _USUAL:
        return False
    for linktype in linktypes:
        if linktype == interfaces[count, LINKTYPE]:
            section[COUNT] = count + 1
            return True
    return False


@inlined
def _begin_section(arena: U8, at: Int, total: Int, big: bool, section: I64) -> bool:
    """The section whose header is at `at`; False: the plain code refuses it."""
    if total < _LEAST_SECTION or _half(arena, at + _MAJOR, big) != 1:
        return False
    section[BIG], section[COUNT] = 1 if big else 0, 0
    section[SECTIONS] += 1
    return True


# -- packets ----------------------------------------------------------------------------------------------------------


@inlined
def _simple(
    arena: U8, at: Int, total: Int, big: bool, section: I64, interfaces: I64, joins: U8,
    offset: I64, length: I32, time_ns: I64, link: U8, captured: I32, wire: I32, row: Int,
) -> bool:  # fmt: skip
    """A simple packet block as a row. It has no time, and does not say how much was captured."""
    if total < _SIMPLE_AROUND or section[COUNT] == 0 or interfaces[0, LINKTYPE] < 0:
        return False
    on_wire, snaplen = number(arena, at + _SIMPLE_ON_WIRE, big), interfaces[0, SNAPLEN]
    size = snaplen if 0 < snaplen < on_wire else on_wire
    if size > total - _SIMPLE_AROUND:
        return False
    time_ns[row] = 0
    linktype = interfaces[0, LINKTYPE]
    put_row(arena, at + _SIMPLE_DATA, size, on_wire, linktype, joins, offset, length, link, captured, wire, row)
    return True


@inlined
def _packet(
    arena: U8, at: Int, total: Int, big: bool, which: Int, section: I64, interfaces: I64, joins: U8,
    offset: I64, length: I32, time_ns: I64, link: U8, captured: I32, wire: I32, row: Int,
) -> bool:  # fmt: skip
    """An enhanced or an obsolete packet block, of the interface `which`, as a row."""
    if total < _AROUND or which >= section[COUNT]:
        return False
    head, interface = arena[at : at + _DATA], interfaces[which]
    size, on_wire = number(head, _CAPTURED, big), number(head, _ON_WIRE, big)
    if interface[LINKTYPE] < 0 or size > total - _AROUND:
        return False
    time = _nanoseconds(head, _TIME, big, np.uint64(interface[UNITS]), interface[OFFSET])
    if time < 0:
        return False
    time_ns[row] = time
    put_row(arena, at + _DATA, size, on_wire, interface[LINKTYPE], joins, offset, length, link, captured, wire, row)
    return True


@kernel
def blocks(
    arena: U8, at: Int, end: Int, section: I64, interfaces: I64, linktypes: I64, joins: U8,
    offset: I64, length: I32, time_ns: I64, link: U8, captured: I32, wire: I32, row: Int,
) -> tuple[int, int, int]:  # fmt: skip
    """Rows of packet blocks, whatever lies between them; `section` and the rows of `interfaces` follow the file.

    1. The block's extent: all of it has to be there.
    2. Its length is at its end too; a block with two lengths is damaged.
    3. By type: a packet becomes a row, an interface or a section is noted, any other block is passed over.

    `linktypes` are those that are supported; `joins` as classic.put_row has it. MORE without a row may come after many
    blocks that make none.
    """
    rows, at, row = len(offset), np.int64(at), np.int64(row)
    while row < rows:
        kind, total, big, why = _extent(arena, at, end, section[BIG] == 1)
        if why != FULL:
            return row, at, why
        if number(arena, at + total - _AFTER, big) != total:
            return row, at, ODD
        good, packets = True, 0
        if kind in (ENHANCED_PACKET, OBSOLETE_PACKET):
            which = number(arena, at + _WHICH, big) if kind == ENHANCED_PACKET else _half(arena, at + _WHICH, big)
            good = _packet(
                arena, at, total, big, which, section, interfaces, joins,
                offset, length, time_ns, link, captured, wire, row,
            )  # fmt: skip
            packets = 1
        elif kind == SIMPLE_PACKET:
            good = _simple(
                arena, at, total, big, section, interfaces, joins, offset, length, time_ns, link, captured, wire, row
            )
            packets = 1
        elif kind == INTERFACE:
            good = _add_interface(arena, at + _BODY, at + total - _AFTER, big, section, interfaces, linktypes)
        elif kind == SECTION:
            good = _begin_section(arena, at, total, big, section)
        if not good:
            return row, at, ODD
        at += total
        row += packets
    return row, at, FULL


@kernel
def hop_ng(
    arena: U8, at: Int, end: Int, limit: Int, section: I64, interfaces: I64, linktypes: I64
) -> tuple[int, int, int]:  # fmt: skip
    """(packets, at, why): over the blocks that begin before `limit`; FULL where all were as usual and whole.

    `section` and `interfaces` follow the file. Does not look into a packet's block: `blocks` does.
    """
    rows, at = 0, np.int64(at)
    while at < limit:
        kind, total, big, why = _extent(arena, at, end, section[BIG] == 1)
        if why != FULL:
            return rows, at, why
        good = number(arena, at + total - _AFTER, big) == total
        if good and kind == INTERFACE:
            good = _add_interface(arena, at + _BODY, at + total - _AFTER, big, section, interfaces, linktypes)
        elif good and kind == SECTION:
            good = _begin_section(arena, at, total, big, section)
        if not good:
            return rows, at, ODD
        rows += kind in (ENHANCED_PACKET, OBSOLETE_PACKET, SIMPLE_PACKET)
        at += total
    return rows, at, FULL


@kernel
def skim(data: U8, size: Int, big: bool, interface: I64) -> tuple[int, bool, int]:
    """(bytes of the blocks that were passed, big-endian, why): MORE, ODD for the plain code, or FINER.

    1. A section header may change the byte order.
    2. An interface's clock is looked at, until one has ticks between microseconds.
    3. Of any other block the length is all that is needed, so the bytes passed may be more than `size`.

    `interface` is a row to work in.
    """
    at = np.int64(0)
    while at + _BODY <= size:
        kind = number(data, at, big)
        if kind == SECTION:
            if at + _MAJOR > size:
                return at, big, MORE
            big, _ = _order(data, at, big)
        total = number(data, at + _TOTAL, big)
        if total < _LEAST:
            return at, big, ODD
        if kind == INTERFACE and total <= MAX_RECORD:
            if at + total - _AFTER > size:
                return at, big, MORE
            if _interface(data, at + _BODY, at + total - _AFTER, big, interface) == _DAMAGED:
                return at, big, ODD
            units = interface[UNITS]
            if units == 0 or _MICROSECONDS % units != 0:
                return at, big, FINER
        at += total
    return at, big, MORE


@kernel
def gather_ng(
    arena: U8, at: I64, length: I32, time_ns: I64, keep: U8, nanosecond: bool, row: Int, out: U8
) -> tuple[int, int]:  # fmt: skip
    """As records.gather: little-endian packet blocks of interface 0. A time before the epoch becomes the epoch."""
    rows, done, row = len(at), 0, np.int64(row)
    while row < rows:
        if keep[row] == 0:
            row += 1
            continue
        start, size = at[row], np.int64(length[row])
        padded = size + 3 & ~3
        if start < 0 or size < 0 or start > len(arena) - size or padded + _AROUND > len(out) - done:
            break
        time = max(time_ns[row], 0)
        ticks = time if nanosecond else time // 1000
        put32_le(out, done, ENHANCED_PACKET)
        put32_le(out, done + _TOTAL, padded + _AROUND)
        put32_le(out, done + _WHICH, 0)
        put32_le(out, done + _TIME, ticks >> 32)
        put32_le(out, done + _TIME_LOW, ticks)
        put32_le(out, done + _CAPTURED, size)
        put32_le(out, done + _ON_WIRE, size)
        put32_le(out, done + _DATA - 4 + padded, 0)  # the last word of the frame: what of it is padding stays 0
        copy(out, done + _DATA, arena, start, size)
        put32_le(out, done + _DATA + padded, padded + _AROUND)
        done += _AROUND + padded
        row += 1
    return row, done
