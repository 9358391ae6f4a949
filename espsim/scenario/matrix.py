"""Many cells: a scenario's variants under policies and models, and the whole netdev thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espsim.core.errors import InputError
from espsim.offload.model import Model, load_model, parse_assumptions
from espsim.sad.kernel import OPTIONS
from espsim.scenario.cell import Cell
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import Scenario, load_scenario, thread_names
from espsim.scenario.traffic import expand


def run_scenario(
    scenario: Scenario,
    where: str,
    policies: Sequence[str],
    *,
    options: Sequence[str] = (),
    models: Sequence[str] = (),
    assume: Sequence[str] = (),
    seed: int = 1,
) -> list[Cell]:
    """Every variant under every policy (or kernel) and model: `models`, else the scenario's, else the variant's.

    InputError: a line of the scenario is wrong, or there is no such model or option.
    """
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
                where=where,
            )
            for name in policies
            for model, assumed in cases or [(None, {})]
        ]  # fmt: skip
    return cells


def run_thread(policies: Sequence[str] = (), seed: int = 1) -> list[dict[str, Any]]:
    """Every scenario of the thread: {id, question, source, choice, cells}, as `espsim run --thread --json` has them.

    Without `policies` it is each scenario's own, which are all there are. A cell is {variant, policy, outcome,
    expected, ok}; `expected` and `ok` are null where nothing is expected.
    """
    rows = []
    for name in thread_names():
        scenario, where, _text = load_scenario(name)
        cells = run_scenario(scenario, where, policies or scenario.policies, seed=seed)
        rows.append(
            {
                "id": scenario.name[0].upper() + scenario.name[1:],
                "question": scenario.question,
                "source": scenario.source,
                "choice": scenario.choice,
                "cells": [_row(cell) for cell in cells],
            }
        )
    return rows


def _row(cell: Cell) -> dict[str, Any]:
    return {
        "variant": cell.variant,
        "policy": cell.policy,
        "outcome": cell.outcome,
        "expected": cell.expected,
        "ok": cell.as_expected,
    }
