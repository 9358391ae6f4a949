"""`espsim run`: runs scenarios under policies and models, says what happened, and compares it with expectations."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common, packets
from espsim.cli.numbers import ANY_SEED
from espsim.cli.pages import ReportFile, html_option, html_page
from espsim.cli.storms import changed, load_storms, run_storms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from espsim.report.html.document import Made
    from espsim.scenario.matrix import Answered


_STUDIES = ("default", "android-and-marvell")
"""Names that are not scenarios: questions that are answered from many runs, each with a table of its own."""


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--list", "list_only", is_flag=True, help="List the built-in scenarios.")
@click.option("--thread", is_flag=True, help="Run every scenario of the netdev thread under every SPI rule.")
@click.option("--live", is_flag=True, help="Ask this machine's kernel too, in a namespace of its own (root).")
@click.option("--trace", is_flag=True, help="Show each packet: its number, the window before and after, the verdict.")
@click.option("--pcap", metavar="FILE", help="Write the packets that the scenario's host received (pcap, raw IP).")
@click.option("--plot", metavar="FILE", help="Draw a storm: drops over time, SAs in the device (.png or .svg).")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a word of [storm]: --set overlap=4.")
@click.option("--show", metavar="NAME", help="Print a scenario's file.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scenario files.")
@click.option(
    "--policy", "policies", multiple=True, metavar="NAME[,NAME]", help="SPI rules or kernels; may be repeated."
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME", help="acquire-uapi, encap-port-key or strict-windows."
)
@packets.fault_options("packet")
@click.option("--seed", type=ANY_SEED, default=1, show_default=True, metavar="N", help="The seed of everything random.")
@common.lookup_option
@common.model_options(multiple=True)
@html_option
@common.width_options
@common.json_option
def run(
    scenarios: tuple[str, ...],
    list_only: bool,
    thread: bool,
    live: bool,
    trace: bool,
    pcap: str | None,
    plot: str | None,
    changes: tuple[str, ...],
    show: str | None,
    schema: bool,
    policies: tuple[str, ...],
    options: tuple[str, ...],
    loss: float | None,
    duplicate: float | None,
    reorder: float | None,
    seed: int,
    lookup: str | None,
    models: tuple[str, ...],
    assume: tuple[str, ...],
    html_path: str | None,
    as_json: bool,
) -> None:
    """Run scenarios: built-in ones by name, TOML files by path; `-` is standard input.

    A scenario runs once for every SPI rule (--policy) and model, each time with a fresh namespace. Without --model only
    the software lookup is used. Without --policy the scenario's own rules are run. A kernel (linux-6.1, linux-6.1.192,
    linux-6.12, linux-6.18, linux-7.2, linux-7.3) is its SPI rule and its other behaviour. Requests, states and packets
    have columns of their own, and below each row a sentence says what they mean. Exit status 1: an expectation was not
    met.

    S01 to S27 are the questions of the netdev thread, S28 and S29 are about migrations. --thread runs them all, each
    under its own rules and on linux-7.3. --width 72 fits a mail.

    --loss, --duplicate and --reorder are faults of the wire, for teaching: each is the chance that a packet of a `send`
    step or an RX line is lost, comes twice, or is overtaken by up to 16 others of its burst. --seed changes the draw,
    which is the same in every cell. The answer says what happened (`wire` in --json). Expectations assume a wire
    without faults, so nothing is compared then, and the exit status is 0.

    A scenario with [storm] replaces the SAs of many nodes while packets flow. It reports what was lost, when and why,
    the most SAs in the device, and what would have lost nothing. --trace shows every node that lost packets.
    """
    from espsim.core.errors import InputError
    from espsim.scenario.matrix import run_named, run_thread

    if list_only or schema or show is not None:
        if html_path is not None:
            raise InputError("--html needs a scenario to run")
        _print_about(show, schema, as_json)
        return
    names = _split(policies)
    _check_names(names, options)
    faults = None if loss is duplicate is reorder is None else packets.wire(loss, duplicate, reorder, seed)
    if thread:
        if scenarios or options or models or assume or trace or pcap or plot or changes or lookup or faults:
            raise InputError(
                "--thread runs its own scenarios, options and models; it takes --policy, --live and --seed"
            )
        with html_page(html_path) as page, common.reporting(html_path):
            _finish(run_thread(names, seed), seed, as_json, page, thread=True, live=live)
        return
    study = next((name for name in scenarios if name.lower() in _STUDIES), None)
    if study is not None:
        if len(scenarios) > 1 or options or live or trace or pcap or plot or changes or lookup or faults:
            without = "--option, --live, --trace, --pcap, --plot, --set, --lookup and faults of the wire"
            raise InputError(f"runs alone, without {without}", where=study)
        _keep_apart((), models, {"--html": html_path})
        with html_page(html_path) as page, common.reporting(html_path):
            ask = _default if study.lower() == "default" else _android_and_marvell
            ask(names, models, assume, seed, as_json, page)
        return
    if not scenarios:
        raise InputError("name a scenario (espsim run --list) or a path that ends in .toml")
    _keep_apart(scenarios, models, {"--pcap": pcap, "--html": html_path, "--plot": plot})
    storms = load_storms(scenarios)
    if storms:
        if live or pcap or lookup or faults:
            raise InputError("a storm runs without --live, --pcap, --lookup and faults of the wire", where=storms[0][1])
        with html_page(html_path) as page, common.reporting(html_path):
            run_storms(changed(storms, changes), names, options, models, assume, seed, trace, plot, as_json, page)
        return
    if plot is not None or changes:
        raise InputError("--plot and --set are for storms, and this is not one", where=scenarios[0])
    _check_plain(scenarios, models, assume, faulty=faults is not None, live=live)
    with html_page(html_path) as page:
        answers = run_named(
            scenarios,
            names,
            options=options,
            models=models,
            assume=assume,
            seed=seed,
            lookup=lookup,
            traced=trace or pcap is not None,
            wire=faults,
        )
        _write_packets(pcap, answers, keep=trace)
        with common.reporting(pcap, html_path):
            _finish(answers, seed, as_json, page, live=live)


def _keep_apart(scenarios: Iterable[str], models: Iterable[str], writes: Mapping[str, str | None]) -> None:
    reads = {"SCENARIO": common.by_path(*scenarios), "--model": common.by_path(*models)}
    common.keep_apart(reads, writes)
    if any(path is not None for path in writes.values()):
        common.keep_apart({"--model": common.model_files(*models)}, writes)


def _write_packets(path: str | None, answers: Sequence[Answered], *, keep: bool) -> None:
    """Write the packets of every cell, each cell a minute after the one before. Without `keep` they are dropped."""
    from espsim.io.capture import CaptureWriter

    cells = [cell for answered in answers for cell in answered.cells]
    if path is not None:
        with CaptureWriter(path, nanosecond=True) as writer:
            for minute, cell in enumerate(cells):
                for number, packet in enumerate(cell.traced or ()):
                    # The model's clock does not move between packets: a microsecond each keeps their order.
                    writer.write(packet.wire, int((60 * minute + packet.time) * 1e9) + 1000 * number)
            writer.commit()
    for cell in cells:
        cell.traced = cell.traced if keep else None


def _print_about(show: str | None, schema: bool, as_json: bool) -> None:
    """Print the list of scenarios, one scenario's file, or the schema."""
    from espsim.core.echo import printable
    from espsim.core.errors import InputError
    from espsim.scenario import default_rule
    from espsim.scenario.schema import json_schema, load_scenario

    if schema:
        common.print_json(json_schema())
    elif show is not None:
        if show.lower() == default_rule.NAME:
            raise InputError("has no file: it runs other scenarios, which `--json` names", where=show)
        click.echo(printable(load_scenario(show)[2], keep="\n\t").rstrip("\n"))
    else:
        _list(as_json)


def _split(names: Iterable[str]) -> tuple[str, ...]:
    """`--policy A,B --policy C` as A, B, C, each once. InputError: an option names no policy."""
    from espsim.core.errors import InputError

    lists = [[name.strip() for name in text.split(",") if name.strip()] for text in names]
    if not all(lists):
        raise InputError("--policy names no policy; espsim policies lists them")
    return tuple(dict.fromkeys(name for some in lists for name in some))


def _check_names(policies: Sequence[str], options: tuple[str, ...]) -> None:
    from espsim.sad.linux import choose

    for name in policies or ("rfc4301",):
        choose(name, options)


def _check_plain(
    scenarios: Sequence[str], models: Sequence[str], assume: Sequence[str], *, faulty: bool, live: bool
) -> None:
    """InputError: options contradict each other, for scenarios that are not storms."""
    from espsim.core.errors import InputError
    from espsim.scenario.schema import load_scenario

    if faulty and live:
        raise InputError("--live compares requests, and no wire with faults: leave --loss, --duplicate, --reorder out")
    if assume and not models and not any(load_scenario(name)[0].models for name in scenarios):
        raise InputError("--assume goes with --model")


def _finish(
    answers: Sequence[Answered], seed: int, as_json: bool, page: ReportFile, *, thread: bool = False, live: bool = False
) -> None:
    """Print the answers, including the running kernel's. Exit status 1: an answer is not as expected."""
    from espsim.scenario.live import run_live
    from espsim.scenario.matrix import thread_row

    concluded = _conclude(answers) if thread else None
    kernel = run_live(answers, seed).as_dict() if live else None
    cells = [cell.as_dict() for answered in answers for cell in answered.cells]
    ok = all(answered.ok for answered in answers)
    engine = common.reference_engine()
    page.write(lambda made: _report(answers, made, engine, concluded, kernel))
    if as_json:
        rows = [thread_row(answered) if thread else answered.about() for answered in answers]
        result: dict[str, Any] = {"seed": seed, "ok": ok, **engine, "scenarios": rows, "cells": cells}
        if not thread and len(answers) == 1:
            result = {"scenario": rows[0]["name"], "question": rows[0]["question"], **result}
        if concluded is not None:
            result["conclusion"] = [{"policy": policy, "meaning": text} for policy, text in concluded]
        common.print_json(result if kernel is None else {**result, "live": kernel})
    else:
        _print(answers, engine, concluded, kernel)
    if not ok:
        sys.exit(1)


def _report(
    answers: Sequence[Answered],
    made: Made,
    engine: dict[str, Any],
    concluded: list[tuple[str, str]] | None,
    kernel: dict[str, Any] | None,
) -> str:
    from espsim.report.html.scenarios import run_html

    told = [(answered.about(), [cell.as_dict() for cell in answered.cells]) for answered in answers]
    return run_html(told, made.by(engine), concluded=concluded, kernel=kernel)


def _default(
    policies: tuple[str, ...],
    models: tuple[str, ...],
    assume: tuple[str, ...],
    seed: int,
    as_json: bool,
    page: ReportFile,
) -> None:
    """Answer which rule should be the default, in a table of its own, from runs of other scenarios."""
    from espsim.core.errors import InputError
    from espsim.report.html.questions import question_html
    from espsim.report.questions import print_default
    from espsim.scenario import default_rule

    if policies or models or assume:
        raise InputError("runs its own scenarios, policies and models, and takes only --seed", where="default")
    fits = default_rule.run(seed)
    result = {
        "scenario": default_rule.NAME, "question": default_rule.QUESTION, "seed": seed, "ok": True,
        **common.reference_engine(), "rows": [fit.as_dict() for fit in fits], "conclusion": default_rule.conclude(fits),
    }  # fmt: skip
    page.write(lambda made: question_html(result, made.by(result)))
    if as_json:
        common.print_json(result)
    else:
        print_default(result)


def _android_and_marvell(
    policies: tuple[str, ...],
    models: tuple[str, ...],
    assume: tuple[str, ...],
    seed: int,
    as_json: bool,
    page: ReportFile,
) -> None:
    """Run the thread's two parties on one host, and print the conclusion."""
    from espsim.analysis.occupancy import shared_across
    from espsim.report.html.questions import question_html
    from espsim.report.questions import print_both
    from espsim.scenario import android_marvell

    answered = android_marvell.run(policies, models, assume, seed)
    odds = android_marvell.odds_of(shared_across, seed)
    intended = android_marvell.intended_api(list(dict.fromkeys(cell.policy for cell in answered.cells)))
    conclusion = android_marvell.conclude(answered.cells, odds, intended)
    result = {
        "scenario": android_marvell.NAME, "question": answered.scenario.question, "seed": seed, "ok": answered.ok,
        **common.reference_engine(), "scenarios": [answered.about()],
        "cells": [{**cell.as_dict(), "second": android_marvell.second_fate(cell)} for cell in answered.cells],
        "odds": [line.as_dict() for line in odds],
        "conclusion": [{"topic": topic, "meaning": text} for topic, text in conclusion],
    }  # fmt: skip
    page.write(lambda made: question_html(result, made.by(result)))
    if as_json:
        common.print_json(result)
    else:
        print_both(result)


def _conclude(answers: Sequence[Answered]) -> list[tuple[str, str]]:
    from espsim.scenario.conclusion import conclude

    return conclude(cell for answered in answers for cell in answered.cells)  # before the kernel's cells are there


def _print(
    answers: Sequence[Answered],
    engine: dict[str, Any],
    concluded: list[tuple[str, str]] | None,
    kernel: dict[str, Any] | None,
) -> None:
    from espsim.report.scenario import print_conclusion, print_live, print_scenario, print_verdict
    from espsim.report.terminal import console, print_engine

    for number, answered in enumerate(answers):
        if number:
            click.echo()
        print_scenario(answered.about(), [cell.as_dict() for cell in answered.cells])
    click.echo()
    if concluded is not None:
        print_conclusion(concluded)
    if kernel is not None:
        print_live(kernel)
    print_engine(console(), engine)
    print_verdict([cell.as_dict() for answered in answers for cell in answered.cells])


def _list(as_json: bool) -> None:
    from espsim.report.terminal import console, table
    from espsim.scenario.default_rule import NAME, QUESTION
    from espsim.scenario.schema import builtin_names, load_scenario

    rows = [(s.name, s.question, s.source) for s in (load_scenario(name)[0] for name in builtin_names())]
    rows.append((NAME, QUESTION, "Steffen Klassert on netdev, 2026"))
    if as_json:
        common.print_json([{"name": name, "question": question, "source": source} for name, question, source in rows])
    else:
        console().print(table(("scenario", "question"), [row[:2] for row in rows]))
