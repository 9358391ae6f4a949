"""The scenario language, in TOML: what a file may contain, and where a file is wrong.

schema = 1
name = "duplicate-spi"
question = "one sentence"
source = "where the question comes from"
policies = ["rfc4301"]                  # what runs if the user names none: policies, or kernels by name
choice = "what the question leaves open, and what espsim's policies do there"
names = { s = 0x5000 }                  # SPIs by name, for `show = "spis"`
party = "Android"                       # optional: whose calls these are, in sentences
local = ["10.0.0."]                     # optional: how the host's own addresses begin, so that in and out are known

[[sa]]                                  # an SA in the words of `ip xfrm state add`
name = "A"
line = "src 198.51.100.1 dst 192.0.2.1 proto esp spi 0x1001 mode transport ..."
count = 5                               # optional: so many copies ...
spi_step = 0                            # ... each with its SPI and destination this much further on
dst_step = 1

[[step]]                                # in order
do = "newsa"                            # allocspi newsa updsa delsa send ask
sa = "A"                                # with `offload dev` in its line the driver is asked first, as NEWSA does

[[step]]
do = "send"                             # the peer of every copy of A seals and sends
sa = "A"
packets = 10                            # or seqs = [1, 2, 2, 4294967296]: the sender's 64-bit numbers
forge = false                           # true: the last byte of the ICV is flipped
to = "192.0.2.9"                        # optional: another outer destination

[[step]]
do = "ask"                              # lines of the request language (espsim xfrm --requests)
lines = '''
ALLOCSPI src=192.0.2.9 dst=10.0.0.1 proto=esp min=0x5000 max=0x5002 $in
'''
trials = 1000                           # repeat it, each time from the step's first state: the outcome is a share
shuffle = true                          # draw a new order for each trial
show = "results"                        # what goes into the outcome: results (the default), nothing, count (how many
                                        # were OK), spis (which of `names` was given), zeros (states with SPI 0 at a
                                        # DUMP), states (all of them)

  [[step.expect]]                       # the first that fits the cell is compared; none: nothing is expected
  policy = "rfc4301"                    # optional, a name or a list; a kernel's name fits its policy's too
  model = "sw-linux-xfrm"               # optional, likewise; "software" is the run without a model
  option = "encap-port-key"             # optional, likewise: an option that the run has
  delivered = 10                        # send: also verdicts, linux_counters, device, surfacing (tables of counts)
  result = "OK"                         # requests: "OK" or an errno's name for every copy, or a table of counts
  offload = "0"                         # newsa, updsa with a model: "0" or "-EEXIST", or a table of counts

[storm]                                 # instead of steps and variants: SAs of many nodes are replaced while packets
nodes = 1000                            # flow (storm/spec.py has all its words)

[[variant]]                             # the same scenario with changes; every variant is run
name = "dir in"
words = { in = "dir=in" }               # replaces $in in lines of SAs and requests
options = ["acquire-uapi"]              # as --option
model = "marvell-cn10k-dpdk"            # where the user names none
assume = ["model"]                      # as --assume
refusal = "EOPNOTSUPP"                  # what the driver answers where it would say anything but yes
lookup = "longest"                      # as --lookup

  [variant.expect]                      # the outcome as a whole, by policy or kernel
  rfc2401 = "OK x5"                     # "fail" means any errno, "..." at the end means anything
  rfc4301 = { OK = 0.704, "fail" = 0 }  # with trials: shares of outcomes, within four standard deviations
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from importlib import resources
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from espsim.core.address import parse_address
from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError, InputErrors
from espsim.core.inputs import STANDARD
from espsim.core.toml import fault, parse_toml, read_text
from espsim.offload.locate import clean_path, locate, nearest
from espsim.scenario.check import faults
from espsim.scenario.storm.spec import Storm, StormExpect

Names = str | list[str]
Counts = dict[str, int]
Spi = Annotated[int, Field(ge=0, lt=1 << 32)]
Text = Annotated[str, StringConstraints(min_length=1)]
Lookup = Literal["triple", "longest"]
Show = Literal["results", "nothing", "count", "spis", "zeros", "states"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(_Strict):
    """What one step should answer in the cells that it fits."""

    policy: Names | None = None
    model: Names | None = None
    option: Names | None = None
    result: str | Counts | None = None
    offload: str | Counts | None = None
    delivered: int | None = None
    verdicts: Counts | None = None
    linux_counters: Counts | None = None
    device: Counts | None = None
    surfacing: Counts | None = None

    def fits(self, policies: Collection[str], model: str, options: Collection[str] = ()) -> bool:
        """Whether this expectation is about a cell; `policies` are the names that fit it."""
        return (
            (self.policy is None or any(_names(self.policy, name) for name in policies))
            and (self.model is None or _names(self.model, model))
            and (self.option is None or any(_names(self.option, name) for name in options))
        )


def _names(wanted: Names, name: str) -> bool:
    return name == wanted or (isinstance(wanted, list) and name in wanted)


class ScenarioStep(_Strict):
    """One request to the SAD, one burst of traffic, or some lines of requests."""

    do: Literal["allocspi", "newsa", "updsa", "delsa", "send", "ask"]
    sa: Text | None = None
    lines: Text | None = None
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    shuffle: bool = False
    show: Show = "results"
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
    def _words_go_together(self) -> ScenarioStep:
        if (self.low is None) is not (self.high is None):
            raise ValueError("min and max go together")
        if self.low is not None and self.do != "allocspi":
            raise ValueError("min and max belong to allocspi")
        if (self.do == "ask") is not (self.lines is not None):
            raise ValueError("ask needs lines, and only ask takes them")
        if (self.do == "ask") is (self.sa is not None):
            raise ValueError("every step but ask needs an sa, and ask takes none")
        if self.to is not None:
            parse_address(self.to)
        if self.do != "ask" and (self.trials > 1 or self.shuffle):
            raise ValueError("trials and shuffle belong to ask")
        return self


class Sa(_Strict):
    """A named SA, or `count` copies of it."""

    name: Text
    line: Text
    count: Annotated[int, Field(ge=1, le=100_000)] = 1
    spi_step: Annotated[int, Field(ge=0)] = 0
    dst_step: Annotated[int, Field(ge=0)] = 0


class Variant(_Strict):
    """One way of running a scenario, and its outcome by policy."""

    name: Text
    words: dict[str, str] = {}
    options: list[str] = []
    model: str | None = None
    assume: list[str] = []
    refusal: str | None = None
    lookup: Lookup | None = None
    expect: dict[str, str | dict[str, float]] = {}


PLAIN = Variant(name="-")
"""The variant of a scenario that has none."""


class Scenario(_Strict):
    """A whole scenario file."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Text
    question: Text
    source: Text = "the user's own"
    party: str = ""
    local: list[Text] = []
    choice: str = ""
    policies: list[str] = ["rfc4301"]
    models: list[str] = []
    names: dict[str, Spi] = {}
    sa: list[Sa] = []
    step: list[ScenarioStep] = []
    storm: Storm | None = None
    variant: list[Variant] = []

    @property
    def variants(self) -> list[Variant]:
        """The variants, or the plain one."""
        return self.variant or [PLAIN]

    @model_validator(mode="after")
    def _steps_or_a_storm(self) -> Scenario:
        if self.storm is None and not self.step:
            raise ValueError("no step, and no storm: a scenario has one or the other")
        if self.storm is not None and (self.step or self.variant):
            raise ValueError("a storm has neither steps nor variants")
        if self.storm is not None and self.storm.sa is not None:
            known = {sa.name for sa in self.sa}
            if self.storm.sa not in known:
                like = did_you_mean(self.storm.sa, known, f"there are {len(known)} SAs")
                raise ValueError(f"the storm names SA {shortened(self.storm.sa)!r}, which is not there; {like}")
        return self

    @model_validator(mode="after")
    def _steps_name_sas(self) -> Scenario:
        known = {sa.name for sa in self.sa}
        if len(known) != len(self.sa):
            raise ValueError("two SAs have the same name")
        for step in self.step:
            if step.sa is not None and step.sa not in known:
                like = did_you_mean(step.sa, known, f"there are {len(known)} SAs")
                raise ValueError(f"a step names SA {shortened(step.sa)!r}, which is not there; {like}")
        return self

    @model_validator(mode="after")
    def _trials_stand_alone(self) -> Scenario:
        shown = [step for step in self.step if step.show != "nothing"]
        if len(shown) > 1 and any(step.trials > 1 for step in shown):
            raise ValueError('beside a step with trials every other step needs show = "nothing"')
        return self

    @model_validator(mode="after")
    def _variants_have_the_words(self) -> Scenario:
        if len({variant.name for variant in self.variant}) != len(self.variant):
            raise ValueError("two variants have the same name")
        used: set[str] = set()
        for text in (*(sa.line for sa in self.sa), *(step.lines or "" for step in self.step)):
            if not Template(text).is_valid():
                raise ValueError("a $ without a word after it")
            used.update(Template(text).get_identifiers())
        for variant in self.variants:
            missing = used - set(variant.words)
            if missing:
                raise ValueError(f"variant {variant.name} has no word {min(missing)!r}")
        return self


_OF_THE_THREAD = re.compile(r"(s\d\d[a-z]?)-.*")
"""Files of the thread's scenarios: the file name begins with the scenario's name."""


def _builtin_files() -> dict[str, str]:
    """The file of each built-in scenario, by name."""
    folder = resources.files("espsim.scenario") / "builtin"
    stems = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    return {(match[1] if (match := _OF_THE_THREAD.fullmatch(stem)) else stem): stem for stem in stems}


def builtin_names() -> list[str]:
    """The names of the scenarios that espsim ships."""
    return list(_builtin_files())


def thread_names() -> list[str]:
    """Those of the netdev thread, in order."""
    return [name for name, stem in _builtin_files().items() if name != stem]


def load_scenario(name_or_path: str) -> tuple[Scenario, str, str]:
    """(scenario, its place for error lines, its source text). InputError: no such scenario, or what is wrong where.

    Built-in names may be written in any case; `-` is standard input.
    """
    if name_or_path == STANDARD or "/" in name_or_path or name_or_path.endswith(".toml"):
        text = read_text(name_or_path, name_or_path)
        return parse_scenario(text, name_or_path), name_or_path, text
    files = _builtin_files()
    wanted = name_or_path.lower()
    stem = files.get(wanted) or (wanted if wanted in files.values() else None)
    if stem is None:
        like = did_you_mean(name_or_path, [*files, *files.values()], "espsim run --list lists all")
        raise InputError(f"no scenario {shortened(name_or_path)!r}; {like}; a path ends in .toml")
    text = (resources.files("espsim.scenario") / "builtin" / f"{stem}.toml").read_text(encoding="utf-8")
    return parse_scenario(text, wanted), wanted, text


def parse_scenario(text: str, where: str) -> Scenario:
    """A scenario from TOML text. InputErrors: every fault, with its line, its key and what is legal there."""
    data = parse_toml(text, where)
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        raise InputErrors(list(_wrong(error, text, data, where))) from None
    found = sorted(dict.fromkeys(faults(scenario, text)))
    if found:
        raise InputErrors([InputError(what, where=where, line=line or None) for line, what in found])
    return scenario


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Scenario.model_json_schema(by_alias=True)}


def _wrong(error: ValidationError, text: str, data: Any, where: str) -> Iterator[InputError]:
    """Everything that is wrong, in the order of the lines."""
    places = locate(text)
    found = []
    for detail in error.errors(include_url=False, include_context=True):
        path = clean_path(detail["loc"], data)
        place = nearest(places, path)
        found.append((place.line if place else 0, fault("the scenario", path, detail, _keys_at)))
    for line, what in sorted(dict.fromkeys(found)):
        yield InputError(what, where=where, line=line or None)


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys that are legal in the table at a path."""
    models: dict[str, type[BaseModel]] = {"sa": Sa, "step": ScenarioStep, "variant": Variant, "storm": Storm}
    names = [part for part in path if isinstance(part, str)]
    model: type[BaseModel] = models.get(names[0], Scenario) if names else Scenario
    if names[:1] == ["step"] and "expect" in names:
        model = Expect
    if names[:1] == ["storm"] and "expect" in names:
        model = StormExpect
    return [field.alias or name for name, field in model.model_fields.items()]
