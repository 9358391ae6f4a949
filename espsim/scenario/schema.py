"""The scenario language, TOML: what a file may say, and where it is wrong.

schema = 1
name = "duplicate-spi"
question = "one sentence"
source = "where the question comes from"
policies = ["rfc4301"]                  # what runs where the user names none

[[sa]]                                  # an SA in the words of `ip xfrm state add`
name = "A"
line = "src 198.51.100.1 dst 192.0.2.1 proto esp spi 0x1001 mode transport ..."
count = 5                               # optional: so many copies ...
spi_step = 0                            # ... each with its SPI and destination this much further on
dst_step = 1

[[step]]                                # in order
do = "newsa"                            # allocspi newsa updsa delsa send
sa = "A"

[[step]]
do = "send"                             # the peer of every copy of A seals and sends
sa = "A"
packets = 10                            # or seqs = [1, 2, 2, 4294967296]: the sender's 64-bit numbers
forge = false                           # true: the last byte of the ICV is flipped
to = "192.0.2.9"                        # optional: another outer destination

  [[step.expect]]                       # the first that fits the cell is compared; none: nothing is expected
  policy = "rfc4301"                    # optional, a name or a list
  model = "sw-linux-xfrm"               # optional, likewise; "software" is the run without a model
  delivered = 10                        # send: also verdicts, linux_counters, device, surfacing (tables of counts)
  result = "OK"                         # requests: "OK" or an errno's name for every copy, or a table of counts
  offload = "0"                         # newsa, updsa with a model: "0" or "-EEXIST", or a table of counts
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from espsim.core.errors import InputError
from espsim.offload.locate import clean_path, locate, nearest

Names = str | list[str]
Counts = dict[str, int]
Spi = Annotated[int, Field(ge=0, lt=1 << 32)]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(_Strict):
    """What one step should answer in the cells that it fits."""

    policy: Names | None = None
    model: Names | None = None
    result: str | Counts | None = None
    offload: str | Counts | None = None
    delivered: int | None = None
    verdicts: Counts | None = None
    linux_counters: Counts | None = None
    device: Counts | None = None
    surfacing: Counts | None = None

    def fits(self, policy: str, model: str) -> bool:
        """Whether this expectation is about a cell."""
        return _names(self.policy, policy) and _names(self.model, model)


def _names(wanted: Names | None, name: str) -> bool:
    return wanted is None or name == wanted or (isinstance(wanted, list) and name in wanted)


class Step(_Strict):
    """One request to the SAD, or one burst of traffic."""

    do: Literal["allocspi", "newsa", "updsa", "delsa", "send"]
    sa: Text
    packets: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    seqs: list[Annotated[int, Field(ge=0, lt=1 << 64)]] | None = None
    size: Annotated[int, Field(ge=1, le=65000)] = 64
    forge: bool = False
    to: str | None = None
    port: Annotated[int, Field(ge=0, le=255)] = 0
    low: Spi | None = Field(default=None, alias="min")
    high: Spi | None = Field(default=None, alias="max")
    expect: list[Expect] = []

    @model_validator(mode="after")
    def _range_goes_with_allocspi(self) -> Step:
        if (self.low is None) is not (self.high is None):
            raise ValueError("min and max go together")
        if self.low is not None and self.do != "allocspi":
            raise ValueError("min and max belong to allocspi")
        return self


class Sa(_Strict):
    """A named SA, or `count` copies of it."""

    name: Text
    line: Text
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    spi_step: Annotated[int, Field(ge=0)] = 0
    dst_step: Annotated[int, Field(ge=0)] = 0


class Scenario(_Strict):
    """A whole scenario file."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Text
    question: Text
    source: Text = "the user's own"
    policies: list[str] = ["rfc4301"]
    models: list[str] = []
    sa: list[Sa] = Field(min_length=1)
    step: list[Step] = Field(min_length=1)

    @model_validator(mode="after")
    def _steps_name_sas(self) -> Scenario:
        known = {sa.name for sa in self.sa}
        if len(known) != len(self.sa):
            raise ValueError("two SAs of one name")
        for step in self.step:
            if step.sa not in known:
                raise ValueError(
                    f"a step names SA {step.sa!r}, which is not there; there are {', '.join(sorted(known))}"
                )
        return self


def builtin_names() -> list[str]:
    """The names of the scenarios that espsim ships."""
    folder = resources.files("espsim.scenario") / "builtin"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_scenario(name_or_path: str) -> tuple[Scenario, str, str]:
    """(scenario, its place for error lines, its source text). InputError: no such scenario, or what is wrong where."""
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(error.strerror or "cannot be read", where=name_or_path) from None
        except UnicodeDecodeError:
            raise InputError("not UTF-8 text", where=name_or_path) from None
        return parse_scenario(text, name_or_path), name_or_path, text
    if name_or_path not in builtin_names():
        raise InputError(f"no scenario {name_or_path!r}; built in: {', '.join(builtin_names())}; a path ends in .toml")
    text = (resources.files("espsim.scenario") / "builtin" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    return parse_scenario(text, name_or_path), name_or_path, text


def parse_scenario(text: str, where: str) -> Scenario:
    """A scenario from TOML text. InputError with the line where something is wrong."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", where=where) from None
    except RecursionError:
        raise InputError("not TOML that can be read: nested too deeply", where=where) from None
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        what, line = _first(error, text)
        raise InputError(what, where=where, line=line) from None


def _first(error: ValidationError, text: str) -> tuple[str, int | None]:
    """The first thing wrong: (sentence, line)."""
    details = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = clean_path(details["loc"], tomllib.loads(text))
    place = nearest(locate(text), path)
    key = ".".join(map(str, path))
    message = details["msg"].removeprefix("Value error, ")
    return (f"{key}: {message}" if key else message), place.line if place else None
