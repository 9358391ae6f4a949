"""Lanes: the two directions as a run of a capture needs them, in five parts.

    begin     the reference path takes over SAs that could reach a limit    first process, before the batch is sent out
    ahead     all steps that change no SA                                   any worker, at any time
    settle    windows, or sequence numbers                                  in order of arrival
    after     the packets that go out; inbound, the batch's sums            any worker, after settle
    end       rows of the reference path; counts of SAs                     in order of arrival

Inbound, `ahead` goes from parse to nested; outbound it is policy and measure. The sums of a batch (inbound/sums.py)
make the counting in order of arrival short. A batch with rows of the reference path has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from espsim.batch.inbound import order as inbound
from espsim.batch.inbound import parse
from espsim.batch.inbound.count import tally_sums
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.inbound.sums import Sums
from espsim.batch.lifetimes import Coming
from espsim.batch.outbound import order as outbound
from espsim.batch.outbound import policy
from espsim.batch.outbound.order import OutboundPipeline
from espsim.core.arrays import F64, I32, U8, U32
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import ONE_BY_ONE
from espsim.core.outbound_batch import ROOM, OutboundBatch
from espsim.io.slots import FrameSlot
from espsim.sad.association import Mode
from espsim.sad.entry import SadEntry

Memory = Callable[..., Any]
"""`memory(shape, dtype)` makes an array of zeros."""
Ask = Callable[[Any], Any]
"""Asks the first process, which owns the SAD."""


class LaneBatch(Protocol):
    """What the batches of both directions have."""

    verdict: U8
    sa_index: I32
    time: F64
    length: I32

    def head(self, rows: int) -> Any:
        """The first rows as a batch of the same memory."""

    def part(self, rows: slice) -> Any:
        """Some rows as a batch of the same memory."""


_B = TypeVar("_B", bound=LaneBatch)


class Lane(Protocol[_B]):
    """One direction, as a run of a capture needs it."""

    entries: list[SadEntry]

    @property
    def kernel(self) -> Callable[..., Any]:
        """One of the compiled steps. If it is on disk, the others most likely are too."""

    @property
    def shares(self) -> bool:
        """Whether several workers may run it."""

    @property
    def parts(self) -> bool:
        """Whether `ahead` may run a batch in parts."""

    @property
    def limited(self) -> bool:
        """Whether some SA may reach a limit. If not, `due` is always False."""

    def share(self, memory: Memory) -> None:
        """Move what packets change into memory of `memory`, which processes forked after this share."""

    def due(self, coming: Coming) -> bool:
        """Whether an SA could reach a limit with these packets."""

    def batch(self, slot: FrameSlot, time: F64, memory: Memory) -> _B:
        """A batch over a slot's memory."""

    def begin(self, batch: _B) -> None:
        """In the first process, while no worker has a batch."""

    def ahead(self, batch: _B) -> None:
        """At any time."""

    def settle(self, batch: _B) -> None:
        """In order of arrival."""

    def after(self, batch: _B) -> None:
        """At any time after `settle`."""

    def end(self, batch: _B) -> None:
        """In order of arrival."""

    def ended(self, batch: _B) -> bool:
        """After `after`: whether `end` will change no column of the batch."""

    def forked(self, ask: Ask) -> None:
        """This process is a worker now. The first process runs the reference path, through `ask`."""

    def answer(self, request: Any) -> Any:
        """In the first process: answer what a worker asked."""

    def close(self) -> None:
        """Write back into the SAD."""

    def notes(self) -> Any:
        """What a worker sends to the first process at the end."""

    def take(self, notes: Any) -> None:
        """Add what a worker sent."""


class InboundLane:
    """Packets of a capture through an `InboundPipeline`."""

    kernel = staticmethod(parse.parse_rows)
    """As Lane."""

    def __init__(self, path: InboundPipeline) -> None:
        self.path = path
        self.entries = path.columns.entries
        self.parts = path.parts
        self.limited = any(entry.sa.limited for entry in self.entries)
        self._beet = any(entry.sa.mode is Mode.BEET for entry in self.entries)
        self.sums: Sums | None = None
        """The sums of the batch between `after` and the next one. None: it is counted row by row."""
        self._sums = Sums(len(self.entries)) if path.parts and not path.debug else None

    @property
    def alone(self) -> Counter[int]:
        """After the last piece: how many packets the reference path opened (`InboundPipeline.alone`)."""
        return self.path.alone

    @property
    def shares(self) -> bool:
        """Whether several workers may run it.

        One worker does all with IP-TFS, which carries state from packet to packet. It also does all where an SPI rule
        with a lookup of its own, or a device, reads the SAD itself, and the SAD changes in the run, because SAs may end
        or belong to the reference path.
        """
        if self.path.aggregated is not None:
            return False
        own_ways = self.path.columns.asked is not None or not self.path.parts
        return not own_ways or not (self.limited or self._beet)

    def batch(self, slot: FrameSlot, time: F64, memory: Memory) -> InboundBatch:
        """A batch over a slot's memory."""
        mark: U32 = memory((len(time),), np.uint32)
        if self.path.one.mark:
            mark[:] = self.path.one.mark
        facts = slot.link, slot.frame, slot.captured, slot.wire
        return InboundBatch(slot.arena, slot.offset, slot.length, time, mark, memory, *facts)

    def share(self, memory: Memory) -> None:
        """As Lane, like the next ones."""
        self.path.columns.share(memory)

    def due(self, coming: Coming) -> bool:
        """As Lane."""
        return len(self.path.columns.due(coming)) > 0

    def begin(self, batch: InboundBatch) -> None:
        """As Lane."""
        self.path.columns.begin(batch)

    def ahead(self, batch: InboundBatch) -> None:
        """Parse, look up, check, open, judge the trailer, look for ESP inside."""
        self.path.run_some(batch, inbound.AHEAD)

    def settle(self, batch: InboundBatch) -> None:
        """Check again, and move the windows."""
        self.path.run_some(batch, inbound.SETTLE)

    def after(self, batch: InboundBatch) -> None:
        """Make the inner packets, judge them, and add up."""
        self.path.run_some(batch, inbound.AFTER)
        self.sums = self._sums.of(batch) if self._sums is not None else None

    def end(self, batch: InboundBatch) -> None:
        """Count; then the rows of the reference path."""
        if self.sums is not None:
            tally_sums(self.sums.sums, self.sums.used, self.path.columns.counts)
        else:
            self.path.run_some(batch, inbound.COUNT)
        self.path.run_by_clock(batch)

    def ended(self, batch: InboundBatch) -> bool:
        """As Lane."""
        return self.sums is not None

    def forked(self, ask: Ask) -> None:
        """As Lane."""
        self.path.one, self.path.asks = _Elsewhere(self.path.one, ask), False

    def answer(self, request: Any) -> Any:
        """As Lane."""
        packet, now, outgoing, in_tcp = request
        return self.path.ask_one(packet, now, outgoing=outgoing, in_tcp=in_tcp)

    def close(self) -> None:
        """As Lane."""
        self.path.close()

    def notes(self) -> Counter[int]:
        """How many packets the reference path opened for this worker."""
        return self.path.alone

    def take(self, notes: Counter[int]) -> None:
        """As Lane."""
        self.path.alone += notes


class OutboundLane:
    """Clear packets of a capture through an `OutboundPipeline`. `before`: as OutboundBatch has it."""

    parts = True
    """As Lane."""
    kernel = staticmethod(policy.choose)
    """As Lane."""

    def __init__(self, path: OutboundPipeline, before: int = 0) -> None:
        self.path = path
        self._before = before
        self.entries = path.columns.entries
        self.limited = any(entry.sa.limited for entry in self.entries) or path.columns.longest is not None
        self._tied = False

    @property
    def shares(self) -> bool:
        """Whether several workers may run it: not with IP-TFS, which joins packets."""
        return self.path.aggregated is None

    @property
    def alone(self) -> Counter[int]:
        """After the last piece: how many packets the reference path sealed (`OutboundPipeline.alone`)."""
        return self.path.alone

    @property
    def ambiguous(self) -> bool:
        """After the last piece: whether some packet fitted several SAs equally well, so that the newest was taken."""
        return self._tied or self.path.ambiguous

    def batch(self, slot: FrameSlot, time: F64, memory: Memory) -> OutboundBatch:
        """A batch over a slot's memory. Sealed packets lie in memory of each worker."""
        return OutboundBatch(slot.arena, slot.offset, slot.length, time, memory=memory, room=ROOM, before=self._before)

    def share(self, memory: Memory) -> None:
        """As Lane, like the next ones."""
        self.path.columns.share(memory)

    def due(self, coming: Coming) -> bool:
        """As Lane."""
        return len(self.path.columns.due(coming)) > 0

    def begin(self, batch: OutboundBatch) -> None:
        """As Lane."""
        self.path.columns.begin(batch)

    def ahead(self, batch: OutboundBatch) -> None:
        """Choose the SA, measure."""
        self.path.run_some(batch, outbound.AHEAD)

    def settle(self, batch: OutboundBatch) -> None:
        """Give sequence numbers."""
        self.path.run_some(batch, outbound.SETTLE)

    def after(self, batch: OutboundBatch) -> None:
        """Write headers, and seal."""
        self.path.run_some(batch, outbound.AFTER)

    def end(self, batch: OutboundBatch) -> None:
        """Rows of the reference path."""
        self.path.run_by_clock(batch)

    def ended(self, batch: OutboundBatch) -> bool:
        """As Lane."""
        return self.path.aggregated is None and ONE_BY_ONE not in batch.verdict.tobytes()

    def forked(self, ask: Ask) -> None:
        """As Lane."""
        self.path.one = _Elsewhere(self.path.one, ask)

    def answer(self, request: Any) -> Any:
        """As Lane."""
        return self.path.one.send(*request)

    def close(self) -> None:
        """As Lane."""
        self.path.close()

    def notes(self) -> tuple[bool, Counter[int]]:
        """(whether anything was ambiguous, how many packets the reference path sealed for this worker)."""
        return self.path.ambiguous, self.path.alone

    def take(self, notes: tuple[bool, Counter[int]]) -> None:
        """As Lane."""
        ambiguous, alone = notes
        self._tied = self._tied or ambiguous
        self.path.alone += alone


class _Elsewhere:
    """Replaces the reference path in a worker: the first process runs the packets, in their order."""

    def __init__(self, one: Any, ask: Ask) -> None:
        self._one, self._ask = one, ask

    def __getattr__(self, name: str) -> Any:
        return getattr(self._one, name)

    def receive(self, packet: bytes, now: float, *, outgoing: bool, in_tcp: bool) -> Any:
        """As `Inbound.receive`."""
        return self._ask((packet, now, outgoing, in_tcp))

    def send(self, packet: bytes, now: float) -> Any:
        """As `Outbound.send`."""
        return self._ask((packet, now))
