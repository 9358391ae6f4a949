"""Counts of whole batches. They become the `InboundStats` and `OutboundStats` that the reference path makes."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from espsim.batch.inbound.sums import Sums
from espsim.batch.run import counting as kernel
from espsim.batch.run.stats import ENGINE_VERDICTS, InboundStats, OutboundStats
from espsim.core.answers import Received, SaCount
from espsim.core.arrays import I64
from espsim.core.inbound_batch import InboundBatch
from espsim.core.layers import Layer
from espsim.core.numbers import MAX_DEPTH, NOT_ESP, NOT_IP
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.sad.entry import SadEntry

# The host received the whole packet, so none of its counters moved for what the capture cut.
_CUT_COUNTS_NOT = frozenset({Verdict.HEADER, Verdict.TRUNCATED})
_NONE: Mapping[int, Received[SadEntry]] = MappingProxyType({})


class SaTally:
    """Verdicts of every SA, and the order in which SAs came. One row an SA, as in `entries`; layouts: counting.py."""

    def __init__(self, entries: Sequence[SadEntry], kinds: int, memory: Callable[..., Any]) -> None:
        self._entries = entries
        self.counts: I64 = memory((len(entries), 3), np.int64)
        self.drops: I64 = memory((len(entries) + 1, kinds), np.int64)
        self.order: I64 = memory((len(entries) + 1,), np.int64)

    def add(self, row: int, verdict: int) -> None:
        """Count one packet of an SA, a row of the entries; -1: of no SA."""
        if row < 0:
            return
        counts, drops = self.counts[row], self.drops
        if not counts[kernel.ALL]:
            self.order[kernel.HOW_MANY] += 1
            self.order[self.order[kernel.HOW_MANY]] = row
        counts[kernel.ALL] += 1
        if not verdict:
            counts[kernel.PASSED] += 1
            return
        if not counts[kernel.DROPS]:
            drops[0, 0] += 1
            counts[kernel.DROPS] = drops[0, 0]
        drops[counts[kernel.DROPS], verdict] += 1

    @property
    def _rows(self) -> list[int]:
        """The SAs that had a packet, in the order in which the first ones came."""
        rows: list[int] = self.order[1 : 1 + self.order[kernel.HOW_MANY]].tolist()
        return rows

    def by_sa(self, verdicts: Sequence[Verdict] | Sequence[OutboundVerdict]) -> dict[int, SaCount[SadEntry]]:
        """sa_index -> counts, in the order in which the SAs' first packets came. Verdict 0 is the one that passes."""
        result, rows = {}, self._rows
        nothing: Counter[str] = Counter()  # one for all SAs whose packets all passed
        for row, (passed, _, place) in zip(rows, self.counts[rows].tolist(), strict=True):
            count = SaCount(self._entries[row], passed, nothing)
            if place:
                numbers = self.drops[place].tolist()
                dropped = Counter({verdict.name: numbers[verdict] for verdict in verdicts[1:] if numbers[verdict]})
                count.sent = dropped.pop(Verdict.SENT.name, 0)  # no outbound verdict has this name
                count.dropped = dropped
            result[count.entry.sa_index] = count
        return result

    def opened(self, by_sa: dict[int, SaCount[SadEntry]]) -> dict[int, SaCount[SadEntry]]:
        """sa_index -> inbound packets that an engine opened or refused by their ICV; only SAs that had some.

        `by_sa`: the answer of `by_sa`. An SA whose packets all passed has the same count here.
        """
        engine = sorted(ENGINE_VERDICTS - {Verdict.DELIVERED})
        result = {}
        nothing: Counter[str] = Counter()  # one for all: an engine's packets are counted as passed alone
        for (index, count), place in zip(by_sa.items(), self.counts[self._rows, kernel.DROPS].tolist(), strict=True):
            if not place:
                result[index] = count
            elif number := count.passed + int(self.drops[place, engine].sum()):
                result[index] = SaCount(count.entry, number, nothing)
        return result


class InboundCounts:
    """Counts inbound batches that have run. `entries`: `InboundColumns.entries`.

    `memory(shape, dtype)` makes the counters, zeroed; it may be memory that workers share, who count in turn.
    """

    def __init__(self, entries: Sequence[SadEntry], memory: Callable[..., Any] = np.zeros) -> None:
        self._verdicts: I64 = memory((256, 4), np.int64)  # by flags: CUT is 1, OWN 2
        self._ignored: I64 = memory((len(Layer),), np.int64)
        self._nested: I64 = memory((MAX_DEPTH + 2,), np.int64)
        self._sas = SaTally(entries, len(Verdict), memory)
        self._entries = entries

    @functools.cached_property
    def _places(self) -> dict[int, int]:
        """The rows by sa_index, made when ESP in ESP comes."""
        return {entry.sa_index: row for row, entry in enumerate(self._entries)}

    def count(
        self, batch: InboundBatch, nested: Mapping[int, Received[SadEntry]] = _NONE, sums: Sums | None = None
    ) -> None:  # fmt: skip
        """Count every row of a batch. `nested`: the answers to ESP in ESP, by row. `sums`: the batch's, if any."""
        if sums is not None:
            self._count_sums(batch, sums)
            return
        first = 0
        for row in sorted(nested):
            self._count(batch, slice(first, row))
            first = row  # the last layer is counted as the row
            *around, last = nested[row].layers
            self._nested[last.depth] += 1
            for layer in around:
                self._sas.add(-1 if layer.entry is None else self._places[layer.entry.sa_index], layer.verdict)
        self._count(batch, slice(first, len(batch)))

    def _count(self, batch: InboundBatch, rows: slice) -> None:
        sas = self._sas
        kernel.received(
            batch.verdict[rows], batch.flags[rows], batch.kind[rows], batch.sa_index[rows],
            self._verdicts, self._ignored, sas.counts, sas.drops, sas.order,
        )  # fmt: skip

    def _count_sums(self, batch: InboundBatch, sums: Sums) -> None:
        sas = self._sas
        kernel.received_sums(
            sums.sums, sums.others, sums.verdicts, sums.ignored, sums.used, batch.verdict, batch.sa_index,
            self._verdicts, self._ignored, sas.counts, sas.drops, sas.order,
        )  # fmt: skip

    def stats(self) -> InboundStats:
        """The counts that `InboundStats.count` makes of the same packets."""
        stats = InboundStats(ignored=int(self._verdicts[NOT_ESP].sum()))
        stats.ignored_by.update({layer: int(self._ignored[layer]) for layer in Layer})
        for verdict in Verdict:
            whole, cut, *own = self._verdicts[verdict].tolist()
            stats.packets += whole + cut + sum(own)
            stats.verdicts[verdict.name] += whole + cut + sum(own)
            if verdict.counter is not None:
                stats.counters[verdict.counter] += whole + (0 if verdict in _CUT_COUNTS_NOT else cut)
        stats.by_sa = self._sas.by_sa(list(Verdict))
        stats.opened = self._sas.opened(stats.by_sa)
        stats.nested.update({depth: int(self._nested[depth]) for depth in np.flatnonzero(self._nested).tolist()})
        return stats


class OutboundCounts:
    """Counts outbound batches that have run; `entries` and `memory` as in InboundCounts."""

    def __init__(self, entries: Sequence[SadEntry], memory: Callable[..., Any] = np.zeros) -> None:
        self._verdicts: I64 = memory((256,), np.int64)
        self._several: I64 = memory((2,), np.int64)
        self._sas = SaTally(entries, len(OutboundVerdict), memory)

    def count(self, batch: OutboundBatch) -> None:
        """Count every row of a batch."""
        sas = self._sas
        kernel.sent(batch.verdict, batch.sa_index, self._verdicts, sas.counts, sas.drops, sas.order)
        for sent, _places in batch.several.values():
            self._several += (bool(sent.also), sent.fragmented)

    def stats(self) -> OutboundStats:
        """The counts that `OutboundStats.count` makes of the same packets."""
        stats = OutboundStats(ignored=int(self._verdicts[NOT_IP]))
        stats.cut_inside, stats.fragmented = self._several.tolist()
        for verdict in OutboundVerdict:
            number = int(self._verdicts[verdict])
            stats.packets += number
            stats.verdicts[verdict.name] += number
            if verdict.counter is not None:
                stats.counters[verdict.counter] += number
        stats.by_sa = self._sas.by_sa(list(OutboundVerdict))
        return stats
