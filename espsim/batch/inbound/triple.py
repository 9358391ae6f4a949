"""The tables that a triple is found in: their layout, their hash, and how SAs are put in. lookup.py finds them.

The table of a triple is open addressing in buckets of one cache line. An IPv4 bucket holds four slots, words 0 to 3
their keys (SPI << 32 | address) and words 4 to 7 what each says; an IPv6 bucket two slots of (address high, address
low, SPI, says). `says` is

    protocol << 32 | sa_index + 1        for this protocol, the newest, no mark: the whole answer is in this cache line
    ASK << 32 | sa_index + 1             ask its row of `chain`, and follow the chain; 0 for none

`chain` (uint32) has a row for each SA: protocol, mark value, mark mask, UDP port (ANY_PORT: not looked at, else it must
be equal), and the SA of the same SPI and address that came before it (sa_index + 1; 0: none).
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I64, U8, U32, U64
from espsim.jit.bytes import mul64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.memory import zeros

ANY_PORT = np.uint32(0xFFFFFFFE)
"""In a chain row: the UDP port is not part of the key."""
NO_PORT = np.uint32(0xFFFFFFFF)
"""In a packet's port column and a chain row: no UDP encapsulation."""
TCP_PORT = np.uint32(0xFFFFFFFD)
"""In a packet's port column: it came in a TCP stream."""

_0, _1, _29, _32 = (np.uint64(n) for n in (0, 1, 29, 32))
_LOW = np.uint64(0xFFFFFFFF)
_ASK = np.uint64(0x100)
_MIX_A = np.uint64(0xFF51AFD7ED558CCD)
_MIX_B = np.uint64(0xC4CEB9FE1A85EC53)
_MIX_C = np.uint64(0x9E3779B97F4A7C15)
_MIX_D = np.uint64(0xD6E8FEB86659FD93)
_MIX_E = np.uint64(0xA0761D6478BD642F)
_V4 = np.uint8(4)


def triple_tables(v4: int, v6: int, *, huge: bool = True) -> tuple[U64, U64]:
    """Empty tables with room for so many IPv4 and IPv6 SAs, half full then: 32 and 64 bytes an SA."""
    return (
        zeros((max(v4 // 2 + 1, 2), 8), np.uint64, huge=huge),
        zeros((max(v6 + 1, 2), 8), np.uint64, huge=huge),
    )


@helper
def mix(x: np.uint64) -> np.uint64:
    """Murmur3's finalizer, shorter by its last step: the high half depends on every bit."""
    x = mul64(x ^ (x >> _32), _MIX_A)
    return mul64(x ^ (x >> _29), _MIX_B)


@inlined
def bucket4(table: U64, spi: np.uint32, address: np.uint64) -> np.uint64:
    """The bucket of an IPv4 pair."""
    return (mix(np.uint64(spi) << _32 | address) >> _32) * np.uint64(len(table)) >> _32


@inlined
def bucket6(table: U64, spi: np.uint32, high: np.uint64, low: np.uint64) -> np.uint64:
    """The bucket of an IPv6 pair."""
    x = mul64(high, _MIX_C) ^ mul64(low, _MIX_D) ^ mul64(np.uint64(spi), _MIX_E)
    return (mix(x) >> _32) * np.uint64(len(table)) >> _32


@inlined
def _place(
    table: U64, at: np.uint64, v4: bool, key: np.uint64, high: np.uint64, low: np.uint64
) -> tuple[int, int, int]:
    """(bucket, word of the slot's key, word of what it says) of a key, or of the free slot it would take; -1: full."""
    for _step in range(len(table)):
        line = table[at]
        if v4:
            for slot in range(4):
                if line[4 + slot] == _0 or line[slot] == key:
                    return np.int64(at), slot, 4 + slot
        else:
            for word in range(0, 8, 4):
                if line[word + 3] == _0 or (line[word] == high and line[word + 1] == low and line[word + 2] == key):
                    return np.int64(at), word, word + 3
        at = at + _1 if at + _1 < np.uint64(len(table)) else _0
    return -1, 0, 0


@kernel
def triple_insert(
    sa: I64, family: U8, spi: U32, daddr: U64, table4: U64, table6: U64, chain: U32
) -> int:  # fmt: skip
    """Put SAs in, the last one newest, and return how many found room.

    `sa` are rows of `chain`, whose first four fields are filled; `family`, `spi`, `daddr` are columns of all SAs.
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
        marked = chain[i, 1] != 0 or chain[i, 2] != 0 or chain[i, 3] != ANY_PORT
        kind = _ASK if marked else np.uint64(chain[i, 0])
        chain[i, 4] = older
        if v4:
            line[word] = key
        else:
            line[word], line[word + 1], line[word + 2] = high, low, key
        line[says] = kind << _32 | np.uint64(i + 1)
    return len(sa)
