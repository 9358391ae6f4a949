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

from espsim.batch.inbound import sums as batch_sums
from espsim.batch.inbound.sums import LAST, WAS_AUTHENTIC, is_ahead
from espsim.batch.inbound.triple import TCP_PORT
from espsim.core.arrays import I32, I64, U8, U32, U64
from espsim.core.numbers import DELIVERED, NO_SA, OWN, SENT, TRAILER
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

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""
_OF_SA = np.uint64(1 << 55)
"""In FIRST: the group has an SA."""
_0, _1, _29, _32, _40, _56 = (np.uint64(n) for n in (0, 1, 29, 32, 40, 56))
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
    if is_ahead(seq64, state[sa, TOP]) or state[sa, FLAGS] & RESUMED != _0:
        state[sa, TOP] = seq64
        state[sa, FLAGS] &= ~RESUMED
    if found == DELIVERED and odd != 0:
        state[sa, ODD] += _1


@inlined
def _key(
    found: np.uint8, own: int, family: np.uint8, spi: np.uint32, high: np.uint64, low: np.uint64, port: np.uint32
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """The key of a row's group."""
    first = np.uint64(found) << _56
    if own >= 0:
        return first | _OF_SA | np.uint64(own), _0, _0
    if found == NO_SA:
        first |= np.uint64(family) << _40 | np.uint64(port < TCP_PORT) << _32 | np.uint64(spi)
        return first, high, low
    return first, _0, _0


@helper
def _find(keys: U64, slots: I32, first: np.uint64, high: np.uint64, low: np.uint64) -> tuple[int, np.uint64]:
    """(the group of a key, or -1, its slot or the free one where it belongs)."""
    x = first ^ mul64(high, _MIX_C) ^ mul64(low, _MIX_D)
    x = mul64(x ^ (x >> _32), _MIX_A)
    at = (mul64(x ^ (x >> _29), _MIX_B) >> _32) & _SLOT_MASK
    while slots[at] != 0:
        group = np.int64(slots[at]) - 1
        if keys[group, FIRST] == first and keys[group, HIGH] == high and keys[group, LOW] == low:
            return group, at
        at = (at + _1) & _SLOT_MASK
    return -1, at


@helper
def _group(keys: U64, slots: I32, used: I64, first: np.uint64, high: np.uint64, low: np.uint64) -> int:
    """The group of a key, made where it is new; -1: it is new, and there are GROUPS already."""
    group, at = _find(keys, slots, first, high, low)
    if group >= 0:
        return group
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
        if found >= LAST:
            continue
        if sa >= 0 and found in WAS_AUTHENTIC:
            _passed(state, sa, found, flags[i] & OWN != 0, seq64[i], odd_padding[i])
        if found in (DELIVERED, SENT):
            continue
        first, high, low = _key(found, own_index[i], family[i], spi[i], daddr[i, 0], daddr[i, 1], dport[i])
        group = _group(keys, slots, used, first, high, low)
        if group < 0:
            continue
        group_of[i] = group
        groups[group, PACKETS] += 1
        if groups[group, ROOM] > 0:
            groups[group, ROOM] -= 1
            return i
    return -1


@kernel
def pass_sums(
    sums: I64, others: I32, used_sums: I64, verdict: U8, sa_index: I32,
    family: U8, spi: U32, daddr: U64, dport: U32, state: U64, keys: U64, slots: I32, groups: I64, used: I64,
) -> bool:  # fmt: skip
    """As `sift`, of a batch whose sums are made (sums.py) and in which no row needs a look. False: nothing was done.

    1. Is there a group, without ROOM, of each row that failed, or no more place for one?
    2. Count the rows in their groups.
    3. Note the authentic rows of each SA.
    """
    for step in range(2):
        for n in range(used_sums[batch_sums.OTHERS]):
            i = others[n]
            if verdict[i] in (DELIVERED, SENT):
                continue
            first, high, low = _key(verdict[i], sa_index[i], family[i], spi[i], daddr[i, 0], daddr[i, 1], dport[i])
            group, _ = _find(keys, slots, first, high, low)
            if step == 0 and (used[0] < GROUPS if group < 0 else groups[group, ROOM] > 0):
                return False
            if step == 1 and group >= 0:
                groups[group, PACKETS] += 1
    many = used_sums[batch_sums.SAS]
    for i in range(many):
        if i + AHEAD < many:
            prefetch(state, sums[i + AHEAD, batch_sums.SA])
        sa, bits, top = sums[i, batch_sums.SA], sums[i, batch_sums.BITS], np.uint64(sums[i, batch_sums.TOP])
        if bits & batch_sums.AUTHENTIC:
            state[sa, FLAGS] |= AUTHENTIC
        if bits & batch_sums.TOOK and (is_ahead(top, state[sa, TOP]) or state[sa, FLAGS] & RESUMED != _0):
            state[sa, TOP] = top
            state[sa, FLAGS] &= ~RESUMED
        state[sa, ODD] += np.uint64(sums[i, batch_sums.ODD])
    return True
