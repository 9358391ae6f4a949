"""The batch path outbound: the order of the stages, and nothing else.

    policy -> measure -> seqno -> encap -> AEAD seal -> checksum

It gives the reference path's answers, packet for packet, for any cut into batches. Only random bytes differ: masks and
CBC's IVs are drawn in another order.

SAs that could reach a limit, or that kernels do not know (BEET, IP-TFS), belong to the reference path with every SA
that could take their packets (batch/outbound/columns.py). Their packets go through it in order of arrival, after the
kernels'. So each SA's packets keep their order; only a listener of the SAD may hear events of different SAs in another
order.

What this does not do: it asks no policies of an SPD (reference/host.py does), and makes no bundle of several SAs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from espsim.aead.batch import BatchEngine
from espsim.aead.engines import AUTO, engine_by_name
from espsim.batch.aggregated import Aggregated, TunnelsLike
from espsim.batch.outbound import encap, measure, policy, seal, seqno
from espsim.batch.outbound.columns import OutboundColumns
from espsim.batch.stages import in_order, run_stages
from espsim.core.answers import Sent
from espsim.core.closing import Closing
from espsim.core.numbers import NOT_IP, ONE_BY_ONE
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict
from espsim.sad.association import Mode
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad

STAGES = in_order(policy.STAGE, measure.STAGE, seqno.STAGE, encap.STAGE, seal.SEAL, seal.CHECKSUM)
"""The stages in their order, each with the columns that it writes."""
AHEAD, SETTLE, AFTER = slice(2), slice(2, 3), slice(3, 6)
"""The stages in three parts, for workers: any worker runs AHEAD at any time; SETTLE (seqno) runs in order of arrival;
any worker runs AFTER, once its batch has its numbers."""

_VERDICTS = {int(verdict): verdict for verdict in OutboundVerdict}


class ReferenceOutbound(Protocol):
    """`espsim.reference.outbound.Outbound`: it has SAD, MTU, mark and random bytes, and seals what kernels can't.

    Both paths share `masks`, so that an SA that passes from one to the other keeps its mask.
    """

    sad: Sad
    mtu: int
    keeps_mtu: bool
    rfc6040: bool
    mark: int | None
    random_bytes: Callable[[int], bytes]
    masks: dict[int, int]

    @property
    def senders(self) -> TunnelsLike:
        """The queues of IP-TFS."""

    @property
    def ambiguous(self) -> bool:
        """Whether some packet fitted several SAs equally well."""

    def send(self, packet: bytes, now: float) -> Sent[SadEntry] | None:
        """Seal one IP packet."""


class OutboundPipeline(Closing):
    """Seals in batches, over the SAD of `one`. `close` (or leaving `with`) writes back into the SAD.

    Nothing else may change the SAD between the first batch and `close`. `engine`: an engine or its name. `debug` checks
    that every stage writes its own columns only. InputError: the engine cannot be used.
    """

    def __init__(self, one: ReferenceOutbound, engine: str | BatchEngine = AUTO, *, debug: bool = False) -> None:
        self.one = one
        self.debug = debug
        self.engine = engine_by_name(engine) if isinstance(engine, str) else engine
        self.columns = OutboundColumns.of(
            one.sad, self.engine, one.random_bytes, one.masks, mtu=one.mtu, keeps_mtu=one.keeps_mtu,
            rfc6040=one.rfc6040, mark=one.mark
        )  # fmt: skip
        self._out = np.empty(0, np.uint8)
        self._tied = False
        self.alone: Counter[int] = Counter()
        """How many packets the reference path sealed, by sa_index."""
        modes = {entry.sa.mode for entry in self.columns.entries}
        self.aggregated = Aggregated() if Mode.IPTFS in modes else None
        """What left under SAs in mode IPTFS in the last batch. None: no SA has this mode."""

    @property
    def ambiguous(self) -> bool:
        """Whether some packet fitted several SAs equally well, so that the newest was taken."""
        return self._tied or self.one.ambiguous

    def close(self) -> None:
        """Write last numbers, statistics and first uses back into the SAD. More batches may follow."""
        self.columns.write_back()

    def send(self, packets: Sequence[bytes], times: Sequence[float] | float = 0.0) -> list[Sent[SadEntry] | None]:
        """Seal IP packets in their order; None for one that is not IP. `times` in seconds: each, or all."""
        batch = OutboundBatch.of(packets, times, self._out)
        self.run(batch)
        self._out = batch.out
        return self.answers(batch)

    def run(self, batch: OutboundBatch) -> None:
        """Fill a batch's columns, and `out` with the sealed packets."""
        self.columns.begin(batch)
        self.run_some(batch, slice(None))
        self.run_alone(batch)

    def run_some(self, batch: OutboundBatch, which: slice) -> None:
        """Run some of the stages: AHEAD, SETTLE or AFTER."""
        run_stages(STAGES, batch, self.columns, debug=self.debug, which=which)

    def run_alone(self, batch: OutboundBatch) -> None:
        """After all stages: rows whose SA belongs to the reference path, in order of arrival."""
        batch.several.clear()
        self._tied = self._tied or 1 in batch.tied.tobytes()
        if self.aggregated is not None:
            self.aggregated.clear()
        if ONE_BY_ONE in batch.verdict.tobytes():
            for row in np.flatnonzero(batch.verdict == ONE_BY_ONE).tolist():
                self._one_by_one(batch, row)

    def run_by_clock(self, batch: OutboundBatch) -> None:
        """`run_alone` for a capture: the times of its rows are the clock, which ends the delay of IP-TFS."""
        if self.aggregated is None:
            self.run_alone(batch)
            return
        self._tied = self._tied or 1 in batch.tied.tobytes()
        self.aggregated.clear()
        batch.several.clear()
        alone = np.flatnonzero(batch.verdict == ONE_BY_ONE)
        self.aggregated.run(alone, batch.time, self.one.senders, lambda row: self._one_by_one(batch, row))

    def answers(self, batch: OutboundBatch) -> list[Sent[SadEntry] | None]:
        """The answers of a batch that has run; None for a row that is not IP."""
        entries, memory = self.columns.entries, memoryview(batch.out)
        facts = (batch.verdict, batch.sa_index, batch.seq64, batch.out_at, batch.out_length)
        found: list[Sent[SadEntry] | None] = []
        columns = zip(*(c.tolist() for c in facts), strict=True)
        for row, (number, sa, seq64, at, size) in enumerate(columns):
            if row in batch.several:
                found.append(batch.several[row].sent)
                continue
            if number == NOT_IP:
                found.append(None)
                continue
            answer = Sent(_VERDICTS[number], entries[sa] if sa >= 0 else None)
            if not number:
                answer.seq64, answer.packet = seq64, bytes(memory[at : at + size])
            found.append(answer)
        return found

    def _one_by_one(self, batch: OutboundBatch, row: int) -> None:
        """Give a row to the reference path, and write its answer into the columns."""
        answer = self.one.send(batch.packet(row), float(batch.time[row]))
        if answer is None:
            batch.verdict[row], batch.sa_index[row] = NOT_IP, -1
            return
        if answer.entry is not None and answer.verdict is OutboundVerdict.SEALED:
            self.alone[answer.entry.sa_index] += 1
        batch.verdict[row] = answer.verdict
        batch.sa_index[row] = -1 if answer.entry is None else self.columns.rows[answer.entry.sa_index]
        batch.seq64[row] = answer.seq64 or 0
        if answer.pieces or answer.also or answer.outers is not None:
            batch.append_several(row, answer)
        elif answer.packet is not None:
            batch.append(row, answer.packet)
