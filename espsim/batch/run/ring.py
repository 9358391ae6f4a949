"""A capture by several workers. The answers are those of one worker, for any number of workers and any cut.

Workers are processes in a ring, forked when the first frames have been read. Worker n modulo their number has piece n.
A worker does at any time what needs no order: parse, look up, ask the window as it is, open. It waits for its turn
where order matters (turns.py):

    FIND     find the records of a range of the capture           about 5 ns a frame
    SETTLE   ask the windows again and move them; give numbers    about 10 ns a packet
    TELL     count, explain, and reserve places in the output

Everything that packets change lies in shared memory. After SETTLE a worker makes the packets that go out; after TELL it
writes them at their places. Many workers do that side by side where the output lies in memory (io/atomic.py,
OutputPlace); elsewhere the system lets one of them write at a time.

The first process has what is plain Python: the SAD, the joining of fragments and streams, the explaining, and an output
without places (a pipe). Workers ask it in their turns.

Pieces come in two ways. A regular file is cut into ranges (io/ranges.py), which workers read. The first process reads
the rest and sends it out batch by batch: a pipe, frames that belong together across pieces, unusual records, and
packets after which an SA may end.

Why processes and not threads: between two kernels a thread waits for the interpreter. Two threads, each running the
steps on SAs of its own, ran 1.2 to 1.3 times the packets of one thread with batches of 512 rows, 1.1 to 1.6 times with
2,048 rows, 1.6 to 1.9 times with 16,384 rows (64 bytes, two cores). Python code (lines of verdicts, failures) would
never run beside anything. Forking two workers and ending them takes about 0.1 s.

What this does not do: some captures need one worker (lanes.py, `shares`).
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from espsim.batch.lifetimes import Coming
from espsim.batch.run import workers as forked
from espsim.batch.run.capture import SPARE, BatchSlots, Piece, Ranged, Share, Taker, more_fed
from espsim.batch.run.lanes import Lane, LaneBatch
from espsim.batch.run.turns import FIND, SETTLE, TELL, Messages, Turns
from espsim.batch.run.workers import Workers, shared_zeros
from espsim.core.arrays import F64, I64
from espsim.core.errors import EspsimError, InputError
from espsim.io import ranges
from espsim.io.atomic import OutputPlace
from espsim.io.batches import BatchReader
from espsim.io.ranges import Ranges

QUIET = 32
"""The most pieces without a note before a worker reports them."""

MAPPING = 6
"""From so many workers on, they map the output if they can. On tmpfs a worker then needs 70 to 85 ns for 150 bytes, not
40 to 50, but no worker waits for another. By these figures and the rest of the work on a packet, it pays from 4 workers
(1424 B) to 7 (`decap`, 64 B) on. Only two were measured.
"""

_SLOT, _RANGES = range(2)
_OUT, _STOPPED, _SETTLED, _SETTLED_BYTES, _TOLD, _TOLD_BYTES = range(6)
_SECONDS = 0.2

_B = TypeVar("_B", bound=LaneBatch)


class _Done(NamedTuple):
    """A piece that has run. `data`: the packets that go out, if the first process has to write them."""

    number: int
    note: Any
    data: list[bytes]


class _Raised(NamedTuple):
    """An exception of a worker, which the first process raises again."""

    kind: type[BaseException]
    args: tuple[Any, ...]
    facts: dict[str, Any]

    @classmethod
    def of(cls, error: BaseException) -> _Raised:
        """Of any error, even if its class takes other arguments than it keeps."""
        return cls(type(error), error.args, vars(error))

    def again(self) -> BaseException:
        """The error."""
        error = self.kind.__new__(self.kind)
        error.args = self.args
        vars(error).update(self.facts)
        return error


def in_ring(
    reader: BatchReader, lane: Lane[_B], taker: Taker[_B], share: Share, slots: BatchSlots[_B], piece: Piece[_B]
) -> Piece[_B] | None:  # fmt: skip
    """As capture.run, from the first piece on. Returns that piece if there can be no workers, and need not be."""
    lane.share(shared_zeros)
    lane.begin(piece.batch)
    try:
        place = taker.place()
        if place is not None and share.workers >= MAPPING:
            place.share()
        ring = _Ring(reader, lane, taker, share.workers, slots, place)
        pool = Workers(share.workers, ring.work, ring.finish)
    except InputError as error:
        if share.insists or error.where != "--workers":
            raise
        return piece
    with pool:
        _First(reader, lane, taker, slots, ring, pool).run(piece)
    if place is not None:
        place.end(ring.out)
    return None


class _Ring(Generic[_B]):
    """What all processes share, and the work of a worker."""

    def __init__(
        self, reader: BatchReader, lane: Lane[_B], taker: Taker[_B], workers: int, slots: BatchSlots[_B],
        place: OutputPlace | None,
    ) -> None:  # fmt: skip
        self.turns = Turns(workers)
        self.ranges: Ranges | None = reader.ranges(shared_zeros)
        self.words = Messages(lane.entries)
        self._lane, self._taker, self._slots, self._place = lane, taker, slots, place
        self._workers = workers
        self._now: I64 = shared_zeros((6,), np.int64)
        self._now[_OUT] = 0 if place is None else place.at
        self._earliest: F64 = shared_zeros((1,), np.float64)
        self._worker = -1
        self._ranged = None if self.ranges is None else Ranged(self.ranges, lane)

    @property
    def out(self) -> int:
        """The offset in the output of the next packet."""
        return int(self._now[_OUT])

    def begin(self) -> None:
        """In the first process: count pieces from 0 again."""
        self.turns.begin()
        self._now[_STOPPED:] = 0
        self._earliest[0] = np.inf

    # -- a worker ---------------------------------------------------------------------------------------------------

    def work(self, worker: int, kind: int, *facts: int) -> Any:
        """Run a job: one batch, or ranges until there are no more."""
        if self._worker < 0:
            self._worker = worker
            self._lane.forked(lambda request: self._ask(True, request))
        try:
            if self._ranged is not None and kind == _RANGES:
                return self._all_ranges(self._ranged)
            return self._batch_of(*facts)
        except (EspsimError, BrokenPipeError) as error:
            return _Raised.of(error)

    def finish(self, _worker: int) -> Any:
        """The last answer of a worker."""
        return self._lane.notes()

    def _all_ranges(self, ranged: Ranged[_B]) -> None:
        number, said, ranges = self._worker, list[_Done](), ranged.ranges
        while True:
            ranges.load(number)
            self.turns.wait(FIND, self._worker)
            rows = ranges.find()
            self.turns.on(FIND, self._worker)
            done = None if rows is None else self._range(number, rows, ranged)
            if done is not None:
                said.append(done)
            # Each message wakes the first process, so pieces without a note are collected.
            if said and (done is None or done.note is not None or done.data or len(said) == QUIET):
                forked.tell(said)
                said = []
            if done is None:
                return
            number += self._workers

    def _range(self, number: int, rows: int, ranged: Ranged[_B]) -> _Done | None:
        """Run a range. None: the first process has to read it."""
        piece = ranged.piece(rows)
        try:
            good = ranged.ahead(piece)
        except EspsimError as error:
            return self._through(number, piece, ranged.ranges, error)
        return self._through(number, piece if good else None, ranged.ranges)

    def _batch_of(self, number: int, slot: int, rows: int) -> _Done | None:
        """Run a batch that the first process has read."""
        piece = self._slots.piece(slot, rows)
        try:
            self._lane.ahead(piece.batch)
        except EspsimError as error:
            return self._through(number, piece, error=error)
        return self._through(number, piece)

    def _through(
        self, number: int, piece: Piece[_B] | None, ranges: Ranges | None = None, error: EspsimError | None = None
    ) -> _Done | None:  # fmt: skip
        """Run the rest of a piece after `ahead`, which may have raised. None: neither it nor a later one runs here."""
        lane, worker = self._lane, self._worker
        self.turns.wait(SETTLE, worker)
        if ranges is not None and self._stops(piece, ranges):
            self.turns.on(SETTLE, worker)
            return None
        if error is not None:  # in turn, so that the first of several errors is raised
            raise error
        if piece is None or not len(piece.time_ns):
            self.turns.on(SETTLE, worker)
            self.turns.wait(TELL, worker)
            self.turns.on(TELL, worker)
            return _Done(number, None, [])
        lane.settle(piece.batch)
        self.turns.on(SETTLE, worker)
        lane.after(piece.batch)
        room = self._room(piece) if lane.ended(piece.batch) else None
        self.turns.wait(TELL, worker)
        note, at = self._tell(piece, room)
        self.turns.on(TELL, worker)
        return _Done(number, note, self._put(piece, at))

    def _stops(self, piece: Piece[_B] | None, ranges: Ranges) -> bool:
        """In the turn SETTLE: whether ranges end here, because the first process has to read this piece."""
        now = self._now
        if now[_STOPPED]:
            return True
        if piece is not None and not (self._lane.limited and self._ends(piece)):
            return False
        ranges.back()
        now[_STOPPED] = 1
        return True

    def _ends(self, piece: Piece[_B]) -> bool:
        """Whether an SA could reach a limit in this piece, or in those that are settled and not yet counted."""
        now, coming = self._now, Coming.of(piece.batch.time, piece.batch.length)
        now[_SETTLED] += coming.packets
        now[_SETTLED_BYTES] += coming.bytes
        self._earliest[0] = min(self._earliest[0], coming.earliest)
        packets, size = now[_SETTLED] - now[_TOLD], now[_SETTLED_BYTES] - now[_TOLD_BYTES]
        earliest = float(self._earliest[0])
        return self._lane.due(Coming(int(packets), int(size), earliest, coming.latest, coming.longest))

    def _room(self, piece: Piece[_B]) -> int:
        """How many bytes of a piece go out to their place."""
        return 0 if self._place is None else self._taker.room(piece)

    def _tell(self, piece: Piece[_B], room: int | None) -> tuple[Any, int]:
        """In the turn TELL: (the note, the offset of the packets that go out). `room`: None: not known yet."""
        now = self._now
        self._lane.end(piece.batch)
        note = self._taker.order(piece, lambda request: self._ask(False, request))
        if self._lane.limited:
            now[_TOLD] += len(piece.time_ns)
            now[_TOLD_BYTES] += int(piece.batch.length.sum(dtype=np.int64))
        at = int(now[_OUT])
        now[_OUT] += self._room(piece) if room is None else room
        if self._place is not None:
            self._place.reserve(self.out)
        return note, at

    def _put(self, piece: Piece[_B], at: int) -> list[bytes]:
        """Write the packets that go out at their place. If there is no place, they go to the first process."""
        if self._place is None:
            return [bytes(part) for part in self._taker.records(piece)]
        for part in self._taker.records(piece):
            self._place.put(part, at)
            at += len(part)
        return []

    def _ask(self, lane: bool, request: Any) -> Any:
        return self.words.loads(forked.ask(self.words.dumps((lane, request))))


class _First(Generic[_B]):
    """The work of the first process."""

    def __init__(
        self,
        reader: BatchReader,
        lane: Lane[_B],
        taker: Taker[_B],
        slots: BatchSlots[_B],
        ring: _Ring[_B],
        pool: Workers,
    ) -> None:
        self._reader, self._lane, self._taker = reader, lane, taker
        self._slots, self._ring, self._pool = slots, ring, pool
        self._workers = len(pool.pids)
        self._early: dict[int, _Done] = {}
        self._next = self._left = 0
        self._on_the_way: deque[Coming] = deque()
        self._at: Callable[[], int] = lambda: reader.at

    def run(self, piece: Piece[_B]) -> None:
        """Run the whole capture, from its first piece on."""
        most, more = 1, self._feed(piece, 1)
        while more:
            found = self._in_ranges()
            most = more_fed(most, found)
            first = self._slots.fill(0)
            more = first is not None and self._feed(first, most)
        for notes in self._pool.finish():
            self._lane.take(notes)

    def _feed(self, first: Piece[_B], most: int) -> bool:
        """Send out at most `most` batches, unless little of the capture is left. False: the capture has ended."""
        self._begin()
        piece: Piece[_B] | None = first
        number, slots = 0, self._workers + SPARE
        while piece is not None:
            self._look_for_ends(piece.batch)
            self._pool.send(number % self._workers, _SLOT, number, number % slots, len(piece.time_ns))
            number += 1
            while len(self._on_the_way) == slots:
                self._listen()
            if number >= most and self._reader.left() >= 2 * ranges.SIZE:
                break
            self._listen_until_readable()
            piece = self._slots.fill(number % slots)
        while self._on_the_way:
            self._listen()
        return piece is not None

    def _look_for_ends(self, batch: _B) -> None:
        """Before a batch: give the reference path SAs that could reach a limit in it, or in batches under way."""
        coming = Coming.of(batch.time, batch.length)
        if self._lane.due(coming.with_(self._on_the_way)):
            while self._on_the_way:
                self._listen()
            self._lane.begin(batch)
        self._on_the_way.append(coming)

    def _in_ranges(self) -> int:
        """Let workers run ranges as long as possible. Returns how many ran."""
        here = self._ring.ranges
        if here is None or not self._reader.begin(here):
            return 0
        self._begin()
        self._at = lambda: here.at
        self._left = self._workers
        self._pool.start(_RANGES)
        while self._left:
            self._listen()
        self._reader.resume(here)
        return self._next

    def _begin(self) -> None:
        self._ring.begin()
        self._next = 0
        self._at = lambda: self._reader.at

    def _listen_until_readable(self) -> None:
        """If the capture is a pipe, read messages of workers while no bytes come."""
        descriptor = self._reader.waits_on
        while descriptor is not None and self._on_the_way and not select.select([descriptor], [], [], 0)[0]:
            self._listen(descriptor)

    def _listen(self, *also: int) -> None:
        """Read and handle messages of workers; none if a descriptor of `also` is ready first."""
        for one in self._pool.hear(_SECONDS, also):
            if one.asks:
                lane, request = self._ring.words.loads(one.what)
                answer = (self._lane if lane else self._taker).answer(request)
                self._pool.reply(one.number, self._ring.words.dumps(answer))
            elif isinstance(one.what, _Raised):
                raise one.what.again()
            elif one.what is None:
                self._left -= 1
            else:
                for done in one.what if isinstance(one.what, list) else [one.what]:
                    self._early[done.number] = done
        while self._next in self._early:
            self._take(self._early.pop(self._next))

    def _take(self, done: _Done) -> None:
        """Pass a finished piece on, in order of arrival."""
        self._next += 1
        if self._on_the_way:
            self._on_the_way.popleft()
        for part in done.data:
            self._taker.write(memoryview(part))
        self._taker.heard(done.note, self._at())
