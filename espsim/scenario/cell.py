"""What came of one cell: a scenario (one variant of it) under one policy and one model, step by step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from espsim.scenario.outcome import Expected, meets, sequence, shares_text
from espsim.scenario.schema import PLAIN, Expect, Step

SOFTWARE = "software"
"""The name of the run without a hardware model, in expectations and in tables."""


@dataclass(slots=True)
class StepResult:
    """One step of one cell. `failures`: (key, expected, got) where an expectation was not met.

    `parts` is what the cell's outcome has of it, `outcomes` the same of every trial where there were several.
    """

    step: Step
    got: dict[str, Any]
    failures: list[tuple[str, Any, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        result: dict[str, Any] = {"do": self.step.do, "sa": self.step.sa, "got": self.got}
        if self.notes:
            result["notes"] = self.notes
        result["failures"] = [{"key": key, "expected": want, "got": got} for key, want, got in self.failures]
        return result

    def compare(self, expect: Expect, copies: int) -> None:
        """Note where this answer is not what was expected of `copies` requests."""
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
    """One cell. `expected` is the outcome that its variant expects, None where it expects nothing."""

    policy: str
    model: str
    steps: list[StepResult]
    assumptions: list[str]
    variant: str = PLAIN.name
    expected: Expected | None = None

    @property
    def shares(self) -> dict[str, float]:
        """How often each outcome came: one alone where nothing was tried more than once."""
        for step in self.steps:
            if step.step.trials > 1 and step.outcomes:
                total = step.outcomes.total()
                return {name: n / total for name, n in step.outcomes.most_common()}
        return {sequence([part for step in self.steps for part in step.parts]): 1.0}

    @property
    def trials(self) -> int:
        """How many trials the shares are of."""
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Every cell has every key; `expected` is null where no answer is fixed."""
        return {
            "policy": self.policy,
            "model": self.model,
            "variant": self.variant,
            "outcome": self.outcome,
            "expected": self.expected,
            "ok": self.ok,
            "assumptions": self.assumptions,
            "steps": [step.as_dict() for step in self.steps],
        }
