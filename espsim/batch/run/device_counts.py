"""Counts of a run with a modelled device: `InboundStats.count`, once for each kind of packet instead of each packet.

Packets of one kind have the same verdict, the same SAs and the same fate in the device. The worker that has a batch
finds its kinds (`kinds_of`); the first process counts them (`count`), in the order in which they came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espsim.batch.run.stats import InboundStats
from espsim.core.answers import Received
from espsim.core.inbound_batch import InboundBatch
from espsim.core.layers import Layer
from espsim.core.numbers import CUT, NOT_ESP, OWN, PART
from espsim.core.verdict import DeviceOutcome, Surfacing, Verdict
from espsim.sad.entry import SadEntry

if TYPE_CHECKING:
    from espsim.batch.device.order import OffloadedPipeline

_FLAGS = int(CUT | OWN)


class CountedKind(NamedTuple):
    """Packets that count alike, and how many there are (`times`). `own`, `used`: sa_index; -1: none.

    `verdict` None: they are not ESP, and `layer` says what they are. `around`: in ESP in ESP, the layer around this
    one.
    """

    times: int
    layer: int
    verdict: Verdict | None = None
    counter: str | None = None
    own: int = -1
    used: int = -1
    device: DeviceOutcome | None = None
    surfacing: Surfacing = Surfacing.NONE
    around: CountedKind | None = None


def kinds_of(path: OffloadedPipeline, batch: InboundBatch) -> list[CountedKind]:
    """The kinds of packets in a batch that has run, in the order in which they came. Fragments belong to no kind."""
    own, fate, asked = path.beside(batch)
    # A kind is one 64-bit number: bits 0-8 the device, 9-12 the layer, 13-14 flags, 15-22 the verdict, from 23 on the
    # two SAs. These fit because they are numbered within the batch.
    sas, which = np.unique(np.concatenate((own, batch.sa_index)), return_inverse=True)
    found = (which[: len(batch)] * len(sas) + which[len(batch) :]).astype(np.int64) << 23 | fate
    found |= batch.verdict.astype(np.int64) << 15 | (batch.flags & _FLAGS).astype(np.int64) << 13
    found |= np.where(batch.verdict == NOT_ESP, batch.kind, 0).astype(np.int64) << 9
    rows = np.flatnonzero((batch.verdict != PART) & ~np.isin(np.arange(len(batch)), list(asked)))
    _, first, times = np.unique(found[rows], return_index=True, return_counts=True)
    all_of_them = dict(zip(rows[first].tolist(), times.tolist(), strict=True)) | dict.fromkeys(asked, 1)
    return [_kind(path, batch, row, all_of_them[row]) for row in sorted(all_of_them)]


def _kind(path: OffloadedPipeline, batch: InboundBatch, row: int, times: int) -> CountedKind:
    (answer,) = path.answers(batch, slice(row, row + 1))
    layer = int(batch.kind[row])
    if answer is None:
        return CountedKind(times, layer)
    return _of(answer, times, layer)


def _of(answer: Received[SadEntry], times: int, layer: int) -> CountedKind:
    own, used = (-1 if entry is None else entry.sa_index for entry in (answer.entry, answer.used))
    around = None if answer.around is None else _of(answer.around, times, layer)
    return CountedKind(times, layer, answer.verdict, answer.counter, own, used, answer.device, answer.surfacing, around)


def count(kinds: list[CountedKind], path: OffloadedPipeline, stats: InboundStats) -> None:
    """Count the packets of these kinds."""
    for kind in kinds:
        stats.count(_answer(kind, path), Layer(kind.layer), kind.times)


def _answer(kind: CountedKind, path: OffloadedPipeline) -> Received[SadEntry] | None:
    if kind.verdict is None:
        return None
    own, used = (path.entry_of(index) if index >= 0 else None for index in (kind.own, kind.used))
    around = None if kind.around is None else _answer(kind.around, path)
    return Received(
        kind.verdict, kind.counter, entry=own, used=used, device=kind.device, surfacing=kind.surfacing, around=around
    )
