"""Workers: forked processes that share memory and get jobs. Each may `ask` the first process something, or `tell` it.

They are processes, not threads; ring.py says why. Where a worker is killed, or the system cannot start so many, the run
ends with one line.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from espsim.core.closing import Closing
from espsim.core.errors import EspsimError, InputError
from espsim.core.stopping import die_with_parent, forked, uncut

_T = TypeVar("_T", bound=np.generic)
_OURS_TOO = 0.5  # seconds

SPARE = 16
"""File descriptors that must be free when all workers run, so that files can still be opened."""


class WorkerLost(EspsimError):  # noqa: N818 - it says what has happened
    """A worker was killed, or refused its input, before its work was done. The run has no answer."""


class WorkerFailedError(Exception):
    """A worker ended in an unexpected exception, whose traceback is a note of this one."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_zeros(shape: tuple[int, ...], dtype: type[_T]) -> npt.NDArray[_T]:
    """A zeroed array that processes forked after this share. InputError: there is no memory for it."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    try:
        memory = mmap.mmap(-1, max(size, 1))
    except OSError as error:
        raise InputError(f"no memory that workers could share: {error.strerror}", where="--workers") from None
    return np.frombuffer(memory, np.uint8)[:size].view(kind).reshape(shape)


_DONE, _REFUSED, _FAILED, _ASKS, _TELLS = range(5)
"""What a worker sends: an answer; an EspsimError's text; an exception's name and traceback; `ask`; `tell`."""


class Heard(NamedTuple):
    """What worker `number` sent: its answer to a job, a question that waits for `reply`, or something it told."""

    number: int
    asks: bool
    done: bool
    what: Any


class Workers(Closing):
    """`count` processes, forked here with a copy of this process's memory.

    `start(*job)` runs `work(worker, *job)` in each of them, in order; `wait` returns when all are done with the oldest
    job. `finish` returns what `finish(worker)` returns in each, and ends them. Leaving `with` ends them at once.
    InputError: this system can't start so many; none is left then.
    """

    def __init__(self, count: int, work: Callable[..., None], finish: Callable[[int], Any]) -> None:
        if "fork" not in multiprocessing.get_all_start_methods():
            raise InputError("this system cannot fork processes; one worker works everywhere", where="--workers")
        context = multiprocessing.get_context("fork")
        self._ours: list[Connection] = []
        self._processes: list[Any] = []
        try:
            for number in range(count):
                with uncut():  # a signal between fork and note would leave a process running
                    self._fork(context, number, work, finish)
            _check_room()
        except BaseException as error:
            started = min(len(self._processes), count - 1)  # where all run, the last one left no room for files
            self.close()
            if not isinstance(error, OSError):
                raise
            raise InputError(
                f"this system lets {started} of {count} workers run: {error.strerror};"
                " give fewer, or raise its limits (`ulimit -n` of open files, `ulimit -u` of processes)",
                where="--workers",
            ) from None

    def _fork(self, context: Any, number: int, work: Callable[..., None], finish: Callable[[int], Any]) -> None:
        ours, theirs = context.Pipe()
        arguments = (number, theirs, [*self._ours, ours], work, finish)
        process = context.Process(target=_serve, args=arguments, daemon=True, name=f"espsim-worker-{number}")
        try:
            process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._ours.append(ours)
        self._processes.append(process)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [process.pid for process in self._processes]

    def start(self, *job: Any) -> None:
        """Send a job to every worker. Raises as `wait` does where one is gone."""
        words = pickle.dumps(job)
        for number in range(len(self._ours)):
            self._put(number, words)

    def _put(self, number: int, words: bytes) -> None:
        try:
            # Connection.send would keep a view of a BytesIO, and Python 3.13 warns of that where the pipe is broken.
            self._ours[number].send_bytes(words)
        except OSError:
            while True:  # read its last messages: one may say why it ended
                self._hear(number)

    def send(self, number: int, *job: Any) -> None:
        """Send a job to one worker. Raises as `wait` does where it is gone."""
        self._put(number, pickle.dumps(job))

    def reply(self, number: int, what: Any) -> None:
        """Answer a worker's question."""
        self._put(number, pickle.dumps(_Reply(what)))

    def hear(self, seconds: float, also: Sequence[int] = ()) -> list[Heard]:
        """Messages of workers, after waiting up to `seconds` for the first; fewer, if one of `also` is ready.

        `also`: file descriptors. Raises as `wait` does.
        """
        ready = multiprocessing.connection.wait([*self._ours, *also], seconds)
        return [self._hear(self._ours.index(c)) for c in ready if isinstance(c, Connection)]

    def wait(self) -> list[Any]:
        """The workers' answers to the oldest job. WorkerLost: one is gone. WorkerFailedError: one failed."""
        return [self._answer(number) for number in range(len(self._ours))]

    def finish(self) -> list[Any]:
        """The workers' last answers. They have ended then."""
        self.start()
        answers = self.wait()
        self.close()
        return answers

    def close(self) -> None:
        """End the workers at once, whatever they are doing. May be called again."""
        with uncut():
            for connection in self._ours:
                connection.close()
            for process in self._processes:
                process.kill()
                process.join()
            self._ours, self._processes = [], []

    def _answer(self, number: int) -> Any:
        return self._hear(number).what

    def _hear(self, number: int) -> Heard:
        try:
            kind, answer = self._ours[number].recv()
        except (EOFError, OSError):
            raise self._lost(number) from None
        if kind == _REFUSED:
            raise WorkerLost(f"worker {number + 1} of {len(self._ours)}: {answer}")
        if kind == _FAILED:
            name, trace = answer
            failed = WorkerFailedError(f"worker {number + 1} of {len(self._ours)} failed: {name}")
            failed.add_note(trace)
            raise failed
        return Heard(number, kind == _ASKS, kind == _DONE, answer)

    def _lost(self, number: int) -> WorkerLost:
        process = self._processes[number]
        process.join(5)
        code = process.exitcode
        if code in (-signal.SIGTERM, -signal.SIGHUP):
            # The signal may be for all processes of the run, and reach the worker first. Ours then ends this wait.
            threading.Event().wait(_OURS_TOO)
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        return WorkerLost(f"worker {number + 1} of {len(self._ours)} {how} before its work was done")


def _check_room() -> None:
    """OSError where fewer than SPARE file descriptors are left."""
    held: list[int] = []
    try:
        for _ in range(SPARE):
            held.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in held:
            os.close(descriptor)


class _Reply(NamedTuple):
    """What `reply` sends, in the same pipe as jobs."""

    what: Any


_mine: list[Connection] = []
"""In a worker: its end of the pipe."""
_jobs: deque[tuple[Any, ...]] = deque()
"""In a worker: jobs that came while it waited for a reply."""


def ask(what: Any) -> Any:
    """In a worker: ask the first process, and wait for its reply."""
    _mine[0].send((_ASKS, what))
    while not isinstance(came := _mine[0].recv(), _Reply):
        _jobs.append(came)
    return came.what


def tell(what: Any) -> None:
    """In a worker: send the first process something, without a reply."""
    _mine[0].send((_TELLS, what))


def _serve(
    number: int,
    connection: Connection,
    others: list[Connection],
    work: Callable[..., None],
    finish: Callable[[int], Any],
) -> None:
    """Run jobs until the pipe ends, which means that the parent has ended. So no other worker may hold its end open."""
    forked()
    die_with_parent()
    if os.getppid() != getattr(multiprocessing.parent_process(), "pid", None):  # it ended before that
        os._exit(1)
    for other in others:
        other.close()
    _mine[:] = [connection]
    gc.freeze()  # a collection would write into every page that is shared with the first process
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            job = _jobs.popleft() if _jobs else connection.recv()
            answer = _attempt(work, number, *job) if job else _attempt(finish, number)
            connection.send(answer)
            if not job or answer[0] != _DONE:
                return


def _attempt(do: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    """Run a job; (kind, answer), also where it raises."""
    try:
        return _DONE, do(*arguments)
    except EspsimError as error:
        return _REFUSED, str(error)
    except Exception as error:
        return _FAILED, (type(error).__name__, traceback.format_exc())
