"""`espsim audit`: the SAs of a real host offered to modelled devices."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common
from espsim.cli.numbers import SEED, Number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from espsim.analysis.audit import Audit


@click.command()
@click.argument("dump", metavar="DUMP")
@common.model_options(multiple=True)
@click.option("--local", multiple=True, metavar="PREFIX", help="An address or network of this host; may be repeated.")
@click.option(
    "--list",
    "most",
    default=20,
    show_default=True,
    type=Number(0, 1_000_000_000),
    metavar="N",
    help="SAs of each fate to name; the counts are always of all.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    metavar="N",
    help="Seeds hashes that are not public, and what is drawn.",
)
@click.option("--html", "html_path", metavar="FILE", help="Write a page too: one file, nothing fetched.")
@common.json_option
def audit(
    dump: str,
    models: tuple[str, ...],
    assume: tuple[str, ...],
    local: tuple[str, ...],
    most: int,
    seed: int,
    html_path: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Say what a device would do with the SAs of a host.

    DUMP is what `ip xfrm state` prints, with `-s` or without, its keys hidden or not: which inbound SAs would be
    installed, which collide (same SPI), alias (same slot), overflow or are refused, what then happens to their packets,
    and what to change. An SA is inbound by its `dir`, or because its destination is --local; without either it counts
    as inbound. Keys are not kept and appear nowhere. Exit status 1 where something collides.
    """
    from espsim.analysis.audit import audit as run_audit
    from espsim.analysis.audit import parse_prefix, take_inventory
    from espsim.analysis.summary import summary
    from espsim.core.errors import InputError
    from espsim.offload.device import Device
    from espsim.offload.model import load_models, parse_assumptions
    from espsim.xfrm.scan import survey_file

    writes = {"--html": html_path}
    common.keep_apart({"DUMP": dump, "--model": common.by_path(*models)}, writes)
    if not models:
        raise InputError("which device? --model ID, as `espsim models` lists them; may be repeated")
    with _no_collector():
        loaded = [model for _, model in load_models(models)]
        common.keep_apart({"--model": [document.name for model in loaded for document in model.documents]}, writes)
        devices = [Device(model, parse_assumptions(model, assume, loaded), seed=seed) for model in loaded]
        prefixes = [parse_prefix(text) for text in local]
        inventory = take_inventory(survey_file(dump), prefixes)
        if not inventory.offered:
            raise InputError("no inbound ESP SA in it", where=dump)
        audits = [run_audit(inventory, device, most=most) for device in devices]
        result = summary(inventory, audits, seed=seed)
        _show(result, audits, html_path, as_json)
    if result["collision"]:
        sys.exit(1)


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Without the interpreter's garbage collector, which is as it was afterwards, whatever happens.

    There are millions of objects and no cycles: walking them again and again would be a third of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _show(result: dict[str, Any], audits: Sequence[Audit], html_path: str | None, as_json: bool) -> None:
    from espsim.analysis.summary import cells
    from espsim.io.atomic import atomic_output
    from espsim.report.audit import print_audit
    from espsim.report.audit_html import Drawing, audit_html

    if html_path is not None:
        with atomic_output(html_path) as file:
            file.write(audit_html(result, [Drawing(*cells(audit)) for audit in audits]))
    with common.reporting(html_path):
        if as_json:
            common.print_json(result)
        else:
            print_audit(result)
