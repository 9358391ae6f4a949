"""Named, seeded workloads for kernels: SAs and packets as columns, one SA to ten million. Shared with the tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espsim.batch.inbound import triple
from espsim.batch.inbound import window as windows
from espsim.jit.memory import zeros

PACKETS = 1 << 20
"""Rows of a lookup or replay workload: more than caches hold."""

FIRST_SPI = 0x100
ESP = 50


@dataclass(frozen=True, slots=True)
class Keys:
    """`sas` SAs with distinct SPIs and random destinations, and packets in random order. `pick`: a packet's SA, or -1.

    `daddr` columns are (rows, 2) uint64, high and low. The packets' order is independent of the SAs' order.
    """

    family: int
    spi: npt.NDArray[np.uint32]
    daddr: npt.NDArray[np.uint64]
    pick: npt.NDArray[np.int32]
    packet_spi: npt.NDArray[np.uint32]
    packet_daddr: npt.NDArray[np.uint64]


def keys(sas: int, *, family: int = 4, hit: float = 1.0, packets: int = PACKETS, seed: int = 1) -> Keys:
    """Random keys. A share `hit` of the packets has an SA; the others have SPIs that no SA has."""
    rng = np.random.default_rng(seed)
    spi = _distinct(rng, sas if hit == 1 else 2 * sas)
    return keys_of(rng, spi[:sas], spi[sas:], family=family, hit=hit, packets=packets)


def dense_keys(sas: int, *, hit: float = 1.0, packets: int = PACKETS, seed: int = 1) -> Keys:
    """As `keys`, with consecutive SPIs, as a key manager would choose them for a table that the SPI indexes."""
    rng = np.random.default_rng(seed)
    spi = np.arange(FIRST_SPI, FIRST_SPI + 2 * sas, dtype=np.uint32)
    return keys_of(rng, spi[:sas], spi[sas:], family=4, hit=hit, packets=packets)


def _distinct(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint32]:
    """Distinct random SPIs of 256 and more: one from each of `count` equal spans, shuffled."""
    span = (2**32 - FIRST_SPI) // count
    spi = (FIRST_SPI + np.arange(count, dtype=np.int64) * span + rng.integers(0, span, count)).astype(np.uint32)
    rng.shuffle(spi)
    return spi


def keys_of(
    rng: np.random.Generator,
    spi: npt.NDArray[np.uint32],
    absent: npt.NDArray[np.uint32],
    *,
    family: int,
    hit: float,
    packets: int,
    daddr: npt.NDArray[np.uint64] | None = None,
) -> Keys:
    """Packets in random order for SAs with these SPIs, to `daddr` or random destinations; misses: `absent` SPIs."""
    if daddr is None:
        daddr = rng.integers(0, 2**32 if family == 4 else 2**64, (len(spi), 2), np.uint64)
        daddr[:, 0] *= np.uint64(family != 4)
    pick = rng.integers(0, len(spi), packets, np.int32)
    packet_spi = spi[pick]
    miss = rng.random(packets) >= hit
    packet_spi[miss] = rng.choice(absent, int(miss.sum()))
    return Keys(family, spi, daddr, np.where(miss, -1, pick).astype(np.int32), packet_spi, daddr[pick])


@dataclass(frozen=True, slots=True)
class TripleTable:
    """The software lookup table of `Keys`."""

    table4: npt.NDArray[np.uint64]
    table6: npt.NDArray[np.uint64]
    chain: npt.NDArray[np.uint32]


def triple_table(of: Keys) -> TripleTable:
    """A software lookup table with every SA of `of`, none with a mark."""
    sas = len(of.spi)
    table4, table6 = triple.triple_tables(sas if of.family == 4 else 0, sas if of.family == 6 else 0)
    chain = zeros((sas, 5), np.uint32)
    chain[:, 0], chain[:, 3] = ESP, triple.ANY_PORT
    family = np.full(sas, of.family, np.uint8)
    if triple.triple_insert(np.arange(sas), family, of.spi, of.daddr, table4, table6, chain) != sas:
        raise AssertionError("an SA found no room in the software table")
    return TripleTable(table4, table6, chain)


@dataclass(frozen=True, slots=True)
class SequenceStream:
    """Packets of many SAs, interleaved at random but in order within each SA: `sa` and `seq` columns, new windows."""

    sa: npt.NDArray[np.int32]
    seq: npt.NDArray[np.uint32]
    shape: npt.NDArray[np.uint64]
    bits: npt.NDArray[np.uint64]


def stream(sas: int, *, window: int = 64, esn: bool = False, seed: int = 1) -> SequenceStream:
    """`PACKETS` numbered from 1 in each of `sas` SAs."""
    rng = np.random.default_rng(seed)
    sa = rng.integers(0, sas, PACKETS, np.int32)
    order, counts = np.argsort(sa, kind="stable"), np.bincount(sa, minlength=sas)
    seq = np.empty(PACKETS, np.uint32)
    seq[order] = np.arange(1, PACKETS + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    form, words = windows.shape_of(window, esn=esn)
    shape, bits = zeros((sas,), np.uint64), zeros((sas * words,), np.uint64)
    shape[:] = form | np.arange(sas, dtype=np.uint64) * np.uint64(words) << np.uint64(windows.WHERE)
    return SequenceStream(sa, seq, shape, bits)
