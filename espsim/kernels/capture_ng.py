"""pcapng in an arena: its usual block, the enhanced packet, becomes rows; all other blocks are the plain code's.

    enhanced   enhanced packet blocks           io/pcapng.py, Pcapng.steps
    skim       to the next block that says what later ones mean

See `capture` for what a walk returns.
"""

from __future__ import annotations

import numpy as np

from espsim.kernels._jit import I32, I64, U8, U64, Int, inlined, kernel
from espsim.kernels.capture import FULL, MAX_RECORD, MORE, ODD, number, put_row

SECTION, INTERFACE, ENHANCED_PACKET = 0x0A0D0D0A, 1, 6

MOST_UNITS = 1 << 34
"""Units of a second up to which a kernel makes nanoseconds of them: below a second, units times 10^9 are 64 bits."""
MOST_SECONDS = 1 << 32
"""Seconds (and seconds of an interface's offset, either way) up to which it does."""

_SECOND = 1_000_000_000
_NS = np.uint64(_SECOND)
_32 = np.uint64(32)
_MOST = np.uint64(MOST_SECONDS)
_NONE = np.uint64(0)


@inlined
def _extent(arena: U8, at: Int, end: Int, big: bool) -> tuple[int, int, int]:
    """(type, bytes of the block, why not) of the block at `at`; `why not` is FULL where it is whole and may be one."""
    if at + 8 > end:
        return 0, 0, MORE
    head = arena[at : at + 12]
    kind = number(head, 0, big)
    if kind == SECTION:  # the same in either order
        if at + 12 > end:
            return kind, 0, MORE
        if number(head, 8, True) == 0x1A2B3C4D:
            big = True
        elif number(head, 8, False) == 0x1A2B3C4D:
            big = False
        else:
            return kind, 0, ODD
    total = number(head, 4, big)
    if total < 12 or total & 3 or (kind == ENHANCED_PACKET and total > MAX_RECORD):
        return kind, total, ODD
    return kind, total, MORE if at + total > end else FULL


@inlined
def _nanoseconds(arena: U8, at: Int, big: bool, units: np.uint64, offset_s: Int) -> int:
    """Nanoseconds since the epoch of the ticks at `at`; -1: not here."""
    if units == _NONE:
        return -1
    ticks = np.uint64(number(arena, at, big)) << _32 | np.uint64(number(arena, at + 4, big))
    seconds = ticks // units
    if seconds > _MOST:
        return -1
    below = (ticks - seconds * units) * _NS // units
    total = (np.int64(seconds) + offset_s) * _SECOND + np.int64(below)
    return total if total >= 0 else -1


@kernel
def enhanced(
    arena: U8, at: Int, end: Int, big: bool, linktypes: I64, units: U64, offsets: I64, interfaces: Int,
    offset: I64, length: I32, time_ns: I64, row: Int,
) -> tuple[int, int, int]:  # fmt: skip
    """Frames of enhanced packet blocks, up to the first block that is none.

    Of the first `interfaces` interfaces: link type (-1: not supported), units of a second (0: not for a kernel, else at
    most MOST_UNITS) and seconds to add (at most MOST_SECONDS either way).
    """
    rows, at, row = len(offset), np.int64(at), np.int64(row)
    while row < rows:
        kind, total, why = _extent(arena, at, end, big)
        if why != FULL:
            return row, at, why
        if kind != ENHANCED_PACKET or total < 32 or number(arena, at + total - 4, big) != total:
            return row, at, ODD
        head = arena[at : at + 28]
        interface, captured = number(head, 8, big), number(head, 20, big)
        if interface >= interfaces or linktypes[interface] < 0 or captured > total - 32:
            return row, at, ODD
        time = _nanoseconds(head, 12, big, units[interface], offsets[interface])
        if time < 0:
            return row, at, ODD
        time_ns[row] = time
        put_row(arena, at + 28, captured, linktypes[interface], offset, length, row)
        at += total
        row += 1
    return row, at, FULL


@kernel
def skim(data: U8, size: Int, big: bool) -> int:
    """Bytes of the blocks at the start of `data` that are neither interfaces nor sections: maybe more than `size`."""
    at = np.int64(0)
    while at + 8 <= size:
        kind, total = number(data, at, big), number(data, at + 4, big)
        if kind in (SECTION, INTERFACE) or total < 12:
            break
        at += total
    return at
