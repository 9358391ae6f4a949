"""`espsim run`: a scenario under policies and models, its answers compared with what is expected."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from espsim.cli import common

if TYPE_CHECKING:
    from espsim.scenario.cell import Cell
    from espsim.scenario.schema import Scenario


@click.command()
@click.argument("scenario", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the built-in scenarios.")
@click.option("--thread", is_flag=True, help="Run every scenario of the netdev thread under every policy: one table.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="An SPI policy or a kernel; may be repeated.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME", help="acquire-uapi, encap-port-key or ring-windows."
)
@click.option("--seed", default=1, show_default=True, help="Where all draws come from.")
@common.model_options(multiple=True)
@common.json_option
def run(
    scenario: str | None,
    list_only: bool,
    thread: bool,
    policies: tuple[str, ...],
    options: tuple[str, ...],
    seed: int,
    models: tuple[str, ...],
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a scenario: a built-in one by name, or a TOML file by path.

    It runs once for every policy and model, each time from nothing: the software lookup alone where no --model is
    given, else each model beside the software lookup. Without --policy the scenario's own policies are run; a kernel
    (linux-6.1, linux-6.1.192, linux-6.12) is its policy with its other habits. Exit status 1 where an expectation is
    not met; each is printed with what was expected and what came.

    S01 to S27 are the questions of the netdev thread; --thread runs them all.
    """
    from espsim.core.errors import InputError
    from espsim.scenario.schema import load_scenario

    if list_only:
        _list(as_json)
        return
    _check_names(policies, options)
    if thread:
        if scenario is not None or options or models or assume:
            raise InputError("--thread runs its own scenarios, options and models; it takes --policy and --seed")
        _thread(policies, seed, as_json)
        return
    if scenario is None:
        raise InputError("which scenario? espsim run --list names them; or a path that ends in .toml")
    loaded, where, _text = load_scenario(scenario)
    cells = _run_cells(loaded, where, policies, options, models, assume, seed)
    _show(loaded, cells, seed, as_json)
    if not all(cell.ok for cell in cells):
        sys.exit(1)


def _check_names(policies: tuple[str, ...], options: tuple[str, ...], where: str | None = None) -> None:
    from espsim.core.errors import InputError
    from espsim.sad.kernel import choose

    for name in policies or ("rfc4301",):
        try:
            choose(name, options)
        except InputError as error:
            raise InputError(error.what, where=where) from None


def _run_cells(
    scenario: Scenario,
    where: str,
    policies: tuple[str, ...],
    options: tuple[str, ...],
    models: tuple[str, ...],
    assume: tuple[str, ...],
    seed: int,
) -> list[Cell]:
    from espsim.core.errors import InputError
    from espsim.scenario.matrix import run_scenario

    _check_names(tuple(scenario.policies), (), where)
    if assume and not models and not scenario.models:
        raise InputError("--assume goes with --model")
    return run_scenario(
        scenario, where, policies or tuple(scenario.policies), options=options, models=models, assume=assume, seed=seed
    )


def _show(scenario: Scenario, cells: list[Cell], seed: int, as_json: bool) -> None:
    if as_json:
        common.print_json(
            {
                "scenario": scenario.name,
                "question": scenario.question,
                "seed": seed,
                "ok": all(cell.ok for cell in cells),
                "cells": [cell.as_dict() for cell in cells],
            }
        )
        return
    from espsim.report.scenario import print_cells, print_variants

    shown = [cell.as_dict() for cell in cells]
    if scenario.variant:
        print_variants(scenario.name, scenario.question, scenario.source, scenario.choice, shown)
    else:
        print_cells(scenario.name, scenario.question, shown)


def _thread(policies: tuple[str, ...], seed: int, as_json: bool) -> None:
    from espsim.scenario.matrix import run_thread

    rows = run_thread(policies, seed)
    ok = all(cell["ok"] is not False for row in rows for cell in row["cells"])
    if as_json:
        common.print_json({"seed": seed, "ok": ok, "scenarios": rows})
    else:
        from espsim.report.matrix import matrix

        click.echo(matrix(rows))
    if not ok:
        sys.exit(1)


def _list(as_json: bool) -> None:
    from espsim.report.terminal import console, table
    from espsim.scenario.schema import builtin_names, load_scenario

    rows = [(name, load_scenario(name)[0]) for name in builtin_names()]
    if as_json:
        common.print_json([{"name": n, "question": s.question, "source": s.source} for n, s in rows])
    else:
        console().print(table(("scenario", "question"), [(n, s.question) for n, s in rows]))
