"""`espsim sweep`: runs studies of many runs, and reports what they found."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common
from espsim.cli.numbers import SEED, Number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from espsim.analysis.sweep.cluster import Cluster
    from espsim.analysis.sweep.plan import SweepPlan
    from espsim.analysis.sweep.pool import LocalPool
    from espsim.analysis.sweep.study import Study

_EVERY = 0.2  # seconds
_LARGEST = 10**12


@click.group()
def sweep() -> None:
    """Ask a question at many points, many times, and report where the answer changes."""


@sweep.command("run")
@click.argument("study", required=False, metavar="[STUDY]")
@click.option("-o", "output", metavar="FILE", help="The file for rows (SQLite).  [default: STUDY.sqlite]")
@click.option("--workers", type=Number(1, 1024, "a number of workers"), metavar="N",
              help="Processes on this machine.  [default: one for each CPU]")  # fmt: skip
@click.option("--dask", metavar="ADDRESS", help="Run on a Dask cluster: its scheduler's address (needs distributed).")
@click.option("--seed", type=SEED, default=1, show_default=True, metavar="N", help="The seed of everything random.")
@click.option("--quick", is_flag=True, help="The study's quick form: fewer points, fewer repeats.")
@click.option("--most", type=Number(1, _LARGEST, "a number of tasks"), metavar="N",
              help="Allow up to N tasks; without it a study of more than 100,000 is refused.")  # fmt: skip
@click.option("--list", "list_only", is_flag=True, help="List the built-in studies.")
@click.option("--kinds", is_flag=True, help="List the kinds of questions, with their axes.")
@click.option("--show", metavar="NAME", help="Print a study's file.")
@common.width_options
@common.json_option
def run_study(
    study: str | None,
    output: str | None,
    workers: int | None,
    dask: str | None,
    seed: int,
    quick: bool,
    most: int | None,
    list_only: bool,
    kinds: bool,
    show: str | None,
    as_json: bool,
) -> None:
    """Run a study: a built-in one by name, a TOML file by path; `-` is standard input.

    Rows are written to FILE one by one. If a sweep was stopped or killed, the same command continues it, and the rows
    in the end are the same. They depend only on the study, the seed and the version of espsim, not on who runs the
    tasks. A task that fails has a row that says why, and the sweep goes on.

    Exit status 1: a task failed.
    """
    from espsim.analysis.sweep.plan import make_plan
    from espsim.analysis.sweep.study import load_study
    from espsim.core.errors import InputError
    from espsim.io.places import is_standard_output

    if list_only or kinds or show is not None:
        _print_about(show, kinds, as_json)
        return
    if study is None:
        raise InputError("name a study (espsim sweep run --list) or a path that ends in .toml")
    if workers is not None and dask is not None:
        raise InputError("--workers is for this machine and --dask for a cluster: give one of them")
    loaded = load_study(study, quick=quick)
    path = output or f"{loaded.name}{'-quick' if quick else ''}.sqlite"
    common.keep_apart({"STUDY": common.by_path(study), "a model": _models(loaded)}, {"-o": path})
    if is_standard_output(path):
        raise InputError("rows need a file: name one instead of standard output", where="-o")
    _check_size(loaded, most)
    result = _run(make_plan(loaded, seed), path, workers, dask)
    if as_json:
        common.print_json(result)
    else:
        from espsim.report.sweep import print_run

        print_run(result, path)
    if result["failed"]:
        sys.exit(1)


@sweep.command("report")
@click.argument("file", required=False, metavar="FILE")
@click.option("--csv", "csv_path", is_flag=False, flag_value="-", metavar="[FILE]", help="The rows as CSV.")
@click.option("--html", "html_path", is_flag=False, flag_value="-", metavar="[FILE]",
              help="Write a page for a browser: one file that fetches nothing.")  # fmt: skip
@click.option("--plot", metavar="FILE", help="Draw the medians (.png or .svg; needs matplotlib).")
@click.option("--list", "listed", default=60, show_default=True, type=Number(0, 1_000_000_000), metavar="N",
              help="How many points to show; JSON, CSV and HTML have all.")  # fmt: skip
@common.width_options
@common.json_option
def report(
    file: str | None,
    csv_path: str | None,
    html_path: str | None,
    plot: str | None,
    listed: int,
    as_json: bool,
) -> None:
    """Report what a sweep found: medians with their intervals, and where the answer changes.

    FILE is what `sweep run` writes; the sweep may still be running. --csv and --html without a file replace the report;
    with a file they are written in addition to it.
    """
    from espsim.analysis.sweep.store import Saved
    from espsim.analysis.sweep.summary import summary
    from espsim.cli.pages import made_here
    from espsim.core.errors import InputError
    from espsim.report import sweep as shown
    from espsim.report.html.sweep import sweep_html
    from espsim.report.plots import image_format, need_matplotlib

    if file is None and csv_path not in (None, "-"):  # `--csv FILE`: the rows of that file
        file, csv_path = csv_path, "-"
    elif file is None and html_path not in (None, "-"):
        file, html_path = html_path, "-"
    if file is None:
        raise InputError("name the file that `espsim sweep run` wrote")
    if plot is not None:
        image_format(plot)
        need_matplotlib()
    common.keep_apart({"FILE": file}, {"--csv": csv_path, "--html": html_path, "--plot": plot})
    result = summary(Saved(file))
    if csv_path is not None:
        common.write_file(csv_path, shown.csv_text(result).encode())
    if html_path is not None:
        common.write_file(html_path, sweep_html(result, made_here()).encode())
    if plot is not None:
        common.write_file(plot, shown.draw_sweep(result, image_format(plot)))
    printed_already = "-" in (csv_path, html_path)
    with common.reporting(plot):
        if as_json and not printed_already:
            common.print_json(result)
        elif not printed_already:
            shown.print_sweep(result, listed)


def _run(plan: SweepPlan, path: str, workers: int | None, dask: str | None) -> dict[str, Any]:
    """Run the missing tasks. Returns how the sweep ended."""
    from espsim.analysis.sweep.run import run_missing
    from espsim.analysis.sweep.store import Store

    with Store(path, plan) as store:
        done = store.done()
        landed = len(done)
        if landed < plan.tasks:
            executor = _executor(workers, dask, plan.tasks - landed, store.lock)
            with executor, _progress(plan, landed) as advance:
                landed = run_missing(plan, store, executor, done, advance)
        failed = store.failed()
    return {
        "study": plan.study.name, "quick": plan.study.quick, "seed": plan.seed, "tasks": plan.tasks,
        "there_before": len(done), "done": landed, "failed": failed,
    }  # fmt: skip


def _executor(workers: int | None, dask: str | None, tasks: int, lock: int) -> LocalPool | Cluster:
    from espsim.analysis.sweep.cluster import Cluster
    from espsim.analysis.sweep.pool import LocalPool

    if dask is not None:
        return Cluster(dask, common.warn)
    return LocalPool(min(tasks, workers or len(os.sched_getaffinity(0))), common.warn, shut=lock)


def _check_size(study: Study, most: int | None) -> None:
    from espsim.analysis.sweep.run import MOST_TASKS
    from espsim.core.errors import InputError

    limit = most or MOST_TASKS
    if study.tasks > limit:
        axes = " x ".join(f"{len(values):,} {name}" for name, values in study.axes.items() if len(values) > 1)
        repeats = f" x {study.repeats:,} repeats" if study.repeats > 1 else ""
        raise InputError(
            f"has {study.tasks:,} tasks ({axes}{repeats}), more than {limit:,}: --most {study.tasks} runs them all",
            where=study.name,
        )


def _models(study: Study) -> list[str]:
    return common.by_path(*(str(name) for name in study.axes.get("model", ())))


@contextlib.contextmanager
def _progress(plan: SweepPlan, landed: int) -> Iterator[Callable[[int], None]]:
    """A progress bar with the time left, if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The bar must not start a thread: workers are forked, and the locks of a forked thread stay locked.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(plan.study.name, total=plan.tasks, completed=landed)
        shown = 0.0

        def advance(done: int) -> None:
            nonlocal shown
            if time.monotonic() - shown >= _EVERY or done == plan.tasks:
                shown = time.monotonic()
                bar.update(task, completed=done, refresh=True)

        yield advance


def _print_about(show: str | None, kinds: bool, as_json: bool) -> None:
    """Print the built-in studies, one study's file, or the kinds of questions."""
    from espsim.analysis.sweep.questions import KINDS
    from espsim.analysis.sweep.study import builtin_names, load_study, study_text
    from espsim.core.echo import printable
    from espsim.report.sweep import print_kinds, print_studies

    if show is not None:
        click.echo(printable(study_text(show), keep="\n\t").rstrip("\n"))
    elif kinds:
        rows = [
            {
                "kind": kind.name,
                "what": kind.what,
                "axis": name,
                "means": axis.what,
                "default": axis.default,
                "optional": axis.optional,
            }
            for kind in KINDS.values()
            for name, axis in kind.axes.items()
        ]
        common.print_json(rows) if as_json else print_kinds(rows)
    else:
        studies = [load_study(name) for name in builtin_names()]
        listed = [{"name": s.name, "question": s.question, "kind": s.kind, "tasks": s.tasks} for s in studies]
        common.print_json(listed) if as_json else print_studies(listed)
