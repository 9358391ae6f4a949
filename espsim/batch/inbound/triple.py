"""The tables in which lookup.py finds a triple: their layout, their hash, and how SAs are put in.

The tables (uint64, 8 words a row) use open addressing. A row is a bucket, one cache line:

    IPv4: four slots    words 0-3 keys, SPI << 32 | address    words 4-7 (SAYS4) what each slot says
    IPv6: two slots     words 0-3 and 4-7: address high, address low, SPI, what the slot says (SAYS6)

What a slot says, of the newest SA with this SPI and address:

    protocol << 32 | sa_index + 1    it takes this protocol and has no mark and no port: the answer, if that fits
    _CHAIN << 32 | sa_index + 1      look at its row of `chain`, and follow the chain
    0                                the slot is free

A row of `chain` (uint32, one for each SA):

    PROTO              IP protocol
    MARK, MARK_MASK    a packet's mark under the mask must be this value
    PORT               a packet's UDP port must be this one; ANY_PORT: any
    OLDER              the SA of the same SPI and address that came before (sa_index + 1); 0: none
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I64, U8, U32, U64
from espsim.jit.bytes import into_range, mul64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.memory import zeros

PROTO, MARK, MARK_MASK, PORT, OLDER = range(5)
"""Columns of `chain`."""
SAYS4, SAYS6, SLOT6 = 4, 3, 4
"""In a bucket: the first word of what IPv4 slots say; what an IPv6 slot says, from its first word on; the words of an
IPv6 slot."""

ANY_PORT = np.uint32(0xFFFFFFFE)
"""In PORT: the UDP port is not part of the key."""
NO_PORT = np.uint32(0xFFFFFFFF)
"""In a packet's port column and in PORT: no UDP encapsulation."""
TCP_PORT = np.uint32(0xFFFFFFFD)
"""In a packet's port column: it came in a TCP stream."""

_0, _1, _29, _32 = (np.uint64(n) for n in (0, 1, 29, 32))
_LOW = np.uint64(0xFFFFFFFF)
_CHAIN = np.uint64(0x100)
"""In the place of a protocol, which has 8 bits."""
_MIX_A = np.uint64(0xFF51AFD7ED558CCD)
_MIX_B = np.uint64(0xC4CEB9FE1A85EC53)
_MIX_C = np.uint64(0x9E3779B97F4A7C15)
_MIX_D = np.uint64(0xD6E8FEB86659FD93)
_MIX_E = np.uint64(0xA0761D6478BD642F)
_V4 = np.uint8(4)


def triple_tables(v4: int, v6: int, *, huge: bool = True) -> tuple[U64, U64]:
    """Empty tables for `v4` IPv4 SAs and `v6` IPv6 SAs, half full with them: 32 and 64 bytes an SA."""
    return (
        zeros((max(v4 // 2 + 1, 2), 8), np.uint64, huge=huge),
        zeros((max(v6 + 1, 2), 8), np.uint64, huge=huge),
    )


@helper
def mix(x: np.uint64) -> np.uint64:
    """MurmurHash3's finalizer without its last step; the high half depends on every bit of `x`."""
    x = mul64(x ^ (x >> _32), _MIX_A)
    return mul64(x ^ (x >> _29), _MIX_B)


@inlined
def bucket4(table: U64, spi: np.uint32, address: np.uint64) -> np.uint64:
    """The bucket of an SPI and an IPv4 address."""
    return into_range(mix(np.uint64(spi) << _32 | address), np.uint64(len(table)))


@inlined
def bucket6(table: U64, spi: np.uint32, high: np.uint64, low: np.uint64) -> np.uint64:
    """The bucket of an SPI and an IPv6 address."""
    x = mul64(high, _MIX_C) ^ mul64(low, _MIX_D) ^ mul64(np.uint64(spi), _MIX_E)
    return into_range(mix(x), np.uint64(len(table)))


@inlined
def _place(
    table: U64, at: np.uint64, v4: bool, key: np.uint64, high: np.uint64, low: np.uint64
) -> tuple[int, int, int]:
    """(bucket, word of the slot's key, word of what it says) of a key, or of a free slot; -1: the table is full."""
    for _step in range(len(table)):
        line = table[at]
        if v4:
            for slot in range(SAYS4):
                if line[SAYS4 + slot] == _0 or line[slot] == key:
                    return np.int64(at), slot, SAYS4 + slot
        else:
            for word in (0, SLOT6):
                found = line[word] == high and line[word + 1] == low and line[word + 2] == key
                if line[word + SAYS6] == _0 or found:
                    return np.int64(at), word, word + SAYS6
        at = at + _1 if at + _1 < np.uint64(len(table)) else _0
    return -1, 0, 0


@kernel
def triple_insert(
    sa: I64, family: U8, spi: U32, daddr: U64, table4: U64, table6: U64, chain: U32
) -> int:  # fmt: skip
    """Put SAs in, oldest first, and return how many found room.

    1. Find the slot with the SPI and address, or a free one.
    2. The SA that the slot named becomes OLDER in the new SA's row of `chain`.
    3. The slot names the new SA: under its protocol, or under _CHAIN where it has a mark or a port.

    `sa`: rows of `chain`, whose columns up to PORT are filled. `family`, `spi`, `daddr`: columns of all SAs.
    """
    for n in range(len(sa)):
        i = sa[n]
        high, low = daddr[i, 0], daddr[i, 1]
        v4 = family[i] == _V4
        key = np.uint64(spi[i])
        if v4:
            table, at, key = table4, bucket4(table4, spi[i], low), key << _32 | low
        else:
            table, at = table6, bucket6(table6, spi[i], high, low)
        where, word, says = _place(table, at, v4, key, high, low)
        if where < 0:
            return n
        line = table[where]
        older = line[says] & _LOW
        particular = chain[i, MARK] != 0 or chain[i, MARK_MASK] != 0 or chain[i, PORT] != ANY_PORT
        kind = _CHAIN if particular else np.uint64(chain[i, PROTO])
        chain[i, OLDER] = older
        if v4:
            line[word] = key
        else:
            line[word], line[word + 1], line[word + 2] = high, low, key
        line[says] = kind << _32 | np.uint64(i + 1)
    return len(sa)
