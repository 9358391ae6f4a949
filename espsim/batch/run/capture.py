"""Takes a capture through the batch path in bounded memory, by one worker or by several (ring.py).

    reader    fills batches with frames (io/batches.py)
    lane      runs the steps of one direction over a batch (lanes.py)
    taker     counts and explains what came of a batch, in order of arrival; then the packets that go out are written

With several workers the taker's `order`, `records` and `room` run in them, `answer` and `heard` in the first process.

What this does not do: it knows no step of a packet, and no output format.
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
"""Frames of a batch: enough that the calls of stages cost little, few enough to stay in a core's cache."""
ARENA = 4 << 20
"""Bytes of a batch."""
PART = 2048
"""Rows of a range that are filled, and then go through the first stages together."""
MOST_FED = 1024
"""The most batches that the reader reads before ranges are tried again."""
ENOUGH = 64
"""After so many ranges in a row, what stopped them counts as rare."""
SPARE = 2
"""Batches that are read ahead, beyond one for each worker."""

_B = TypeVar("_B", bound=LaneBatch)


@dataclass(slots=True)
class Piece(Generic[_B]):
    """A batch, and of each row the number of its frame (`frames`, from 1) and the frame's time (`time_ns`)."""

    batch: _B
    frames: I64
    time_ns: I64


class Taker(Protocol[_B]):
    """Gets what comes of a capture, piece by piece."""

    def order(self, piece: Piece[_B], ask: Ask) -> Any:
        """In order of arrival: look at a piece. Returns its note, which `heard` gets. `ask(x)` is `answer(x)`."""

    def place(self) -> OutputPlace | None:
        """Where the first packet that goes out will lie; None: the output has no places (a pipe), use `write`."""

    def room(self, piece: Piece[_B]) -> int:
        """How many bytes of a piece go out."""

    def records(self, piece: Piece[_B]) -> Iterator[memoryview]:
        """Those bytes in parts. Each part is valid until the next one is taken."""

    def write(self, data: memoryview) -> None:
        """Write a part, after those before it."""

    def answer(self, request: Any) -> Any:
        """Answer what `order` asked."""

    def heard(self, note: Any, at: int) -> None:
        """Get a piece's note, in order of arrival. `at`: bytes of the capture that have been read."""


class Share(Protocol):
    """How many workers to use."""

    @property
    def workers(self) -> int:
        """1 or more."""

    @property
    def insists(self) -> bool:
        """Too few workers are an error; otherwise one worker does it then."""


Begin = Callable[[float], None]
"""Called with the first frame's time in seconds, before anything runs."""


def run(
    reader: BatchReader, lane: Lane[_B], taker: Taker[_B], share: Share, begin: Begin = lambda now: None
) -> None:  # fmt: skip
    """Run a capture; the SAD is up to date at the end.

    Reader errors are raised after the last complete piece, with the SAD up to date. InputError: there cannot be so many
    workers. WorkerLost: one was killed. WorkerFailedError: one failed. Errors of the taker pass through.
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
    """Batches with memory of their own, which the reader fills."""

    def __init__(self, reader: BatchReader, lane: Lane[_B], count: int, memory: Memory) -> None:
        self._reader = reader
        self.failure: EspsimError | None = None
        self._slots = [FrameSlot.of(ROWS, ARENA, memory) for _ in range(count)]
        self._times: list[F64] = [memory((ROWS,), np.float64) for _ in range(count)]
        self._batches = [lane.batch(slot, time, memory) for slot, time in zip(self._slots, self._times, strict=True)]

    def fill(self, number: int) -> Piece[_B] | None:
        """Read the next frames into a slot. None: the capture ended, or reading failed (`failure`)."""
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
        """The first rows of a slot, which was filled."""
        slot = self._slots[number]
        return Piece(self._batches[number].head(rows), slot.frame[:rows], slot.time_ns[:rows])

    def check(self) -> None:
        """Raise the error of reading, if there was one."""
        if self.failure is not None:
            raise self.failure


class Ranged(Generic[_B]):
    """Batches of a file's ranges. Each overwrites the memory of the one before."""

    def __init__(self, ranges: Ranges, lane: Lane[_B]) -> None:
        self.ranges = ranges
        self._lane = lane
        self._batch: _B | None = None
        self._parts: dict[int, _B] = {}

    def piece(self, rows: int) -> Piece[_B]:
        """The rows of the range that was found; they are not filled yet."""
        slot = self.ranges.slot
        if self._batch is None:
            self._batch = self._lane.batch(slot, np.zeros(len(slot.offset)), np.zeros)
        return Piece(self._batch.head(rows), slot.frame[:rows], slot.time_ns[:rows])

    def ahead(self, piece: Piece[_B]) -> bool:
        """Fill the rows and run `Lane.ahead`. False: the reader has to read this range instead."""
        rows = len(piece.time_ns)
        step = PART if self._lane.parts else max(rows, 1)
        for first in range(0, rows, step):
            some = slice(first, min(first + step, rows))
            link = self.ranges.slot.link[some]
            if not self.ranges.fill(some.start, some.stop) or _some_may_join(link):
                return False
            np.divide(piece.time_ns[some], 1e9, out=piece.batch.time[some])
            # A batch in one piece stays that object: what a device did is kept beside it.
            self._lane.ahead(piece.batch if step >= rows else self._part(piece, some))
        return True

    def _part(self, piece: Piece[_B], rows: slice) -> _B:
        """Rows of a piece. Parts of PART rows are kept, because making one takes as long as a hundred rows."""
        if rows.stop - rows.start != PART:
            return cast(_B, piece.batch.part(rows))
        if rows.start not in self._parts:
            self._parts[rows.start] = piece.batch.part(rows)
        return self._parts[rows.start]


def _some_may_join(link: U8) -> bool:
    """Whether a row of a column `link` has the bit MAY_JOIN. A column whose numbers are all smaller has none."""
    return bool(link.max() >= MAY_JOIN and np.bitwise_or.reduce(link) & MAY_JOIN)


def _alone(
    reader: BatchReader, lane: Lane[_B], taker: Taker[_B], slots: BatchSlots[_B], piece: Piece[_B] | None
) -> None:  # fmt: skip
    """Run the rest of a capture in this process, from a piece on."""
    while piece is not None:
        lane.begin(piece.batch)
        lane.ahead(piece.batch)
        _after(lane, taker, piece, reader.at)
        piece = slots.fill(0)


def _after(lane: Lane[_B], taker: Taker[_B], piece: Piece[_B], at: int) -> None:
    """Run the rest of the steps over a piece, after `ahead`."""
    lane.settle(piece.batch)
    lane.after(piece.batch)
    lane.end(piece.batch)
    note = taker.order(piece, taker.answer)
    for part in taker.records(piece):
        taker.write(part)
    taker.heard(note, at)


def more_fed(most: int, passed: int) -> int:
    """How many batches the reader reads before ranges are tried again. `most`: the last answer; `passed`: ranges that
    ran in a row since.
    """
    return 1 if passed > ENOUGH else min(2 * most, MOST_FED)
