"""`espsim kit`: writes a conformance kit, and judges programs that open ESP by it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

from espsim.cli import common
from espsim.cli.numbers import Number


@click.group()
def kit() -> None:
    """Write a conformance kit for implementations of ESP, and judge a program by it.

    A kit is a folder of cases: a capture, the SAs, and the right answers. Groups of cases have the names of DPDK's
    inline IPsec tests; some more cover what DPDK does not test.
    """


@kit.command()
@click.argument("folder", metavar="DIR")
@common.width_options
@common.json_option
def export(folder: str, as_json: bool) -> None:
    """Write the kit into DIR, which must be new or empty.

    The reference path computes every right answer. Published packets are compared with it first. Two exports of the
    same version are equal, byte for byte. --json prints the manifest.
    """
    from espsim.analysis.kit.export import export as write
    from espsim.analysis.kit.groups import GROUPS
    from espsim.report.kit import print_kit_export

    with _progress(sum(1 for group in GROUPS for _case in group.cases()), "cases written") as tell:
        manifest = write(folder, tell).model_dump()
    if as_json:
        common.print_json(manifest)
    else:
        print_kit_export(folder, manifest)


@kit.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--command", "text", required=True, metavar="'PROGRAM {in} {sad} {out}'",
    help="What to run for each case. It may also use {verdicts} and {model}.",
)  # fmt: skip
@click.option("--only", multiple=True, metavar="GROUP|CASE", help="Run only this group or case; may be repeated.")
@click.option("--device", "model", metavar="ID", help="Judge by the answers of this modelled device.")
@click.option("--jobs", "at_once", default=1, show_default=True, type=Number(1, 256, "a number of programs"),
              metavar="N", help="Programs that run at once.")  # fmt: skip
@click.option("--timeout", default=60, show_default=True, type=Number(1, 86_400, "a number of seconds"),
              metavar="SECONDS", help="How long one case may take.")  # fmt: skip
@common.width_options
@common.json_option
def run(
    folder: str, text: str, only: tuple[str, ...], model: str | None, at_once: int, timeout: int, as_json: bool
) -> None:
    """Judge a program by the kit in DIR.

    The program runs once for each case, without a shell, on copies of the case's files. {in} is the capture, {sad} has
    the SAs as `ip xfrm state` commands. The program writes the inner packets, in order, to {out} (pcap or pcapng; raw
    IP or Ethernet). It may write one JSON line for each frame to {verdicts}, which are compared, too. {model} is the
    device of --device. If the program can't do what the case needs, it ends with exit status 77 and a last line that
    says why, and the case is skipped.

    Exit status 1: a case failed.

    \b
    espsim kit export kit
    espsim kit run kit --command 'espsim decap {in} --sad {sad} -o {out}'
    """
    from espsim.analysis.kit.judge import Command, chosen_cases, judge, summary
    from espsim.analysis.kit.manifest import read_manifest
    from espsim.core.echo import shortened
    from espsim.core.errors import InputError
    from espsim.report.kit import print_kit_run

    command = Command(text)
    if model is None and "model" in command.places:
        raise InputError("{model} needs a device: give --device", where="--command")
    manifest = read_manifest(folder)
    models = sorted({device.model for case in manifest.cases for device in case.devices})
    if model is not None and model not in models:
        raise InputError(f"the kit has no answers of {shortened(repr(model))}, only of {', '.join(models)}",
                         where="--device")  # fmt: skip
    cases = chosen_cases(manifest, only)
    with _progress(len(cases), "cases run") as tell:
        judged = judge(folder, cases, command, model=model, at_once=at_once, timeout=timeout, tell=tell)
    result = summary(manifest, judged, text)
    if as_json:
        common.print_json(result)
    else:
        print_kit_run(result)
    if result["failed"]:
        sys.exit(1)


@contextlib.contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """A counter of cases, if standard error is a terminal. Call it after each case."""
    if not sys.stderr.isatty():
        yield lambda _case: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # The bar must not start a thread: programs are forked, and the locks of a forked thread stay locked.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def done(_case: str) -> None:
            bar.advance(task)
            bar.refresh()

        yield done
