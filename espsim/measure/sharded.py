"""Workers that each have SAs and packets of their own and share nothing: what several cores do together."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable

import numpy as np

from espsim.batch.run.workers import Workers, shared_zeros
from espsim.measure.cases import counted
from espsim.measure.path_work import PathWork

_PATIENCE = 120.0
"""Seconds that a worker waits for the others before it gives up."""


class Sharded:
    """`count` forked processes, each on a core of its own as far as there are any; `make(number)` sets one up.

    Set-up is done in the workers, so that the memory is theirs and in large pages. Raises
    `espsim.batch.run.workers.WorkerLost` where one is killed, WorkerFailedError where one fails.
    """

    def __init__(self, count: int, make: Callable[[int], PathWork]) -> None:
        barrier = multiprocessing.get_context("fork").Barrier(count)
        mine: list[PathWork] = []
        cores = sorted(os.sched_getaffinity(0))

        self._answers = shared_zeros((count, 2), np.float64)

        def work(number: int, what: str) -> None:
            if what == "set up":
                with contextlib.suppress(OSError):  # a container may forbid it
                    os.sched_setaffinity(0, {cores[number % len(cores)]})
                mine.append(make(number))
                return
            barrier.wait(_PATIENCE)
            self._answers[number] = counted(mine[0].once, times=2)

        self._workers = Workers(count, work, lambda _number: None)
        self._workers.start("set up")
        self._workers.wait()
        self.rate()

    def rate(self) -> float:
        """Millions a second together: all packets over the longest time, all having begun together."""
        self._workers.start("round")
        self._workers.wait()
        done, spent = self._answers[:, 0].sum(), self._answers[:, 1].max()
        return float(done / spent / 1e6)

    def close(self) -> None:
        """End the workers."""
        self._workers.close()
