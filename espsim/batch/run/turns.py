"""Turns: work that the workers of a ring do one after the other, in order of arrival. Also messages with SAs in them.

Worker 0 has piece 0, worker 1 piece 1, and so on around the ring. Each kind of work has one turn, which passes from a
piece to the next one. A worker sleeps until it has the turn.
"""

from __future__ import annotations

import io
import multiprocessing
import pickle
from collections.abc import Sequence
from typing import Any

from espsim.core.errors import InputError
from espsim.sad.entry import SadEntry

FIND, SETTLE, TELL = range(3)
"""Kinds of work: find the records of a piece; settle its windows, or give it numbers; count and report it."""


class Turns:
    """One turn of each kind, for `workers` processes that are forked after this. InputError: no more semaphores."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("fork")
        try:
            self._may = [[context.Semaphore(0) for _ in range(workers)] for _ in range(3)]
        except OSError as error:
            raise InputError(f"no semaphores for workers: {error.strerror}; give fewer", where="--workers") from None

    def begin(self) -> None:
        """Give all turns to worker 0. No worker may be running."""
        for kind in self._may:
            for semaphore in kind:
                while semaphore.acquire(block=False):
                    pass
            kind[0].release()

    def wait(self, kind: int, worker: int) -> None:
        """Wait for the turn."""
        self._may[kind][worker].acquire()

    def on(self, kind: int, worker: int) -> None:
        """Give the turn to the next worker."""
        self._may[kind][(worker + 1) % len(self._may[kind])].release()


class Messages:
    """Messages between processes that know the same SAs. An SA of `entries` is sent as its place."""

    def __init__(self, entries: Sequence[SadEntry]) -> None:
        self._entries = entries
        self._places: dict[int, int] = {}

    def dumps(self, what: Any) -> bytes:
        """As pickle.dumps."""
        if len(self._places) != len(self._entries):
            self._places = {id(entry): place for place, entry in enumerate(self._entries)}
        out = io.BytesIO()
        _Pickler(out, self._places).dump(what)
        return out.getvalue()

    def loads(self, data: bytes) -> Any:
        """As pickle.loads."""
        return _Unpickler(io.BytesIO(data), self._entries).load()


class _Pickler(pickle.Pickler):
    def __init__(self, out: io.BytesIO, places: dict[int, int]) -> None:
        super().__init__(out)
        self._places = places

    def persistent_id(self, obj: Any) -> int | None:
        """The place of an SA."""
        return self._places[id(obj)] if isinstance(obj, SadEntry) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: io.BytesIO, entries: Sequence[SadEntry]) -> None:
        super().__init__(data)
        self._entries = entries

    def persistent_load(self, pid: Any) -> SadEntry:
        """The SA at a place."""
        entry: SadEntry = self._entries[pid]
        return entry
