"""`espsim run`: questions under policies and models, what came of them in words, and whether it was expected."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common
from espsim.cli.numbers import ANY_SEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from espsim.scenario.matrix import Answered


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--list", "list_only", is_flag=True, help="List the built-in scenarios.")
@click.option("--thread", is_flag=True, help="Run every scenario of the netdev thread under every policy.")
@click.option(
    "--policy", "policies", multiple=True, metavar="NAME[,NAME]", help="SPI policies or kernels; may be repeated."
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME", help="acquire-uapi, encap-port-key or strict-windows."
)
@click.option("--seed", type=ANY_SEED, default=1, show_default=True, metavar="N", help="Where all draws come from.")
@common.model_options(multiple=True)
@common.width_options
@common.json_option
def run(
    scenarios: tuple[str, ...],
    list_only: bool,
    thread: bool,
    policies: tuple[str, ...],
    options: tuple[str, ...],
    seed: int,
    models: tuple[str, ...],
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run scenarios: built-in ones by name, or TOML files by path.

    Each runs once for every policy and model, each time from nothing: the software lookup alone where no --model is
    given, else each model beside the software lookup. Without --policy a scenario's own policies are run; a kernel
    (linux-6.1, linux-6.1.192, linux-6.12) is its policy with its other habits. Requests, states and packets are shown
    apart, and below each row what they mean. Exit status 1 where an expectation is not met.

    S01 to S27 are the questions of the netdev thread; --thread runs them all. --width 72 fits a mail.
    """
    from espsim.core.errors import InputError
    from espsim.scenario.matrix import run_named, run_thread

    if list_only:
        _list(as_json)
        return
    names = _split(policies)
    _check_names(names, options)
    if thread:
        if scenarios or options or models or assume:
            raise InputError("--thread runs its own scenarios, options and models; it takes --policy and --seed")
        _finish(run_thread(names, seed), seed, as_json, thread=True)
        return
    if not scenarios:
        raise InputError("which scenario? espsim run --list names them; or a path that ends in .toml")
    if assume and not models:
        _needs_models(scenarios)
    _finish(run_named(scenarios, names, options=options, models=models, assume=assume, seed=seed), seed, as_json)


def _split(names: Iterable[str]) -> tuple[str, ...]:
    """`--policy A,B --policy C` as A, B, C, each once."""
    return tuple(dict.fromkeys(name.strip() for text in names for name in text.split(",") if name.strip()))


def _check_names(policies: Sequence[str], options: tuple[str, ...]) -> None:
    from espsim.sad.kernel import choose

    for name in policies or ("rfc4301",):
        choose(name, options)


def _needs_models(scenarios: Iterable[str]) -> None:
    from espsim.core.errors import InputError
    from espsim.scenario.schema import load_scenario

    if not any(load_scenario(name)[0].models for name in scenarios):
        raise InputError("--assume goes with --model")


def _finish(answers: Sequence[Answered], seed: int, as_json: bool, *, thread: bool = False) -> None:
    """Print the answers; exit status 1 where one is not as expected."""
    from espsim.scenario.matrix import thread_row

    cells = [cell.as_dict() for answered in answers for cell in answered.cells]
    ok = all(answered.ok for answered in answers)
    engine = common.reference_engine()
    if as_json:
        rows = [thread_row(answered) if thread else answered.about() for answered in answers]
        one = {} if thread or len(answers) != 1 else {"scenario": rows[0]["name"], "question": rows[0]["question"]}
        concluded = {"conclusion": [{"policy": p, "meaning": text} for p, text in _conclude(answers)]} if thread else {}
        common.print_json({**one, "seed": seed, "ok": ok, **engine, "scenarios": rows, "cells": cells, **concluded})
    else:
        _print(answers, engine, thread=thread)
    if not ok:
        sys.exit(1)


def _conclude(answers: Sequence[Answered]) -> list[tuple[str, str]]:
    from espsim.scenario.conclusion import conclude

    return conclude(cell for answered in answers for cell in answered.cells)


def _print(answers: Sequence[Answered], engine: dict[str, Any], *, thread: bool) -> None:
    from espsim.report.scenario import print_conclusion, print_scenario, print_verdict
    from espsim.report.terminal import console, print_engine

    for number, answered in enumerate(answers):
        if number:
            click.echo()
        print_scenario(answered.about(), [cell.as_dict() for cell in answered.cells])
    click.echo()
    if thread:
        print_conclusion(_conclude(answers))
    print_engine(console(), engine)
    print_verdict([cell.as_dict() for answered in answers for cell in answered.cells])


def _list(as_json: bool) -> None:
    from espsim.report.terminal import console, table
    from espsim.scenario.schema import builtin_names, load_scenario

    rows = [(name, load_scenario(name)[0]) for name in builtin_names()]
    if as_json:
        common.print_json([{"name": n, "question": s.question, "source": s.source} for n, s in rows])
    else:
        console().print(table(("scenario", "question"), [(n, s.question) for n, s in rows]))
