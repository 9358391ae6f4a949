"""Outbound: clear packets to addresses that the tunnels' selectors name, and the path that seals them."""

from __future__ import annotations

import os

import numpy as np

from espsim.aead.batch import BatchEngine, SlotKeys
from espsim.batch.outbound import facts as layout
from espsim.batch.outbound import policy as select
from espsim.batch.outbound.columns import OutboundColumns
from espsim.batch.outbound.order import STAGES, OutboundPipeline
from espsim.core.outbound_batch import ROOM, OutboundBatch
from espsim.core.verdict import OutboundVerdict
from espsim.jit.memory import zeros
from espsim.measure.keys import Keys, keys
from espsim.measure.path_work import PathWork
from espsim.measure.traffic import Size, clear_chunks, packets_for, sizes_of
from espsim.measure.tunnels import ENGINE_LINE, GCM, ICV, SOURCE, slots_for
from espsim.reference.outbound import Outbound
from espsim.sad.sad import Sad

_ALIGNED = 4
_RANK = 32
"""Selector columns for one IPv4 destination."""


class OutboundWork(PathWork):
    """A share `hit` of the packets has an SA; the others go to addresses that no selector names."""

    def __init__(self, sas: int, size: Size, hit: float, engine: BatchEngine, seed: int, *, esn: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.rows = packets_for(sas, size)
        of = keys(sas, hit=hit, packets=self.rows, seed=seed)
        self.columns = out_columns_for(of, slots_for(sas, rng, esn=esn), engine, rng)
        self.path = OutboundPipeline(Outbound(Sad(), os.urandom), engine)
        self.path.columns = self.columns
        self.stages = [stage.run for stage in STAGES]
        self._made = list(clear_chunks(of.packet_spi, sizes_of(size, self.rows, rng)))
        self.chunks = len(self._made)
        first = self._made[0]
        arena = np.zeros(max(len(one.arena) for one in self._made), np.uint8)
        self.batch = OutboundBatch(
            arena, first.offset.copy(), first.length.copy(), np.zeros(len(first.offset)), room=ROOM
        )  # fmt: skip
        want = np.where(of.pick < 0, int(OutboundVerdict.NO_SA), int(OutboundVerdict.SEALED))
        self.prove(want)

    def fill(self, chunk: int) -> None:
        """Sequence numbers continue from pass to pass: nothing is reset."""
        self._made[chunk].put(self.batch)

    def run(self) -> None:
        """Seal the batch into the memory of the previous batch's output."""
        self.path.run(self.batch)

    @property
    def bytes_per_sa(self) -> float:
        """As in PathWork."""
        c = self.columns
        each = (c.standing, c.table, c.facts, c.counts)
        return ENGINE_LINE + float(sum(column.nbytes for column in each)) / len(c.standing)


def out_columns_for(of: Keys, slots: list[SlotKeys], engine: BatchEngine, rng: np.random.Generator) -> OutboundColumns:
    """The runtime columns of outbound tunnels with these keys; their IV masks are random."""
    sas = len(of.spi)
    facts, counts = zeros((sas, 8), np.int64), zeros((sas, 8), np.uint64)
    facts[:, layout.SRC_LOW], facts[:, layout.DST_LOW] = int.from_bytes(SOURCE), of.daddr[:, 1]
    facts[:, layout.SPI], facts[:, layout.MASK] = of.spi, rng.integers(-(2**63), 2**63, sas)
    facts[:, layout.FORM] = layout.TUNNEL | layout.OUTER4 | GCM.iv_length << 16 | ICV << 24 | _ALIGNED << 32
    counts[:, layout.LIMIT] = (1 << 64) - 1 if slots[0].esn else 0xFFFFFFFF
    groups = np.zeros((1, 8), np.uint64)
    groups[0, select.DST_LOW], groups[0, select.FAMILY], groups[0, select.RANK] = 0xFFFFFFFF, 4, _RANK
    wanted = np.zeros((sas, 6), np.uint64)
    wanted[:, select.DST_LOW], wanted[:, select.GROUP] = of.spi, 1
    table = select.select_table(sas)
    select.select_insert(wanted, np.arange(sas), table)
    return OutboundColumns(np.zeros(sas, np.uint8), groups, table, facts, counts, engine.sealer(slots), os.urandom)
