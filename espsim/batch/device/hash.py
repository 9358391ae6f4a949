"""A modelled device's hash table over columns: any key, any number of ways, any hash of offload/hashing.py.

    row_hashes   the rows where a packet's key may be               offload/tables.py HashTable._places
    in_ways      what is there, and which of several wins           HashTable.find, offload/device.py Device._winner

A key is hashed as a stream of words. Each word has a code: CONSTANT, or the field of a packet that it is. Of an IPv4
address only the low word is hashed.

A cell (uint64) is the w words of a key, then the number of its entry + 1; 0: it is empty.
"""

from __future__ import annotations

import numpy as np

from espsim.batch.device.tables import crc_word, mix64, modulo
from espsim.core.arrays import I32, I64, U8, U32, U64
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

CONSTANT, SPI, SPI24, FAMILY, MARK, PORTS, DST_HIGH, DST_LOW, SRC_HIGH, SRC_LOW = range(10)
"""Codes of a stream."""

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""

_16 = np.uint64(16)
_LOW = np.uint64(0xFFFFFFFF)
_NO_PORT = np.uint32(0xFFFFFFFF)
_V4 = np.uint8(4)


@inlined
def _word(
    code: int, constant: np.uint64, i: int,
    spi: U32, family: U8, daddr: U64, saddr: U64, sport: U32, dport: U32, mark: U32,
) -> np.uint64:  # fmt: skip
    """The word that a code stands for, of one packet."""
    word = constant
    if code == SPI:
        word = np.uint64(spi[i])
    elif code == SPI24:
        word = np.uint64(spi[i] & np.uint32(0xFFFFFF))
    elif code == FAMILY:
        word = np.uint64(family[i])
    elif code == MARK:
        word = np.uint64(mark[i])
    elif code == PORTS:
        word = np.uint64(sport[i]) << _16 | np.uint64(dport[i]) if dport[i] != _NO_PORT else np.uint64(0)
    elif code == DST_HIGH:
        word = daddr[i, 0]
    elif code == DST_LOW:
        word = daddr[i, 1]
    elif code == SRC_HIGH:
        word = saddr[i, 0]
    elif code == SRC_LOW:
        word = saddr[i, 1]
    return word


@kernel
def row_hashes(
    codes: U8, constants: U64, starts: U64, sets: np.uint64, crc: bool,
    spi: U32, family: U8, daddr: U64, saddr: U64, sport: U32, dport: U32, mark: U32, scratch: U64, hashes: I32,
) -> None:  # fmt: skip
    """Fill `hashes` (rows, starts): the row of the table, below `sets`, that a packet's key has under each start.

    1. Begin with the starts: for each way the hash of no words with the table's seed. For `crc` it is the register,
       `crc32c((), seed, way) ^ 0xFFFFFFFF`.
    2. Add the words of the stream, `codes` and `constants`, to all ways.
    3. Reduce each to a row.

    `scratch` is as long as `starts`.
    """
    for i in range(len(spi)):
        for way in range(len(starts)):
            scratch[way] = starts[way]
        for n in range(len(codes)):
            code = codes[n]
            if code in (DST_HIGH, SRC_HIGH) and family[i] == _V4:
                continue
            word = _word(code, constants[n], i, spi, family, daddr, saddr, sport, dport, mark)
            for way in range(len(starts)):
                scratch[way] = crc_word(scratch[way], word) if crc else mix64(scratch[way] ^ word)
        for way in range(len(starts)):
            h = scratch[way] ^ _LOW if crc else scratch[way]
            hashes[i, way] = modulo(h, sets)


@kernel
def in_ways(
    words: U64, hashes: I32, ways: int, row_step: int, way_step: int, cells: U64, rank: I64, found: I32, shadowed: U8
) -> None:
    """The entry of the lowest rank among those with a packet's key, -1 for none; `shadowed`: whether there are several.

    1. Prefetch the ways of row i + AHEAD.
    2. Compare the key in every way of row i, and keep the entry of the lowest rank.

    Way n of row r is cells[r * row_step + n * way_step]; `cells` is (places, w + 1). `hashes` has one column for all
    ways, or one for each. `words` (rows, w): the packets' keys.
    """
    rows, size, skewed = len(words), words.shape[1], hashes.shape[1] > 1
    for i in range(rows):
        if i + AHEAD < rows:
            for way in range(hashes.shape[1]):
                prefetch(cells, hashes[i + AHEAD, way] * row_step + way * way_step)
        best, times = -1, 0
        for way in range(ways):
            at = hashes[i, way if skewed else 0] * row_step + way * way_step
            differ = np.uint64(0)
            for n in range(size):
                differ |= cells[at, n] ^ words[i, n]
            if differ != np.uint64(0) or cells[at, size] == np.uint64(0):
                continue
            entry = np.int64(cells[at, size]) - 1
            times += 1
            if best < 0 or rank[entry] < rank[best]:
                best = entry
        found[i], shadowed[i] = best, times > 1
