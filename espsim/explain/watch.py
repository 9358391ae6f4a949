"""The collector of a run. It gets packets in arrival order, and gives the causes of those that failed.

    passed      a packet whose ICV was right: moves the SA's highest number
    failed      a packet that failed: joins its group, and gets a look if the group has room
    end         no more packets come: settles what only the whole run shows

At most LOOKS packets of a group are looked at. At most GROUPS groups are made; packets of others are counted by their
verdict and have no cause. Only the cause and the number of a packet are kept, so memory is bounded.

`Watch` is the reference; `sift.Sift` gives the same answers, batch by batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from espsim.aead.batch import BatchEngine
from espsim.core.answers import Received
from espsim.core.verdict import IPTFS_VERDICTS, POLICED, REPLAY_VERDICTS, Verdict
from espsim.explain.causes import DAMAGED, KEY, RESTART, TOO_OLD, CauseFinder, damaged_detail, restart_detail
from espsim.explain.facts import CapturedPacket, Explanation, Failure, Top
from espsim.explain.integrity import Habit
from espsim.explain.known import Known
from espsim.explain.trials import Trials
from espsim.sad.entry import SadEntry

LOOKS, GROUPS = 32, 1024
"""How many packets of a group are looked at, and how many groups are made."""
_FIRST_NUMBERS = range(1, 65)
"""The numbers with which a restart may begin: a few of the first packets may be lost."""
_M64, _HALF = 0xFFFFFFFFFFFFFFFF, 1 << 63

_AUTHENTIC = POLICED | IPTFS_VERDICTS | {Verdict.TRAILER, Verdict.MODE, Verdict.POLICY, Verdict.ECN}
"""Verdicts of failed packets with a right ICV. The window has taken their number, except with TRAILER."""

_Key: TypeAlias = tuple[object, ...]


@dataclass(slots=True, eq=False)
class Sample:
    """A packet that was looked at. `answer` may change until `end`; `own`: its SA."""

    answer: Explanation
    own: SadEntry | None
    number: int = 0


@dataclass(slots=True, eq=False)
class FailureGroup:
    """Packets that failed alike: how many, those that were looked at, and for how many more there is room."""

    verdict: Verdict
    own: SadEntry | None
    packets: int = 0
    room: int = LOOKS
    samples: list[Sample] = field(default_factory=list)
    habit: Habit = field(default_factory=Habit)

    @property
    def whole(self) -> Explanation | None:
        """The answer of the whole group: all packets that were looked at have its cause. None: they differ."""
        first = self.samples[0].answer if self.samples else None
        same = first is not None and all(sample.answer.cause == first.cause for sample in self.samples)
        return first if same else None


Token: TypeAlias = Sample | FailureGroup | None
"""What gives a packet's cause: the packet if it was looked at, else its group; None: neither."""


def cause_of(token: Token) -> str | None:
    """A packet's own cause if it was looked at, else its group's if it has one. Final after `end`."""
    if isinstance(token, Sample):
        return token.answer.cause
    whole = token.whole if token is not None else None
    return None if whole is None else whole.cause


def is_final(token: Token) -> bool:
    """Whether `cause_of` will not change before `end`."""
    return token is None or (isinstance(token, Sample) and token.answer.cause not in (KEY, TOO_OLD))


@dataclass(slots=True)
class _Run:
    """Numbers of an SA that rise from a small one: the last one, and the first packet while it is the only one."""

    last: int
    begun: str
    first: Sample | None


class Collector(ABC):
    """What both collectors share: looking at packets, and settling at the end. `ports`: UDP ports that carry ESP."""

    def __init__(self, known: Known, engine: BatchEngine, ports: Collection[int]) -> None:
        self.known = known
        self.groups: list[FailureGroup] = []
        self.odd: dict[int, int] = {}
        """After `end`: how many packets were delivered with padding other than 1, 2, 3, by sa_index."""
        self._ports = ports
        self._trials = Trials(engine)
        self._judge = CauseFinder(known, self._trials, self.top)
        self._runs: dict[int, _Run] = {}
        self._right: set[int] = set()

    @abstractmethod
    def top(self, entry: SadEntry) -> Top:
        """The top of an SA's window after the packets so far."""

    @abstractmethod
    def authentic(self, entry: SadEntry) -> bool:
        """Whether any of an SA's packets had a right ICV."""

    def end(self) -> None:
        """Settle the causes: no more packets come. `key` becomes `damaged` where others of the SA opened."""
        for group in self.groups:
            for sample in group.samples:
                own = sample.own if sample.answer.cause == KEY else None
                if own is not None and (own.sa_index in self._right or self.authentic(own)):
                    sample.answer = Explanation(DAMAGED, damaged_detail(own))

    def fragments(self, answer: Explanation) -> FailureGroup:
        """Count a datagram that was never completed. Returns the group of those with this cause."""
        for group in self.groups:
            if group.verdict is Verdict.FRAGMENT and group.whole is not None and group.whole.cause == answer.cause:
                break
        else:
            group = FailureGroup(Verdict.FRAGMENT, None)
            self.groups.append(group)
        group.packets += 1
        if len(group.samples) < LOOKS:
            group.samples.append(Sample(answer, None))
        return group

    def _look(self, group: FailureGroup, fate: Received[SadEntry], seen: CapturedPacket) -> Token:
        """Look at a packet of a group with room. If the budget is used up, the group gets no more looks."""
        if not self._trials.may(seen.frame, first=not group.samples):
            group.room = 0
            return group
        answer = self._judge.cause(Failure.of(fate, seen, self._ports), group.habit)
        sample = Sample(answer, fate.entry, fate.seq or 0)
        group.samples.append(sample)
        if fate.verdict in REPLAY_VERDICTS and fate.entry is not None and answer.cause in ("duplicate", TOO_OLD):
            self._right.add(fate.entry.sa_index)
            if fate.verdict is Verdict.REPLAY_TOO_OLD:
                self._follow(sample, fate.entry)
        return sample

    def _follow(self, sample: Sample, own: SadEntry) -> None:
        """Follow a number that is too old. It is of a restart if an earlier one was small and this one is above it."""
        run = self._runs.get(own.sa_index)
        if run is not None and sample.number > run.last:
            run.last = sample.number
            for one in (run.first, sample):
                if one is not None:
                    one.answer = Explanation(RESTART, run.begun)
            run.first = None
        elif sample.number in _FIRST_NUMBERS:
            begun = restart_detail(sample.number, self.top(own).number)
            self._runs[own.sa_index] = _Run(sample.number, begun, sample)


class Watch(Collector):
    """The collector for one packet at a time. It computes the tops of windows from the packets that pass."""

    def __init__(self, known: Known, engine: BatchEngine, ports: Collection[int]) -> None:
        super().__init__(known, engine, ports)
        tops = known.tops()
        self._tops = {index: top.number for index, top in tops.items()}
        self._waits = {index for index, top in tops.items() if not top.known}
        self._authentic: set[int] = set()
        self._found: dict[_Key, FailureGroup] = {}

    def top(self, entry: SadEntry) -> Top:
        """As Collector."""
        index = entry.sa_index
        return Top(self._tops.get(index, 0), index in self._tops and index not in self._waits)

    def authentic(self, entry: SadEntry) -> bool:
        """As Collector."""
        return entry.sa_index in self._authentic

    def passed(self, fate: Received[SadEntry]) -> None:
        """Take a packet whose ICV was right, in arrival order with the others."""
        if fate.around is not None:
            self.passed(fate.around)
        self._layer_passed(fate)

    def _layer_passed(self, fate: Received[SadEntry]) -> None:
        if fate.used is None:
            return
        index, seq64 = fate.used.sa_index, fate.seq64
        self._authentic.add(index)
        # No set of verdicts: hashing an Enum member calls a Python function, and most packets come here.
        if fate.own or fate.verdict is Verdict.TRAILER or seq64 is None:
            return
        if 0 < (seq64 - self._tops.get(index, 0) & _M64) < _HALF or index in self._waits:
            self._tops[index] = seq64
            self._waits.discard(index)
        if fate.odd_padding and fate.verdict is Verdict.DELIVERED:
            self.odd[index] = self.odd.get(index, 0) + 1

    def failed(self, fate: Received[SadEntry], seen: CapturedPacket) -> Token:
        """Take a packet that failed. None: there is no group for it."""
        if fate.around is not None:
            self.passed(fate.around)
        if fate.verdict in _AUTHENTIC:
            self._layer_passed(fate)
        key = self._key(fate, seen)
        group = self._found.get(key)
        if group is None:
            if len(self._found) == GROUPS:
                return None
            group = self._found[key] = FailureGroup(fate.verdict, fate.entry)
            self.groups.append(group)
        group.packets += 1
        if not group.room:
            return group
        group.room -= 1
        return self._look(group, fate, seen)

    def _key(self, fate: Received[SadEntry], seen: CapturedPacket) -> _Key:
        if fate.entry is not None:
            return fate.verdict, fate.entry.sa_index
        if fate.verdict is not Verdict.NO_SA:
            return (fate.verdict,)
        outer = Failure.of(fate, seen, self._ports).outer
        return (fate.verdict, fate.spi, outer.dst, outer.ports is not None) if outer is not None else (fate.verdict,)
