"""Rows that failed, put into groups in arrival order, and what passed, counted for SAs: explain/watch.py over columns.

    sift    stops at each row that is to be looked at; the caller looks and comes back with the next one

A group is a verdict and an SA, and where no SA was found a verdict, SPI, destination, in UDP or not. `keys` (GROUPS, 3,
uint64) has one for each, in the order in which they came:

    [0]  verdict << 56 | OF_SA | sa_index                      [1] 0        [2] 0
    [0]  verdict << 56 | family << 40 | in UDP << 32 | SPI     [1], [2] destination, high and low

`slots` (SLOTS, int32) finds them: open addressing, group + 1, 0 for none. `groups` (GROUPS, 2, int64) is what each has:
packets, and how many more may be looked at. `state` (SAs, 4, uint64), half a cache line an SA: the highest number that
its window took, flags, and how many packets passed with padding other than 1, 2, 3.
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
LOOKS = 32
PACKETS, ROOM = 0, 1
"""Columns of `groups`."""
TOP, FLAGS, ODD = 0, 1, 2
"""Columns of `state`."""
AUTHENTIC, RESUMED = np.uint64(1), np.uint64(2)
"""Flags: some ICV was right; the window waits for its first packet."""

_AUTHENTIC = (
    DELIVERED, TRAILER, MODE, POLICY, SENT, NO_POLICY, TEMPLATE, BLOCKED, TEMPLATES, ECN,
    IPTFS_BUFFER, IPTFS_HEADER, IPTFS_LOST, IPTFS_LATE,
)  # fmt: skip
"""Verdicts of packets whose ICV was right."""
_LAST = np.uint8(32)
"""From this verdict on a row is no packet: NOT_ESP, PART."""

AHEAD = 16
_OF_SA = np.uint64(1 << 55)
_0, _1, _29, _32, _40, _56 = (np.uint64(n) for n in (0, 1, 29, 32, 40, 56))
_HALF = np.uint64(1 << 63)
_SLOT_MASK = np.uint64(SLOTS - 1)
_MIX_A, _MIX_B = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_MIX_C, _MIX_D = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)


@inlined
def _passed(state: U64, sa: int, found: np.uint8, own: bool, seq64: np.uint64, odd: np.uint8) -> None:
    """A row whose ICV was right: the highest number, where the window took it; what is odd, where it was delivered."""
    state[sa, FLAGS] |= AUTHENTIC
    if own or found == TRAILER:
        return
    top = state[sa, TOP]
    # Ahead of the top, modulo 2^64.
    ahead = seq64 - top < _HALF if seq64 > top else top - seq64 > _HALF
    if ahead or state[sa, FLAGS] & RESUMED != _0:
        state[sa, TOP] = seq64
        state[sa, FLAGS] &= ~RESUMED
    if found == DELIVERED and odd != 0:
        state[sa, ODD] += _1


@helper
def _group(keys: U64, slots: I32, used: I64, first: np.uint64, high: np.uint64, low: np.uint64) -> int:
    """The group of a key, made where it is new; -1: there are GROUPS others."""
    x = first ^ mul64(high, _MIX_C) ^ mul64(low, _MIX_D)
    x = mul64(x ^ (x >> _32), _MIX_A)
    at = (mul64(x ^ (x >> _29), _MIX_B) >> _32) & _SLOT_MASK
    while slots[at] != 0:
        group = np.int64(slots[at]) - 1
        if keys[group, 0] == first and keys[group, 1] == high and keys[group, 2] == low:
            return group
        at = (at + _1) & _SLOT_MASK
    if used[0] == GROUPS:
        return -1
    group = np.int64(used[0])
    used[0] += 1
    slots[at] = group + 1
    keys[group, 0], keys[group, 1], keys[group, 2] = first, high, low
    return group


@kernel
def sift(
    start: int, verdict: U8, flags: U8, sa_index: I32, own_index: I32, seq64: U64, odd_padding: U8,
    family: U8, spi: U32, daddr: U64, dport: U32,
    state: U64, keys: U64, slots: I32, groups: I64, used: I64, group_of: I32,
) -> int:  # fmt: skip
    """Go through the rows from `start` on: the first that is to be looked at, or -1 after the last.

    `sa_index` is the SA whose keys were used, `own_index` the packet's own: without a device the same.
    `group_of` becomes each row's group, -1 where it passed, is no packet, or no group is left for it.
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
