"""A capture through the batch path in bounded memory, by one worker or several (ring.py).

    reader -> batch -> lane -> taker

What comes of a batch is the taker's: in order of arrival it counts and looks, then the packets that go out are written.
With several workers `order`, `records` and `room` run in them; `answer` and `heard` run in the first process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

from espsim.batch.run.ahead import compiled_ahead
from espsim.batch.run.lanes import Ask, Lane, LaneBatch, Memory
from espsim.batch.run.workers import shared_zeros
from espsim.core.arrays import F64, I64, U8
from espsim.core.errors import EspsimError
from espsim.core.numbers import MAY_JOIN
from espsim.io.atomic import OutputPlace
from espsim.io.batches import BatchReader
from espsim.io.ranges import Ranges
from espsim.io.slots import FrameSlot

ROWS = 4096
"""Frames of a batch: enough that a stage's call costs little, few enough that a batch stays in a core's cache."""
ARENA = 4 << 20
"""Bytes of a batch."""
PART = 2048
"""Rows of a range that are filled and go through the first stages together."""
MOST_FED = 1024
"""Batches that are read by the reader, at most, before ranges are tried again."""
ENOUGH = 64
"""Ranges in a row after which what stopped them counts as rare."""
SPARE = 2
"""Batches that are read beside those that workers have."""

_B = TypeVar("_B", bound=LaneBatch)


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

    def place(self) -> OutputPlace | None:
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
    slots = BatchSlots(reader, lane, share.workers + SPARE if several else 1, shared_zeros if several else np.zeros)
    with compiled_ahead(lane):
        piece = slots.fill(0)
    if piece is not None:
        begin(int(piece.time_ns[0]) / 1e9)
        if several:
            from espsim.batch.run.ring import in_ring  # noqa: PLC0415 - it imports this

            piece = in_ring(reader, lane, taker, share, slots, piece)
        _alone(reader, lane, taker, slots, piece)
    lane.close()
    slots.check()


class BatchSlots(Generic[_B]):
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


class Ranged(Generic[_B]):
    """Batches of a file's ranges, in memory that each overwrites."""

    def __init__(self, ranges: Ranges, lane: Lane[_B]) -> None:
        self.ranges = ranges
        self._lane = lane
        self._batch: _B | None = None
        self._parts: dict[int, _B] = {}

    def piece(self, rows: int) -> Piece[_B]:
        """So many rows of the range that was found, which are still to be filled."""
        slot = self.ranges.slot
        if self._batch is None:
            self._batch = self._lane.batch(slot, np.zeros(len(slot.offset)), np.zeros)
        return Piece(self._batch.head(rows), slot.frame[:rows], slot.time_ns[:rows])

    def ahead(self, piece: Piece[_B]) -> bool:
        """Fill the rows, and `Lane.ahead`. False: the range is not to be run, but to be read by the reader."""
        rows = len(piece.time_ns)
        step = PART if self._lane.parts else max(rows, 1)
        for first in range(0, rows, step):
            some = slice(first, min(first + step, rows))
            link = self.ranges.slot.link[some]
            if not self.ranges.fill(some.start, some.stop) or _some_may_join(link):
                return False
            np.divide(piece.time_ns[some], 1e9, out=piece.batch.time[some])
            self._lane.ahead(self._part(piece, some))
        return True

    def _part(self, piece: Piece[_B], rows: slice) -> _B:
        """Rows of a piece. Parts of PART rows are kept: making one takes as long as some hundred rows."""
        if rows.stop - rows.start != PART:
            return cast(_B, piece.batch.part(rows))
        if rows.start not in self._parts:
            self._parts[rows.start] = piece.batch.part(rows)
        return self._parts[rows.start]


def _some_may_join(link: U8) -> bool:
    """Whether a row of a column `link` has the bit MAY_JOIN; where no number is that large none has."""
    return bool(link.max() >= MAY_JOIN and np.bitwise_or.reduce(link) & MAY_JOIN)


def _alone(
    reader: BatchReader, lane: Lane[_B], taker: Taker[_B], slots: BatchSlots[_B], piece: Piece[_B] | None
) -> None:  # fmt: skip
    """The rest of a capture in this process, from a piece on. Where SAs may end, each batch is asked whether in it."""
    while piece is not None:
        lane.begin(piece.batch)
        lane.ahead(piece.batch)
        _after(lane, taker, piece, reader.at)
        piece = slots.fill(0)


def _after(lane: Lane[_B], taker: Taker[_B], piece: Piece[_B], at: int) -> None:
    """All of a piece for which `ahead` has run."""
    lane.settle(piece.batch)
    lane.after(piece.batch)
    lane.end(piece.batch)
    note = taker.order(piece, taker.answer)
    for part in taker.records(piece):
        taker.write(part)
    taker.heard(note, at)


def more_fed(most: int, passed: int) -> int:
    """How many batches are read before ranges are tried again, after so many in a row."""
    return 1 if passed > ENOUGH else min(2 * most, MOST_FED)
