"""SPI tables of hardware models, filled for benchmarks: an array that the SPI indexes, and hashes of four ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espsim.jit.compiling import kernel
from espsim.jit.memory import zeros
from espsim.kernels import tables
from espsim.measure.keys import PACKETS, Keys, keys, keys_of
from espsim.offload.hashing import vendor_hash

WAYS = 4


def direct_table(of: Keys, slots: int | None = None) -> npt.NDArray[np.uint64]:
    """An array of `slots` (a power of two; else the next one from the SAs), each SA in the slot of its masked SPI."""
    table = zeros((slots or 1 << (len(of.spi) - 1).bit_length(),), np.uint64)
    slot = of.spi & np.uint32(len(table) - 1)
    table[slot] = of.spi.astype(np.uint64) << np.uint64(32) | np.arange(1, len(of.spi) + 1, dtype=np.uint64)
    return table


@dataclass(frozen=True, slots=True)
class HashTable:
    """Four ways, half full: (sets, 4) cells, or (4, sets) with a hash for each way; `starts` begin the hashes."""

    cells: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.uint64]
    of: Keys


def hash_table(
    sas: int, *, skewed: bool, hit: float, seed: int, sets: int | None = None, packets: int = PACKETS
) -> HashTable:
    """A table with `sas` SAs, the first of a seeded stream that find a free way; full rows turn a few away.

    `sets` are as many as leave it half full, unless a model says otherwise.
    """
    spare = keys(sas + sas // 8 + 64, packets=1, seed=seed)
    starts = np.array([vendor_hash((), seed, way) for way in range(WAYS)], np.uint64)
    sets = sets or 1 << max((2 * sas // WAYS - 1).bit_length(), 2)
    places = np.empty((len(spare.spi), WAYS), np.int64)
    words = spare.spi.astype(np.uint64)[:, np.newaxis]
    tables.hash_rows(words, starts if skewed else starts[:1], np.uint64(sets), places)
    held, taken = np.full(sets * WAYS, -1, np.int32), np.empty(sas, np.int64)
    if fill(places, held, taken) < sas:
        raise ValueError(f"{sas} SAs find no room in {sets} sets of {WAYS} ways")
    rng = np.random.default_rng(seed)
    # A miss has an SPI of the reserved range, which no SA has.
    of = keys_of(rng, spare.spi[taken], np.arange(1, 256, dtype=np.uint32), family=4, hit=hit, packets=packets)
    cells = zeros((WAYS * sets,), np.uint64)
    full = held >= 0
    cells[full] = of.spi[held[full]].astype(np.uint64) << np.uint64(32) | (held[full] + 1).astype(np.uint64)
    shaped = cells.reshape(WAYS, sets)
    if not skewed:
        shaped = zeros((sets, WAYS), np.uint64)
        shaped[:] = cells.reshape(WAYS, sets).T
    return HashTable(shaped, starts, of)


@kernel
def fill(places: npt.NDArray[np.int64], held: npt.NDArray[np.int32], taken: npt.NDArray[np.int64]) -> int:
    """Each SA in its first free way, in order, until `taken` is full; it says which rows of `places` they were."""
    count = 0
    for n in range(len(places)):
        if count == len(taken):
            break
        for way in range(places.shape[1]):
            place = places[n, way]
            if held[place] < 0:
                held[place] = count
                taken[count] = n
                count += 1
                break
    return count
