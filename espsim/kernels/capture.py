"""Captures: frames that lie in an arena become rows, rows become the records of a pcap.

    classic   records of a classic pcap           io/pcap.py, and io/linktype.py for where the IP packet starts
    gather    records of kept rows, to write      io/pcap.py, frame_header

`classic` and `capture_ng.enhanced` walk the bytes of a file from `at` to `end` and fill rows from `row` on. They return
(row, at, why): the next row, the first byte that was not used, and why they stopped. What they can't do they leave to
the plain code, which also knows what to say of damage. Whatever the bytes are, a row lies between `at` and `end`.
"""

from __future__ import annotations

import numpy as np

from espsim.kernels._jit import I32, I64, U8, Int, inlined, kernel

FULL, MORE, ODD = 0, 1, 2
"""Why a walk stopped: no row left; what starts at `at` goes on behind `end`; for the plain code, and if it is a record
at all it ends before `end`."""

LONGEST = 65_600
"""Bytes of a row. No IP packet is longer than 65,575; of a longer frame what lies behind means nothing."""

MAX_RECORD = 16 << 20
"""Bytes of a record, as io/source.py has it."""

_SECOND = 1_000_000_000
_LAST_SECOND = 0xFFFFFFFF
_V4, _V6 = 0x0800, 0x86DD
_EITHER = -1


@inlined
def number(arena: U8, at: Int, big: bool) -> int:
    """A u32 of the file. Fastest in a view that starts at the record: a constant index needs no look at its sign."""
    a, b, c, d = np.int64(arena[at]), np.int64(arena[at + 1]), np.int64(arena[at + 2]), np.int64(arena[at + 3])
    return a << 24 | b << 16 | c << 8 | d if big else d << 24 | c << 16 | b << 8 | a


@inlined
def _version_of_family(family: Int) -> int:
    """AF_INET is 2 everywhere; AF_INET6 is Linux's, NetBSD's and OpenBSD's, FreeBSD's, Darwin's. 0: neither."""
    if family == 2:
        return 4
    return 6 if family in (10, 24, 28, 30) else 0


@inlined
def _behind_ethertype(arena: U8, at: Int, size: Int, field: Int, start: Int) -> tuple[int, int]:
    """(version, start) behind the type at `field` and VLAN tags; version 0: none."""
    kind = np.int64(arena[at + field]) << 8 | np.int64(arena[at + field + 1])
    while kind in (0x8100, 0x88A8, 0x9100):
        if size < start + 4:
            return 0, start
        kind = np.int64(arena[at + start + 2]) << 8 | np.int64(arena[at + start + 3])
        start += 4
    version = 0
    if kind == _V4:
        version = 4
    elif kind == _V6:
        version = 6
    return version, start


@inlined
def _behind_family(arena: U8, at: Int, either: bool) -> int:
    """The version that an address family in network order names, or (`either`) in little-endian order first."""
    version = 0
    if either:
        version = _version_of_family(number(arena, at, False))
    if version == 0:
        version = _version_of_family(number(arena, at, True))
    return version


@inlined
def ip_start(arena: U8, at: Int, size: Int, linktype: Int) -> int:
    """Bytes before the IP packet in a frame of `size` bytes at `at`; -1: not IP. The rules of io/linktype.py."""
    start, version = 0, 0
    if linktype == 1:
        if size > 14:
            version, start = _behind_ethertype(arena, at, size, 12, 14)
    elif linktype in (12, 14, 101):
        version = _EITHER
    elif linktype in (228, 229):
        version = 4 if linktype == 228 else 6
    elif linktype in (0, 108):
        start = 4
        if size > 4:
            version = _behind_family(arena, at, linktype == 0)
    elif linktype == 113:
        if size > 16:
            version, start = _behind_ethertype(arena, at, size, 14, 16)
    elif linktype == 276 and size > 20:
        version, start = _behind_ethertype(arena, at, size, 0, 20)
    if version == 0 or size <= start:
        return -1
    nibble = np.int64(arena[at + start] >> 4)
    if nibble == version or (version == _EITHER and nibble in (4, 6)):
        return start
    return -1


@inlined
def put_row(arena: U8, at: Int, size: Int, linktype: Int, offset: I64, length: I32, row: Int) -> None:
    """Where the IP packet of a frame of `size` bytes at `at` lies; its length is 0 where it is not IP."""
    start = ip_start(arena, at, size, linktype)
    if start < 0:
        offset[row], length[row] = at, 0
    else:
        offset[row], length[row] = at + start, min(size - start, LONGEST)


@kernel
def classic(
    arena: U8, at: Int, end: Int, big: bool, unit: Int, linktype: Int, offset: I64, length: I32, time_ns: I64, row: Int
) -> tuple[int, int, int]:
    """Frames of a classic pcap whose fields are big-endian where `big`, fractions `unit` nanoseconds."""
    rows, at, row = len(offset), np.int64(at), np.int64(row)
    while row < rows:
        if at + 16 > end:
            return row, at, MORE
        head = arena[at : at + 16]
        captured = number(head, 8, big)
        if captured > MAX_RECORD:
            return row, at, ODD
        if at + 16 + captured > end:
            return row, at, MORE
        time_ns[row] = number(head, 0, big) * _SECOND + number(head, 4, big) * unit
        put_row(arena, at + 16, captured, linktype, offset, length, row)
        at += 16 + captured
        row += 1
    return row, at, FULL


@inlined
def _put32(out: U8, at: Int, value: Int) -> None:
    """A little-endian u32."""
    out[at], out[at + 1] = value & 0xFF, value >> 8 & 0xFF
    out[at + 2], out[at + 3] = value >> 16 & 0xFF, value >> 24 & 0xFF


@kernel
def gather(
    arena: U8, at: I64, length: I32, time_ns: I64, keep: U8, nanosecond: bool, row: Int, out: U8
) -> tuple[int, int]:  # fmt: skip
    """Records of a little-endian pcap for rows from `row` on whose `keep` is not 0, into `out` while it has room.

    Returns the next row and the bytes written. It stops before a row that leaves the arena too. Seconds are 32 bits
    without sign: a time outside becomes the nearest inside.
    """
    rows, done, row = len(at), 0, np.int64(row)
    while row < rows:
        if keep[row] == 0:
            row += 1
            continue
        start, size = at[row], np.int64(length[row])
        if start < 0 or size < 0 or start > len(arena) - size or size + 16 > len(out) - done:
            break
        seconds, fraction = 0, 0
        if time_ns[row] > 0:
            seconds = time_ns[row] // _SECOND
            fraction = time_ns[row] - seconds * _SECOND
        if seconds > _LAST_SECOND:
            seconds, fraction = _LAST_SECOND, _SECOND - 1
        # Views of known extent, so that the compiler makes words and vectors of bytes.
        head, body, source = out[done : done + 16], out[done + 16 : done + 16 + size], arena[start : start + size]
        _put32(head, 0, seconds)
        _put32(head, 4, fraction if nanosecond else fraction // 1000)
        _put32(head, 8, size)
        _put32(head, 12, size)
        for n in range(size):
            body[n] = source[n]
        done += 16 + size
        row += 1
    return row, done
