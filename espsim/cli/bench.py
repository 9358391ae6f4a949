"""`espsim bench`: what the batch path costs on this machine, beside other programs on the same work."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from espsim.cli.common import by_path, keep_apart, model_options, reporting, warn, width_options
from espsim.cli.numbers import Number, Numbers
from espsim.cli.pages import html_option, html_page
from espsim.sad.association import MOST_WINDOW

if TYPE_CHECKING:
    from espsim.measure.cases import BenchGroup
    from espsim.measure.plan import BenchOptions, BenchPlan
    from espsim.report.html.document import Made

_BENCHES = ("lookup", "aead", "replay", "pipeline", "capture", "command", "control")
_SUITES = ("AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-128-CBC-HMAC-SHA256")
_MOST_SAS = 20_000_000
_LEAST_SIZE, _MOST_SIZE = 28, 9_000  # an IP and a UDP header; a jumbo frame
_MOST_WORKERS = 256
_SAS = Numbers(1, _MOST_SAS, "a number of SAs")
_SIZES = Numbers(_LEAST_SIZE, _MOST_SIZE, "a size in bytes (or imix)", words=("imix",))
_WORKERS = Numbers(1, _MOST_WORKERS, "a number of workers")
_WINDOWS = Numbers(1, MOST_WINDOW, "a window's size")
_ROUNDS, _QUICK_ROUNDS = 9, 3
_QUICK = 0.5  # seconds: after these no new round of a group begins


@click.command()
@click.argument(
    "benches", metavar="[lookup|aead|replay|pipeline|capture|command|control]...", nargs=-1, type=click.Choice(_BENCHES)
)
@click.option("--sas", type=_SAS, metavar="N,...", help="Numbers of SAs, such as 1,1000,100k,1M.")
@click.option(
    "--sizes",
    type=_SIZES,
    metavar="N,...",
    help="Bytes of an inner packet, such as 64,1424,imix (imix: 64, 576, 1424 bytes as 7:4:1).",
)
@click.option("--engines", metavar="NAME,...", help="AEAD engines, as `espsim engines` lists them, or auto.")
@click.option(
    "--workers", type=_WORKERS, metavar="N,...", help="Numbers of worker processes for the bench command, such as 1,2."
)
@click.option(
    "--window", type=_WINDOWS, metavar="N,...", help="Sizes of replay windows, such as 64,1024 (replay, pipeline)."
)
@click.option("--esn/--no-esn", default=None, help="With or without extended sequence numbers (replay, pipeline).")
@click.option("--hit", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share of packets with an SA.")
@model_options(multiple=False)
@click.option("--suite", type=click.Choice(_SUITES), default=_SUITES[0], show_default=True, help="Of aead.")
@click.option("--peers", is_flag=True, help="Run other programs on the same work in turn, and print ratios.")
@click.option("--quick", is_flag=True, help="Fewer cases and rounds: done in about a minute.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=Number(0, 2**32, "a seed"),
    metavar="N",
    help="The seed of everything random.",
)
@click.option("--plot", metavar="FILE", help="Draw rates and ratios (.png or .svg; needs matplotlib).")
@html_option
@width_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def bench(
    benches: tuple[str, ...], engines: str | None, plot: str | None, html_path: str | None, as_json: bool, **rest: Any
) -> None:  # fmt: skip
    """Measure the batch path: medians over rounds, without compilation.

    \b
    lookup    the software triple (IPv4, IPv6), the SPI as an index, four-way hashes of the SPI
    aead      opening and sealing alone, engine by engine
    replay    check and advance of the window
    pipeline  the whole path in and out, AES-128-GCM tunnels, with its stages
    capture   reading a pcap of a million packets into batches
    command   decap and encap of a capture in memory by 1, 2, 4, ... workers, without their start; the peer is cp
    control   SAs added, allocated, deleted and expired at 1k, 100k, 1M states, and the longest pause

    Without a name all benches run. A bench varies one thing at a time around 100 SAs, the best engine and windows of 64
    without ESN. With --sas, --sizes, --engines, --window or --esn the pipeline runs every combination. --model measures
    a hardware model's table in place of software's. Peers run between our own rounds, so that a noisy machine is noisy
    for both; each ratio comes from one round. A peer is the first program of its name in PATH.
    """
    names = tuple(dict.fromkeys(benches or _BENCHES))
    writes = {"--plot": plot, "--html": html_path}
    keep_apart({"--model": by_path(rest["model"])}, writes)
    plan = _plan(benches=names, engines=None if engines is None else engines.split(","), **rest)
    about = _about(plan.asked)
    if plan.table is not None:
        keep_apart({"--model": [document.name for document in plan.table.model.documents]}, writes)
    output = _plot_file(plot)
    with html_page(html_path) as page, reporting(html_path):
        try:
            rows = []
            for group in _measured(plan):
                for row in group.rows():
                    rows.append(row)
                    if as_json:
                        click.echo(json.dumps({**row, **about}))
            if output is not None:
                _draw(output, rows, about)
        finally:
            if output is not None:
                output.discard()
        notes = list(dict.fromkeys(plan.notes))
        page.write(lambda made: _report(rows, about, made, notes))
        for note in notes:
            warn(note)
        if plan.compile_s >= 1:
            warn(f"compiling took {plan.compile_s:.0f} s; the next run finds the kernels in the cache")
        if not as_json:
            from espsim.report.bench import print_bench

            print_bench(rows, about)
            sys.stdout.flush()


def _report(rows: list[dict[str, Any]], about: dict[str, Any], made: Made, notes: list[str]) -> str:
    from espsim.report.html.bench import bench_html

    return bench_html(rows, about, made, notes)


def _plan(**options: Any) -> BenchPlan:
    """What is to be measured. InputError: an option names something that does not exist."""
    from espsim.measure.plan import BenchOptions, BenchPlan

    return BenchPlan(BenchOptions(**options))


def _measured(plan: BenchPlan) -> Iterator[BenchGroup]:
    """Measure group after group, and yield each."""
    quick = plan.asked.quick
    for group in plan.groups():
        group.run(_QUICK_ROUNDS if quick else _ROUNDS, _QUICK if quick else float("inf"))
        plan.notes += group.notes()
        plan.compile_s += sum(case.compile_s for case in group.cases)
        yield group


def _about(asked: BenchOptions) -> dict[str, Any]:
    """The fields of a record that are not figures."""
    from espsim.measure.clock import clock
    from espsim.measure.interleave import machine
    from espsim.measure.traffic import BATCH
    from espsim.version import __version__

    versions = {name: importlib.metadata.version(name) for name in ("numba", "numpy")}
    return {
        "machine": f"{machine()}, {platform.system()} {platform.release()}",
        "versions": {"espsim": __version__, "python": platform.python_version(), **versions},
        "seed": asked.seed,
        "batch": BATCH,
        "clock_mhz": clock().mhz,
        "clock": clock().source,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _plot_file(path: str | None) -> Any:
    """The plot's file, open, or None. InputError, before the work: it cannot be written."""
    if path is None:
        return None
    from espsim.io.atomic import OutputFile
    from espsim.report.plots import image_format, need_matplotlib

    image_format(path)
    need_matplotlib()
    return OutputFile(path)


def _draw(output: Any, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    from espsim.report.bench_plots import draw_bench
    from espsim.report.plots import image_format

    output.file.write(draw_bench(rows, about["machine"], image_format(output.path)))
    output.commit()
