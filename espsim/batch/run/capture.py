"""A capture through the batch path in bounded memory, by one worker or several (ring.py).

    reader -> batch -> lane -> taker

What comes of a batch is the taker's: in order of arrival it counts and looks, then the packets that go out are written.
With several workers `order`, `records` and `room` run in them; `answer` and `heard` run in the first process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from espsim.batch.run.lanes import Ask, Batch, Lane, Memory
from espsim.batch.run.workers import shared_zeros
from espsim.core.arrays import F64, I64
from espsim.core.errors import EspsimError
from espsim.io.atomic import Place
from espsim.io.batches import BatchReader
from espsim.io.slots import FrameSlot

ROWS = 2048
"""Frames of a batch: enough that a stage's call costs little, few enough that a batch stays in a core's cache."""
ARENA = 4 << 20
"""Bytes of a batch."""
SPARE = 2
"""Batches that are read beside those that workers have."""

_B = TypeVar("_B", bound=Batch)


@dataclass(slots=True)
class Piece(Generic[_B]):
    """A batch that has run. `frames` are the numbers of the rows' frames, from 1; `time_ns` the frames' times."""

    batch: _B
    frames: I64
    time_ns: I64


class Taker(Protocol[_B]):
    """Who takes what comes of a capture, piece by piece."""

    def order(self, piece: Piece[_B], ask: Ask) -> Any:
        """In order of arrival: the note of a piece, which `heard` gets. `ask` has what `answer` says."""

    def place(self) -> Place | None:
        """Where the first packet that goes out is to be put; None: only `write` can."""

    def room(self, piece: Piece[_B]) -> int:
        """The bytes that go out."""

    def records(self, piece: Piece[_B]) -> Iterator[memoryview]:
        """Those bytes; each part must be used before the next one is asked for."""

    def write(self, data: memoryview) -> None:
        """Write such a part after those before."""

    def answer(self, request: Any) -> Any:
        """What `order` asked."""

    def heard(self, note: Any, at: int) -> None:
        """A piece's note, in order of arrival. `at`: bytes of the capture that have been read."""


class Share(Protocol):
    """How many workers there are. `insists`: an error where so many can't be had; else one does it then."""

    @property
    def workers(self) -> int:
        """From 1 on."""

    @property
    def insists(self) -> bool:
        """See above."""


Begin = Callable[[float], None]
"""Hears the first frame's time in seconds, before anything runs."""


def run(
    reader: BatchReader, lane: Lane[_B], taker: Taker[_B], share: Share, begin: Begin = lambda now: None
) -> None:  # fmt: skip
    """Run a capture; the SAD is up to date at the end.

    Reader errors are raised after the last complete piece, with the SAD up to date. Raises InputError where so many
    workers can't be had, WorkerLost where one was killed, WorkerFailedError where one failed, and what the taker
    raises.
    """
    several = share.workers > 1 and lane.shares
    slots = Slots(reader, lane, share.workers + SPARE if several else 1, shared_zeros if several else np.zeros)
    piece = slots.fill(0)
    if piece is not None:
        begin(int(piece.time_ns[0]) / 1e9)
        if several:
            from espsim.batch.run.ring import in_ring  # noqa: PLC0415 - it imports this

            piece = in_ring(reader, lane, taker, share, slots, piece)
        _alone(reader, lane, taker, slots, piece)
    lane.close()
    slots.check()


class Slots(Generic[_B]):
    """Batches over memory of their own, and filling them from the reader."""

    def __init__(self, reader: BatchReader, lane: Lane[_B], count: int, memory: Memory) -> None:
        self._reader = reader
        self.failure: EspsimError | None = None
        self._slots = [FrameSlot.of(ROWS, ARENA, memory) for _ in range(count)]
        self._times: list[F64] = [memory((ROWS,), np.float64) for _ in range(count)]
        self._batches = [lane.batch(slot, time, memory) for slot, time in zip(self._slots, self._times, strict=True)]

    def fill(self, number: int) -> Piece[_B] | None:
        """The next frames in one of the slots; None at the end, or where reading failed: `failure` says how."""
        if self.failure is not None:
            return None
        slot = self._slots[number]
        try:
            rows = self._reader.read_into(slot)
        except EspsimError as error:
            self.failure = error
            return None
        if not rows:
            return None
        np.divide(slot.time_ns[:rows], 1e9, out=self._times[number][:rows])
        return self.piece(number, rows)

    def piece(self, number: int, rows: int) -> Piece[_B]:
        """The first rows of a slot that was filled."""
        slot = self._slots[number]
        return Piece(self._batches[number].head(rows), slot.frame[:rows], slot.time_ns[:rows])

    def check(self) -> None:
        """Raise what reading raised."""
        if self.failure is not None:
            raise self.failure


def _alone(
    reader: BatchReader, lane: Lane[_B], taker: Taker[_B], slots: Slots[_B], piece: Piece[_B] | None
) -> None:  # fmt: skip
    """The rest of a capture in this process, from a piece on."""
    while piece is not None:
        lane.begin(piece.batch)
        lane.ahead(piece.batch)
        lane.settle(piece.batch)
        lane.after(piece.batch)
        lane.end(piece.batch)
        note = taker.order(piece, taker.answer)
        for part in taker.records(piece):
            taker.write(part)
        taker.heard(note, reader.at)
        piece = slots.fill(0)
