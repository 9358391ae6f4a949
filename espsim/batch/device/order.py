"""The batch path inbound after a modelled device: reference/offloaded.py, batch by batch.

    parse -> lookup and hardware -> check -> open -> trailer -> settle -> decap -> admit -> policies -> sent -> count

The device's answer replaces the lookup's: `sa_index` is the SA whose context the device used. The packet's own SA,
which the software lookup finds, and what the device did are kept beside the batch (`_Beside`), in no column of it.

Where the packet's own SA, or the one that is used, belongs to the reference path, that path judges the packet. It then
takes over the SA that is used, for good, with all SAs of its SPI, because an SA's state is in one place.

What this does not do: packets come by port 0 alone, and outbound packets meet no device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np

from espsim.aead.batch import BatchEngine
from espsim.aead.engines import AUTO
from espsim.batch.aggregated import TunnelsLike
from espsim.batch.device import replay as device_replay
from espsim.batch.device.hardware import DROP, GONE, SOFTWARE, USE, DeviceColumns, DeviceRows, ask_device, hardware
from espsim.batch.device.snapshot import device_columns
from espsim.batch.device.steps import ASK
from espsim.batch.inbound import admit, count, decap, lookup, nested, parse, policies, replay, trailer
from espsim.batch.inbound import open as opening
from espsim.batch.inbound import own as sent
from espsim.batch.inbound.columns import InboundColumns
from espsim.batch.inbound.lookup import usable
from espsim.batch.inbound.nested import HANDED_OVER
from espsim.batch.inbound.order import InboundPipeline, Stages
from espsim.batch.run.stats import ENGINE_VERDICTS
from espsim.batch.stages import Stage
from espsim.core.answers import Received
from espsim.core.arrays import I32, I64, U8, Bools
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import CUT, IN_TCP, NOT_ESP, ONE_BY_ONE, OUTGOING, OWN
from espsim.core.verdict import Surfacing, Verdict
from espsim.offload import outcome
from espsim.offload.device import Device, Reached
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.sent import SentNumbers

_Surfaces = Callable[[Verdict], tuple[Surfacing, str | None]]


class OffloadedPath(Protocol):
    """`espsim.reference.offloaded.OffloadedInbound`: it has SAD and device, and judges what kernels can't."""

    sad: Sad
    device: Device
    mark: int | None
    ports: frozenset[int]
    sent: SentNumbers | None

    @property
    def tunnels(self) -> TunnelsLike:
        """The receivers of IP-TFS."""

    def receive(
        self, packet: bytes, now: float, *, outgoing: bool, in_tcp: bool
    ) -> Received[SadEntry] | None:  # fmt: skip
        """Process one IP packet."""

    def context(self, sa_index: int) -> SadEntry:
        """The SA of a context that the device has, or had."""


class OffloadedPipeline(InboundPipeline):
    """A device and the software path in batches: `InboundPipeline` over an `OffloadedInbound`, with its methods.

    Nothing else may change the SAD or the device between the first batch and `close`; `refresh` follows a change of the
    device. All packets come by port 0. UnknownReached: a packet's answer is not public.
    """

    one: OffloadedPath
    parts = False  # what the device did is kept beside a whole batch

    def __init__(self, one: OffloadedPath, engine: str | BatchEngine = AUTO, *, debug: bool = False) -> None:
        super().__init__(one, engine, debug=debug)
        self._beside: WeakKeyDictionary[InboundBatch, _Beside] = WeakKeyDictionary()
        self.refresh()

    def refresh(self) -> None:
        """Lay the device's tables out again, after SAs were offloaded or withdrawn."""
        self.columns.renew_windows()
        self._hardware = device_columns(self.one.device, self.columns.rows)

    def _stages(self, batch: InboundBatch) -> Stages:
        beside = self._beside.get(batch)
        if beside is None:
            beside = self._beside[batch] = _Beside(self.one.device, self._hardware, len(batch))
        return beside.stages()

    def run(self, batch: InboundBatch) -> None:
        """Fill a batch's columns; `sa_index` is the SA whose context was used."""
        self._beside.pop(batch, None)
        super().run(batch)

    def _one_by_one(self, batch: InboundBatch, row: int) -> None:
        beside = self._beside[batch]
        outgoing, in_tcp = (bool(batch.link[row] & bit) for bit in (OUTGOING, IN_TCP))
        answer = self.ask_one(batch.packet(row), float(batch.time[row]), outgoing=outgoing, in_tcp=in_tcp)
        beside.asked[row] = answer
        self._put(batch, row, answer)
        own = None if answer is None else answer.entry
        beside.own[row] = -1 if own is None else self.columns.rows.get(own.sa_index, -1)

    def nested_in(self, batch: InboundBatch) -> Mapping[int, Received[SadEntry]]:
        """As InboundPipeline."""
        asked = self._beside[batch].asked.items()
        return {row: answer for row, answer in asked if answer is not None and answer.around is not None}

    def own_of(self, batch: InboundBatch) -> I32:
        """As InboundPipeline."""
        return self._beside[batch].own

    def beside(self, batch: InboundBatch) -> tuple[I64, I64, Collection[int]]:
        """(own SA, what the device did, the rows that went one by one) of a batch that has run.

        What it did is a number: action | reached << 4 | shadowed << 8.
        """
        beside = self._beside[batch]
        rows = beside.rows
        did = rows.action.astype(np.int64) | rows.reached.astype(np.int64) << 4 | rows.shadowed.astype(np.int64) << 8
        return beside.own.astype(np.int64), did, beside.asked

    def entry_of(self, sa_index: int) -> SadEntry:
        """The SA of this number, even one that has left the SAD, as long as the device has its context."""
        row = self.columns.rows.get(sa_index)
        return self.one.context(sa_index) if row is None else self.columns.entries[row]

    def answers(self, batch: InboundBatch, rows: slice = slice(None)) -> list[Received[SadEntry] | None]:
        """The answers of a batch that has run, or of some rows."""
        beside = self._beside[batch]
        found = super().answers(batch, rows)
        facts = (beside.own, beside.rows.action, beside.rows.reached, beside.rows.shadowed)
        surfaces = functools.cache(functools.partial(outcome.opened, self.one.device))
        first = rows.indices(len(batch))[0]
        for at, (own, *did) in enumerate(zip(*(c[rows].tolist() for c in facts), strict=True)):
            answer = found[at]
            if first + at in beside.asked:
                found[at] = beside.asked[first + at]
            elif answer is not None and answer.spi is not None and not answer.own:
                self._add_device(answer, self.columns.entries[own] if own >= 0 else None, did, surfaces)
        return found

    def _add_device(
        self, answer: Received[SadEntry], own: SadEntry | None, did: list[int], surfaces: _Surfaces
    ) -> None:
        """Add what reference/offloaded.py says of a packet besides its verdict. `surfaces` is `outcome.opened`."""
        action, reached, shadowed = did
        answer.entry = own
        if action == USE:
            answer.device = outcome.with_context(own=answer.used is own, shadowed=bool(shadowed))
            answer.surfacing, answer.counter = surfaces(answer.verdict)
            return
        answer.device = outcome.without_context(Reached(reached), software=action == SOFTWARE)
        if action != SOFTWARE:
            answer.surfacing, answer.counter = outcome.refused(self.one.device, dropped=action == DROP)

    def _put(self, batch: InboundBatch, row: int, answer: Received[SadEntry] | None) -> None:
        """Write the reference path's answer into the columns. `sa_index` of an SA that has left the SAD is -1."""
        batch.verdict[row] = NOT_ESP if answer is None else answer.verdict
        batch.sa_index[row] = -1
        if answer is None:
            return
        batch.flags[row] = batch.flags[row] & CUT | OWN * answer.own
        batch.odd_padding[row] = answer.odd_padding
        self._add_inners(row, answer)
        for layer in answer.layers:
            if layer.used is not None:
                self.alone[layer.used.sa_index] += layer.verdict in ENGINE_VERDICTS
                batch.sa_index[row] = self.columns.rows.get(layer.used.sa_index, -1)
                if batch.sa_index[row] < 0 and layer.odd_padding and layer.verdict is Verdict.DELIVERED:
                    self.odd_of_gone[layer.used.sa_index] += 1
        if answer.used is None:
            batch.sa_index[row] = -1
        batch.seq64[row] = answer.seq64 or 0
        if answer.inner is not None:
            batch.put_inner(row, answer.inner)


class _Beside:
    """What is kept beside a batch: each packet's `own` SA, what the device did (`rows`), and when the window is asked
    (`order`, as in replay.py). `asked`: the reference path's answers, by row. It has the stages that a device changes.
    """

    def __init__(self, device: Device, tables: DeviceColumns, rows: int) -> None:
        self.own: I32 = np.full(rows, -1, np.int32)
        self.rows = DeviceRows.of(rows)
        self.order: U8 = np.zeros(rows, np.uint8)
        self.asked: dict[int, Received[SadEntry] | None] = {}
        self._device = device
        self._tables = tables

    def stages(self) -> tuple[Stage[InboundBatch, InboundColumns], ...]:
        """The stages in their order, with those that a device changes."""
        return (
            parse.STAGE,
            replace(lookup.STAGE, name="lookup by a device", run=self.look),
            replace(replay.CHECK, run=self.check),
            opening.STAGE,
            trailer.STAGE,
            nested.STAGE,
            replace(replay.SETTLE, run=self.settle),
            decap.STAGE,
            admit.STAGE,
            policies.STAGE,
            sent.STAGE,
            replace(count.STAGE, run=self.count),
        )

    def look(self, batch: InboundBatch, columns: InboundColumns) -> None:
        """The software lookup, the device's, and which of the two SAs opens a packet (RFC 4303 3.4.2).

        1. The software lookup gives every packet its own SA; the device answers for every row.
        2. USE: the SA of the context. SOFTWARE: the packet's own. Else none.
        3. Rows of the reference path are ONE_BY_ONE, those with the context of an SA that has left too.
        4. What this host sent never came to the device: it keeps its own SA.
        5. `usable` judges the SA that is used.
        6. Full offload: the device decrypts first, so the window is asked after the ICV, or not at all.
        """
        parsed = batch.verdict.copy()
        lookup.lookup(batch, columns)
        hardware(batch, self._tables, self.rows)
        self.own[:] = batch.sa_index
        sent = batch.flags & OWN != 0
        esp, rows = (parsed == Verdict.DELIVERED) & ~sent, self.rows
        ask_device(batch, self._tables, rows, np.flatnonzero(esp & (rows.step == ASK)).tolist())
        use = esp & (rows.action == USE)
        alone = self._lend(columns, esp, use) | (use & (rows.sa_index == GONE))
        batch.sa_index[:] = np.where(use, rows.sa_index, np.where(rows.action == SOFTWARE, self.own, -1))
        batch.sa_index[alone | ~esp] = -1
        batch.sa_index[sent] = self.own[sent]
        batch.verdict[:] = parsed
        usable(batch.sa_index, batch.dport, batch.flags, columns.standing, columns.own.standing, batch.verdict)
        batch.verdict[alone] = ONE_BY_ONE
        if use.any() and self._device.mode != "":
            nobody = self._device.replay_checked_by == "nobody"
            self.order[use] = device_replay.NOBODY if nobody else device_replay.ICV_FIRST

    def _lend(self, columns: InboundColumns, esp: Bools, use: Bools) -> Bools:
        """The packets whose own SA belongs to the reference path. It takes over the SAs that they use."""
        lent: set[int] = set()
        while True:
            alone = esp & (self.own >= 0)
            alone[alone] = columns.standing[self.own[alone]] == ONE_BY_ONE
            used = self.rows.sa_index[alone & use]
            used = used[used >= 0]
            new = {columns.entries[row].sa.spi for row in used[columns.standing[used] != ONE_BY_ONE].tolist()}
            # After ESP in ESP it has all of them; `settle` hands the remaining rows over.
            if not new or columns.alone[HANDED_OVER]:
                break
            lent |= new
            mates = [row for row, entry in enumerate(columns.entries) if entry.sa.spi in new]
            columns.lend(np.array(mates))
        if lent:
            columns.write_back()  # which makes `begin` read lifetimes again
        return alone

    def check(self, batch: InboundBatch, columns: InboundColumns) -> None:
        """RFC 4303 3.4.3. What a device decrypts is opened, whatever the window says now."""
        replay.check(batch, columns)
        batch.replay[self.order != device_replay.WINDOW_FIRST] = 0

    def settle(self, batch: InboundBatch, columns: InboundColumns) -> None:
        """As batch/inbound/replay.py, each row in its own order."""

        def go_on(rows: InboundBatch, first: int) -> int:
            return device_replay.advance(
                first, self.order[: len(rows)], rows.sa_index, rows.seq, rows.flags, rows.opened,
                columns.shape, columns.bits, columns.own.sent, rows.seq64, rows.replay, rows.verdict,
            )  # fmt: skip

        replay.settle_by(go_on, batch, columns, wary=True)

    def count(self, batch: InboundBatch, columns: InboundColumns) -> None:
        """As batch/inbound/count.py, for the SAs whose contexts were used."""
        device_replay.tally(
            batch.verdict, self.order, batch.flags, batch.sa_index, batch.payload, batch.time.view(np.int64),
            columns.counts,
        )  # fmt: skip
