"""Runs what is missing of a sweep: every task whose place has no row yet, and each row lands when it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from espsim.analysis.sweep.plan import SweepPlan, Task, TaskRow
from espsim.analysis.sweep.store import Store

MOST_TASKS = 100_000
"""Tasks that are run without being asked for by number."""


class Executor(Protocol):
    """Who runs tasks: LocalPool or Cluster."""

    def rows(self, tasks: Iterator[Task]) -> Iterator[list[TaskRow]]:
        """The rows of all tasks, in any order."""


def run_missing(
    plan: SweepPlan, store: Store, executor: Executor, done: Sequence[int], advance: Callable[[int], None]
) -> int:
    """Run the tasks whose places are not in `done` (in order). `advance` hears how many rows there are.

    Returns the number of rows. InputError: the store's, or the executor's; the rows that landed stay.
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
