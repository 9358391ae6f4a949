"""A device's tables filled with SAs, and devices that only look up an SPI, built from arrays.

Filling a device through its driver makes an object for each SA: too slow for a million SAs. The lookups are the batch
path's own (`batch/device/hardware.py`), as in every run with a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espsim.batch.device import hash as device_hash
from espsim.batch.device.hardware import (
    SOFTWARE,
    USE,
    DeviceColumns,
    DeviceRows,
    DirectSlots,
    Key,
    KeyTable,
    PacketColumns,
    Packets,
    SpiTable,
    Ways,
    ask_device,
    hardware,
)
from espsim.batch.device.steps import ASK, HIT, PENDING, SPI
from espsim.batch.inbound.triple import NO_PORT
from espsim.core.arrays import I32, U32, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.jit.memory import zeros
from espsim.measure.keys import PACKETS, Keys, dense_keys, keys, keys_of
from espsim.measure.tunnels import SOURCE
from espsim.offload.device import Reached
from espsim.offload.hashing import vendor_hash

WAYS = 4
_BY_SPI = Key(SPI)


@dataclass(frozen=True, slots=True)
class Filled:
    """A device's tables filled with the SAs of `of`, and packets for them. Rows of the tables are rows of `of`."""

    of: Keys
    columns: DeviceColumns

    def look_up(self, packets: PacketColumns | InboundBatch, rows: DeviceRows) -> None:
        """Write what the device does with each packet to `rows`. UnknownReached: that is not public."""
        hardware(packets, self.columns, rows)
        if rows.step.max(initial=0) == ASK:
            ask_device(packets, self.columns, rows, np.flatnonzero(rows.step == ASK).tolist())

    def find(self, packets: PacketColumns | InboundBatch, rows: DeviceRows, sa_index: I32) -> None:
        """As `look_up`, and write to `sa_index` the SA whose context the device uses for each packet; -1: none."""
        self.look_up(packets, rows)
        sa_index[:] = -1
        np.copyto(sa_index, rows.sa_index, where=rows.action == USE)

    def packets(self) -> PacketColumns:
        """The packets' columns, for a lookup alone."""
        return _packets(self.of.packet_spi, self.of.packet_daddr)


def _packets(spi: U32, daddr: U64) -> PacketColumns:
    """IPv4 packets, all from one source, without ports and marks."""
    rows = len(spi)
    saddr, nothing = np.zeros((rows, 2), np.uint64), np.full(rows, NO_PORT, np.uint32)
    saddr[:, 1] = int.from_bytes(SOURCE)
    return PacketColumns(spi, np.full(rows, 4, np.uint8), daddr, saddr, nothing, nothing, np.zeros(rows, np.uint32))


def direct_table(sas: int, *, hit: float, seed: int) -> Filled:
    """A table of slots indexed by the masked SPI; it has the next power of two of slots for so many SAs."""
    of = dense_keys(sas, hit=hit, seed=seed)
    cells = np.full(1 << (sas - 1).bit_length(), -1, np.int32)
    mask = len(cells) - 1
    cells[of.spi & np.uint32(mask)] = np.arange(sas)
    return _filled(of, DirectSlots(cells, len(cells), masked=(0, mask)))


def hash_table(sas: int, *, skewed: bool, hit: float, seed: int) -> Filled:
    """A hash table with four ways, half full. The ways share one row; `skewed`: each has a hash and a row of its own.

    The SAs are the first of a seeded stream that find a free way. Full rows refuse a few.
    """
    spare = keys(sas + sas // 8 + 64, packets=1, seed=seed)
    sets = 1 << max((2 * sas // WAYS - 1).bit_length(), 2)
    starts = np.array([vendor_hash((), seed, way) for way in range(WAYS if skewed else 1)], np.uint64)
    cells, nobody = zeros((sets * WAYS, 2), np.uint64), np.zeros(1, np.uint64)
    codes = np.array([device_hash.SPI], np.uint8)
    table = Ways(_BY_SPI, codes, nobody, starts, sets, WAYS, False, cells, np.arange(sas))
    row_step, way_step = (1, sets) if skewed else (WAYS, 1)
    places = table.hashes(_packets(spare.spi, spare.daddr)) * row_step + np.arange(WAYS) * way_step
    taken, where = fill(places, sets * WAYS, sas)
    rng = np.random.default_rng(seed)
    # A miss has an SPI of the reserved range, which no SA has.
    of = keys_of(rng, spare.spi[taken], np.arange(1, 256, dtype=np.uint32), family=4, hit=hit, packets=PACKETS)
    cells[where, 0], cells[where, 1] = of.spi, np.arange(1, sas + 1)
    return _filled(of, table)


def _filled(of: Keys, table: DirectSlots | Ways) -> Filled:
    """A device with this table, no rules, and a context for each SA. Software takes what the device does not find."""
    sas = np.arange(len(of.spi), dtype=np.int32)
    said = np.full((8, 2), [Reached.MISS, SOFTWARE], np.uint8)
    said[HIT] = Reached.HIT, USE
    held = _BY_SPI.words(_packets(of.spi, of.daddr))
    ends, tables = np.arange(8, dtype=np.uint8), [KeyTable(0, table, sas)]
    columns = DeviceColumns(PENDING, None, tables, _BY_SPI, held, sas, ends, said, _nothing_to_ask)
    columns.by_spi = SpiTable.of(columns)
    return Filled(of, columns)


def _nothing_to_ask(_packets: Packets, _row: int) -> tuple[int, int, int, bool]:
    raise AssertionError("this device has no answer that is not public")


def fill(places: npt.NDArray[np.int64], cells: int, sas: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Place SAs into `cells` cells: the first `sas` rows of `places` that find a cell, and the cell of each.

    A row of `places` lists the cells that its SA may use. All first choices are served before all second ones, and of
    several rows that want a cell the first gets it. ValueError: fewer than `sas` rows find one.
    """
    where, free = np.full(len(places), -1, np.int64), np.ones(cells, np.bool_)
    for way in range(places.shape[1]):
        waiting = np.flatnonzero(where < 0)
        waiting = waiting[free[places[waiting, way]]]
        wanted, first = np.unique(places[waiting, way], return_index=True)
        where[waiting[first]], free[wanted] = wanted, False
    taken = np.flatnonzero(where >= 0)[:sas]
    if len(taken) < sas:
        raise ValueError(f"{sas} SAs find no room in {cells} cells")
    return taken, where[taken]
