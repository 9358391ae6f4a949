"""The results of a run: `why`, one entry for each SA, verdict and cause; and `notes`, what was odd but accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from espsim.batch.run.stats import InboundStats
from espsim.core.verdict import PASSED
from espsim.explain.facts import Explanation
from espsim.explain.watch import GROUPS, LOOKS, Collector, FailureGroup
from espsim.sad.association import Direction
from espsim.sad.entry import SadEntry
from espsim.sad.window import RingWindow

_UNTRIED = Explanation(
    None,
    f"not looked at: at most {LOOKS} packets are of an SA and verdict, and {GROUPS} groups, within a budget of trials",
)
_PADDING = "padding that is not 1, 2, 3 (RFC 4303 2.4): accepted, as by Linux"
_NO_WINDOW = "replay window 0: replays are not refused"
_RING = "the replay window's size does not divide 2^32: one duplicate of the first packet passes, as in Linux"


@dataclass(slots=True)
class _Entry:
    """An entry of `why`, with the detail of its first packet. `alike`: how many groups it holds."""

    answer: Explanation
    packets: int = 0
    tried: int = 0
    alike: int = 0

    def add(self, packets: int, tried: int) -> None:
        self.packets += packets
        self.tried += tried
        self.alike += tried > 0

    @property
    def detail(self) -> str:
        return self.answer.detail + (f" (and {self.alike - 1} more like it)" if self.alike > 1 else "")


def why(collector: Collector, counts: InboundStats) -> list[dict[str, Any]]:
    """`{sa, verdict, cause, detail, packets, tried}`, most packets first. Call it after `collector.end`.

    The entries together count all packets that failed. If all packets of a group that were looked at have one cause,
    the whole group has it. Otherwise each cause has its own packets, and the rest has none.
    """
    found: dict[tuple[str | None, str, str | None], _Entry] = {}
    rest = _failed(counts)
    for group in collector.groups:
        sa = None if group.own is None else group.own.sa.name
        rest[sa, group.verdict.name] = rest.get((sa, group.verdict.name), 0) - group.packets
        for answer, packets, tried in _parts(group):
            entry = found.setdefault((sa, group.verdict.name, answer.cause), _Entry(answer))
            if entry.answer is _UNTRIED:
                entry.answer = answer
            entry.add(packets, tried)
    for (sa, verdict), packets in rest.items():
        if packets > 0:
            found.setdefault((sa, verdict, None), _Entry(_UNTRIED)).add(packets, 0)
    entries = sorted(found.items(), key=lambda item: (-item[1].packets, *map(str, item[0])))
    return [
        {"sa": sa, "verdict": verdict, "cause": cause, "detail": entry.detail, "packets": entry.packets,
         "tried": entry.tried}
        for (sa, verdict, cause), entry in entries
    ]  # fmt: skip


def _failed(counts: InboundStats) -> dict[tuple[str | None, str], int]:
    """How many packets failed, by SA and verdict. Those without an SA: all packets less those of SAs."""
    passed = {verdict.name for verdict in PASSED}
    failed: dict[tuple[str | None, str], int] = {
        (None, verdict): number for verdict, number in counts.verdicts.items() if verdict not in passed and number
    }
    for count in counts.by_sa.values():
        for verdict, number in count.dropped.items():
            if verdict not in passed:
                sa = count.entry.sa.name, verdict
                failed[sa] = failed.get(sa, 0) + number
                failed[None, verdict] -= number
    return failed


def _parts(group: FailureGroup) -> Iterator[tuple[Explanation, int, int]]:
    """A group's answers: (answer, packets, tried) each."""
    whole = group.whole
    if whole is not None:
        yield whole, group.packets, len(group.samples)
        return
    by_cause: dict[str | None, tuple[Explanation, int]] = {}
    for sample in group.samples:
        answer, number = by_cause.get(sample.answer.cause, (sample.answer, 0))
        by_cause[sample.answer.cause] = answer, number + 1
    for answer, number in by_cause.values():
        yield answer, number, number
    if group.packets > len(group.samples):
        yield _UNTRIED, group.packets - len(group.samples), 0


def notes(collector: Collector, counts: InboundStats) -> list[dict[str, Any]]:
    """`{sa, note, packets}`: what was odd but accepted, and in how many packets; in the order of the SAs."""
    entries = {entry.sa_index: entry for entry in collector.known.entries}
    found: list[dict[str, Any]] = []
    for index in dict.fromkeys((*counts.by_sa, *collector.odd)):
        entry = entries.get(index)
        if entry is None:
            continue
        delivered = counts.by_sa[index].passed if index in counts.by_sa else 0
        odd = [(_PADDING, collector.odd.get(index, 0)), *((note, delivered) for note in _of_window(entry))]
        found += [{"sa": entry.sa.name, "note": note, "packets": packets} for note, packets in odd if packets]
    return found


def _of_window(entry: SadEntry) -> Iterable[str]:
    if entry.sa.direction is Direction.OUT:
        return ()
    return [_NO_WINDOW] if not entry.window.size else [_RING] if isinstance(entry.window, RingWindow) else []
