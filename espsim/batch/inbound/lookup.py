"""Lookup: the SA of every packet, and whether it may be used.

It gives NO_SA, DIRECTION, SA_LARVAL, SA_INVALID and ENCAP_MISMATCH. The kernel `triple` is Linux's lookup by (SPI,
protocol, destination[, mark, UDP port]), newest first, as sad/index.py has it. It fills `sa_index` (int32): a row of
the SAD, or -1.

1. The hash of SPI and destination names a bucket of the tables (triple.py). The bucket's cache line is prefetched AHEAD
   rows early; until its row's turn the bucket's number waits in `sa_index`.
2. The slot of the bucket with this key names the SA, or sends the search to the chain.
3. The chain is followed, newest first, to the first SA whose protocol, mark and port fit.
4. `usable` judges the SA found: direction, state, encapsulation.

What this does not do: RFC 4301's longest match, and any other lookup of an SPI rule (the SAD finds the SA then, row
by row); a device's tables (batch/device/).
Sources: RFC 4303 3.4.2; Linux __xfrm_state_lookup (net/xfrm/xfrm_state.c), xfrm_input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound import own
from espsim.batch.inbound.triple import (
    ANY_PORT,
    MARK,
    MARK_MASK,
    NO_PORT,
    OLDER,
    PORT,
    PROTO,
    SAYS4,
    SAYS6,
    SLOT6,
    TCP_PORT,
    bucket4,
    bucket6,
)
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, U8, U32, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import DELIVERED, ENCAP_MISMATCH, NO_SA, OUTGOING, OWN, PROTO_ESP
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch
from espsim.sad.sad import Sad
from espsim.sad.sent import sent_under

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns


AHEAD = 32
"""Rows between the prefetch of a cache line and its use: enough for memory, few enough for the line fill buffers."""

_0, _1, _2, _3, _32 = (np.uint64(n) for n in (0, 1, 2, 3, 32))
_SAYS4, _SAYS6, _SLOT6 = (np.uint64(n) for n in (SAYS4, SAYS6, SLOT6))
_LOW = np.uint64(0xFFFFFFFF)
_V4 = np.uint8(4)


@inlined
def _says4(table: U64, first: np.uint64, spi: np.uint32, address: np.uint64) -> np.uint64:
    """What the slot of an IPv4 key says; 0: there is none. All slots are compared: no branch to guess wrong."""
    key = np.uint64(spi) << _32 | address
    at, buckets = first, np.uint64(len(table))
    while True:
        slot = _3
        slot = _2 if table[at, 2] == key else slot
        slot = _1 if table[at, 1] == key else slot
        slot = _0 if table[at, 0] == key else slot
        says = table[at, _SAYS4 + slot] if table[at, slot] == key else _0
        # Slots fill in order: a key is in the next bucket only where this one is full.
        if says != _0 or table[at, 7] == _0:
            break
        at = at + _1 if at + _1 < buckets else _0
        if at == first:
            break
    return says


@inlined
def _says6(table: U64, first: np.uint64, spi: np.uint32, high: np.uint64, low: np.uint64) -> np.uint64:
    """What the slot of an IPv6 key says; 0: there is none."""
    key = np.uint64(spi)
    at, buckets = first, np.uint64(len(table))
    while True:
        one = (table[at, 0] ^ high) | (table[at, 1] ^ low) | (table[at, 2] ^ key)
        two = (table[at, 4] ^ high) | (table[at, 5] ^ low) | (table[at, 6] ^ key)
        slot = _0 if one == _0 else _SLOT6
        says = table[at, _SAYS6 + slot] if min(one, two) == _0 else _0
        if says != _0 or table[at, 7] == _0:
            break
        at = at + _1 if at + _1 < buckets else _0
        if at == first:
            break
    return says


@inlined
def _follow(chain: U32, says: np.uint64, proto: np.uint8, mark: np.uint32, port: np.uint32) -> int:
    """The newest SA of a chain that takes this protocol, mark and UDP port; -1: none does."""
    sa = np.int64(says & _LOW) - 1
    while sa >= 0:
        takes = chain[sa, PROTO] == proto and mark & chain[sa, MARK_MASK] == chain[sa, MARK]
        if takes and (chain[sa, PORT] == ANY_PORT or chain[sa, PORT] == port):
            return sa
        sa = np.int64(chain[sa, OLDER]) - 1
    return -1


@inlined
def _aim(table4: U64, table6: U64, family: np.uint8, spi: np.uint32, high: np.uint64, low: np.uint64) -> np.uint64:
    """The bucket of a packet; its cache line is prefetched."""
    if family == _V4:
        at = bucket4(table4, spi, low)
        prefetch(table4, at)
    else:
        at = bucket6(table6, spi, high, low)
        prefetch(table6, at)
    return at


@kernel
def triple(
    verdict: U8, family: U8, proto: U8, spi: U32, daddr: U64, mark: U32, dport: U32,
    table4: U64, table6: U64, chain: U32, sa_index: I32,
) -> None:  # fmt: skip
    """Linux's input lookup for every row without a verdict; -1 where it finds nothing, and for the other rows.

    `daddr` (rows, 2): high and low word; an IPv4 address is in the low one.
    """
    rows = len(spi)
    for i in range(min(AHEAD, rows)):
        sa_index[i] = _aim(table4, table6, family[i], spi[i], daddr[i, 0], daddr[i, 1])
    for i in range(rows):
        at = np.uint64(sa_index[i])
        j = i + AHEAD
        if j < rows:
            sa_index[j] = _aim(table4, table6, family[j], spi[j], daddr[j, 0], daddr[j, 1])
        if family[i] == _V4:
            says = _says4(table4, at, spi[i], daddr[i, 1])
        else:
            says = _says6(table6, at, spi[i], daddr[i, 0], daddr[i, 1])
        if verdict[i] != DELIVERED:
            sa_index[i] = -1
        elif says >> _32 == np.uint64(proto[i]):
            sa_index[i] = np.int64(says & _LOW) - 1
        else:
            sa_index[i] = _follow(chain, says, proto[i], mark[i], dport[i])


PLAIN = np.uint8(0)
"""Standing of a usable SA without encapsulation."""
ENCAPSULATED = np.uint8(255)
"""Standing of a usable SA with ESP in UDP."""
EITHER = np.uint8(252)
"""Standing of a usable SA that takes packets in UDP, in TCP and in neither."""
ENCAPSULATED_TCP = np.uint8(251)
"""Standing of a usable SA with ESP in TCP."""


@kernel
def usable(sa_index: I32, dport: U32, flags: U8, standing: U8, sending: U8, verdict: U8) -> None:
    """Judge every row without a verdict: NO_SA, or what xfrm_input checks of the SA: direction, state, encapsulation.

    `standing` (SAs): PLAIN, ENCAPSULATED, ENCAPSULATED_TCP or EITHER of a usable SA, else the verdict of all its
    packets. `sending`: the same for packets that this host sent (`flags` has OWN); empty in a run that does not look
    for them.
    """
    for i in range(len(sa_index)):
        if verdict[i] != DELIVERED:
            continue
        if sa_index[i] < 0:
            verdict[i] = NO_SA
            continue
        judged = sending[sa_index[i]] if flags[i] & OWN else standing[sa_index[i]]
        if judged == EITHER:
            continue
        if judged not in (PLAIN, ENCAPSULATED, ENCAPSULATED_TCP):
            verdict[i] = judged
            continue
        came = PLAIN
        if dport[i] != NO_PORT:
            came = ENCAPSULATED_TCP if dport[i] == TCP_PORT else ENCAPSULATED
        if judged != came:
            verdict[i] = ENCAP_MISMATCH


def lookup(batch: InboundBatch, columns: InboundColumns) -> None:
    """RFC 4303 3.4.2, and xfrm_input's checks of the SA found. ONE_BY_ONE where the reference path has that SA."""
    if columns.asked is not None:
        _by_rule(batch, columns, columns.asked)
    else:
        triple(
            batch.verdict, batch.family, batch.proto, batch.spi, batch.daddr, batch.mark, batch.dport,
            columns.table4, columns.table6, columns.chain, batch.sa_index,
        )  # fmt: skip
    own.find(batch, columns.own)
    usable(batch.sa_index, batch.dport, batch.flags, columns.standing, columns.own.standing, batch.verdict)


STAGE = Stage("lookup", lookup, frozenset({"sa_index"}))


def _by_rule(batch: InboundBatch, columns: InboundColumns, sad: Sad) -> None:
    """An SPI rule with a lookup of its own finds the SA of each row."""
    batch.sa_index[:] = -1
    for row in np.flatnonzero(batch.verdict == 0).tolist():
        daddr, saddr = (_address(column[row].tolist(), int(batch.family[row])) for column in (batch.daddr, batch.saddr))
        port = int(batch.dport[row])
        mark = None if columns.any_mark else int(batch.mark[row])
        wanted = daddr, int(batch.spi[row]), PROTO_ESP, mark, None if port >= TCP_PORT else port
        outgoing = bool(batch.link[row] & OUTGOING)
        found = sad.lookup(*wanted) if columns.own.numbers is not None else None
        if found is None or not sent_under(found.sa, saddr, daddr, outgoing=outgoing):
            found = sad.input(*wanted, saddr)
        if found is not None:
            batch.sa_index[row] = columns.rows[found.sa_index]


def _address(words: list[int], family: int) -> bytes:
    """An address from its two words, high and low."""
    return words[1].to_bytes(4) if family == 4 else (words[0] << 64 | words[1]).to_bytes(16)
