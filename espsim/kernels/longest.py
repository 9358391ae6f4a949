"""RFC 4301's SA lookup (4.1) over columns: the longest match of SPI; SPI, destination; SPI, destination, source.

One open-addressing table (rows, 8), a cache line a row: the three kinds of key apart by their level in the first word.

    level << 40 | family << 32 | SPI, destination (high, low), source (high, low), sa_index + 1, longer kinds, taken

Fields that a level doesn't look at are 0. Every SPI in the table has a row of level 1 as well, perhaps without an SA
(sa_index + 1 = 0): it says whether longer keys exist, so that an SPI without them costs one cache line, as in DPDK.
"""

from __future__ import annotations

import numpy as np

from espsim.kernels._jit import I32, U8, U32, U64, inlined, kernel, prefetch
from espsim.kernels.codes import DELIVERED
from espsim.kernels.tables import AHEAD, mix64

SPI, DESTINATION, SOURCE = np.uint8(1), np.uint8(2), np.uint8(3)
"""Levels: by SPI alone, with the destination, with destination and source."""

_0, _1, _32, _40 = (np.uint64(n) for n in (0, 1, 32, 40))
_TAKEN = np.uint64(1)


@inlined
def _first(rows: int, words: tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]) -> np.uint64:
    """The row where the search for a key begins."""
    h = mix64(mix64(mix64(mix64(mix64(words[0]) ^ words[1]) ^ words[2]) ^ words[3]) ^ words[4])
    return (h >> _32) * np.uint64(rows) >> _32


@inlined
def _key(
    level: int, family: np.uint8, spi: np.uint32, daddr: U64, saddr: U64, i: int
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """The five words of a key; SPI alone knows no family."""
    kind = np.uint64(level) << _40 | np.uint64(spi)
    if level == 1:
        return kind, _0, _0, _0, _0
    kind |= np.uint64(family) << _32
    if level == 2:
        return kind, daddr[i, 0], daddr[i, 1], _0, _0
    return kind, daddr[i, 0], daddr[i, 1], saddr[i, 0], saddr[i, 1]


@inlined
def _find(table: U64, at: np.uint64, words: tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]) -> np.uint64:
    """The row with this key, or the free row where it would go; at least one row of a table is free."""
    while table[at, 7] != _0:
        differ = (table[at, 0] ^ words[0]) | (table[at, 1] ^ words[1]) | (table[at, 2] ^ words[2])
        if differ | (table[at, 3] ^ words[3]) | (table[at, 4] ^ words[4]) == _0:
            break
        at = at + _1 if at + _1 < np.uint64(len(table)) else _0
    return at


@kernel
def longest_insert(level: U8, family: U8, spi: U32, daddr: U64, saddr: U64, table: U64) -> None:
    """Put SA i in at its level, for every i in order; of two with one key the later stays. Two rows an SA at most."""
    for i in range(len(spi)):
        words = _key(np.int64(level[i]), family[i], spi[i], daddr, saddr, i)
        at = _find(table, _first(len(table), words), words)
        for n, word in enumerate(words):
            table[at, n] = word
        table[at, 5], table[at, 7] = np.uint64(i + 1), _TAKEN
        words = _key(1, family[i], spi[i], daddr, saddr, i)
        at = _find(table, _first(len(table), words), words)
        table[at, 0], table[at, 7] = words[0], _TAKEN
        table[at, 6] |= _1 << np.uint64(level[i])


@kernel
def longest(verdict: U8, family: U8, spi: U32, daddr: U64, saddr: U64, table: U64, sa_index: I32) -> None:
    """The SA of the longest key that matches, for every row without a verdict; -1 where none does."""
    rows = len(spi)
    for i in range(-AHEAD, rows):
        j = i + AHEAD
        if j < rows:
            at = _first(len(table), _key(1, family[j], spi[j], daddr, saddr, j))
            prefetch(table, at)
            sa_index[j] = at
        if i < 0:
            continue
        at = _find(table, np.uint64(sa_index[i]), _key(1, family[i], spi[i], daddr, saddr, i))
        kinds = table[at, 6]
        found = table[at, 5]
        for level in range(2, 4):
            if kinds >> np.uint64(level) & _1 == _1:
                words = _key(level, family[i], spi[i], daddr, saddr, i)
                at = _find(table, _first(len(table), words), words)
                found = table[at, 5] if table[at, 7] != _0 else found
        sa_index[i] = np.int64(found) - 1 if verdict[i] == DELIVERED else -1
