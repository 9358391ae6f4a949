"""The two directions as a run of a capture needs them: what may run in any order, and what in order of arrival.

begin     SAs near their end become the reference path's        in the first process, before the batch is handed out
ahead     what moves no SA: to the opened packet, or to the length of the sealed one     any worker, any time
settle    windows and numbers                                   in order of arrival
after     the packet that goes out                              any worker
end       what goes one by one, what SAs count                  in order of arrival
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from espsim.batch.inbound import order as inbound
from espsim.batch.inbound import parse
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.lifetimes import Coming
from espsim.batch.outbound import order as outbound
from espsim.batch.outbound import policy
from espsim.batch.outbound.order import OutboundPipeline
from espsim.core.arrays import F64, I32, U8, U32
from espsim.core.inbound_batch import InboundBatch
from espsim.core.outbound_batch import ROOM, OutboundBatch
from espsim.io.slots import FrameSlot
from espsim.sad.association import Mode
from espsim.sad.entry import SadEntry

Memory = Callable[..., Any]
"""`memory(shape, dtype)` makes an array of zeros."""
Ask = Callable[[Any], Any]
"""Asks the first process, which has the SAD."""


class LaneBatch(Protocol):
    """What both directions' batches have."""

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
    """One direction, as a run of a capture needs it; see above."""

    entries: list[SadEntry]

    @property
    def kernel(self) -> Callable[..., Any]:
        """One of the compiled steps: where it is on disk all are, most likely."""

    @property
    def shares(self) -> bool:
        """Whether several workers may run it."""

    @property
    def parts(self) -> bool:
        """Whether `ahead` may have a batch in parts."""

    @property
    def limited(self) -> bool:
        """Whether some SA may meet a limit; else `due` says no."""

    def share(self, memory: Memory) -> None:
        """What packets move lies in memory of `memory` from now on, which processes forked then share."""

    def due(self, coming: Coming) -> bool:
        """Whether an SA may meet a limit while these packets run."""

    def batch(self, slot: FrameSlot, time: F64, memory: Memory) -> _B:
        """A batch over a slot's memory."""

    def begin(self, batch: _B) -> None:
        """In the first process, where no batch is on the way."""

    def ahead(self, batch: _B) -> None:
        """At any time."""

    def settle(self, batch: _B) -> None:
        """In order of arrival."""

    def after(self, batch: _B) -> None:
        """At any time after it."""

    def end(self, batch: _B) -> None:
        """In order of arrival."""

    def forked(self, ask: Ask) -> None:
        """This is a worker now: what the reference path has to do, the first process does."""

    def answer(self, request: Any) -> Any:
        """In the first process: what a worker asked."""

    def close(self) -> None:
        """Write back into the SAD."""

    def notes(self) -> Any:
        """What a worker has to say at the end."""

    def take(self, notes: Any) -> None:
        """What a worker said."""


class InboundLane:
    """Packets of a capture through a `InboundPipeline`."""

    kernel = staticmethod(parse.parse_rows)
    """As Lane."""

    def __init__(self, path: InboundPipeline) -> None:
        self.path = path
        self.entries = path.columns.entries
        self.parts = path.parts
        self.limited = any(entry.sa.limited for entry in self.entries)
        self._beet = any(entry.sa.mode is Mode.BEET for entry in self.entries)

    @property
    def alone(self) -> Counter[int]:
        """After the last piece: what the reference path opened (`InboundPipeline.alone`)."""
        return self.path.alone

    @property
    def shares(self) -> bool:
        """Where a policy of its own finds SAs that may end or are the reference path's, or a device opens packets with
        keys of such SAs, one worker does all: these look at the SAD itself, which moves then. So it does where IP-TFS
        puts packets together."""
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
        """Parse, look up, check, open, look at the trailer."""
        self.path.run_some(batch, inbound.AHEAD)

    def settle(self, batch: InboundBatch) -> None:
        """Check again, move the windows."""
        self.path.run_some(batch, inbound.SETTLE)

    def after(self, batch: InboundBatch) -> None:
        """Take the packets out."""
        self.path.run_some(batch, inbound.AFTER)

    def end(self, batch: InboundBatch) -> None:
        """Count."""
        self.path.run_some(batch, inbound.COUNT)
        self.path.run_by_clock(batch)

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
        """What the reference path did for this worker."""
        return self.path.alone

    def take(self, notes: Counter[int]) -> None:
        """As Lane."""
        self.path.alone += notes


class OutboundLane:
    """Clear packets of a capture through a `OutboundPipeline`."""

    parts = True
    """As Lane."""
    kernel = staticmethod(policy.choose)
    """As Lane."""

    def __init__(self, path: OutboundPipeline) -> None:
        self.path = path
        self.entries = path.columns.entries
        self.limited = any(entry.sa.limited for entry in self.entries) or path.columns.longest is not None
        self._tied = False

    @property
    def shares(self) -> bool:
        """Any number of workers may run it, but one where IP-TFS joins packets."""
        return self.path.aggregated is None

    @property
    def alone(self) -> Counter[int]:
        """After the last piece: what the reference path sealed (`OutboundPipeline.alone`)."""
        return self.path.alone

    @property
    def ambiguous(self) -> bool:
        """After the last piece: whether some packet fitted several SAs equally well, so that the newest was taken."""
        return self._tied or self.path.ambiguous

    def batch(self, slot: FrameSlot, time: F64, memory: Memory) -> OutboundBatch:
        """A batch over a slot's memory. Sealed packets lie in memory of each worker."""
        return OutboundBatch(slot.arena, slot.offset, slot.length, time, memory=memory, room=ROOM)

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
        """Number."""
        self.path.run_some(batch, outbound.SETTLE)

    def after(self, batch: OutboundBatch) -> None:
        """Put headers around, seal."""
        self.path.run_some(batch, outbound.AFTER)

    def end(self, batch: OutboundBatch) -> None:
        """What goes one by one."""
        self.path.run_by_clock(batch)

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
        """Whether anything was ambiguous, and what the reference path did for this worker."""
        return self.path.ambiguous, self.path.alone

    def take(self, notes: tuple[bool, Counter[int]]) -> None:
        """As Lane."""
        ambiguous, alone = notes
        self._tied = self._tied or ambiguous
        self.path.alone += alone


class _Elsewhere:
    """In a worker, in the place of the reference path: the first process runs the packets, in their order."""

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
