"""`espsim run`: a scenario under policies and models, its answers compared with what is expected."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from espsim.cli import common

if TYPE_CHECKING:
    from espsim.offload.model import Model
    from espsim.scenario.runner import Cell
    from espsim.scenario.schema import Scenario


@click.command()
@click.argument("scenario", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the built-in scenarios.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="An SPI policy; may be repeated.")
@click.option("--seed", default=1, show_default=True, help="Where all draws come from.")
@common.model_options(multiple=True)
@common.json_option
def run(
    scenario: str | None,
    list_only: bool,
    policies: tuple[str, ...],
    seed: int,
    models: tuple[str, ...],
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a scenario: a built-in one by name, or a TOML file by path.

    It runs once for every policy and model, each time from nothing: the software lookup alone where no --model is
    given, else each model beside the software lookup. Without --policy the scenario's own policies are run. Exit
    status 1 where an expectation is not met; each is printed with what was expected and what came.
    """
    from espsim.core.errors import InputError
    from espsim.scenario.schema import builtin_names, load_scenario

    if list_only:
        _list(as_json)
        return
    if scenario is None:
        raise InputError(f"which scenario? built in: {', '.join(builtin_names())}; or a path that ends in .toml")
    loaded, where, _text = load_scenario(scenario)
    cells = _run_cells(loaded, where, policies, models, assume, seed)
    ok = all(cell.ok for cell in cells)
    if as_json:
        common.print_json(
            {
                "scenario": loaded.name,
                "question": loaded.question,
                "seed": seed,
                "ok": ok,
                "cells": [cell.as_dict() for cell in cells],
            }
        )
    else:
        from espsim.report.scenario import print_cells

        print_cells(loaded.name, loaded.question, [cell.as_dict() for cell in cells])
    if not ok:
        sys.exit(1)


def _run_cells(
    scenario: Scenario,
    where: str,
    policies: tuple[str, ...],
    models: tuple[str, ...],
    assume: tuple[str, ...],
    seed: int,
) -> list[Cell]:
    from espsim.core.errors import InputError
    from espsim.offload.model import load_model, parse_assumptions
    from espsim.sad.spi import POLICIES
    from espsim.scenario.runner import expand, run_cell

    names = policies or tuple(scenario.policies)
    unknown = next((name for name in names if name not in POLICIES), None)
    if unknown is not None:
        raise InputError(f"no policy {unknown!r}; there are {', '.join(POLICIES)}", where=None if policies else where)
    if assume and not models:
        raise InputError("--assume goes with --model")
    named = [load_model(name) for name in models or scenario.models]
    loaded = [(m, parse_assumptions(m, assume, named)) for m in named]
    groups = expand(scenario, where)
    cases: list[tuple[Model | None, dict[str, object]]] = [*loaded] or [(None, {})]
    return [
        run_cell(scenario, groups, POLICIES[name](), model=model, assume=assumed, seed=seed)
        for name in names
        for model, assumed in cases
    ]


def _list(as_json: bool) -> None:
    from espsim.report.terminal import console, table
    from espsim.scenario.schema import builtin_names, load_scenario

    rows = [(name, load_scenario(name)[0]) for name in builtin_names()]
    if as_json:
        common.print_json([{"name": n, "question": s.question, "source": s.source} for n, s in rows])
    else:
        console().print(table(("scenario", "question"), [(n, s.question) for n, s in rows]))
