"""The format of a study file (TOML), and what is wrong in one.

schema = 1
name = "collisions"                     # small letters, digits, dashes; the output file's name if none is given
question = "one sentence"
source = "where the question comes from"
kind = "audit"                          # audit odds window allocspi scenario storm: what one task asks (KINDS)
repeats = 5                             # how often each point of the axes is asked, with new draws each time
along = "sas"                           # optional: the report shows where the answer changes along this axis
assume = ["model"]                      # optional, as --assume
scenario = "s02"                        # kind scenario: a built-in one, or a path; optional for kind storm

[axes]                                  # every combination of their values is a point; a missing axis has its default
model = ["marvell-cn10k-dpdk", "intel-82599-linux"]     # ["*"]: every shipped model, or SPI rule
sas = { from = 16, to = 4096, points = 9 }              # whole numbers at equal ratios (scale = "linear": steps)
range = "0x100-0xffff"                                  # one value: the axis is fixed

[quick]                                 # what --quick asks instead
repeats = 1
  [quick.axes]
  sas = [16, 256]

Axes of each kind, with what they mean and their defaults: `espsim sweep run --kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from espsim.analysis.sweep.questions import KINDS
from espsim.analysis.sweep.questions.kind import Axis, Value
from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError, InputErrors
from espsim.core.inputs import STANDARD
from espsim.core.toml import fault, parse_toml, read_text
from espsim.offload.locate import KeyPlace, Path, clean_path, locate, nearest
from espsim.offload.model import shipped_models
from espsim.sad.spi import SPI_RULES

MOST_VALUES = 1_000_000
"""The most values of one axis."""

Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Scalar = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Span(_Strict):
    """Values from one number to another. `scale`: log for equal ratios, linear for equal steps."""

    from_: Annotated[int | float, Field(alias="from")]
    to: int | float
    points: Annotated[int, Field(ge=1, le=MOST_VALUES)]
    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="after")
    def _goes_up(self) -> Span:
        if not (math.isfinite(self.from_) and math.isfinite(self.to) and self.from_ <= self.to):
            raise ValueError("from must not be above to")
        if self.scale == "log" and self.from_ <= 0:
            raise ValueError('from must be above 0; with scale = "linear" it may be 0')
        return self

    def values(self) -> list[int | float]:
        """The values, each once. They are whole numbers if both ends are."""
        steps = [n / max(1, self.points - 1) for n in range(self.points)]
        if self.scale == "log":
            found: list[float] = [self.from_ * (self.to / self.from_) ** step for step in steps]
        else:
            found = [self.from_ + (self.to - self.from_) * step for step in steps]
        if isinstance(self.from_, int) and isinstance(self.to, int):
            return list(dict.fromkeys(round(value) for value in found))
        return list(dict.fromkeys(float(f"{value:.6g}") for value in found))


AxisValues = Scalar | list[Scalar] | Span


class Quick(_Strict):
    """What --quick asks instead."""

    repeats: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    axes: dict[str, AxisValues] = {}


class StudyFile(_Strict):
    """A whole study file."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Name
    question: Text
    source: Text = "the user's own"
    kind: str
    repeats: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    along: str | None = None
    assume: list[str] = []
    scenario: Text | None = None
    axes: dict[str, AxisValues] = {}
    quick: Quick = Quick()


@dataclass(frozen=True, slots=True)
class Study:
    """A study that can run: every axis of its kind with its values; first those of the file, then the defaults."""

    name: str
    question: str
    source: str
    kind: str
    repeats: int
    along: str
    axes: dict[str, list[Value]]
    assume: tuple[str, ...] = ()
    scenario: str | None = None
    quick: bool = False

    @property
    def points(self) -> int:
        """How many combinations of the axes' values there are."""
        return math.prod(len(values) for values in self.axes.values())

    @property
    def tasks(self) -> int:
        """Points times repeats."""
        return self.points * self.repeats

    def as_dict(self) -> dict[str, Any]:
        """For JSON and the file of rows. It has no path."""
        return {
            "study": self.name, "question": self.question, "source": self.source, "kind": self.kind,
            "quick": self.quick, "repeats": self.repeats, "along": self.along, "assume": list(self.assume),
            "axes": self.axes,
        }  # fmt: skip


def builtin_names() -> list[str]:
    """The studies that espsim ships."""
    folder = resources.files("espsim.analysis.sweep") / "builtin"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def study_text(name_or_path: str) -> str:
    """The text of a built-in study, of a file, or of standard input. InputError: there is none of that name."""
    if name_or_path == STANDARD or "/" in name_or_path or name_or_path.endswith(".toml"):
        return read_text(name_or_path, name_or_path)
    if name_or_path not in builtin_names():
        like = did_you_mean(name_or_path, builtin_names(), f"there are {', '.join(builtin_names())}")
        raise InputError(f"no study {shortened(name_or_path)!r}; {like}; a path ends in .toml")
    return (resources.files("espsim.analysis.sweep") / "builtin" / f"{name_or_path}.toml").read_text(encoding="utf-8")


def load_study(name_or_path: str, *, quick: bool = False) -> Study:
    """The study with a name or path. InputErrors: everything that is wrong, each with its line."""
    return parse_study(study_text(name_or_path), name_or_path, quick=quick)


def parse_study(text: str, where: str, *, quick: bool = False) -> Study:
    """A study from TOML text. `quick`: changed as its [quick] table says. InputErrors as `load_study`."""
    data = parse_toml(text, where)
    places = locate(text.replace("\r\n", "\n"))
    try:
        file = StudyFile.model_validate(data)
    except ValidationError as error:
        raise _errors(_wrong(error, data, places), where) from None
    found = list(_faults(file, places))
    if found:
        raise _errors(found, where)
    return _made(file, quick)


def _errors(found: list[tuple[int, str]], where: str) -> InputErrors:
    return InputErrors(
        [InputError(what, where=where, line=line or None) for line, what in sorted(dict.fromkeys(found))]
    )


# -- what a file means ------------------------------------------------------------------------------------------------


def _made(file: StudyFile, quick: bool) -> Study:
    kind = KINDS[file.kind]
    said = {**file.axes, **(file.quick.axes if quick else {})}
    axes = {name: _read_all(kind.axes[name], name, given) for name, given in said.items()}
    for name, axis in kind.axes.items():
        if name not in axes and axis.default is not None:
            axes[name] = [axis.default]
    repeats = (file.quick.repeats if quick else None) or file.repeats
    return Study(
        file.name, file.question, file.source, file.kind, repeats, file.along or kind.along, axes, tuple(file.assume),
        file.scenario, quick,
    )  # fmt: skip


def _read_all(axis: Axis, name: str, given: AxisValues) -> list[Value]:
    """The values of an axis. ValueError: the index of a value, and what is wrong with it."""
    values = _listed(name, given)
    return [axis.read(value) for value in values]


def _listed(name: str, given: AxisValues) -> list[Value]:
    values: list[Value] = list(
        given.values() if isinstance(given, Span) else given if isinstance(given, list) else [given]
    )
    if values == ["*"] and name == "model":
        return [*shipped_models()]
    return [*SPI_RULES] if values == ["*"] and name == "policy" else values


# -- what is wrong with it --------------------------------------------------------------------------------------------


def _faults(file: StudyFile, places: dict[Path, KeyPlace]) -> Iterator[tuple[int, str]]:
    """(line, what) of every fault that the schema can't find."""
    kind = KINDS.get(file.kind)
    if kind is None:
        like = did_you_mean(file.kind, KINDS, f"legal: {', '.join(KINDS)}")
        yield _line(places, ("kind",)), f"kind: no kind {shortened(file.kind)!r}; {like}"
        return
    for table, axes in (((), file.axes), (("quick",), file.quick.axes)):
        for name, given in axes.items():
            yield from _axis_faults(kind.axes, (*table, "axes", name), given, places)
    for name, axis in kind.axes.items():
        if axis.default is None and not axis.optional and name not in file.axes:
            yield _line(places, ("axes",)), f"axes.{name} is missing: {axis.what}"
    if file.along is not None and file.along not in kind.axes:
        like = did_you_mean(file.along, kind.axes, f"legal: {', '.join(kind.axes)}")
        yield _line(places, ("along",)), f"along: no axis {shortened(file.along)!r}; {like}"
    if kind.scenario == "must" and file.scenario is None:
        yield _line(places, ("kind",)), f"scenario is missing: kind {file.kind} runs one"
    if file.scenario is not None and kind.scenario == "no":
        yield _line(places, ("scenario",)), f"scenario: kind {file.kind} runs none"


def _axis_faults(
    known: dict[str, Axis] | Any, path: Path, given: AxisValues, places: dict[Path, KeyPlace]
) -> Iterator[tuple[int, str]]:
    name, key, line = str(path[-1]), ".".join(map(str, path)), _line(places, path)
    axis = known.get(name)
    if axis is None:
        like = did_you_mean(name, known, f"legal: {', '.join(known)}")
        yield line, f"{key}: no such axis; {like}"
        return
    values = _listed(name, given)
    if not values:
        yield line, f"{key}: an axis without values, so there would be no task: give it one, or leave it out"
    if len(values) > MOST_VALUES:
        yield line, f"{key}: {len(values):,} values; an axis has at most {MOST_VALUES:,}"
    seen: set[tuple[type, Value]] = set()
    for number, value in enumerate(values):
        at = _line(places, (*path, number)) or line
        try:
            kept = axis.read(value)
        except ValueError as error:
            yield at, f"{key}: {error}"
            continue
        if (type(kept), kept) in seen:
            yield at, f"{key}: {shortened(str(value))!r} is there twice"
        seen.add((type(kept), kept))


def _line(places: dict[Path, KeyPlace], path: Path) -> int:
    place = nearest(places, path)
    return place.line if place else 0


def _wrong(error: ValidationError, data: Any, places: dict[Path, KeyPlace]) -> list[tuple[int, str]]:
    """What pydantic found, in plain words. A value that may have several forms gets one sentence."""
    found: dict[tuple[int, str], None] = {}
    for detail in error.errors(include_url=False, include_context=True):
        path = clean_path(detail["loc"], data)
        found[_line(places, path), _sentence(path, detail)] = None
    return list(found)


def _sentence(path: Path, detail: Any) -> str:
    told = detail["type"] in ("extra_forbidden", "missing", "value_error")
    value = shortened(str(detail["input"]))
    if not told and len(path) > 1 and "axes" in path:
        return f"{'.'.join(map(str, path))}: {value!r} is not a value, a list of values, or {{ from, to, points }}"
    if detail["type"] == "string_pattern_mismatch":
        return f"{'.'.join(map(str, path))}: {value!r} is not legal: small letters, digits and dashes, 64 at most"
    return fault("the study", path, detail, _keys_at)


def _keys_at(path: Path) -> list[str]:
    names = [part for part in path if isinstance(part, str)]
    model: type[BaseModel] = StudyFile if not names else Span if "axes" in names else Quick
    return [field.alias or name for name, field in model.model_fields.items()]
