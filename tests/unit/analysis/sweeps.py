"""A small study that tests run, and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espsim.analysis.sweep.plan import SweepPlan, TaskRow, make_plan, run_task
from espsim.analysis.sweep.store import Saved
from espsim.analysis.sweep.study import parse_study

SMALL = """schema = 1
name = "small"
question = "Which window?"
kind = "window"
repeats = 4

[axes]
reorder = [8, 100]
window = [32, 64, 128]
packets = 400
loss = 0.1

[quick]
repeats = 1
"""


def small_plan(seed: int = 1, text: str = SMALL) -> SweepPlan:
    return make_plan(parse_study(text, "small.toml"), seed)


def rows_of(plan: SweepPlan) -> list[TaskRow]:
    """Every row, run here and in order."""
    return [run_task(plan.task(place)) for place in range(plan.tasks)]


def rows_in(path: Path | str) -> list[Any]:
    return Saved(str(path)).rows
