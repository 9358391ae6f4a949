"""`espsim models`: which hardware models there are, what each says and by which source, and whether a file is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from espsim.cli.common import json_option, print_json

if TYPE_CHECKING:
    from espsim.offload.model import Model


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the hardware models; show one; check a file.

    A model says what a device and its driver do: the key, the table, duplicates, overflow, deletion, failures. What is
    not public is "unknown": a run that reaches it stops and asks for --assume.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json goes after the command's name", ctx)
        return
    from espsim.offload.model import load_model, shipped_models

    rows = [_summary(load_model(ident)) for ident in shipped_models()]
    if as_json:
        print_json({"models": rows})
    else:
        _print_list(rows)


@models.command()
@click.argument("model", metavar="ID|FILE")
@json_option
def show(model: str, as_json: bool) -> None:
    """Print a model's datasheet: every value, its file and line, and the source that the file gives for it."""
    from espsim.offload.model import load_model

    loaded = load_model(model)
    if as_json:
        print_json(_datasheet(loaded))
    else:
        _print_datasheet(loaded)


@models.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@json_option
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Check model files. Exit status 2 at the first that is wrong, with FILE:LINE, the key and what is legal there."""
    from espsim.offload.model import load_model

    results = []
    for file in files:
        loaded = load_model(file)
        unknown = loaded.unknowns()
        results.append({"file": file, "ok": True, "id": loaded.id, "unknown": unknown})
        if not as_json:
            click.echo(f"{file}: ok, {loaded.id}, {len(unknown)} unknown")
    if as_json:
        print_json({"files": results})


def _summary(model: Model) -> dict[str, Any]:
    device, inbound, first = model.spec.device, model.spec.inbound, model.spec.inbound.lookup[0]
    return {
        "id": model.id,
        "vendor": device.vendor,
        "part": device.part,
        "driver": device.driver,
        "status": device.status,
        "table": " -> ".join(lookup.kind for lookup in inbound.lookup),
        "key": first.key,
        "capacity": [lookup.capacity for lookup in inbound.lookup],
        "duplicate": inbound.program.duplicate.policy,
        "icv_fail": inbound.result.icv_fail,
        "unknown": len(model.unknowns()),
    }


def _words(value: Any) -> str:
    """A value as a person reads it: lists by commas, true and false."""
    if isinstance(value, list):
        return ", ".join(map(_words, value)) if value else "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(*columns: str, rows: list[list[str]]) -> None:
    """A table as wide as the terminal; through a pipe nothing is folded or cut."""
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console() if sys.stdout.isatty() else Console(width=10_000, force_terminal=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for n, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=n == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    # Without a terminal every line would be padded to the width of its longest cell.
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def _print_list(rows: list[dict[str, Any]]) -> None:
    keys = ("id", "driver", "table", "key", "capacity", "duplicate", "icv_fail", "unknown")
    heads = ("model", "driver", "table", "key", "capacity", "duplicate SPI", "ICV failure", "unknowns")
    _table(*heads, rows=[[_words(row[key]) for key in keys] for row in rows])
    click.echo("espsim models show ID: the whole datasheet, with sources")


def _datasheet(model: Model) -> dict[str, Any]:
    values = {}
    for key, value in model.leaves():
        source = model.source(key)
        where = {"file": source.file, "line": source.line, "source": source.comment} if source else {}
        values[key] = {"value": value, **where}
    return {
        "id": model.id,
        "files": [document.name for document in model.documents],
        "values": values,
        "unknown": model.unknowns(),
        "suggested": model.suggestions,
        "perf": [perf.model_dump(exclude_none=True) for perf in model.spec.perf],
    }


def _print_datasheet(model: Model) -> None:
    import os

    click.echo(f"{model.id}: {model.spec.device.vendor} {model.spec.device.part}, {model.spec.device.driver}")
    rows = []
    for key, value in model.leaves():
        source = model.source(key)
        place = f"{os.path.basename(source.file)}:{source.line}" if source else ""
        rows.append([key, _words(value), source.comment if source else "", place])
    _table("key", "value", "source", "file", rows=rows)
    for perf in model.spec.perf:
        figures = [f"{getattr(perf, unit)} {unit}" for unit in ("gbps", "mpps", "tunnels") if getattr(perf, unit)]
        click.echo(f"measured: {perf.what}: {', '.join(figures)} ({perf.source})")
    for key, value in model.suggestions.items():
        click.echo(f"suggested with --assume model, not a fact: {key} = {_words(value)}")
