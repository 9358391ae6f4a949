"""The table [storm] of a scenario file.

[storm]
event = "rotation"          # a new key is published: host and nodes hear of it, each after its propagation delay
                            # "rekey": the host goes SA by SA; a node hears of its own `propagation` after that
nodes = 1000                # each has an SA to the host and one from it
rate = 500                  # requests (NEWSA, DELSA) that the host's control plane makes in a second, one after another
propagation = [0.2, 1.5]    # seconds, or from and to: uniform, drawn for each node
spread = 0.0                # seconds over which the host begins with its nodes one after another; 0: all at once
overlap = 4.0               # seconds from a side's first step to its last; the middle step lies in the middle
order = ["in", "out", "delete"]     # a side's steps: install the new inbound SA; send with the new outbound SA; delete
                            # the old ones. In any other order there is a time without a usable SA
spi = "new"                 # of new SAs. "same": the old SA's. "freed": inbound, that of a deleted SA, if there is one
range = "0x100-0xffff"      # optional: the host draws inbound SPIs there (ALLOCSPI, under the policy), or counts up
packets = 10                # a second, for each node and direction
size = 64                   # bytes of payload
flight = 0.001              # seconds that a packet is on its way
lead = 0.5                  # seconds before the storm, and after it
sa = "A"                    # optional: the [[sa]] whose algorithms, mode, window and offload line the SAs have

  [[storm.expect]]          # the first that fits the cell is compared
  policy = "rfc4301"        # optional, a name or a list; so is model ("software" is the run without one)
  lost = 0                  # packets; also delivered, peak (SAs in the device), drops (a table of counts)

A node's own control plane replaces one SA pair, and takes 1/rate seconds for each request. Nothing is retransmitted,
and no side waits for the other: each acts on the delays alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError

STEPS = ("in", "out", "delete")
MOST_PACKETS = 5_000_000
"""Most packets of a storm; a larger one is refused."""

Names = str | list[str]
Seconds = Annotated[float, Field(ge=0, le=1e6)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StormExpect(_Strict):
    """The expected result of a storm, in the cells that it fits."""

    policy: Names | None = None
    model: Names | None = None
    lost: int | None = None
    delivered: int | None = None
    peak: int | None = None
    drops: dict[str, int] | None = None

    def fits(self, policies: tuple[str, ...], model: str) -> bool:
        """Whether this expectation is about a cell; `policies` are the names that fit it."""
        return (self.policy is None or any(_names(self.policy, name) for name in policies)) and (
            self.model is None or _names(self.model, model)
        )


def _names(wanted: Names, name: str) -> bool:
    return name == wanted or (isinstance(wanted, list) and name in wanted)


class Storm(_Strict):
    """The table [storm]."""

    event: Literal["rotation", "rekey"] = "rotation"
    nodes: Annotated[int, Field(ge=1, le=100_000)]
    rate: Annotated[float, Field(gt=0, le=1e9)] = 1000.0
    propagation: Seconds | Annotated[list[Seconds], Field(min_length=2, max_length=2)] = 0.1
    spread: Seconds = 0.0
    overlap: Seconds = 2.0
    order: Annotated[list[Literal["in", "out", "delete"]], Field(min_length=3, max_length=3)] = ["in", "out", "delete"]
    spi: Literal["new", "same", "freed"] = "new"
    range: str | None = None
    packets: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    size: Annotated[int, Field(ge=1, le=65000)] = 64
    flight: Seconds = 0.001
    lead: Seconds = 0.5
    sa: str | None = None
    expect: list[StormExpect] = []

    @field_validator("order")
    @classmethod
    def _each_once(cls, order: list[str]) -> list[str]:
        if set(order) != set(STEPS):
            raise ValueError("must have in, out and delete, each once")
        return order

    @field_validator("range")
    @classmethod
    def _a_range(cls, text: str | None) -> str | None:
        if text is not None:
            span_of(text)
        return text

    @model_validator(mode="after")
    def _delays_go_up(self) -> Storm:
        if self.delays[0] > self.delays[1]:
            raise ValueError("propagation: the first number must not be larger than the second")
        if self.range is not None and self.spi != "new":
            raise ValueError('range needs spi = "new": no other SPIs are drawn')
        return self

    @property
    def delays(self) -> tuple[float, float]:
        """The shortest and the longest propagation delay."""
        p = self.propagation
        return (p[0], p[1]) if isinstance(p, list) else (p, p)


def changed_storm(storm: Storm, values: Mapping[str, Any]) -> Storm:
    """A storm with some of its words changed. InputError: no such word, or a value that is not legal."""
    for name in values:
        if name not in Storm.model_fields:
            known = list(Storm.model_fields)
            raise InputError(f"no word {shortened(name)!r} of [storm]; {did_you_mean(name, known, ', '.join(known))}")
    try:
        return Storm.model_validate({**storm.model_dump(exclude_unset=True), **values})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(next(iter(first["loc"]), "storm"))
        what = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ")
        raise InputError(f"storm.{key}: {shortened(str(first['input']))!r} is not legal: {what}") from None


def span_of(text: str) -> tuple[int, int]:
    """The two ends of a range of SPIs, MIN-MAX. ValueError: the text is not a range."""
    low_text, dash, high_text = text.partition("-")
    try:
        low, high = int(low_text, 0), int(high_text, 0)
    except ValueError:
        dash = ""
    if not dash or not 0 < low <= high <= 0xFFFFFFFF:
        raise ValueError("MIN-MAX of SPIs, such as 0x100-0xffff")
    return low, high
