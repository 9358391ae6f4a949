"""Policy: the SA whose selector takes the packet. Gives NOT_IP, NO_SA and STATE_INVALID.

    flow      addresses, protocol and ports of a clear packet    reference/inner.py, flow
    choose    the most specific SA, then the newest              reference/outbound.py, _choose
    judge     the verdict, if any, that all packets of the SA get

`choose` is a tuple space search. Selectors with the same masks make a group. One hash table holds the masked keys of
all groups. Groups are tried from the most specific on, until each packet has an SA and the groups left are less
specific.

A row of `groups` (uint64, 8 words; the highest rank first):

    SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW    masks of the addresses; IPv4 in the low word
    PORTS                                   mask of protocol << 32 | source port << 16 | destination port
    FAMILY                                  4 or 6; 0 takes both
    RANK                                    how specific the selectors are: batch/outbound/columns.py, rank_of

A row of `table` (uint64, 8 words, one cache line; open addressing, never full):

    SRC_HIGH ... PORTS    the key: the same five words of a selector, under its group's masks
    GROUP                 the number of the group + 1; 0: the row is free
    SA                    sa + 1, with the bit _TIED where several SAs have this key; the newest, of the highest
                          number, is kept

A transport SA's key is its own two addresses, because its packets must have them.

What this does not do: it knows no policies of an SPD, and does not divide SAs by CPU (reference/host.py does both).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8, U16, U64, Int
from espsim.core.numbers import (
    NOT_IP,
    ONE_BY_ONE,
    OUT_NO_SA,
    PROTO_DCCP,
    PROTO_DSTOPTS,
    PROTO_FRAGMENT,
    PROTO_HOP_BY_HOP,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_ROUTING,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    PROTO_UDPLITE,
    SEALED,
)
from espsim.core.outbound_batch import OutboundBatch
from espsim.jit.bytes import be16, be32, be64, into_range, mul64
from espsim.jit.compiling import inlined, kernel
from espsim.jit.memory import zeros
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.outbound.columns import OutboundColumns

AHEAD = 32
"""Rows between the prefetch of a cache line and its use; the length of `ahead`."""

SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, PORTS = range(5)
"""Words of a key, and of the masks in a group's row."""
FAMILY, RANK = 5, 6
"""The other words of a group's row."""
GROUP, SA = 5, 6
"""The other words of a table's row."""

_FEW = 1024
"""Up to so many keys a table has four rows for each."""
_0, _1, _16, _29, _32 = (np.uint64(n) for n in (0, 1, 16, 29, 32))
_LOW = np.uint64(0xFFFFFFFF)
_TIED = np.uint64(1 << 32)
_RING = np.uint64(AHEAD - 1)
_MIX = tuple(
    np.uint64(n)
    for n in (
        0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3,
        0x589965CC75374CC3, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53,
    )
)  # fmt: skip
_MIX_0, _MIX_1, _MIX_2, _MIX_3, _MIX_4, _MIX_5, _MIX_A, _MIX_B = _MIX


# -- what selectors see -----------------------------------------------------------------------------------------------


@inlined
def _upper6(arena: U8, at: Int, length: Int) -> tuple[int, int, bool]:
    """(protocol, offset of its header, whether a later fragment) after IPv6 extension headers."""
    kind, here, later = np.int64(arena[at + 6]), 40, False
    while kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DSTOPTS) and here + 8 <= length and not later:
        following, size = np.int64(arena[at + here]), 8
        if kind == PROTO_FRAGMENT:
            later = be16(arena, at + here + 2) & 0xFFF8 != 0
        else:
            size = (np.int64(arena[at + here + 1]) + 1) * 8
        kind, here = following, here + size
    return kind, here, later


@inlined
def upper(arena: U8, at: Int, length: Int) -> tuple[int, int, int, bool]:
    """(family, 0 for no IP header; protocol; offset of its header; whether a later fragment) of a packet."""
    version = arena[at] >> 4 if length > 0 else 0
    family = kind = here = 0
    later = False
    if version == 4 and length >= 20:
        here = np.int64(arena[at] & 15) * 4
        if 20 <= here <= length:
            family, kind = 4, np.int64(arena[at + 9])
            later = be16(arena, at + 6) & 0x1FFF != 0
    elif version == 6 and length >= 40:
        family = 6
        kind, here, later = _upper6(arena, at, length)
    return family, kind, here, later


@inlined
def ports_of(arena: U8, at: Int, left: Int, kind: int) -> tuple[int, int]:
    """Ports, or ICMP's type and code, of a header of which `left` bytes are there; zeros where it has none."""
    if kind in (PROTO_TCP, PROTO_UDP, PROTO_DCCP, PROTO_SCTP, PROTO_UDPLITE) and left >= 4:
        return be16(arena, at), be16(arena, at + 2)
    if kind in (PROTO_ICMP, PROTO_ICMPV6) and left >= 2:
        return np.int64(arena[at]), np.int64(arena[at + 1])
    return 0, 0


@kernel
def flow(
    arena: U8, offset: I64, length: I32,
    verdict: U8, family: U8, proto: U8, sport: U16, dport: U16, saddr: U64, daddr: U64,
) -> None:  # fmt: skip
    """Fill every column after `length`. A row without IP header, or past the arena, gets NOT_IP and zeros.

    1. The IP headers: family, protocol, and where the transport header begins.
    2. Ports, or ICMP's type and code.
    3. The addresses.

    A later fragment has ports 0: its transport header is in the first one.
    """
    rows = len(offset)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(arena, offset[i + AHEAD])
        at, size = offset[i], np.int64(length[i])
        if at < 0 or size < 0 or at > len(arena) - size:
            at = size = np.int64(0)
        version, kind, here, later = upper(arena, at, size)
        ports = (0, 0)
        if not later and version != 0:
            ports = ports_of(arena, at + here, size - here, kind)
        verdict[i] = SEALED if version != 0 else NOT_IP
        family[i], proto[i], sport[i], dport[i] = version, kind, ports[0], ports[1]
        saddr[i, 0] = saddr[i, 1] = daddr[i, 0] = daddr[i, 1] = _0
        if version == 4:
            saddr[i, 1], daddr[i, 1] = be32(arena, at + 12), be32(arena, at + 16)
        elif version == 6:
            saddr[i, 0], saddr[i, 1] = be64(arena, at + 8), be64(arena, at + 16)
            daddr[i, 0], daddr[i, 1] = be64(arena, at + 24), be64(arena, at + 32)


# -- the SA -----------------------------------------------------------------------------------------------------------


def select_table(keys: int) -> U64:
    """An empty table for `keys` different keys: three fifths full with them, 107 bytes a key.

    A small table is a quarter full, because a second look costs a branch guessed wrong, and it fits a cache anyway.
    """
    rows = 4 * keys if keys <= _FEW else keys + 2 * keys // 3
    return zeros((rows + 2, 8), np.uint64)


@inlined
def _bucket(
    table: U64, s0: np.uint64, s1: np.uint64, d0: np.uint64, d1: np.uint64, ports: np.uint64, group: np.uint64
) -> np.uint64:
    """The row where the search for a key begins: products XORed, then MurmurHash3's finalizer, scaled to the table."""
    x = mul64(s0, _MIX_0) ^ mul64(s1, _MIX_1) ^ mul64(d0, _MIX_2) ^ mul64(d1, _MIX_3)
    x = x ^ mul64(ports, _MIX_4) ^ mul64(group, _MIX_5)
    x = mul64(x ^ (x >> _32), _MIX_A)
    x = mul64(x ^ (x >> _29), _MIX_B)
    return into_range(x, np.uint64(len(table)))


@inlined
def _place(
    table: U64, first: np.uint64,
    s0: np.uint64, s1: np.uint64, d0: np.uint64, d1: np.uint64, ports: np.uint64, group: np.uint64,
) -> np.uint64:  # fmt: skip
    """The row of a key, or the free one where it would go."""
    at = first
    while table[at, GROUP] != _0:
        other = (table[at, SRC_HIGH] ^ s0) | (table[at, SRC_LOW] ^ s1)
        other |= (table[at, DST_HIGH] ^ d0) | (table[at, DST_LOW] ^ d1)
        if other | (table[at, PORTS] ^ ports) | (table[at, GROUP] ^ group) == _0:
            break
        at = at + _1 if at + _1 < np.uint64(len(table)) else _0
    return at


@kernel
def select_insert(keys: U64, sa: I64, table: U64) -> None:
    """Put SAs in, oldest first. `keys` (SAs, 6): the words of a table's row up to GROUP."""
    for n in range(len(sa)):
        s0, s1 = keys[n, SRC_HIGH], keys[n, SRC_LOW]
        d0, d1 = keys[n, DST_HIGH], keys[n, DST_LOW]
        ports, group = keys[n, PORTS], keys[n, GROUP]
        at = _place(table, _bucket(table, s0, s1, d0, d1, ports, group), s0, s1, d0, d1, ports, group)
        tied = _TIED if table[at, GROUP] != _0 else _0
        table[at, SRC_HIGH], table[at, SRC_LOW] = s0, s1
        table[at, DST_HIGH], table[at, DST_LOW] = d0, d1
        table[at, PORTS], table[at, GROUP], table[at, SA] = ports, group, tied | np.uint64(sa[n] + 1)


@kernel
def choose(
    verdict: U8, family: U8, proto: U8, sport: U16, dport: U16, saddr: U64, daddr: U64, groups: U64, table: U64,
    ahead: I64, rank: I32, tied: U8, sa_index: I32,
) -> None:  # fmt: skip
    """The SA of every row without a verdict, and its rank; -1 where none takes it.

    1. No row has an SA.
    2. Try the groups, the highest rank first, each for all rows.
    3. Stop when every row has an SA and the next group is of a lower rank. Groups of the same rank are all tried,
       because their SA may be newer; `tied` is 1 where several SAs of the rank take the packet.

    `ahead` (AHEAD rows) is scratch: the rows of the table that have been prefetched.
    """
    rows = len(verdict)
    waiting = 0
    for i in range(rows):
        sa_index[i], rank[i], tied[i] = -1, -1, 0
        waiting += verdict[i] == SEALED
    last = 1 << 30
    for g in range(len(groups)):
        grade = np.int64(groups[g, RANK])
        if waiting == 0 and grade < last:
            break
        last = grade
        waiting -= _try_group(
            verdict, family, proto, sport, dport, saddr, daddr, groups, g, table, ahead, rank, tied, sa_index
        )  # fmt: skip


@inlined
def _try_group(
    verdict: U8, family: U8, proto: U8, sport: U16, dport: U16, saddr: U64, daddr: U64, groups: U64, g: int,
    table: U64, ahead: I64, rank: I32, tied: U8, sa_index: I32,
) -> int:  # fmt: skip
    """Try one group for all rows; how many found their first SA.

    1. Row n: prefetch where its key may be, unless the family differs or it has an SA of a higher rank.
    2. Row n - AHEAD: look its key up. The newest SA of a rank wins.
    """
    m0, m1, m2, m3 = groups[g, SRC_HIGH], groups[g, SRC_LOW], groups[g, DST_HIGH], groups[g, DST_LOW]
    m4, kin, grade = groups[g, PORTS], np.int64(groups[g, FAMILY]), np.int64(groups[g, RANK])
    group = np.uint64(g + 1)
    rows, found = len(verdict), 0
    for n in range(rows + AHEAD):
        at = np.int64(-1)
        slot = np.uint64(n) & _RING
        if n >= AHEAD:
            at = ahead[slot]
        if n < rows:
            j = np.uint64(n)
            ahead[slot] = -1
            if verdict[j] == SEALED and rank[j] <= grade and (kin == 0 or kin == family[j]):
                ports = np.uint64(proto[j]) << _32 | np.uint64(sport[j]) << _16 | np.uint64(dport[j])
                s0 = d0 = _0
                if kin != 4:
                    s0, d0 = saddr[j, 0] & m0, daddr[j, 0] & m2
                there = _bucket(table, s0, saddr[j, 1] & m1, d0, daddr[j, 1] & m3, ports & m4, group)
                prefetch(table, there)
                prefetch(table, there + _1)
                ahead[slot] = np.int64(there)
        if at < 0:
            continue
        i = np.uint64(n - AHEAD)
        ports = np.uint64(proto[i]) << _32 | np.uint64(sport[i]) << _16 | np.uint64(dport[i])
        s0 = d0 = _0
        if kin != 4:
            s0, d0 = saddr[i, 0] & m0, daddr[i, 0] & m2
        there = _place(table, np.uint64(at), s0, saddr[i, 1] & m1, d0, daddr[i, 1] & m3, ports & m4, group)
        says = table[there, SA]
        if says == _0:
            continue
        found += sa_index[i] < 0
        tied[i] = 1 if says & _TIED != _0 or sa_index[i] >= 0 else 0
        sa_index[i] = max(sa_index[i], np.int64(says & _LOW) - 1)
        rank[i] = grade
    return found


@kernel
def judge(sa_index: I32, standing: U8, tied: U8, verdict: U8) -> None:
    """Rows without a verdict: OUT_NO_SA, or `standing` of their SA, which is 0 or the verdict of all its packets.

    A row that is ONE_BY_ONE is no longer tied: the reference path chooses its SA again, and says so itself.
    """
    for i in range(len(verdict)):
        if verdict[i] != SEALED:
            continue
        verdict[i] = standing[sa_index[i]] if sa_index[i] >= 0 else OUT_NO_SA
        if verdict[i] == ONE_BY_ONE:
            tied[i] = 0


def policy(batch: OutboundBatch, columns: OutboundColumns) -> None:
    """RFC 4303 3.3.1: the most specific SA, then the newest. ONE_BY_ONE where the reference path has that SA."""
    facts = batch.verdict, batch.family, batch.proto, batch.sport, batch.dport, batch.saddr, batch.daddr
    flow(batch.arena, batch.offset, batch.length, *facts)
    choose(*facts, columns.groups, columns.table, columns.ahead, batch.rank, batch.tied, batch.sa_index)
    judge(batch.sa_index, columns.standing, batch.tied, batch.verdict)


STAGE = Stage(
    "policy",
    policy,
    frozenset({"family", "proto", "sport", "dport", "saddr", "daddr", "sa_index", "rank", "tied"}),
    sas=frozenset({"ahead"}),  # scratch
)
