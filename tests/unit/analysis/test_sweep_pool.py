"""Tasks on processes: the same rows from any number of them, and what a worker's death costs."""

from __future__ import annotations

import os
import signal

import pytest

from espsim.analysis.sweep.plan import TaskRow
from espsim.analysis.sweep.pool import DIED, LocalPool
from espsim.analysis.sweep.questions import KINDS
from espsim.analysis.sweep.questions.kind import QuestionKind, TaskResult
from tests.unit.analysis.sweeps import rows_of, small_plan


def by_pool(plan, count, died=lambda _text: None):
    with LocalPool(count, died) as pool:
        tasks = (plan.task(place) for place in range(plan.tasks))
        return sorted(row for rows in pool.rows(tasks) for row in rows)


def asking(monkeypatch, run):
    """Let tasks of kind window do something else; workers are forked, so they do too."""
    kind = KINDS["window"]
    other = QuestionKind(kind.name, kind.what, kind.axes, run, kind.headline, kind.shown, kind.along)
    monkeypatch.setitem(KINDS, "window", other)


@pytest.mark.parametrize("count", [1, 3])
def test_the_rows_are_the_same_whoever_runs_them(count):
    plan = small_plan()
    assert by_pool(plan, count) == rows_of(plan)


def test_a_task_that_raises_has_a_row_that_says_so(monkeypatch):
    def run(params, seed, given):
        if params["reorder"] == 8:
            raise ZeroDivisionError("0x00112233445566778899aabbccddeeff")
        return TaskResult("fine", {"seed": seed})

    asking(monkeypatch, run)
    rows = by_pool(small_plan(), 2)
    assert [row.error for row in rows[:12]] == ["a fault of espsim: ZeroDivisionError"] * 12
    assert [row.answer for row in rows[12:]] == ["fine"] * 12


def test_a_worker_that_dies_once_costs_nothing(monkeypatch, tmp_path):
    killed = tmp_path / "killed"

    def run(params, seed, given):
        if params["window"] == 64 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return TaskResult("fine", {"seed": seed})

    asking(monkeypatch, run)
    said: list[str] = []
    plan = small_plan()
    assert by_pool(plan, 2, said.append) == [TaskRow(n, "fine", {"seed": plan.task(n).seed}) for n in range(24)]
    assert said == ["a worker died (signal 9); its tasks go to others"]


def test_a_task_that_kills_every_worker_is_given_up(monkeypatch):
    def run(params, seed, given):
        if params["window"] == 64 and params["reorder"] == 8:
            os._exit(3)
        return TaskResult("fine", {})

    asking(monkeypatch, run)
    said: list[str] = []
    rows = by_pool(small_plan(), 2, said.append)
    assert [row.place for row in rows] == list(range(24))
    assert [row.place for row in rows if row.error == DIED] == [4, 5, 6, 7]
    assert said.count("a worker died (status 3); its task is given up") == 4


def test_no_worker_is_left():
    with LocalPool(2) as pool:
        pids = [worker.process.pid for worker in pool._workers]
        next(pool.rows(small_plan().task(place) for place in range(24)))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
