"""SPI tables of hardware models, filled for benchmarks: an array that the SPI indexes, and hashes of four ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.keys import PACKETS, Keys, keys
from espsim.kernels import tables
from espsim.kernels.memory import zeros
from espsim.offload.hashing import vendor_hash

WAYS = 4


def direct_table(of: Keys) -> npt.NDArray[np.uint64]:
    """An array as long as the next power of two, each SA in the slot of its masked SPI."""
    table = zeros((1 << (len(of.spi) - 1).bit_length(),), np.uint64)
    slot = of.spi & np.uint32(len(table) - 1)
    table[slot] = of.spi.astype(np.uint64) << np.uint64(32) | np.arange(1, len(of.spi) + 1, dtype=np.uint64)
    return table


@dataclass(frozen=True, slots=True)
class HashTable:
    """Four ways, half full: (sets, 4) cells, or (4, sets) with a hash for each way; `starts` begin the hashes."""

    cells: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.uint64]
    of: Keys


def hash_table(sas: int, *, skewed: bool, hit: float, seed: int) -> HashTable:
    """A table with `sas` SAs, the first of a seeded stream that find a free way; full rows turn a few away."""
    spare = keys(sas + sas // 8 + 64, hit=hit, packets=1, seed=seed)
    starts = np.array([vendor_hash((), seed, way) for way in range(WAYS)], np.uint64)
    sets = 1 << max((2 * sas // WAYS - 1).bit_length(), 2)
    places = np.empty((len(spare.spi), WAYS), np.int64)
    words = spare.spi.astype(np.uint64)[:, np.newaxis]
    tables.hash_rows(words, starts if skewed else starts[:1], np.uint64(sets), places)
    held = np.full(sets * WAYS, -1, np.int32)
    taken = _fill(places, held, sas)
    of = _packets(spare.spi[taken], hit, seed)
    cells = zeros((WAYS * sets,), np.uint64)
    full = held >= 0
    cells[full] = of.spi[held[full]].astype(np.uint64) << np.uint64(32) | (held[full] + 1).astype(np.uint64)
    shaped = cells.reshape(WAYS, sets)
    if not skewed:
        shaped = zeros((sets, WAYS), np.uint64)
        shaped[:] = cells.reshape(WAYS, sets).T
    return HashTable(shaped, starts, of)


def _fill(places: npt.NDArray[np.int64], held: npt.NDArray[np.int32], sas: int) -> npt.NDArray[np.int64]:
    """Each SA in its first free way, in order, until `sas` are in; which rows of `places` those were."""
    taken: list[int] = []
    occupied = bytearray(len(held))
    for n, row in enumerate(places.tolist()):
        for place in row:
            if not occupied[place]:
                occupied[place] = 1
                held[place] = len(taken)
                taken.append(n)
                break
        if len(taken) == sas:
            break
    return np.array(taken)


def _packets(spi: npt.NDArray[np.uint32], hit: float, seed: int) -> Keys:
    """Packets of these SAs in random order; a miss has an SPI of the reserved range, which no SA has."""
    rng = np.random.default_rng(seed)
    pick = rng.integers(0, len(spi), PACKETS, np.int32)
    miss = rng.random(PACKETS) >= hit
    packet_spi = spi[pick]
    packet_spi[miss] = rng.integers(1, 256, int(miss.sum()))
    none = np.zeros((0, 2), np.uint64)
    return Keys(4, spi, none, np.where(miss, -1, pick).astype(np.int32), packet_spi, none)
