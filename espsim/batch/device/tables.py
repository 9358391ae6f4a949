"""The key tables of hardware models over columns. Every kernel fills `sa_index` (int32): a row of the SAD, or -1.

    direct             the index is the SPI, less an offset, under a mask              offload/tables.py DirectTable
    spi_shared         an SPI may be in four cells (ways) of one row                   HashTable, not skewed
    spi_skewed         an SPI may be in four cells, each in a row of its own hash      HashTable, skewed
    exact              whole keys of up to seven words                                 ExactTable, one list of fields

A cell of an SPI table (uint64) is SPI << 32 | sa_index + 1; 0: it is empty, for no SA has SPI 0. A row of `exact`
(uint64, 8 words) is a key in words 0 to 6 and sa_index + 1 in word SA; 0: it is empty.

A row of an SPI table is offload/hashing.py's hash of the SPI and of the constants `after` it. `starts`: for each way,
the hash of no words with the table's seed and the way (`vendor_hash((), seed, way)`); a table that is not skewed has
one start.

What this does not do: other keys, other hashes and other numbers of ways are in hash.py.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U32, U64
from espsim.jit.bytes import into_range, mul64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.prefetch import prefetch

AHEAD = 32
"""Rows between the prefetch of a cache line and its use."""
BLOCK = 64
"""Rows that `spi_skewed` hashes at once."""
SA = 7
"""In a row of `exact`: sa_index + 1."""

OTHER = np.int32(-2)
"""`direct` answers OTHER - sa_index where the slot holds an SA of another SPI. The device's own check decides then."""

_0, _1, _2, _3, _27, _30, _31, _32 = (np.uint64(n) for n in (0, 1, 2, 3, 27, 30, 31, 32))
_LOW = np.uint64(0xFFFFFFFF)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_BYTE = np.uint64(0xFF)
_ODD = np.array([0x9E3779B97F4A7C15 * (2 * n + 1) ** 5 & 0xFFFFFFFFFFFFFFFF for n in range(7)], np.uint64)
_CRC = np.array(
    [
        __import__("functools").reduce(lambda crc, _: crc >> 1 ^ (0x82F63B78 if crc & 1 else 0), range(8), byte)
        for byte in range(256)
    ],
    np.uint64,
)


@helper
def mix64(x: np.uint64) -> np.uint64:
    """`offload.hashing.mix64`: splitmix64's finalizer."""
    x = mul64(x ^ (x >> _30), _MIX_A)
    x = mul64(x ^ (x >> _27), _MIX_B)
    return x ^ (x >> _31)


@helper
def modulo(h: np.uint64, sets: np.uint64) -> np.uint64:
    """h % sets, without a division where `sets` is a power of two."""
    return h & (sets - _1) if sets & (sets - _1) == _0 else h % sets


@kernel
def direct(spi: U32, offset: np.uint64, mask: np.uint64, table: U64, sa_index: I32) -> None:
    """The SA in table[(SPI - offset) & mask]: -1 where it is empty or past the end, OTHER - sa_index of another SPI.

    `offset` and `mask` are below 2^32, `table` (uint64) holds cells.
    """
    lift = (_1 << _32) - offset
    rows, slots = len(spi), np.uint64(len(table))
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(table, (np.uint64(spi[i + AHEAD]) + lift) & mask)
        slot = (np.uint64(spi[i]) + lift) & mask
        cell = table[slot] if slot < slots else _0
        found = np.int64(cell & _LOW) - 1
        sa_index[i] = found if cell >> _32 == np.uint64(spi[i]) else OTHER - found  # of an empty slot -1, either way


@inlined
def _spi_row(start: np.uint64, spi: np.uint64, after: U64, sets: np.uint64) -> np.uint64:
    """The row of the table that an SPI's hash names."""
    h = mix64(start ^ spi)
    for n in range(len(after)):
        h = mix64(h ^ after[n])
    return modulo(h, sets)


@kernel
def spi_shared(spi: U32, start: np.uint64, after: U64, table: U64, sa_index: I32) -> None:
    """The first way with this SPI in the row of its hash. `table` (sets, 4) holds cells.

    1. Row i + AHEAD: prefetch the row of its hash; the row's number waits in `sa_index`.
    2. Row i: compare all four ways, so that no branch is guessed wrong.
    """
    rows, sets = len(spi), np.uint64(len(table))
    for i in range(-AHEAD, rows):
        j = i + AHEAD
        if j < rows:
            row = _spi_row(start, np.uint64(spi[j]), after, sets)
            prefetch(table, row)
            sa_index[j] = row
        if i < 0:
            continue
        at, key = np.uint64(sa_index[i]), np.uint64(spi[i])
        way = _3
        way = _2 if table[at, 2] >> _32 == key else way
        way = _1 if table[at, 1] >> _32 == key else way
        way = _0 if table[at, 0] >> _32 == key else way
        cell = table[at, way]
        sa_index[i] = np.int64(cell & _LOW) - 1 if cell >> _32 == key else -1


@kernel
def spi_skewed(spi: U32, starts: U64, after: U64, table: U64, scratch: U32, sa_index: I32) -> None:
    """The first way with this SPI, each way in a row of its own hash. `table` (4, sets) holds cells.

    1. Hash the next BLOCK rows: way after way, so that LLVM makes vector code of it.
    2. For each row of this block prefetch the four rows of the row BLOCK later, and compare the four ways of this one.

    `scratch` (2, 4, BLOCK): the table's rows for this block and for the next one.
    """
    rows, sets, now = len(spi), np.uint64(table.shape[1]), 0
    way0, way1, way2, way3 = table[0], table[1], table[2], table[3]
    for base in range(-BLOCK, rows, BLOCK):
        later = 1 - now
        ahead = max(min(BLOCK, rows - base - BLOCK), 0)
        for way in range(4):
            _hash_rows(spi, base + BLOCK, ahead, starts[way], after, sets, scratch[later, way])
        for n in range(min(BLOCK, rows - base)):
            if n < ahead:
                prefetch(way0, scratch[later, 0, n])
                prefetch(way1, scratch[later, 1, n])
                prefetch(way2, scratch[later, 2, n])
                prefetch(way3, scratch[later, 3, n])
            if base >= 0:
                sa_index[base + n] = _first(table, np.uint64(spi[base + n]), scratch[now], n)
        now = later


@inlined
def _hash_rows(spi: U32, first: int, count: int, start: np.uint64, after: U64, sets: np.uint64, out: U32) -> None:
    """The rows of the table that the hashes of `count` SPIs from `first` on name; the usual table has vector code."""
    if len(after) == 0 and sets & (sets - _1) == _0:
        for n in range(count):
            out[n] = mix64(start ^ np.uint64(spi[first + n])) & (sets - _1)
        return
    for n in range(count):
        out[n] = _spi_row(start, np.uint64(spi[first + n]), after, sets)


@inlined
def _first(table: U64, key: np.uint64, rows: U32, n: int) -> int:
    """The SA in the first way that holds the key; all ways are compared, so that no branch is guessed wrong."""
    cell = table[3, rows[3, n]]
    cell = cell if cell >> _32 == key else _0
    other = table[2, rows[2, n]]
    cell = other if other >> _32 == key else cell
    other = table[1, rows[1, n]]
    cell = other if other >> _32 == key else cell
    other = table[0, rows[0, n]]
    cell = other if other >> _32 == key else cell
    return np.int64(cell & _LOW) - 1


@helper
def crc_word(crc: np.uint64, word: np.uint64) -> np.uint64:
    """The register of `offload.hashing.crc32c` after one more word, in network order."""
    for shift in range(56, -8, -8):
        byte = word >> np.uint64(shift) & _BYTE
        crc = crc >> np.uint64(8) ^ _CRC[(crc ^ byte) & _BYTE]
    return crc


@inlined
def _exact_first(words: U64, i: int, rows: int) -> np.uint64:
    """The row of the table where the search for a key begins. Words are multiplied side by side, then mixed once."""
    h = _0
    for n in range(words.shape[1]):
        h ^= mul64(words[i, n], _ODD[n])
    return into_range(mix64(h), np.uint64(rows))


@inlined
def _exact_slot(words: U64, i: int, table: U64, first: np.uint64) -> int:
    """The row of `table` with this key, or the free row for it; a table is never full."""
    at = first
    while True:
        same = True
        for n in range(words.shape[1]):
            same = same and table[at, n] == words[i, n]
        if same or table[at, SA] == _0:
            break
        at = at + _1 if at + _1 < np.uint64(len(table)) else _0
    return np.int64(at)


@kernel
def exact_insert(words: U64, sa: I64, table: U64) -> None:
    """Put keys in; of equal keys the first stays. `table` (rows, 8) keeps at least one empty row."""
    for i in range(len(sa)):
        at = _exact_slot(words, i, table, _exact_first(words, i, len(table)))
        if table[at, SA] == _0:
            for n in range(words.shape[1]):
                table[at, n] = words[i, n]
            table[at, SA] = np.uint64(sa[i] + 1)


@kernel
def exact(words: U64, table: U64, sa_index: I32) -> None:
    """The SA of each key; -1: the table does not have it. `words` (keys, up to 7); `table` has below 2^31 rows."""
    rows = len(words)
    for i in range(-AHEAD, rows):
        j = i + AHEAD
        if j < rows:
            first = _exact_first(words, j, len(table))
            prefetch(table, first)
            sa_index[j] = first
        if i >= 0:
            at = _exact_slot(words, i, table, np.uint64(sa_index[i]))
            sa_index[i] = np.int64(table[at, SA]) - 1
