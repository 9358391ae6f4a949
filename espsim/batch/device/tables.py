"""The key tables of hardware models over columns. Every kernel fills `sa_index` (int32): a row of the SAD, or -1.

    direct    the index is the SPI, less an offset, under a mask    offload/tables.py DirectTable
    by_spi    each SPI is in one place at most                      HashTable, of any hash and any number of ways
    exact     whole keys of up to seven words                       ExactTable, one list of fields

A cell (uint64) is SPI << 32 | sa_index + 1; 0: it is empty, for no SA has SPI 0. `direct` has the device's own cells.

`by_spi` has a hash table of its own, not the device's. Where an SPI is in one place at most, the device's hash and ways
decide whether an SA finds room, but not what a packet finds. So one cache line is read for each packet, not one for
each way. A row is a bucket, half a cache line: open addressing, and the cells of a bucket fill in order.

A row of `exact` (uint64, 8 words) is a key in words 0 to 6 and sa_index + 1 in word SA; 0: it is empty.

What this does not do: hash tables where an SPI is in several places, or with other keys, are in hash.py.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U32, U64
from espsim.jit.bytes import into_range, mul64
from espsim.jit.compiling import helper, inlined, kernel
from espsim.jit.memory import zeros
from espsim.jit.prefetch import prefetch

AHEAD = 32
"""Rows between the prefetch of a cache line and its use."""
CELLS = 4
"""Cells of a bucket of `by_spi`."""
SA = 7
"""In a row of `exact`: sa_index + 1."""

OTHER = np.int32(-2)
"""`direct` answers OTHER - sa_index where the slot holds an SA of another SPI. The device's own check decides then."""

_0, _1, _27, _30, _31, _32 = (np.uint64(n) for n in (0, 1, 27, 30, 31, 32))
_LOW = np.uint64(0xFFFFFFFF)
_MOST = np.uint64(0xFFFFFFFFFFFFFFFF)
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
def _bucket(spi: np.uint32, table: U64) -> np.uint64:
    """The bucket where the search for an SPI begins."""
    return into_range(mix64(np.uint64(spi)), np.uint64(len(table)))


@inlined
def _in_bucket(table: U64, at: np.uint64, spi: np.uint32) -> np.uint64:
    """sa_index + 1 of the SPI; 0: this bucket does not have it.

    The XOR clears the SPI in its own cell, which becomes the smallest. Comparing all cells leaves no branch to be
    guessed wrong.
    """
    key, least = np.uint64(spi) << _32, _MOST
    for n in range(CELLS):
        least = min(least, table[at, n] ^ key)
    return least if least >> _32 == _0 else _0


@inlined
def _next_bucket(at: np.uint64, table: U64) -> np.uint64:
    return at + _1 if at + _1 < np.uint64(len(table)) else _0


def spi_table(spi: U32, sa: I32) -> U64:
    """A table of `by_spi` with these SPIs, each given once, and their SAs. 24 bytes an SA: few buckets are full."""
    table = zeros((3 * len(spi) // CELLS + 1, CELLS), np.uint64)
    by_spi_insert(spi, sa, table)
    return table


@kernel
def by_spi_insert(spi: U32, sa: I32, table: U64) -> None:
    """Put SPIs in, none of them twice. `table` (buckets, CELLS) keeps at least one empty cell."""
    for i in range(len(spi)):
        at, n = _bucket(spi[i], table), 0
        while table[at, n] != _0:
            n += 1
            if n == CELLS:
                at, n = _next_bucket(at, table), 0
        table[at, n] = np.uint64(spi[i]) << _32 | np.uint64(sa[i] + 1)


@kernel
def by_spi(spi: U32, table: U64, sa_index: I32) -> None:
    """The SA of each SPI; -1: the table does not have it. `table` (buckets, CELLS) has below 2^31 buckets.

    1. Row i + AHEAD: prefetch its bucket; the bucket's number waits in `sa_index`.
    2. Row i: search its bucket. Only where that is full may the SPI be in the next one.
    """
    rows = len(spi)
    for i in range(-AHEAD, rows):
        j = i + AHEAD
        if j < rows:
            first = _bucket(spi[j], table)
            prefetch(table, first)
            sa_index[j] = first
        if i < 0:
            continue
        at = np.uint64(sa_index[i])
        while True:
            found = _in_bucket(table, at, spi[i])
            if found != _0 or table[at, CELLS - 1] == _0:
                break
            at = _next_bucket(at, table)
        sa_index[i] = np.int64(found) - 1


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
