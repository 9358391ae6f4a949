"""The tasks of a study by their place, and the seed of each.

Places count from 0. The first axis changes slowest, repeats change fastest. A task is made from its place alone, so no
list of tasks is held, and a study of a billion tasks can be counted without making them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from espsim.analysis.sweep.questions import KINDS
from espsim.analysis.sweep.questions.kind import UNKNOWN, Given, Value, by_path
from espsim.analysis.sweep.study import Study
from espsim.core.errors import EspsimError, InputError, UnknownReached
from espsim.offload.model import Model, load_model, parse_assumptions
from espsim.scenario.schema import load_scenario
from espsim.version import __version__


class TaskRow(NamedTuple):
    """The result of the task at a place: an answer and values, or `error`, a sentence that says why there is none."""

    place: int
    answer: str | None
    values: dict[str, Any] | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One complete task. It can be sent to any machine that has this espsim."""

    place: int
    kind: str
    params: Mapping[str, Any]
    seed: int
    given: Given


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A study and a seed. `digest` is of everything that a row depends on, with this espsim's version."""

    study: Study
    seed: int
    given: Given
    digest: str

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return self.study.tasks

    def point(self, place: int) -> tuple[dict[str, Any], int]:
        """(the value of each axis, the number of the repeat from 0) of a place."""
        rest, repeat = divmod(place, self.study.repeats)
        params: dict[str, Any] = {}
        for name, values in reversed(self.study.axes.items()):
            rest, at = divmod(rest, len(values))
            params[name] = values[at]
        return {name: params[name] for name in self.study.axes}, repeat

    def task(self, place: int) -> Task:
        """The task at a place."""
        params, _repeat = self.point(place)
        models = {name: model for name, model in self.given.models.items() if name == params.get("model")}
        assumed = {name: values for name, values in self.given.assumed.items() if name == params.get("model")}
        given = Given(assumed, models, self.given.text)
        return Task(place, self.study.kind, params, seed_of(self.seed, place), given)


def seed_of(seed: int, place: int) -> int:
    """The seed of a task: 64 bits, hardly ever those of another place."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{place}".encode(), digest_size=8).digest())


def make_plan(study: Study, seed: int) -> SweepPlan:
    """A plan. InputError: a model or scenario of the study can't be read, or an assumption does not fit a model."""
    named = [str(name) for name in study.axes.get("model", ()) if name != "software"]
    read = {name: load_model(name) for name in named if by_path(name) or study.assume}
    ids = [read[name].id if name in read else name for name in named]
    if len(set(ids)) < len(ids):
        twice = next(ident for ident in ids if ids.count(ident) > 1)
        raise InputError(f"axes.model: two models with the id {twice}", where=study.name)
    loaded = {model.id: model for model in read.values()}
    among = list(loaded.values())
    assumed = {name: parse_assumptions(model, study.assume, among) for name, model in loaded.items() if study.assume}
    for name, values in assumed.items():
        loaded[name].assuming(values)
    own = {model.id: model for name, model in read.items() if by_path(name)}
    if own:  # rows have the model's id, because a path means nothing on another machine
        short: list[Value] = [read[str(name)].id if name in read else name for name in study.axes["model"]]
        study = replace(study, axes={**study.axes, "model": short})
    text = load_scenario(study.scenario)[2] if study.scenario is not None else ""
    return SweepPlan(study, seed, Given(assumed, own, text), _digest(study, seed, own, assumed, text))


def _digest(
    study: Study, seed: int, models: Mapping[str, Model], assumed: Mapping[str, Mapping[str, object]], text: str
) -> str:
    everything = [
        __version__, study.kind, study.repeats, list(study.axes.items()), seed, text,
        {name: model.raw for name, model in models.items()}, assumed,
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(everything, default=str).encode(), digest_size=16).hexdigest()


def run_task(task: Task) -> TaskRow:
    """Run one task. What it raises becomes the row's `error`; a value that is not public is an answer."""
    try:
        result = KINDS[task.kind].run(task.params, task.seed, task.given)
        return TaskRow(task.place, result.answer, result.rounded())
    except UnknownReached as reached:
        return TaskRow(task.place, UNKNOWN, {"unknown_key": reached.key})
    except InputError as error:
        return TaskRow(task.place, None, None, error.what)
    except EspsimError as error:
        return TaskRow(task.place, None, None, str(error))
    except Exception as error:  # the sweep continues; the text of an unexpected error may hold input, so it is dropped
        return TaskRow(task.place, None, None, f"a fault of espsim: {type(error).__name__}")
