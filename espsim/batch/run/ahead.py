"""Compiles a run's kernels in three processes, the first time on a machine.

This process compiles the reading of captures. Two more each run half of the steps over a batch without rows; that
compiles them for the types that all batches have, and puts them into the cache on disk, where this process finds them.

Nothing is forked where a kernel of the steps is on disk already, or where there is only one core. If it fails, this
process compiles the kernels itself; that costs time only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from espsim.batch.run.lanes import Lane, LaneBatch
from espsim.batch.run.workers import WorkerFailedError, WorkerLost, Workers, cores
from espsim.core.errors import InputError
from espsim.io.rows.classic import LONGEST
from espsim.io.slots import FrameSlot
from espsim.jit.compiling import is_kept

_B = TypeVar("_B", bound=LaneBatch)


@contextlib.contextmanager
def compiled_ahead(lane: Lane[_B]) -> Iterator[None]:
    """Compile the lane's steps beside the body of `with`. On leaving they are on disk, unless the processes failed."""
    if is_kept(lane.kernel) or cores() == 1:
        yield
        return
    halves = (("ahead",), ("settle", "after", "end"))

    def work(_number: int, steps: tuple[str, ...]) -> None:
        batch = lane.batch(FrameSlot.of(1, LONGEST), np.zeros(1), np.zeros).head(0)
        for step in steps:
            getattr(lane, step)(batch)

    with contextlib.ExitStack() as stack:
        workers = None
        with contextlib.suppress(InputError):  # no room for processes
            workers = stack.enter_context(Workers(len(halves), work, _nothing))
            for number, half in enumerate(halves):
                workers.send(number, half)
        yield
        if workers is not None:
            with contextlib.suppress(WorkerLost, WorkerFailedError):
                workers.wait()


def _nothing(_number: int) -> Any:
    return None
