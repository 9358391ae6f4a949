"""Captures through the batch path in bounded memory, by one worker or several, in the order of the capture.

    reader -> batch -> path -> who asked

One worker runs every batch whole. Several share the memory of a few batches: this process reads and says which worker
each row is for, as a NIC's RSS would, and hands batches on in order when all workers are done with them. All SAs of one
SPI are one worker's, so an SA's window, counter and lifetime are never in two places, and the answers are those of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from espsim.batch.run.workers import Workers, shared_zeros
from espsim.core.arrays import F64, I32, I64, U8, U32
from espsim.core.errors import EspsimError
from espsim.io.batches import BatchReader
from espsim.io.slots import FrameSlot
from espsim.sad.entry import SadEntry, State
from espsim.sad.sad import Sad

ROWS = 2048
"""Frames of a batch: enough that a stage's call costs little, few enough that a batch stays in a core's cache."""
ARENA = 4 << 20
"""Bytes of a batch."""
DEPTH = 3
"""Batches on the way with several workers: one is read, one is worked on, one is handed on."""

_MIX = np.uint32(0x9E3779B1)


class Batch(Protocol):
    """What both directions' batches have."""

    verdict: U8
    sa_index: I32

    def head(self, rows: int) -> Any:
        """The first rows as a batch of the same memory."""


_B = TypeVar("_B", bound=Batch)


class Lane(Protocol[_B]):
    """One direction, as a stream needs it."""

    sad: Sad
    entries: list[SadEntry]

    def batch(self, slot: FrameSlot, time: F64, memory: Callable[..., Any], workers: int) -> _B:
        """A batch over a slot's memory."""

    def run(self, batch: _B) -> None:
        """Run every row."""

    def shard(self, batch: _B) -> U32:
        """A number for every row; rows of SAs that share anything have the same one."""

    def run_part(self, batch: _B, mine: U8, worker: int) -> None:
        """In a worker: run the rows whose `mine` is `worker`, and put into the batch what whoever reads it needs."""

    def close(self) -> None:
        """Write back into the SAD."""

    def groups(self) -> U32:
        """The number that `shard` gives to packets of each entry."""

    def notes(self) -> Any:
        """What a worker has to say besides the SAs' states, at the end."""

    def take(self, notes: list[Any]) -> None:
        """What the workers said."""


@dataclass(slots=True)
class Piece(Generic[_B]):
    """A batch that has run. `frames` are the numbers of the rows' frames, from 1; `time_ns` the frames' times."""

    batch: _B
    frames: I64
    time_ns: I64


def stream(
    reader: BatchReader, lane: Lane[_B], workers: int, begin: Callable[[float], None] = lambda now: None
) -> Iterator[Piece[_B]]:
    """Run a capture; a piece must be used before the next one is asked for. The SAD is up to date behind the last one.

    `begin` hears the first frame's time in seconds, before anything runs. Reader errors are raised after the last
    complete piece, with the SAD up to date. Raises WorkerLost where a worker was killed, WorkerFailedError where one
    failed.
    """
    return _one(reader, lane, begin) if workers == 1 else _several(reader, lane, workers, begin)


class _Slots(Generic[_B]):
    """Batches over memory of their own, and filling them from the reader."""

    def __init__(
        self, reader: BatchReader, lane: Lane[_B], count: int, memory: Callable[..., Any], workers: int
    ) -> None:
        self._reader = reader
        self.failure: EspsimError | None = None
        self.slots = [FrameSlot.of(ROWS, ARENA, memory) for _ in range(count)]
        self._times: list[F64] = [memory((ROWS,), np.float64) for _ in range(count)]
        self.batches = [
            lane.batch(slot, time, memory, workers) for slot, time in zip(self.slots, self._times, strict=True)
        ]

    def fill(self, number: int) -> Piece[_B] | None:
        """The next frames in one of the slots; None at the end, or where reading failed: `failure` says how."""
        slot = self.slots[number]
        if self.failure is not None:
            return None
        try:
            rows = self._reader.read_into(slot)
        except EspsimError as error:
            self.failure = error
            return None
        if not rows:
            return None
        np.divide(slot.time_ns[:rows], 1e9, out=self._times[number][:rows])
        return Piece(self.batches[number].head(rows), slot.frame[:rows], slot.time_ns[:rows])

    def check(self) -> None:
        """Raise what reading raised."""
        if self.failure is not None:
            raise self.failure


def _one(reader: BatchReader, lane: Lane[_B], begin: Callable[[float], None]) -> Iterator[Piece[_B]]:
    slots = _Slots(reader, lane, 1, np.zeros, 1)
    begun = False
    while (piece := slots.fill(0)) is not None:
        if not begun:
            begin(int(piece.time_ns[0]) / 1e9)
            begun = True
        lane.run(piece.batch)
        yield piece
    lane.close()
    lane.take([lane.notes()])
    slots.check()


def _several(reader: BatchReader, lane: Lane[_B], workers: int, begin: Callable[[float], None]) -> Iterator[Piece[_B]]:
    slots = _Slots(reader, lane, DEPTH, shared_zeros, workers)
    shards = [shared_zeros((ROWS,), np.uint8) for _ in range(DEPTH)]
    owner = _spread(lane.groups(), workers)

    def work(worker: int, slot: int, rows: int) -> None:
        lane.run_part(slots.batches[slot].head(rows), shards[slot][:rows], worker)

    def finish(worker: int) -> tuple[list[tuple[int, tuple[Any, ...]]], Any]:
        lane.close()
        mine = np.flatnonzero(owner == worker).tolist()
        return [(row, lane.entries[row].moved()) for row in mine if lane.entries[row].touched], lane.notes()

    # The workers must be forked with what the first frame changes.
    piece = slots.fill(0)
    if piece is not None:
        begin(int(piece.time_ns[0]) / 1e9)
    with Workers(workers, work, finish) as pool:
        waiting: deque[Piece[_B]] = deque()
        number = 0
        while True:
            while piece is not None:
                shards[number][: len(piece.time_ns)] = _spread(lane.shard(piece.batch), workers)
                pool.start(number, len(piece.time_ns))
                waiting.append(piece)
                number = (number + 1) % DEPTH
                piece = slots.fill(number) if len(waiting) < DEPTH else None
            if not waiting:
                break
            pool.wait()
            yield waiting.popleft()
            piece = slots.fill(number)
        answers = pool.finish()
        for moved, _ in answers:
            for row, state in moved:
                _take(lane, lane.entries[row], state)
        lane.take([notes for _, notes in answers])
    slots.check()


def _spread(numbers: U32, workers: int) -> U8:
    """Numbers to workers, evenly also where they are counted up or have bits in common."""
    mixed = (numbers * _MIX) ^ (numbers * _MIX) >> np.uint32(15)
    return (mixed % np.uint32(workers)).astype(np.uint8)


def _take(lane: Lane[_B], entry: SadEntry, moved: tuple[Any, ...]) -> None:
    was = entry.state
    entry.take(moved)
    if entry.state is State.EXPIRED and was is not State.EXPIRED:
        lane.sad.expire(entry)
