"""Counts of whole batches, which become the same `InboundStats` and `OutboundStats` that one packet at a time makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espsim.batch.run.stats import ENGINE_VERDICTS, InboundStats, OutboundStats
from espsim.core.answers import SaCount
from espsim.core.arrays import I32, U8
from espsim.core.batch import PacketBatch
from espsim.core.layers import Layer
from espsim.core.numbers import CUT, NOT_ESP, NOT_IP, OWN
from espsim.core.out_batch import OutBatch
from espsim.core.verdict import OutVerdict, Verdict
from espsim.sad.entry import SadEntry

# A capture that was cut short would never have reached xfrm: no counter of it moves.
_CUT_COUNTS_NOT = frozenset({Verdict.HEADER, Verdict.TRUNCATED})


class SaTally:
    """Verdicts of every SA, and which SA came first. A row of `entries` an SA."""

    def __init__(self, entries: Sequence[SadEntry], kinds: int) -> None:
        self._entries = entries
        self._counts = np.zeros((len(entries), kinds), np.int64)
        self._order: list[int] = []
        self._seen = np.zeros(len(entries), np.bool_)

    def count(self, sa_index: I32, verdict: U8) -> None:
        """Count the rows that have an SA."""
        has = sa_index >= 0
        rows = sa_index[has]
        np.add.at(self._counts, (rows, verdict[has]), 1)
        new = rows[~self._seen[rows]]
        if len(new):
            found, first = np.unique(new, return_index=True)
            self._order += found[np.argsort(first)].tolist()
            self._seen[found] = True

    def by_sa(self, verdicts: Sequence[Verdict] | Sequence[OutVerdict]) -> dict[int, SaCount[SadEntry]]:
        """sa_index -> counts, in the order in which the SAs' packets came. Verdict 0 is the one that passes."""
        result = {}
        for row in self._order:
            counts = self._counts[row].tolist()
            count = SaCount(self._entries[row], counts[0])
            dropped = {verdict.name: counts[verdict] for verdict in verdicts[1:] if counts[verdict]}
            count.sent = dropped.pop(Verdict.SENT.name, 0)  # no outbound verdict has this name
            count.dropped.update(dropped)
            result[count.entry.sa_index] = count
        return result

    def opened(self) -> dict[int, SaCount[SadEntry]]:
        """sa_index -> inbound packets that an engine opened or refused by their ICV; SAs without any are left out."""
        numbers = self._counts[:, sorted(ENGINE_VERDICTS)].sum(axis=1)
        rows = [row for row in self._order if numbers[row]]
        return {self._entries[row].sa_index: SaCount(self._entries[row], int(numbers[row])) for row in rows}


class InboundCounts:
    """Counts inbound batches that have run; `entries` are the SAs by `sa_index` (`SadColumns.entries`)."""

    def __init__(self, entries: Sequence[SadEntry]) -> None:
        self._verdicts = np.zeros((256, 4), np.int64)  # by flags: CUT is 1, OWN 2
        self._ignored = np.zeros(len(Layer), np.int64)
        self._sas = SaTally(entries, len(Verdict))

    def count(self, batch: PacketBatch) -> None:
        """Count every row of a batch."""
        np.add.at(self._verdicts, (batch.verdict, batch.flags & (CUT | OWN)), 1)
        self._ignored += np.bincount(batch.kind[batch.verdict == NOT_ESP], minlength=len(Layer))
        self._sas.count(batch.sa_index, batch.verdict)

    def stats(self) -> InboundStats:
        """What `InboundStats.count` would have made of the same packets."""
        stats = InboundStats(ignored=int(self._verdicts[NOT_ESP].sum()))
        stats.ignored_by.update({layer: int(self._ignored[layer]) for layer in Layer})
        for verdict in Verdict:
            whole, cut, *own = self._verdicts[verdict].tolist()
            stats.packets += whole + cut + sum(own)
            stats.verdicts[verdict.name] += whole + cut + sum(own)
            if verdict.counter is not None:
                stats.counters[verdict.counter] += whole + (0 if verdict in _CUT_COUNTS_NOT else cut)
        stats.by_sa, stats.opened = self._sas.by_sa(list(Verdict)), self._sas.opened()
        return stats


class OutboundCounts:
    """Counts outbound batches that have run; `entries` are the SAs by `sa_index`."""

    def __init__(self, entries: Sequence[SadEntry]) -> None:
        self._verdicts = np.zeros(256, np.int64)
        self._sas = SaTally(entries, len(OutVerdict))

    def count(self, batch: OutBatch) -> None:
        """Count every row of a batch."""
        self._verdicts += np.bincount(batch.verdict, minlength=256)
        self._sas.count(batch.sa_index, batch.verdict)

    def stats(self) -> OutboundStats:
        """What `OutboundStats.count` would have made of the same packets."""
        stats = OutboundStats(ignored=int(self._verdicts[NOT_IP]))
        for verdict in OutVerdict:
            number = int(self._verdicts[verdict])
            stats.packets += number
            stats.verdicts[verdict.name] += number
            if verdict.counter is not None:
                stats.counters[verdict.counter] += number
        stats.by_sa = self._sas.by_sa(list(OutVerdict))
        return stats
