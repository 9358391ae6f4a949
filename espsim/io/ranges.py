"""A capture in ranges of bytes. Their records are found in order; any worker reads and fills them, in any order.

    ranges = reader.ranges(memory)           before workers are forked; `begin` sets where the first range begins
    ranges.load(n)                           the bytes of range n, at any time
    ranges.find()                            in order: the records that begin in it, and where the next range begins
    ranges.fill(first, last)                 rows of them, at any time, each once and in order

Finding reads only the sizes of records, about 5 ns each; all other work on a range runs beside other ranges. Anything
unusual ends the ranges: damage, a record longer than the room after a range, secrets, the capture's end. The plain code
goes on from `ranges.at` (`BatchReader.resume`).

What this does not do: it joins no fragments or streams. Their rows are marked MAY_JOIN, for the caller of `fill`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from espsim.core.arrays import I64, U8
from espsim.core.errors import InputError
from espsim.io.rows.classic import FULL, LONGEST, MORE
from espsim.io.slots import COLUMNS, FrameSlot

SIZE = 1 << 20
"""Bytes of a range."""

_MORE = 1 << 12  # bytes read after a range; its last record usually ends in them
_LEAST_RECORD = 16
_AT, _FRAMES, _ENDED, _ORIGIN, _BACK, _BACK_AT, _BACK_FRAMES = range(7)


class Walk(Protocol):
    """How records of one format are walked over (io/batches.py). `joins`: the TCP ports that are looked at."""

    joins: U8

    def hop(self, arena: U8, at: int, end: int, limit: int) -> tuple[int, int, int]:
        """Over the records that begin before `limit`: (records, at, why) as rows.classic says."""

    def rows(self, slot: FrameSlot, first: int, last: int, at: int, end: int) -> tuple[int, int]:
        """Rows of a slot, of the records from `at` to `end` in its arena: how many, and where the next one is."""

    def save(self, state: I64) -> bool:
        """Save what later records depend on; False: there is no room for it."""

    def load(self, state: I64) -> None:
        """Load what was saved."""


class Ranges:
    """The rest of a capture, open at `descriptor`, whose first byte lies at `base`, in ranges of `size` bytes.

    `memory(shape, dtype)` makes what processes share. Every process works in an arena and columns of its own.
    """

    def __init__(self, walk: Walk, descriptor: int, base: int, path: str, memory: Callable[..., Any]) -> None:
        self.size = SIZE
        self._walk, self._descriptor, self._base, self._path = walk, descriptor, base, path
        self._shared: I64 = memory((7,), np.int64)
        self._state: I64 = memory((STATE,), np.int64)
        self._exact = walk.joins
        self._joins: U8 = memory((len(walk.joins),), np.uint8)
        self._back: I64 = memory((STATE,), np.int64)
        self._mine: I64 = np.zeros(STATE, np.int64)
        self._slot: FrameSlot | None = None
        self._arena: U8 = np.empty(0, np.uint8)
        self._have = self._start = self._end = self._filled = self._rows = self._first = self._number = 0

    @property
    def at(self) -> int:
        """Bytes of the capture up to the next record that is not found."""
        return int(self._shared[_BACK_AT if self._shared[_BACK] else _AT])

    @property
    def frames(self) -> int:
        """Frames before that record."""
        return int(self._shared[_BACK_FRAMES if self._shared[_BACK] else _FRAMES])

    def begin(self, at: int, frames: int) -> bool:
        """Range 0 begins `at` bytes and `frames` frames after the start. False: the walk's state has no room."""
        self._shared[:] = at, frames, 0, at, 0, 0, 0
        self._joins[:] = self._exact
        return self._walk.save(self._state)

    def load(self, number: int) -> None:
        """Read a range. InputError where the system can't."""
        if self._slot is None:
            self._arena = np.empty(self.size + 2 * LONGEST, np.uint8)
            columns = FrameSlot.of(self.size // _LEAST_RECORD + 1, LONGEST, np.zeros)
            self._slot = FrameSlot(self._arena, *(getattr(columns, name) for name in COLUMNS))
        # A port that a later range has added marks too many rows here, never too few; the reader's own table is exact.
        self._walk.joins = self._joins
        self._number = number
        self._have = 0
        self._read(self.size + _MORE)

    def find(self) -> int | None:
        """In the order of ranges: find this range's records, and return how many; None: the ranges ended before."""
        shared, here = self._shared, self._origin + self._number * self.size
        self._mine[:] = self._state
        self._first = int(shared[_FRAMES])
        at = self._start = self._end = int(shared[_AT]) - here
        self._rows = 0
        if shared[_ENDED] or shared[_BACK]:
            return None
        self._walk.load(self._mine)
        while at < self.size:
            rows, at, why = self._walk.hop(self._arena, at, self._have, self.size)
            self._rows += rows
            if why == FULL:
                break
            if why != MORE or not self._read(LONGEST):
                shared[_ENDED] = 1
                break
        self._end = at
        shared[_AT], shared[_FRAMES] = here + at, self._first + self._rows
        if not self._walk.save(self._state):
            shared[_ENDED] = 1
        self._walk.load(self._mine)
        self._filled = self._start
        return self._rows

    @property
    def slot(self) -> FrameSlot:
        """Where rows are, until the next range is loaded."""
        if self._slot is None:
            raise RuntimeError("a range is filled that was not loaded")
        return self._slot

    def fill(self, first: int, last: int) -> bool:
        """Fill the range's rows from `first` up to `last` (not included). False: the plain code has to read one."""
        rows = last - first
        row, self._filled = self._walk.rows(self.slot, first, last, self._filled, self._end)
        self.slot.frame[first:last] = np.arange(self._first + first + 1, self._first + last + 1)
        return row == rows

    def back(self) -> None:
        """In the order of ranges: drop this range and all after it; the capture goes on where it begins."""
        shared, here = self._shared, self._origin + self._number * self.size
        shared[_BACK_AT], shared[_BACK_FRAMES], shared[_BACK] = here + self._start, self._first, 1
        self._back[:] = self._mine

    def end(self) -> None:
        """Pass on what was found to the plain code, which goes on at `at`."""
        self._walk.joins = self._exact
        self._walk.load(self._back if self._shared[_BACK] else self._state)

    @property
    def _origin(self) -> int:
        return int(self._shared[_ORIGIN])

    def _read(self, more: int) -> bool:
        """More bytes of this range and after it; False: no room, or the end."""
        before = self._have
        end = min(before + more, len(self._arena))
        while self._have < end:
            place = self._base + self._origin + self._number * self.size + self._have
            try:
                got = os.preadv(self._descriptor, [self._arena[self._have : end].data], place)
            except OSError as error:
                raise InputError(f"cannot be read: {error.strerror or error}", where=self._path) from None
            if not got:
                break
            self._have += got
        return self._have > before


MOST_INTERFACES = 256
"""Interfaces of a section that ranges know."""
STATE = 3 + 4 * MOST_INTERFACES
"""Numbers of a walk's state."""
