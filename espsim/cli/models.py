"""`espsim models`: lists, shows, finds and compares hardware models, begins new ones, and checks files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from espsim.cli.common import assume_option, json_option, keep_apart, print_json, width_options
from espsim.core.echo import printable

if TYPE_CHECKING:
    from pathlib import Path

    from espsim.core.errors import InputError
    from espsim.offload.model import Model


@click.group(invoke_without_command=True)
@width_options
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the hardware models; find a device; show, compare, create or check models.

    A model says what a device and its driver do: the key, the table, duplicates, overflow, deletion, failures. What is
    not public is "unknown": a run that needs it stops and asks for --assume.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("write --json after the command's name", ctx)
        return
    from espsim.offload.model import load_model, shipped_models

    rows = [_summary(load_model(ident)) for ident in shipped_models()]
    if as_json:
        print_json({"models": rows})
    else:
        _print_list(rows)


@models.command()
@click.argument("model", metavar="ID|FILE")
@width_options
@json_option
def show(model: str, as_json: bool) -> None:
    """Print a model's datasheet: every value with its file, line and source."""
    from espsim.offload.model import load_model

    loaded = load_model(model)
    if as_json:
        print_json(_datasheet(loaded))
    else:
        _print_datasheet(loaded)


@models.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@width_options
@json_option
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Check model files. A fault has FILE:LINE, the key and what is legal there. Exit status 2: there is a fault."""
    from espsim.cli.common import warn

    keep_apart({"FILE": files}, {})
    results, faults = _checked(files)
    for result in results if not as_json else ():
        if result["ok"]:
            _say(f"{result['file']}: ok, {result['id']}, {len(result['unknown'])} unknown")
    if as_json:
        print_json({"files": results})
    for fault in faults:
        warn(str(fault))
    if faults:
        sys.exit(2)


def _checked(files: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[InputError]]:
    """Every file's result, and all faults. Files without faults are then checked together for equal ids."""
    from espsim.core.errors import InputError
    from espsim.offload.faults import ModelFaults
    from espsim.offload.model import each_once, load_model

    results: list[dict[str, Any]] = []
    faults: list[InputError] = []
    models: list[tuple[str | Path, Model]] = []
    for file in files:
        try:
            loaded = load_model(file)
            models.append((file, loaded))
            results.append({"file": file, "ok": True, "id": loaded.id, "unknown": loaded.unknowns()})
        except InputError as error:
            found = error.faults if isinstance(error, ModelFaults) else [error]
            errors = [{"file": f.where, "line": f.line, "what": f.what} for f in found]
            results.append({"file": file, "ok": False, "errors": errors})
            faults += found
    try:
        each_once(models)
    except InputError as error:
        faults.append(error)
    return results, faults


@models.command("find")
@click.argument("name", nargs=-1, required=True)
@width_options
@json_option
def find_command(name: tuple[str, ...], as_json: bool) -> None:
    """Find the models of a device by a product's, a chip's or a driver's name, and say how they differ.

    `espsim models find x520`, `espsim models find OCTEON 10`. Exit status 1: no model fits.
    """
    from espsim.core.echo import did_you_mean
    from espsim.offload.find import differences
    from espsim.offload.model import device_names, find_models

    text = " ".join(name)
    found = find_models(text)
    differ = differences(found)
    if as_json:
        rows = [{**_summary(model), "aliases": model.spec.device.aliases} for model in found]
        apart = {key: {m.id: value for m, value in zip(found, values, strict=True)} for key, values in differ.items()}
        print_json({"name": text, "models": rows, "differ": apart})
    elif found:
        _print_found(found, differ)
    else:
        _say(f"no model is of {text}; {did_you_mean(text, device_names(), '`espsim models` lists all')}")
    if not found:
        sys.exit(1)


def _print_found(found: list[Model], differ: dict[str, list[Any]]) -> None:
    from espsim.offload.find import COMPARED, words

    keys = [key for key in differ if key != "device.driver"]
    rows = []
    for n, model in enumerate(found):
        device = model.spec.device
        rows.append([model.id, f"{device.vendor} {device.part}", device.driver, *(words(differ[k][n]) for k in keys)])
    _table("model", "device", "driver", *(COMPARED[key] for key in keys), rows=rows)
    _say(f"espsim models show {found[0].id}: the whole datasheet, with sources")


@models.command()
@click.argument("ident", metavar="ID")
@click.option("--like", required=True, metavar="ID|FILE", help="The model to start from: the most similar one.")
@click.option("-o", "--output", metavar="FILE", help="The file to write; - is standard output.  [default: ID.toml]")
def new(ident: str, like: str, output: str | None) -> None:
    """Write a new model file that extends another one; its comments have that one's values and what is legal."""
    import os
    import re

    from espsim.core.errors import InputError
    from espsim.io.atomic import atomic_output
    from espsim.offload.model import load_model, shipped_models
    from espsim.offload.template import template

    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]*", ident):
        raise InputError("an id has small letters, digits and ._+- only, such as my-nic", where=ident)
    if ident in shipped_models():
        raise InputError("is the id of a shipped model: choose another", where=ident)
    text = template(ident, load_model(like))
    path = output or f"{ident}.toml"
    if path == "-":
        click.echo(text, nl=False)
        return
    if os.path.exists(path):
        raise InputError("exists already: give -o FILE, or move it away", where=path)
    with atomic_output(path) as file:
        file.write(text)
    _say(f"{path}: written; then `espsim models check {path}`, `espsim models compare {like} {path}`")


@models.command()
@click.argument("names", metavar="[ID|FILE]...", nargs=-1)
@click.option("--case", "cases", multiple=True, metavar="NAME", help="Only this case; may be repeated.")
@assume_option
@width_options
@json_option
def compare(names: tuple[str, ...], cases: tuple[str, ...], assume: tuple[str, ...], as_json: bool) -> None:
    """Show what two SAs do to each other in each model (without an ID: in every one), as one table.

    A has SPI 0x55, from 1.1.1.1 to 9.9.9.1; B is added after it. Both have AES-GCM-128, ICV 128, no ESN, transport mode
    (tunnel mode if the device takes only that) and the smallest window that the device takes.

    \b
    duplicate  B has SPI 0x55, too, from 1.1.1.2 to 9.9.9.2
    alias      as duplicate, but B has SPI 0x01000055: its low 24 bits are A's
    overflow   SAs from 1.1.1.2 to 9.9.9.2 with SPIs from 0x56 up, until one
               finds no room: that one is B (a table without a limit of its
               own never fills up: B has SPI 0x56)
    delete     B has SPI 0x56, A's addresses and A's reqid: a rekey
    miss       B has SPI 0x56, from 1.1.1.2 to 9.9.9.2, not in the device

    The table has the driver's answer (0, or an errno), and what a packet of A and of B meets: the context of A, of B or
    of another SA, `software` (it goes on as ordinary ESP), `flagged` (handed to the host as failed) or `dropped`; then
    what each meets after the other SA is deleted. `unknown`: the answer depends on something that is not public. The
    keys are listed below the table; --assume sets them.
    """
    from espsim.core.errors import InputError
    from espsim.offload.compare import CASES, with_assumptions
    from espsim.offload.compare import compare as run
    from espsim.offload.model import load_models, shipped_models

    keep_apart({"FILE": names}, {})
    wrong = next((case for case in cases if case not in CASES), None)
    if wrong is not None:
        raise InputError(f"no case {wrong!r}; there are {', '.join(CASES)}", where="--case")
    loaded = with_assumptions([model for _, model in load_models(names or shipped_models())], assume)
    results = [run(model, case).as_dict() for model in loaded for case in dict.fromkeys(cases or CASES)]
    if as_json:
        print_json(results)
    else:
        _print_comparison(results, {model.id: model for model in loaded})


@models.command()
def schema() -> None:
    """Print the JSON Schema of a model file, for editors (hwmodels/schema.json)."""
    from espsim.offload.json_schema import json_schema

    print_json(json_schema())


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
    """A value for people: lists with commas, true and false."""
    if isinstance(value, list):
        between = " | " if value and isinstance(value[0], list) else ", "
        return between.join(map(_words, value)) if value else "none"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def _table(*columns: str, rows: list[list[str]], fewer: bool = False) -> None:
    """Print a table that fits."""
    from espsim.report.terminal import console, table

    console().print(table(columns, rows, fewer=fewer))


def _say(text: str) -> None:
    """Print a sentence in lines that fit."""
    from espsim.report.terminal import console

    console().print(printable(text), markup=False)


def _print_list(rows: list[dict[str, Any]]) -> None:
    keys = ("id", "driver", "table", "key", "capacity", "duplicate", "icv_fail", "unknown")
    heads = ("model", "driver", "table", "key", "capacity", "duplicate SPI", "ICV failure", "unknowns")
    _table(*heads, rows=[[_words(row[key]) for key in keys] for row in rows], fewer=True)
    _say("espsim models show ID: the whole datasheet, with sources")


_COMPARED = ("model", "case", "add_a", "add_b", "packet_a", "packet_b", "packet_a_after_delete_b",
             "packet_b_after_delete_a")  # fmt: skip


def _print_comparison(results: list[dict[str, Any]], models: dict[str, Model]) -> None:
    heads = ("model", "case", "add A", "add B", "A meets", "B meets", "A, B deleted", "B, A deleted")
    rows = [["-" if result[key] is None else str(result[key]) for key in _COMPARED] for result in results]
    _table(*heads, rows=rows)
    unknown: dict[str, dict[str, None]] = {}
    for result in results:
        unknown.setdefault(result["model"], {}).update(dict.fromkeys(result["unknown"]))
    for ident, keys in unknown.items():
        for key in keys:
            hint = (
                f" (--assume model: {_words(models[ident].suggestions[key])})"
                if key in models[ident].suggestions
                else ""
            )
            _say(f"{ident}: not public: {key}{hint}")
    assumed = {result["model"]: result["assumptions"] for result in results}
    for ident, assumptions in assumed.items():
        for assumption in assumptions:
            _say(f"{ident}: assumed: {assumption}")


def _datasheet(model: Model) -> dict[str, Any]:
    from espsim.offload.schema import UNKNOWN

    values = {}
    for key, value in model.leaves():
        source = model.source(key)
        values[key] = {"value": value}
        if source is not None:
            general = "" if value == UNKNOWN else "; ".join(source.general)
            values[key] |= {"file": source.file, "line": source.line, "source": source.comment or general}
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

    from espsim.offload.schema import UNKNOWN

    _say(f"{model.id}: {model.spec.device.vendor} {model.spec.device.part}, {model.spec.device.driver}")
    rows = []
    for key, value in model.leaves():
        source = model.source(key)
        place = f"{os.path.basename(source.file)}:{source.line}" if source else ""
        stands = source is not None and source.general and value != UNKNOWN and not key.startswith("device.")
        general = "[device] sources" if stands else ""
        rows.append([key, _words(value), (source.comment if source else "") or general, place])
    _table("key", "value", "source", "file", rows=rows)
    for perf in model.spec.perf:
        figures = [f"{getattr(perf, unit)} {unit}" for unit in ("gbps", "mpps", "tunnels") if getattr(perf, unit)]
        _say(f"measured: {perf.what}: {', '.join(figures)} ({perf.source})")
    for key, value in model.suggestions.items():
        _say(f"suggested with --assume model, not a fact: {key} = {_words(value)}")
