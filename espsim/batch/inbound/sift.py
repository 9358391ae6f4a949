"""Sift: groups of rows that failed, in arrival order, and notes about rows that passed. explain/watch.py over columns.

`sift` stops at each row that the caller should look at. The caller looks, and goes on with the next row.

A group is a verdict and an SA; without an SA it is a verdict, SPI, destination, and whether in UDP. The arrays:

    keys      (GROUPS, 3) uint64    the groups, in the order in which they came; word FIRST, then the destination
        of an SA         verdict << 56 | _OF_SA | sa_index                      0, 0
        without an SA    verdict << 56 | family << 40 | in UDP << 32 | SPI      high, low
    slots     (SLOTS) int32         a hash table of the keys, open addressing: group + 1; 0: free
    groups    (GROUPS, 2) int64     PACKETS; ROOM: how many more rows may be looked at
    state     (SAs, 4) uint64       TOP: the highest number that the window took; FLAGS; ODD: packets delivered with
                                    padding other than 1, 2, 3 (half a cache line an SA)
    used      (1) int64             how many groups there are

What this does not do: it finds no causes (explain/), and forms no group after the first GROUPS.
"""

from __future__ import annotations

import numpy as np

from espsim.batch.inbound.triple import TCP_PORT
from espsim.core.arrays import I32, I64, U8, U32, U64
from espsim.core.numbers import (
    BLOCKED,
    DELIVERED,
    ECN,
    IPTFS_BUFFER,
    IPTFS_HEADER,
    IPTFS_LATE,
    IPTFS_LOST,
    MODE,
    NO_POLICY,
    NO_SA,
    OWN,
    POLICY,
    SENT,
    TEMPLATE,
    TEMPLATES,
    TRAILER,
)
from espsim.jit.bytes import mul64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.prefetch import prefetch

GROUPS, SLOTS = 1024, 4096
FIRST, HIGH, LOW = range(3)
"""Columns of `keys`."""
PACKETS, ROOM = 0, 1
"""Columns of `groups`."""
TOP, FLAGS, ODD = 0, 1, 2
"""Columns of `state`."""
AUTHENTIC, RESUMED = np.uint64(1), np.uint64(2)
"""Bits of FLAGS: some packet was authentic; the window does not know its top until its first packet."""

_AUTHENTIC = (
    DELIVERED, TRAILER, MODE, POLICY, SENT, NO_POLICY, TEMPLATE, BLOCKED, TEMPLATES, ECN,
    IPTFS_BUFFER, IPTFS_HEADER, IPTFS_LOST, IPTFS_LATE,
)  # fmt: skip
"""Verdicts of packets whose ICV was right."""
_LAST = np.uint8(32)
"""Above all verdicts, below NOT_ESP and PART: such rows are not packets of their own."""

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""
_OF_SA = np.uint64(1 << 55)
"""In FIRST: the group has an SA."""
_0, _1, _29, _32, _40, _56 = (np.uint64(n) for n in (0, 1, 29, 32, 40, 56))
_HALF = np.uint64(1 << 63)
_SLOT_MASK = np.uint64(SLOTS - 1)
_MIX_A, _MIX_B = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_MIX_C, _MIX_D = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


@inlined
def _passed(state: U64, sa: int, found: np.uint8, own: bool, seq64: np.uint64, odd: np.uint8) -> None:
    """Note an authentic row of an SA.

    1. The SA has had an authentic packet.
    2. A window took the number: it may be the highest, counted modulo 2^64.
    3. It was delivered: its padding may be odd.
    """
    state[sa, FLAGS] |= AUTHENTIC
    if own or found == TRAILER:
        return
    top = state[sa, TOP]
    ahead = seq64 - top < _HALF if seq64 > top else top - seq64 > _HALF
    if ahead or state[sa, FLAGS] & RESUMED != _0:
        state[sa, TOP] = seq64
        state[sa, FLAGS] &= ~RESUMED
    if found == DELIVERED and odd != 0:
        state[sa, ODD] += _1


@helper
def _group(keys: U64, slots: I32, used: I64, first: np.uint64, high: np.uint64, low: np.uint64) -> int:
    """The group of a key, made where it is new; -1: it is new, and there are GROUPS already."""
    x = first ^ mul64(high, _MIX_C) ^ mul64(low, _MIX_D)
    x = mul64(x ^ (x >> _32), _MIX_A)
    at = (mul64(x ^ (x >> _29), _MIX_B) >> _32) & _SLOT_MASK
    while slots[at] != 0:
        group = np.int64(slots[at]) - 1
        if keys[group, FIRST] == first and keys[group, HIGH] == high and keys[group, LOW] == low:
            return group
        at = (at + _1) & _SLOT_MASK
    if used[0] == GROUPS:
        return -1
    group = np.int64(used[0])
    used[0] += 1
    slots[at] = group + 1
    keys[group, FIRST], keys[group, HIGH], keys[group, LOW] = first, high, low
    return group


@kernel
def sift(
    start: int, verdict: U8, flags: U8, sa_index: I32, own_index: I32, seq64: U64, odd_padding: U8,
    family: U8, spi: U32, daddr: U64, dport: U32,
    state: U64, keys: U64, slots: I32, groups: I64, used: I64, group_of: I32,
) -> int:  # fmt: skip
    """Go through the rows from `start` on, up to the first row that the caller should look at. -1: there is none.

    1. Rows that are not packets of their own have no group.
    2. An authentic row is noted for its SA.
    3. A row that failed is counted in its group. The caller looks at it while the group has ROOM.

    `sa_index`: the SA whose keys were used. `own_index`: the packet's own SA, which differs only with a device.
    `group_of`: each row's group; -1 where it passed, is not a packet, or found no group.
    """
    rows = len(verdict)
    for i in range(start, rows):
        if i + AHEAD < rows:
            prefetch(state, max(sa_index[i + AHEAD], 0))
        found, sa = verdict[i], sa_index[i]
        group_of[i] = -1
        if found >= _LAST:
            continue
        if sa >= 0 and found in _AUTHENTIC:
            _passed(state, sa, found, flags[i] & OWN != 0, seq64[i], odd_padding[i])
        if found in (DELIVERED, SENT):
            continue
        first, high, low, own = np.uint64(found) << _56, _0, _0, own_index[i]
        if own >= 0:
            first |= _OF_SA | np.uint64(own)
        elif found == NO_SA:
            first |= np.uint64(family[i]) << _40 | np.uint64(dport[i] < TCP_PORT) << _32 | np.uint64(spi[i])
            high, low = daddr[i, 0], daddr[i, 1]
        group = _group(keys, slots, used, first, high, low)
        if group < 0:
            continue
        group_of[i] = group
        groups[group, PACKETS] += 1
        if groups[group, ROOM] > 0:
            groups[group, ROOM] -= 1
            return i
    return -1
