"""Many cells: scenarios with their variants under policies and models, and the whole netdev thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espsim.core.errors import InputError
from espsim.io.arrivals import Arrivals
from espsim.offload.model import Model, load_model, parse_assumptions
from espsim.sad.linux import NEWEST_KERNEL, OPTIONS
from espsim.scenario.ask import is_packet
from espsim.scenario.cell import Cell
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import Scenario, ScenarioStep, load_scenario, thread_names
from espsim.scenario.traffic import expand


@dataclass(frozen=True, slots=True)
class Answered:
    """A scenario and its cells."""

    scenario: Scenario
    cells: list[Cell]

    @property
    def ok(self) -> bool:
        """Whether every expectation was met."""
        return all(cell.ok for cell in self.cells)

    def about(self) -> dict[str, Any]:
        """What the question is, for JSON."""
        s = self.scenario
        return {"name": s.name, "question": s.question, "source": s.source, "choice": s.choice}


def run_named(names: Sequence[str], policies: Sequence[str] = (), **options: Any) -> list[Answered]:
    """Scenarios by name or path, each under `policies` or its own; `options` are `run_scenario`'s.

    All of them are read before the first one runs, so that a wrong name fails at once. Raises as `run_scenario`.
    """
    loaded = [load_scenario(name) for name in dict.fromkeys(names)]
    return [
        Answered(scenario, run_scenario(scenario, where, policies or scenario.policies, **options))
        for scenario, where, _text in loaded
    ]


def run_scenario(
    scenario: Scenario,
    where: str,
    policies: Sequence[str],
    *,
    options: Sequence[str] = (),
    models: Sequence[str] = (),
    assume: Sequence[str] = (),
    seed: int = 1,
    traced: bool = False,
    lookup: str | None = None,
    wire: Arrivals | None = None,
) -> list[Cell]:
    """Every variant under every policy (or kernel) and model: `models`, else the scenario's, else the variant's.

    `wire`: faults for the packets of `send` steps and of RX lines, the same in every cell. InputError: a line of the
    scenario is wrong, a model or an option is unknown, or there are faults and the scenario sends no packets.
    """
    if scenario.storm is not None:
        raise InputError("is a storm, and has no steps to run: `espsim run` alone runs storms", where=where)
    if wire is not None and not any(_on_the_wire(step) for step in scenario.step):
        raise InputError("no step of it sends packets that the wire could lose, double or reorder", where=where)
    named = [load_model(name) for name in models or scenario.models]
    cells = []
    for variant in scenario.variants:
        unknown = next((option for option in variant.options if option not in OPTIONS), None)
        if unknown is not None:
            raise InputError(f"no option {unknown!r}; there are {', '.join(OPTIONS)}", where=where)
        groups = expand(scenario, where, variant.words)
        cases: list[tuple[Model | None, dict[str, object]]] = [(m, parse_assumptions(m, assume, named)) for m in named]
        if not cases and variant.model is not None:
            own = load_model(variant.model)
            cases = [(own, parse_assumptions(own, variant.assume))]
        cells += [
            run_cell(
                scenario, groups, name, model=model, assume=assumed, seed=seed, options=options, variant=variant,
                where=where, traced=traced, lookup=lookup, wire=wire,
            )
            for name in policies
            for model, assumed in cases or [(None, {})]
        ]  # fmt: skip
    return cells


def _on_the_wire(step: ScenarioStep) -> bool:
    """Whether a step sends packets over the wire."""
    return step.do == "send" or any(map(is_packet, map(str.strip, (step.lines or "").splitlines())))


def run_thread(policies: Sequence[str] = (), seed: int = 1) -> list[Answered]:
    """Every scenario of the netdev thread. Without `policies` each runs under its own, and on the newest kernel."""
    if policies:
        return run_named(thread_names(), policies, seed=seed)
    answered = []
    for name in thread_names():
        scenario, where, _text = load_scenario(name)
        own = dict.fromkeys([*scenario.policies, NEWEST_KERNEL])
        answered.append(Answered(scenario, run_scenario(scenario, where, [*own], seed=seed)))
    return answered


def thread_row(answered: Answered) -> dict[str, Any]:
    """A scenario as the table of `run --thread --json` has it: {id, question, source, choice, cells} in short form.

    A cell is {variant, policy, outcome, expected, ok}; `expected` and `ok` are null where nothing is expected.
    """
    about = answered.about()
    name = about.pop("name")
    cells = [
        {"variant": c.variant, "policy": c.policy, "outcome": c.outcome, "expected": c.expected, "ok": c.as_expected}
        for c in answered.cells
    ]
    return {"id": name[0].upper() + name[1:], **about, "cells": cells}
