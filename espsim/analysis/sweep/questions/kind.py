"""A kind of question: its axes, what one task does, and what a report shows of many tasks.

A task gets the value of each axis, a seed, and what belongs to the whole study (`Given`). It returns a `TaskResult`:
named numbers and texts, and an answer in a few words; a report says where the answer changes. Numbers are rounded to
ten digits, because the last bits of a logarithm differ between processors.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from espsim.analysis.odds import Range, parse_range
from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError
from espsim.offload.model import Model, load_model, shipped_models
from espsim.sad.linux import KERNELS
from espsim.sad.spi import SPI_RULES
from espsim.scenario.cell import SOFTWARE

Value = bool | int | float | str
Params = Mapping[str, Any]
UNKNOWN = "unknown"
"""The answer where a model's value is not public."""

LOSES_NONE, LOSES_SOME = "loses none", "loses some"


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis. `read` turns what the study says into a value, or raises ValueError with what is legal.

    `default` None: a study must have the axis, unless it is `optional`.
    """

    what: str
    read: Callable[[Value], Value]
    default: Value | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What all tasks of a study have in common. `models`: the models that are given by path.

    `assumed`: the study's assumptions, by the model's name. `text`: of the scenario's file.
    """

    assumed: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    text: str = ""

    def model(self, name: str) -> Model:
        """A model by its id or path, with the study's assumptions."""
        return (self.models.get(name) or _shipped(name)).assuming(self.assumed.get(name, {}))


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of one task. `values` by name: numbers, texts, None where there is none."""

    answer: str
    values: dict[str, Any]

    def rounded(self) -> dict[str, Any]:
        """`values` as they are stored."""
        return {name: _rounded(value) for name, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class QuestionKind:
    """One kind of question. `shown`: the values that a terminal shows; `headline`: the one that is drawn.

    `scenario`: whether a study of this kind names a scenario.
    """

    name: str
    what: str
    axes: Mapping[str, Axis]
    run: Callable[[Params, int, Given], TaskResult]
    headline: str
    shown: tuple[str, ...]
    along: str
    scenario: Literal["no", "may", "must"] = "no"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value


@functools.cache
def _shipped(name: str) -> Model:
    return load_model(name)


# -- values of axes ---------------------------------------------------------------------------------------------------


def whole(low: int, high: int) -> Callable[[Value], Value]:
    """A whole number from low to high."""

    def read(value: Value) -> Value:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{_said(value)} is not a whole number from {low:,} to {high:,}")
        return value

    return read


def number(low: float, high: float) -> Callable[[Value], Value]:
    """A number from low to high."""

    def read(value: Value) -> Value:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{_said(value)} is not a number from {low:g} to {high:g}")
        return float(value)

    return read


def word(*legal: str) -> Callable[[Value], Value]:
    """One of some words."""

    def read(value: Value) -> Value:
        if value not in legal:
            raise ValueError(f"{_said(value)} is not legal; legal: {', '.join(legal)}")
        return value

    return read


def yes_or_no(value: Value) -> Value:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{_said(value)} is neither true nor false")
    return value


def spi_rule(value: Value) -> Value:
    """An SPI rule, or a kernel."""
    names = (*SPI_RULES, *KERNELS)
    if value not in names:
        like = did_you_mean(str(value), names, f"there are {', '.join(names)}")
        raise ValueError(f"no policy {_said(value)}; {like}")
    return value


def model_name(value: Value) -> Value:
    """A hardware model: its id, or a path. Another name of a model becomes its id."""
    if not isinstance(value, str):
        raise ValueError(f"{_said(value)} is not a model's id")
    if by_path(value) or value in shipped_models():
        return value
    try:
        return load_model(value).id
    except InputError as error:
        raise ValueError(str(error)) from None


def software_or_model(value: Value) -> Value:
    """A hardware model, or software without one."""
    return value if value == SOFTWARE else model_name(value)


def by_path(name: str) -> bool:
    """Whether a model is given by its file's path."""
    return "/" in name or name.endswith(".toml")


def spi_range(value: Value) -> Value:
    """MIN-MAX, as `espsim spi --range` takes it."""
    try:
        return str(parse_range(str(value)))
    except InputError as error:
        raise ValueError(error.what) from None


def range_of(value: str) -> Range:
    """The SPIs of a value that `spi_range` has read."""
    return parse_range(value)


SPAN = re.compile(r"([0-9.]{1,20})(?:-([0-9.]{1,20}))?", re.ASCII)


def _said(value: Value) -> str:
    return repr(shortened(str(value)))
