"""Runs what is missing of a sweep: every task whose place has no row yet. Each row is stored when it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from espsim.analysis.sweep.plan import SweepPlan, Task, TaskRow
from espsim.analysis.sweep.store import Store

MOST_TASKS = 100_000
"""A sweep of more tasks runs only if the user gives their number."""


class Executor(Protocol):
    """What runs tasks: LocalPool or Cluster."""

    def rows(self, tasks: Iterator[Task]) -> Iterator[list[TaskRow]]:
        """The rows of all tasks, in any order."""


def run_missing(
    plan: SweepPlan, store: Store, executor: Executor, done: Sequence[int], advance: Callable[[int], None]
) -> int:
    """Run the tasks whose places are not in `done` (in order). `advance` is called with the number of rows so far.

    Returns the number of rows. InputError: from the store or the executor; stored rows stay.
    """
    landed = len(done)
    for rows in executor.rows(missing(plan, done)):
        store.add(rows)
        landed += len(rows)
        advance(landed)
    return landed


def missing(plan: SweepPlan, done: Sequence[int]) -> Iterator[Task]:
    """The tasks that have no row, in order."""
    there = iter(done)
    following = next(there, None)
    for place in range(plan.tasks):
        if place == following:
            following = next(there, None)
        else:
            yield plan.task(place)
