"""Captures: rows become the records of a pcap. The layout of a record is in classic.py.

    gather    records of kept rows, to write             io/pcap.py, frame_header
    head      records where the packets lie already
    room      the bytes that either makes of rows

What these do not do: write pcapng (blocks.py), or a linktype's header (packets are raw IP).
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, Int
from espsim.io.rows.classic import CAPTURED, FRACTION, ON_WIRE, RECORD, SECOND, SECONDS
from espsim.jit.bytes import copy, put32_le
from espsim.jit.compiling import inlined, kernel

_LAST_SECOND = 0xFFFFFFFF


@kernel
def room(length: I32, keep: U8, around: Int, multiple: Int) -> int:
    """Bytes of the rows whose `keep` is not 0, each padded to `multiple` (a power of 2), with `around` more."""
    total = 0
    for row in range(len(length)):
        if keep[row] != 0:
            total += (np.int64(length[row]) + multiple - 1 & -multiple) + around
    return total


@inlined
def _put_header(out: U8, at: Int, time_ns: Int, size: Int, nanosecond: bool) -> None:
    """A record's header. Seconds are 32 bits without sign: a time outside becomes the nearest inside."""
    seconds, fraction = 0, 0
    if time_ns > 0:
        seconds = time_ns // SECOND
        fraction = time_ns - seconds * SECOND
    if seconds > _LAST_SECOND:
        seconds, fraction = _LAST_SECOND, SECOND - 1
    put32_le(out, at + SECONDS, seconds)
    put32_le(out, at + FRACTION, fraction if nanosecond else fraction // 1000)
    put32_le(out, at + CAPTURED, size)
    put32_le(out, at + ON_WIRE, size)


@kernel
def head(arena: U8, at: I64, length: I32, time_ns: I64, keep: U8, nanosecond: bool) -> int:
    """Make records of packets that lie in the arena one after the other, with room for a header before each.

    The bytes of all records, from the arena's first byte on. -1: the rows whose `keep` is not 0 do not lie so; headers
    may have been written before some of them.
    """
    end = 0
    for row in range(len(at)):
        if keep[row] == 0:
            continue
        size = np.int64(length[row])
        if at[row] != end + RECORD or size < 0 or at[row] > len(arena) - size:
            return -1
        _put_header(arena, end, time_ns[row], size, nanosecond)
        end += RECORD + size
    return end


@kernel
def gather(
    arena: U8, at: I64, length: I32, time_ns: I64, keep: U8, nanosecond: bool, row: Int, out: U8
) -> tuple[int, int]:  # fmt: skip
    """Records of a little-endian pcap for rows from `row` on whose `keep` is not 0, into `out` while it has room.

    1. Stop before a row that has no room in `out`, or that does not lie in the arena.
    2. The header, then the packet.

    Returns the next row and the bytes written.
    """
    rows, done, row = len(at), 0, np.int64(row)
    while row < rows:
        if keep[row] == 0:
            row += 1
            continue
        start, size = at[row], np.int64(length[row])
        if start < 0 or size < 0 or start > len(arena) - size or size + RECORD > len(out) - done:
            break
        _put_header(out, done, time_ns[row], size, nanosecond)
        copy(out, done + RECORD, arena, start, size)
        done += RECORD + size
        row += 1
    return row, done
