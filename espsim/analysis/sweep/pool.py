"""Tasks on processes of this machine. When a worker dies, nothing but its current task is affected.

Each worker has at most two tasks, so that it does not wait while a row is written. When it dies, both go to others. Its
current task is tried once more; if that kills a worker too, the task's row says so.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from espsim.analysis.sweep.plan import Task, TaskRow, run_task
from espsim.core.closing import Closing
from espsim.core.errors import InputError
from espsim.core.stopping import die_with_parent, forked, uncut

AHEAD = 2
TRIES = 2
DIED = "the worker that ran it died, twice (killed, or out of memory)"


@dataclass(slots=True)
class _Worker:
    process: Any
    ours: Connection
    tasks: deque[Task] = field(default_factory=deque)


class LocalPool(Closing):
    """`count` processes. `died` is called with a sentence when one dies. InputError: none can be started.

    `shut`: a descriptor that a worker closes at its start, so that it does not hold the sweep's lock.
    """

    def __init__(self, count: int, died: Callable[[str], None] = lambda _text: None, *, shut: int = -1) -> None:
        methods = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
        self._died = died
        self._shut = shut if "fork" in methods else -1
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(self._start())
        except OSError as error:
            self.close()
            raise InputError(f"a worker cannot be started: {error.strerror}", where="--workers") from None

    def rows(self, tasks: Iterator[Task]) -> Iterator[list[TaskRow]]:
        """The rows of all tasks, as they come. The caller stores each before it asks for the next."""
        again: deque[Task] = deque()
        deaths: dict[int, int] = {}
        while True:
            for worker in self._workers:
                self._feed(worker, again, tasks)
            busy = [worker for worker in self._workers if worker.tasks]
            if not busy:
                return
            ready = wait([worker.ours for worker in busy])
            rows: list[TaskRow] = []
            for worker in [w for w in busy if w.ours in ready]:
                try:
                    rows.append(worker.ours.recv())
                    worker.tasks.popleft()
                except (EOFError, OSError):
                    rows += self._bury(worker, again, deaths)
            if rows:
                yield rows

    def close(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.ours.close()
        self._workers = []

    def _feed(self, worker: _Worker, again: deque[Task], tasks: Iterator[Task]) -> None:
        while len(worker.tasks) < AHEAD:
            task = again.popleft() if again else next(tasks, None)
            if task is None:
                return
            worker.tasks.append(task)
            with contextlib.suppress(OSError):  # it died; the wait for rows sees the end of its pipe
                worker.ours.send(task)

    def _bury(self, worker: _Worker, again: deque[Task], deaths: dict[int, int]) -> list[TaskRow]:
        worker.process.join()
        worker.ours.close()
        first = worker.tasks[0]
        deaths[first.place] = deaths.get(first.place, 0) + 1
        given_up = deaths[first.place] >= TRIES
        again.extend(list(worker.tasks)[1 if given_up else 0 :])
        code = worker.process.exitcode
        how = f"signal {-code}" if code < 0 else f"status {code}"
        self._died(f"a worker died ({how}); {'its task is given up' if given_up else 'its tasks go to others'}")
        try:
            self._workers[self._workers.index(worker)] = self._start()
        except OSError as error:
            self._workers.remove(worker)
            if not self._workers:
                raise InputError(f"the last worker died, and none can be started: {error.strerror}") from None
        return [TaskRow(first.place, None, None, DIED)] if given_up else []

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        with uncut():  # a signal here would leave a forked process that no one ends
            process = self._context.Process(target=_work, args=(theirs, ours, self._shut, os.getpid()), daemon=True)
            process.start()
        theirs.close()
        return _Worker(process, ours)


def _work(theirs: Connection, ours: Connection, shut: int, parent: int) -> None:
    """A worker: receives tasks, sends their rows."""
    if shut >= 0:
        os.close(shut)
    forked()
    die_with_parent()
    if os.getppid() != parent:  # the parent died before die_with_parent took effect
        return
    ours.close()  # the fork's copy of the parent's end: while it is open, the pipe does not end with the parent
    with contextlib.suppress(EOFError, OSError):
        while True:
            theirs.send(run_task(theirs.recv()))
