"""`espsim run` for scenarios that are storms."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from espsim.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from espsim.cli.pages import ReportFile
    from espsim.scenario.schema import Scenario


def load_storms(scenarios: Sequence[str]) -> list[tuple[Scenario, str]]:
    """The scenarios if they are storms, else none. InputError: only some are."""
    from espsim.core.errors import InputError
    from espsim.scenario.schema import load_scenario

    loaded = [load_scenario(name)[:2] for name in dict.fromkeys(scenarios)]
    storms = [(scenario, where) for scenario, where in loaded if scenario.storm is not None]
    if storms and len(storms) < len(loaded):
        raise InputError("is a storm: run it apart from scenarios that are not", where=storms[0][1])
    return storms


def changed(storms: Sequence[tuple[Scenario, str]], changes: Sequence[str]) -> list[tuple[Scenario, str]]:
    """The storms with the changes of `--set KEY=VALUE`; a value is TOML, or a word. InputError: one is not legal."""
    from espsim.core.errors import InputError
    from espsim.core.toml import parse_toml
    from espsim.scenario.storm.spec import changed_storm

    values: dict[str, Any] = {}
    for text in changes:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise InputError(f"{text!r} is not KEY=VALUE", where="--set")
        try:
            values[key.strip()] = parse_toml(f"value = {value}", "--set")["value"]
        except InputError:
            values[key.strip()] = value.strip()
    return [
        (scenario.model_copy(update={"storm": changed_storm(scenario.storm, values)}), where)
        for scenario, where in storms
        if scenario.storm is not None
    ]


def run_storms(
    storms: Sequence[tuple[Scenario, str]], policies: Sequence[str], options: Sequence[str], models: Sequence[str],
    assume: Sequence[str], seed: int, trace: bool, plot: str | None, as_json: bool, page: ReportFile,
) -> None:  # fmt: skip
    """Run every storm under every policy and model. Exit status 1: an answer is not as expected."""
    from espsim.core.errors import InputError
    from espsim.report.html.storms import storm_html
    from espsim.report.plots import image_format, need_matplotlib
    from espsim.report.storm import draw_storm, print_storm
    from espsim.scenario.storm.cells import run_cells

    if plot is not None:
        image_format(plot)
        need_matplotlib()
        common.keep_apart({"SCENARIO": common.by_path(*(w for _, w in storms)), "--model": common.by_path(*models)},
                          {"--plot": plot})  # fmt: skip
        if len(storms) > 1:
            raise InputError("--plot draws one storm: name one scenario")
    answers = []
    for scenario, where in storms:
        cells = run_cells(
            scenario, where, policies or scenario.policies, models=models, assume=assume, options=options, seed=seed,
            traced=trace,
        )  # fmt: skip
        about = {
            "name": scenario.name,
            "question": scenario.question,
            "source": scenario.source,
            "choice": scenario.choice,
        }
        answers.append((about, [cell.as_dict() for cell in cells]))
    ok = all(cell["as_expected"] is not False for _about, rows in answers for cell in rows)
    if plot is not None:
        common.write_file(plot, draw_storm(*answers[0], image_format(plot)))
    engine = common.reference_engine()
    page.write(lambda made: storm_html(answers, made.by(engine)))
    with common.reporting(plot):
        if as_json:
            result = {
                "seed": seed, "ok": ok, **engine, "scenarios": [about for about, _ in answers],
                "cells": [{"scenario": about["name"], **cell} for about, rows in answers for cell in rows],
            }  # fmt: skip
            common.print_json({"scenario": answers[0][0]["name"], **result} if len(answers) == 1 else result)
        else:
            for about, rows in answers:
                print_storm(about, rows)
    if not ok:
        sys.exit(1)
