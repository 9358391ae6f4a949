"""Hardware: what a modelled device does with each packet.

`DeviceColumns` is a device's tables at one moment, as arrays. `hardware` gives the answer of `Device.lookup` for every
row. snapshot.py makes the arrays; steps.py, hash.py and tables.py have the kernels.

What this does not do: it opens nothing, and changes neither the device nor the SAD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from espsim.batch.device import hash as device_hash
from espsim.batch.device import steps as kernel
from espsim.batch.device import tables
from espsim.core.arrays import I32, I64, U8, U32, U64
from espsim.jit.memory import zeros

GONE = -2
"""Instead of a row of InboundColumns: the device found the context of an SA that has left them."""

USE, SOFTWARE, DROP, FAIL_FLAG = range(4)
"""`DeviceRows.action`: what the device does with a packet."""


class Packets(Protocol):
    """The columns of packets that a device can see (`core.inbound_batch.InboundBatch` has them)."""

    spi: U32
    family: U8
    daddr: U64
    saddr: U64
    sport: U32
    dport: U32
    mark: U32


@dataclass(slots=True)
class PacketColumns:
    """Packets, or what packets of SAs would be, as columns; dtypes and shapes as in a batch."""

    spi: U32
    family: U8
    daddr: U64
    saddr: U64
    sport: U32
    dport: U32
    mark: U32

    def __len__(self) -> int:
        return len(self.spi)

    def cut(self, rows: slice) -> PacketColumns:
        """Some of the packets."""
        return PacketColumns(
            self.spi[rows], self.family[rows], self.daddr[rows], self.saddr[rows],
            self.sport[rows], self.dport[rows], self.mark[rows],
        )  # fmt: skip


@dataclass(slots=True)
class DeviceRows:
    """A device's answers. `sa_index`: a row of InboundColumns, GONE, or -1 for none. `step`: an end of steps.py.

    `reached`: offload.device.Reached as a number. `action`: USE, SOFTWARE, DROP or FAIL_FLAG.
    """

    sa_index: I32
    step: U8
    shadowed: U8
    reached: U8
    action: U8

    @classmethod
    def of(cls, rows: int) -> DeviceRows:
        """Memory for `rows` packets."""
        return cls(np.empty(rows, np.int32), *(np.empty(rows, np.uint8) for _ in range(4)))


@dataclass(frozen=True, slots=True)
class Key:
    """What a table compares: parts as in steps.py, the SPI and the mark under masks."""

    parts: int
    spi_mask: int = 0xFFFFFFFF
    mark_mask: int = 0xFFFFFFFF

    def words(self, packets: Packets) -> U64:
        """(rows, words) of uint64."""
        words = np.empty((len(packets.spi), kernel.width(self.parts)), np.uint64)
        kernel.key_words(
            self.parts, np.uint32(self.spi_mask), np.uint32(self.mark_mask), packets.spi, packets.family,
            packets.daddr, packets.saddr, packets.sport, packets.dport, packets.mark, words,
        )  # fmt: skip
        return words


class ExactKeys:
    """The keys in a table, each with the number of its entry. Of equal keys the one of the lowest rank is found.

    `rank`: of all entries of the device. `many[entry]`: not 0 where others have the same key.
    """

    def __init__(self, key: Key, packets: PacketColumns, numbers: I64, rank: I64) -> None:
        self.key = key
        words, order = key.words(packets), np.argsort(rank[numbers])
        self.table = exact_table(words[order], numbers[order])
        self.many: U8 = (np.bincount(self.find(packets), minlength=len(rank)) > 1).astype(np.uint8)
        self.repeated = bool(self.many.any())

    def find(self, packets: Packets) -> I32:
        """The entry of each packet's key; -1: there is none."""
        found = np.empty(len(packets.spi), np.int32)
        tables.exact(self.key.words(packets), self.table, found)
        return found


def exact_table(words: U64, numbers: I64) -> U64:
    """A table of `tables.exact` with these keys in it, half full."""
    table = zeros((2 * len(words) + 1, 8), np.uint64)
    tables.exact_insert(words, numbers, table)
    return table


@dataclass(slots=True)
class DirectSlots:
    """A direct table. `cells`: the entry in each slot. `sparse`: a hash table of slots that lie far apart instead.

    The slot is the SPI less an offset, under a mask (`masked`); with `rules` it is the base of the packet's rule, in
    `bases`, and bits of the SPI (`sliced`). `capacity` 0: the table has no end.
    """

    cells: I32
    capacity: int
    masked: tuple[int, int] = (0, 0)
    sliced: tuple[int, int, int] = (0, 0, 0)
    rules: ExactKeys | None = None
    bases: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    sparse: U64 | None = None

    def find(self, packets: Packets, step: U8, found: I32, _shadowed: U8) -> None:
        """Fill `found` with the entries in the packets' slots, and `step` with the end of those that have none."""
        slot = np.empty(len(step), np.int64)
        if self.rules is None:
            offset, mask = self.masked
            kernel.masked(packets.spi, np.uint64(offset), np.uint64(mask), slot)
        else:
            low, size, limit = (np.uint64(n) for n in self.sliced)
            kernel.sliced(packets.spi, self.rules.find(packets), self.bases, low, size, limit, slot)
        near = np.empty(0 if self.sparse is None else len(slot), np.int32)
        if self.sparse is not None:
            tables.exact(slot.view(np.uint64).reshape(-1, 1), self.sparse, near)
        kernel.in_slots(slot, self.capacity, self.cells, near, step, found)


@dataclass(slots=True)
class Ways:
    """A hash table of hash.py. It is skewed (each way has a row of its own) where there are several `starts`."""

    key: Key
    codes: U8
    constants: U64
    starts: U64
    sets: int
    ways: int
    crc: bool
    cells: U64
    rank: I64

    def hashes(self, packets: Packets) -> I32:
        """The rows where each packet's key may be: (packets, starts)."""
        hashes, scratch = (
            np.empty((len(packets.spi), len(self.starts)), np.int32),
            np.empty(len(self.starts), np.uint64),
        )
        device_hash.row_hashes(
            self.codes, self.constants, self.starts, np.uint64(self.sets), self.crc, packets.spi, packets.family,
            packets.daddr, packets.saddr, packets.sport, packets.dport, packets.mark, scratch, hashes,
        )  # fmt: skip
        return hashes

    def find(self, packets: Packets, _step: U8, found: I32, shadowed: U8) -> None:
        """Fill `found` with the entries of the packets' keys."""
        skewed = len(self.starts) > 1
        row_step, way_step = (1, self.sets) if skewed else (self.ways, 1)
        device_hash.in_ways(
            self.key.words(packets), self.hashes(packets), self.ways, row_step, way_step, self.cells, self.rank,
            found, shadowed,
        )  # fmt: skip


@dataclass(slots=True)
class SignatureRows:
    """An exact table: the keys of each signature (a list of fields). `longest`: the first signature to find one wins.

    `rank`: of several entries that a packet finds, the one of the lowest rank wins.
    """

    signatures: list[ExactKeys]
    rank: I64
    longest: bool

    def find(self, packets: Packets, _step: U8, found: I32, shadowed: U8) -> None:
        """Fill `found` with the entries of the packets' keys."""
        if len(self.signatures) == 1 and not self.signatures[0].repeated:
            found[:] = self.signatures[0].find(packets)
            return
        found[:] = -1
        for keys in self.signatures:
            kernel.better(keys.find(packets), self.rank, keys.many, self.longest, found, shadowed)


@dataclass(slots=True)
class KeyTable:
    """One key table. `context[entry]`: the context of its SA; -1: the slot of the SA array is empty.

    `family`: 4 or 6 where the table has one family, 0 for both.
    """

    family: int
    table: DirectSlots | Ways | SignatureRows
    context: I32


_BY_SPI = Key(kernel.SPI)
_HASHED = device_hash.CONSTANT, device_hash.SPI, device_hash.SPI24


@dataclass(slots=True)
class SpiTable:
    """The table of a device that looks up and compares nothing but SPIs: looked up and checked in one pass.

    `cells` as in tables.py. `masked`: (offset, mask) of a direct table; None: a hash table, in `by_spi`'s form.
    """

    cells: U64
    masked: tuple[int, int] | None = None

    @classmethod
    def of(cls, columns: DeviceColumns) -> SpiTable | None:
        """The table of these columns; None: it is of another kind, or some answer would differ."""
        if columns.begin != kernel.PENDING or len(columns.tables) != 1 or columns.tables[0].family:
            return None
        if columns.checked not in (None, _BY_SPI):
            return None
        table, context = columns.tables[0].table, columns.tables[0].context
        if isinstance(table, DirectSlots) and columns.checked is not None:
            return cls._of_slots(table, context, columns)
        return cls._of_ways(table, context, columns) if isinstance(table, Ways) else None

    @classmethod
    def _of_slots(cls, table: DirectSlots, context: I32, columns: DeviceColumns) -> SpiTable | None:
        if table.rules is not None or table.sparse is not None or 0 < table.capacity <= table.masked[1]:
            return None
        places = np.flatnonzero(table.cells >= 0)
        at = context[table.cells[places]]
        places, at = places[at >= 0], at[at >= 0]
        if (columns.sa[at] < 0).any():
            return None
        return cls(_cells(len(table.cells), places, columns.held[at, 0], columns.sa[at]), table.masked)

    @classmethod
    def _of_ways(cls, table: Ways, context: I32, columns: DeviceColumns) -> SpiTable | None:
        if table.key != _BY_SPI or not np.isin(table.codes, _HASHED).all():
            return None
        places = np.flatnonzero(table.cells[:, 1])
        spi, at = table.cells[places, 0], context[table.cells[places, 1].astype(np.int64) - 1]
        if (at < 0).any() or (columns.sa[at] < 0).any() or len(np.unique(spi)) < len(spi):
            return None
        if columns.checked is not None and (columns.held[at, 0] != spi).any():
            return None
        return cls(tables.spi_table(spi.astype(np.uint32), columns.sa[at]))

    def look_up(self, spi: U32, columns: DeviceColumns, rows: DeviceRows) -> None:
        """Fill `rows`. `rows.step` says on entry which lookups have not ended."""
        if self.masked is not None:
            offset, mask = self.masked
            tables.direct(spi, np.uint64(offset), np.uint64(mask), self.cells, rows.sa_index)
        else:
            tables.by_spi(spi, self.cells, rows.sa_index)
        missing = kernel.MISSED if self.masked is None else kernel.EMPTY
        kernel.conclude_spi(missing, columns.ends, columns.said, rows.step, rows.sa_index, rows.reached, rows.action)


def _cells(count: int, places: I64, spi: U64, sa: I32) -> U64:
    """`count` cells of tables.py; those at `places` have an SPI and its SA."""
    cells = zeros((count,), np.uint64)
    cells[places] = spi << np.uint64(32) | (sa.astype(np.int64) + 1).astype(np.uint64)
    return cells


@dataclass(slots=True)
class DeviceColumns:
    """A device's tables at one moment, seen by packets of one port.

    `begin`: PENDING, or the end of every packet. `classify`: the packets that the device looks at; None: all. `ends`,
    `said`: see steps.conclude. `checked`, `held`: what the device's check compares, and its values for each context;
    `checked` is None where it compares nothing. `sa`: the SA of each context. `ask(packets, row)`: the device's own
    lookup, (sa_index, reached, action, shadowed). `by_spi`: gives the answers of `tables` faster, where it is not None.
    """

    begin: int
    classify: ExactKeys | None
    tables: list[KeyTable]
    checked: Key | None
    held: U64
    sa: I32
    ends: U8
    said: U8
    ask: Callable[[Packets, int], tuple[int, int, int, bool]]
    by_spi: SpiTable | None = None


def hardware(packets: Packets, columns: DeviceColumns, rows: DeviceRows) -> None:
    """Fill `rows` with what the device does with each packet. A row without ESP gets an answer without a meaning.

    A row whose answer is not public has the step ASK; `ask_device` answers it.
    """
    rows.step[:] = columns.begin
    rows.shadowed[:] = 0
    if columns.classify is not None:
        rows.step[columns.classify.find(packets) < 0] = kernel.CLASSIFY
    if columns.by_spi is not None:
        columns.by_spi.look_up(packets.spi, columns, rows)
    elif len(columns.tables) == 1 and not columns.tables[0].family:
        _look_up(packets, columns, columns.tables[0], rows)
    else:
        _in_families(packets, columns, rows)


def _in_families(packets: Packets, columns: DeviceColumns, rows: DeviceRows) -> None:
    """Look each family's packets up in its own table. Without tables a lookup ends as it begins."""
    begin, part = rows.step.copy(), DeviceRows.of(len(rows.step))
    nowhere = np.full(len(begin), -1, np.int32)
    _conclude(packets, columns, nowhere[:0], nowhere, rows)
    for table in columns.tables:
        mine = packets.family == table.family
        if not mine.any():
            continue
        part.step[:], part.shadowed[:] = begin, 0
        _look_up(packets, columns, table, part)
        for name in ("sa_index", "step", "shadowed", "reached", "action"):
            np.copyto(getattr(rows, name), getattr(part, name), where=mine)


def _look_up(packets: Packets, columns: DeviceColumns, table: KeyTable, rows: DeviceRows) -> None:
    found = np.full(len(rows.step), -1, np.int32)
    table.table.find(packets, rows.step, found, rows.shadowed)
    _conclude(packets, columns, table.context, found, rows)


def _conclude(packets: Packets, columns: DeviceColumns, context: I32, found: I32, rows: DeviceRows) -> None:
    words = np.empty((len(found), 0), np.uint64) if columns.checked is None else columns.checked.words(packets)
    kernel.conclude(
        found, context, columns.sa, words, columns.held, columns.ends, columns.said,
        rows.step, rows.shadowed, rows.sa_index, rows.reached, rows.action,
    )  # fmt: skip


def ask_device(packets: Packets, columns: DeviceColumns, rows: DeviceRows, which: Iterable[int]) -> None:
    """Ask the device model itself about some rows. UnknownReached: the answer is not public."""
    for row in which:
        rows.sa_index[row], rows.reached[row], rows.action[row], rows.shadowed[row] = columns.ask(packets, row)
