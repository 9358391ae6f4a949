"""Workers: forked processes that run their SAs' rows of a batch and share nothing but the batch's memory.

They are processes and not threads because a stage is a Python function that calls a compiled one: between two kernels a
thread would wait for the interpreter, and rows that go one by one would never run side by side. A worker that is
killed is noticed, and the run ends with one clear line.
"""

from __future__ import annotations

import mmap
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from espsim.core.closing import Closing
from espsim.core.errors import EspsimError, InputError

_T = TypeVar("_T", bound=np.generic)


class WorkerLost(EspsimError):  # noqa: N818 - it says what has happened
    """A worker was killed, or failed, before its work was done: what the run would have said is not known."""


def shared_zeros(shape: tuple[int, ...], dtype: type[_T]) -> npt.NDArray[_T]:
    """A zeroed array that processes forked from now on share."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), np.uint8)[:size].view(kind).reshape(shape)


class Workers(Closing):
    """`count` processes forked here, with everything that stands in memory here and now.

    `work(worker, *job)` runs in each of them for every `start(*job)`, in order; `wait` returns when all are done with
    the oldest job. `finish` returns what `finish(worker)` says in each and ends them; leaving `with` ends them at once.
    """

    def __init__(self, count: int, work: Callable[..., None], finish: Callable[[int], Any]) -> None:
        if "fork" not in multiprocessing.get_all_start_methods():
            raise InputError("this system cannot fork processes; one worker works everywhere", where="--workers")
        context = multiprocessing.get_context("fork")
        self._ours: list[Connection] = []
        self._processes: list[Any] = []
        for number in range(count):
            ours, theirs = context.Pipe()
            arguments = (number, theirs, [*self._ours, ours], work, finish)
            process = context.Process(target=_serve, args=arguments, daemon=True, name=f"espsim-worker-{number}")
            process.start()
            theirs.close()
            self._ours.append(ours)
            self._processes.append(process)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [process.pid for process in self._processes]

    def start(self, *job: Any) -> None:
        """Hand a job to every worker. Raises WorkerLost where one is gone."""
        for number, connection in enumerate(self._ours):
            try:
                connection.send(job)
            except OSError:
                raise self._lost(number) from None

    def wait(self) -> list[Any]:
        """What the workers answer to the oldest job. Raises WorkerLost where one is gone or failed."""
        return [self._answer(number) for number in range(len(self._ours))]

    def finish(self) -> list[Any]:
        """What the workers say at the end; they are gone then."""
        self.start()
        answers = self.wait()
        self.close()
        return answers

    def close(self) -> None:
        """End the workers, whatever they are doing; may be repeated."""
        for connection in self._ours:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join()
        self._ours, self._processes = [], []

    def _answer(self, number: int) -> Any:
        try:
            failure, answer = self._ours[number].recv()
        except (EOFError, OSError):
            raise self._lost(number) from None
        if failure is not None:
            raise WorkerLost(f"worker {number + 1} of {len(self._ours)} failed: {failure}")
        return answer

    def _lost(self, number: int) -> WorkerLost:
        process = self._processes[number]
        process.join(5)
        code = process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        return WorkerLost(f"worker {number + 1} of {len(self._ours)} {how} before its work was done")


def _serve(
    number: int,
    connection: Connection,
    others: list[Connection],
    work: Callable[..., None],
    finish: Callable[[int], Any],
) -> None:
    """A worker's life. An end of pipe is the parent's end, so no other worker may hold one open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of ^C the parent hears too, and ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in others:
        other.close()
    try:
        while job := connection.recv():
            work(number, *job)
            connection.send((None, None))
        connection.send((None, finish(number)))
    except (EOFError, OSError):
        return
    except Exception as error:
        connection.send((f"{type(error).__name__}: {error}", None))
