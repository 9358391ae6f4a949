"""Workers share only a batch's memory, and a lost worker is noticed."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import re
import resource
import signal

import numpy as np
import pytest

from espsim.batch.run.workers import SPARE, WorkerFailedError, WorkerLost, Workers, ask, shared_zeros, tell
from espsim.core.errors import InputError


def test_workers_write_into_shared_memory_and_answer_in_order():
    shared = shared_zeros((4, 3), np.int64)
    private = np.zeros(3, np.int64)

    def work(worker, job, value):
        shared[job, worker] = value * (worker + 1)
        private[worker] += 1

    with Workers(3, work, lambda worker: (worker, int(private[worker]))) as workers:
        for job in range(4):
            workers.start(job, 10**job)
        for _ in range(4):
            assert workers.wait() == [None, None, None]
        assert workers.finish() == [(0, 4), (1, 4), (2, 4)]
    assert shared.tolist() == [[10**n, 2 * 10**n, 3 * 10**n] for n in range(4)]
    assert not private.any()


def test_an_empty_array_can_be_shared():
    assert shared_zeros((0,), np.uint8).shape == (0,)


@pytest.mark.parametrize("kind", [ValueError, OSError, EOFError, MemoryError])
def test_a_fault_in_a_worker_is_told_by_name(kind):
    """Its text may hold input, so it is in the note alone, which `espsim --debug` shows."""

    def work(worker):
        if worker == 1:
            raise kind("no such row")

    with Workers(2, lambda worker, job: work(worker), lambda worker: None) as workers:
        workers.start("job")
        with pytest.raises(WorkerFailedError, match=rf"^worker 2 of 2 failed: {kind.__name__}\n") as told:
            workers.wait()
    assert str(told.value) == f"worker 2 of 2 failed: {kind.__name__}"
    assert f"{kind.__name__}: no such row" in told.value.__notes__[0]


def test_a_fault_at_the_end_is_told_too():
    def finish(worker):
        raise KeyError(worker)

    with Workers(2, lambda worker, job: None, finish) as workers:
        workers.start("job")
        workers.wait()
        with pytest.raises(WorkerFailedError, match=r"^worker 1 of 2 failed: KeyError\n"):
            workers.finish()


def test_bad_input_that_a_worker_meets_stays_bad_input():
    def work(worker, job):
        raise InputError("is no number", where="a.sad", line=3)

    with Workers(2, work, lambda worker: None) as workers:
        workers.start("job")
        with pytest.raises(WorkerLost, match=r"^worker 1 of 2: a\.sad:3: is no number$"):
            workers.wait()


def test_what_a_worker_said_before_it_went_is_heard_where_the_next_job_finds_it_gone():
    def work(worker, job):
        if job == "bad":
            raise ValueError

    with Workers(1, work, lambda worker: None) as workers:
        workers.start("good")
        workers.start("bad")
        workers._processes[0].join()
        with pytest.raises(WorkerFailedError, match=r"^worker 1 of 1 failed: ValueError\n"):
            workers.start("next")


def test_a_worker_asks_and_tells():
    def work(worker, job):
        tell(("begins", worker))
        return ask((job, worker))

    with Workers(2, work, lambda worker: None) as workers:
        workers.send(1, "job")
        heard = [one for _ in range(2) for one in workers.hear(60)]
        assert heard == [(1, False, False, ("begins", 1)), (1, True, False, ("job", 1))]
        workers.send(1, "next")  # a job may come before the reply
        workers.reply(1, "answer")
        heard = [one for _ in range(3) for one in workers.hear(60)]
        assert heard == [(1, False, True, "answer"), (1, False, False, ("begins", 1)), (1, True, False, ("next", 1))]
        assert workers.hear(0) == []


# -- a system without room ---------------------------------------------------------------------------------------------


def descriptors():
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("fails_at", [0, 1, 3])
def test_too_few_processes(monkeypatch, fails_at):
    """As RLIMIT_NPROC makes fork(2) answer; those that were started are gone again."""
    forked: list[int] = []
    real = os.fork

    def fork():
        if len(forked) == fails_at:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        pid = real()
        if pid:
            forked.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(InputError, match=rf"^--workers: this system lets {fails_at} of 4 workers run: Resource temp"):
        Workers(4, lambda worker: None, lambda worker: None)
    assert len(forked) == fails_at
    assert not multiprocessing.active_children()
    for pid in forked:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@contextlib.contextmanager
def room_for(count):
    """So many file descriptors are left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 100, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("room", [0, 1, 2, 3, 9, 8 + SPARE - 1, 2 * 8 + SPARE - 1])
def test_too_few_file_descriptors(room):
    """A real limit, at places where a pipe, a fork, or what is opened after all of them would fail."""
    with room_for(room), pytest.raises(InputError) as told:
        Workers(8, lambda worker: None, lambda worker: None)
    assert re.match(
        r"--workers: this system lets [0-7] of 8 workers run: Too many open files; give fewer", str(told.value)
    )
    assert not multiprocessing.active_children()


def test_just_enough_file_descriptors():
    """A connection and multiprocessing's sentinel a worker, and what must be left."""
    with room_for(2 * 4 + SPARE + 4), Workers(4, lambda worker, job: None, lambda worker: worker) as workers:
        workers.start("job")
        workers.wait()
        assert workers.finish() == [0, 1, 2, 3]


def test_no_memory_to_share():
    with pytest.raises(InputError, match=r"^--workers: no memory that workers could share: Cannot allocate memory$"):
        shared_zeros((1 << 60,), np.uint8)


@pytest.mark.parametrize("when", ["idle", "working"])
def test_a_worker_that_is_killed_is_noticed(when):
    def work(worker, job):
        if worker == 0 and when == "working":
            os.kill(os.getpid(), signal.SIGKILL)

    with Workers(2, work, lambda worker: None) as workers:
        if when == "idle":
            os.kill(workers.pids[0], signal.SIGKILL)
        with pytest.raises(WorkerLost, match=r"^worker 1 of 2 was killed by signal 9 before its work was done$"):
            run_for_long(workers)


def run_for_long(workers):
    for _ in range(1000):  # the first sends may still find an open pipe
        workers.start("job")
        workers.wait()


def test_leaving_ends_workers_that_are_busy():
    def work(worker, job):
        signal.pause()

    with Workers(2, work, lambda worker: None) as workers:
        pids = workers.pids
        workers.start("job")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_when_their_parent_is_gone(tmp_path):
    """A parent killed by SIGKILL closes its ends of the pipes: no worker stays."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        workers = Workers(2, lambda worker, job: None, lambda worker: None)
        os.write(write, " ".join(map(str, workers.pids)).encode() + b"\n")
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    with os.fdopen(read) as pipe:  # at its end every process that holds the other side has gone: no polling
        pids = pipe.readline().split()
        assert len(pids) == 2
        assert pipe.read() == ""
    os.waitpid(parent, 0)
