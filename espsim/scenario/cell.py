"""The result of one cell, step by step. A cell is one variant of a scenario under one policy and one model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from espsim.scenario.facts import Facts
from espsim.scenario.meaning import meaning
from espsim.scenario.outcome import Expected, expected_text, in_full, meets, sequence, shares_text
from espsim.scenario.schema import PLAIN, Expect, ScenarioStep
from espsim.scenario.tracing import Traced

SOFTWARE = "software"
"""The name of the run without a hardware model, in expectations and in tables."""


@dataclass(slots=True)
class StepResult:
    """One step of one cell. `failures`: (key, expected, got) for each expectation that was not met.

    `parts`: this step's share of the cell's outcome. `outcomes`: the same for every trial, where there were several.
    """

    step: ScenarioStep
    got: dict[str, Any]
    failures: list[tuple[str, Any, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    compared: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        result: dict[str, Any] = {"do": self.step.do, "sa": self.step.sa, "got": self.got}
        if self.notes:
            result["notes"] = self.notes
        result["failures"] = [{"key": key, "expected": want, "got": got} for key, want, got in self.failures]
        return result

    def compare(self, expect: Expect, copies: int) -> None:
        """Note where this answer is not what was expected of `copies` requests."""
        self.compared = True
        for key in ("result", "offload", "delivered", "verdicts", "linux_counters", "device", "surfacing"):
            want = getattr(expect, key)
            if want is None:
                continue
            if isinstance(want, str):
                want = {want: copies}
            have = self.got.get(key, {})
            if want != have:
                self.failures.append((key, want, have))


@dataclass(slots=True)
class Cell:
    """One cell. `expected`: the outcome that its variant expects; None where it expects nothing.

    `facts`: what happened. `source`: what fixes the expected outcome. `party`: whose calls these are. `wire`: what the
    faults of the wire did, where there were any; such a cell is not compared.
    """

    policy: str
    model: str
    steps: list[StepResult]
    assumptions: list[str]
    variant: str = PLAIN.name
    expected: Expected | None = None
    scenario: str = ""
    source: str = ""
    party: str = ""
    facts: Facts = field(default_factory=Facts)
    traced: list[Traced] | None = None
    wire: dict[str, Any] | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The share of each outcome; a single outcome where nothing was tried more than once."""
        for step in self.steps:
            if step.step.trials > 1 and step.outcomes:
                total = step.outcomes.total()
                return {name: n / total for name, n in step.outcomes.most_common()}
        return {sequence([part for step in self.steps for part in step.parts]): 1.0}

    @property
    def trials(self) -> int:
        """The number of trials that the shares are taken from."""
        return max(step.step.trials for step in self.steps)

    @property
    def outcome(self) -> str:
        """The outcome in short form."""
        return shares_text(self.shares)

    @property
    def as_expected(self) -> bool | None:
        """Whether the outcome is the variant's; None where it expects nothing."""
        if self.expected is None:
            return None
        return meets(self.expected, self.outcome, self.shares, self.trials)

    @property
    def ok(self) -> bool:
        """Whether every expectation was met."""
        return self.as_expected is not False and not any(step.failures for step in self.steps)

    @property
    def meaning(self) -> str:
        """What it means, in sentences."""
        return meaning(self.facts, self.shares, self.trials, self.party)

    @property
    def compared(self) -> bool:
        """Whether anything was expected of it, as a whole or of a step."""
        return self.expected is not None or any(step.compared for step in self.steps)

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Every cell has every key but two: `trace` where packets were traced, `wire` where it had faults.
        `expected` is null where no answer is fixed, and where the wire had faults.
        """
        trace = {} if self.traced is None else {"trace": [packet.as_dict() for packet in self.traced]}
        return {
            "scenario": self.scenario,
            "variant": self.variant,
            "policy": self.policy,
            "model": self.model,
            "requests": [asked.as_dict() for asked in self.facts.requests],
            "states": self.facts.states,
            "states_spi0": self.facts.spi0,
            "packets": [packet.as_dict() for packet in self.facts.packets],
            "share": {in_full(name): share for name, share in self.shares.items()} if self.trials > 1 else None,
            "trials": self.trials,
            "fixed_by": self.source if self.compared else None,
            "as_expected": self.ok if self.compared else None,
            "meaning": self.meaning,
            **trace,
            **({} if self.wire is None else {"wire": self.wire}),
            "outcome": self.outcome,
            "outcome_in_full": in_full(self.outcome),
            "expected": self.expected,
            "expected_in_full": None if self.expected is None else in_full(expected_text(self.expected)),
            "ok": self.ok,
            "assumptions": self.assumptions,
            "steps": [step.as_dict() for step in self.steps],
        }
