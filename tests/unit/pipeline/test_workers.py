"""Workers share a batch's memory and nothing else, and one that is gone is noticed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from espsim.pipeline.workers import WorkerLost, Workers, shared_zeros


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


def test_a_failure_in_a_worker_is_told_by_name():
    def work(worker):
        if worker == 1:
            raise ValueError("no such row")

    with Workers(2, lambda worker, job: work(worker), lambda worker: None) as workers:
        workers.start("job")
        with pytest.raises(WorkerLost, match=r"^worker 2 of 2 failed: ValueError: no such row$"):
            workers.wait()


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
    """A parent killed by SIGKILL closes its ends of the pipes: nobody stays behind."""
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
