"""Inbound: sealed packets of tunnels, and the path that opens them; the lookup may be a hardware model's."""

from __future__ import annotations

import numpy as np

from espsim.aead.batch import BatchEngine
from espsim.batch.inbound.lookup import lookup
from espsim.batch.inbound.order import STAGES, InboundPipeline
from espsim.core.inbound_batch import InboundBatch
from espsim.core.verdict import Verdict
from espsim.measure.keys import keys
from espsim.measure.model_tables import ModelTable, stage_of
from espsim.measure.path_work import PathWork
from espsim.measure.traffic import Size, packets_for, sealed_chunks, sizes_of
from espsim.measure.tunnels import WINDOW, columns_for, inbound_bytes, slots_for
from espsim.reference.inbound import Inbound
from espsim.sad.sad import Sad


class InboundWork(PathWork):
    """A share `hit` of the packets has an SA; the others have SPIs that no SA has."""

    def __init__(
        self,
        sas: int,
        size: Size,
        hit: float,
        engine: BatchEngine,
        seed: int,
        *,
        model: ModelTable | None = None,
        window: int = WINDOW,
        esn: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.rows = packets_for(sas, size)
        self.stages = [stage.run for stage in STAGES]
        if model:
            filled = model.make(sas, hit, self.rows, seed)
            of = filled.of
            self.stages[self.stages.index(lookup)] = stage_of(filled)
        else:
            of = keys(sas, hit=hit, packets=self.rows, seed=seed)
        self._modelled = model is not None
        slots = slots_for(sas, rng, esn=esn)
        self._made = list(sealed_chunks(of, slots, sizes_of(size, self.rows, rng), engine))
        self.chunks = len(self._made)
        self.columns = columns_for(of, slots, engine, window)
        self.path = InboundPipeline(Inbound(Sad()), engine)
        self.path.columns = self.columns
        first = self._made[0]
        arena, rows = np.zeros(max(len(one.arena) for one in self._made), np.uint8), len(first.offset)
        self.batch = InboundBatch(
            arena, first.offset.copy(), first.length.copy(), np.zeros(rows), np.zeros(rows, np.uint32)
        )
        self._fresh = self.columns.shape.copy(), self.columns.bits.copy()
        if model:  # an SPI that no SA has may lead to another SA's slot: then the ICV is wrong, and no SA is missing
            self.prove_delivered((of.pick >= 0) & (model.what != "none"))
        else:
            self.prove(np.where(of.pick < 0, int(Verdict.NO_SA), int(Verdict.DELIVERED)))

    def fill(self, chunk: int) -> None:
        """The first chunk resets the windows."""
        if not chunk:
            self.columns.shape[:], self.columns.bits[:] = self._fresh
        self._made[chunk].put(self.batch)

    def run(self) -> None:
        """Open the batch as `InboundPipeline` does, or with the model's lookup in place of software's.

        With the engine ipsec-mb the pass is shorter than the sum of `stages`, because its first steps are one call.
        """
        if not self._modelled:
            self.path.run(self.batch)
            return
        for stage in self.stages:
            stage(self.batch, self.columns)

    @property
    def bytes_per_sa(self) -> float:
        """As in PathWork."""
        return inbound_bytes(self.columns)
