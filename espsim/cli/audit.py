"""`espsim audit`: the SAs of a real host offered to modelled devices."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common
from espsim.cli.numbers import SEED, Number
from espsim.core.collector import paused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from espsim.analysis.audit import Audit
    from espsim.analysis.inventory import Inventory


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
    help="How many SAs of each fate to list; the counts have all of them.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    metavar="N",
    help="The seed of hashes that are not public, and of everything random.",
)
@click.option(
    "--html", "html_path", metavar="FILE", help="Write a page for a browser, too: one file that fetches nothing."
)
@click.option("--odds", is_flag=True, help="Print the odds of collisions if the SPIs were drawn anew (JSON has them).")
@common.width_options
@common.json_option
def audit(
    dump: str,
    models: tuple[str, ...],
    assume: tuple[str, ...],
    local: tuple[str, ...],
    most: int,
    seed: int,
    html_path: str | None,
    odds: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Say what a device would do with the SAs of a host.

    DUMP is what `ip xfrm state` prints, with or without `-s`, with or without keys (-: standard input). The first line
    says how many inbound SAs work in hardware, how many in software, and how many are lost or meet a wrong SA. Then
    come the SAs that would be installed, collide (same SPI), alias (same slot), overflow or are refused, what their
    packets meet, and what to do. --model is needed; it may be repeated.

    The direction of an SA is that of its `dir`, else of its offload line; else an SA to a --local address is inbound.
    Without --local two SAs with swapped addresses and the same reqid are a pair, and the address that is in more pairs
    than its peer belongs to this host. An SA that none of this decides counts as inbound. An SA with an offload line
    follows the driver's rules for its mode, crypto or packet. One without stays in software if it is refused.

    Keys are not kept and never shown. An SA whose answer is not public counts as unknown. Exit status 1: an SA is lost
    or meets a wrong SA.
    """
    from espsim.analysis.audit import audit as run_audit
    from espsim.analysis.inventory import parse_prefix, take_inventory
    from espsim.analysis.summary import summary
    from espsim.core.errors import InputError
    from espsim.io.atomic import Outputs
    from espsim.offload.compare import with_assumptions
    from espsim.offload.device import Device
    from espsim.text.scan import survey_file

    writes = {"--html": html_path}
    common.keep_apart({"DUMP": dump, "--model": common.by_path(*models)}, writes)
    if not models:
        how = "`espsim models find x520` looks for a device, `espsim models` lists all"
        raise InputError(f"name a device: --model NAME, which may be repeated; {how}")
    with paused(), Outputs() as outputs:
        loaded = with_assumptions(common.named_models(models), assume)
        common.keep_apart({"--model": [document.name for model in loaded for document in model.documents]}, writes)
        page = outputs.text(html_path) if html_path is not None else None  # refused before the work, not after it
        devices = [Device(model, seed=seed) for model in loaded]
        prefixes = [parse_prefix(text) for text in local]
        survey = survey_file(dump)
        common.warn_of_text(dump, survey.notes.lines())
        inventory = take_inventory(survey, prefixes)
        if not inventory.sas:
            raise InputError("has no ESP SA", where=dump)
        audits = [run_audit(inventory, device, most=most) for device in devices]
        wanted = odds or as_json or html_path is not None
        result = summary(inventory, audits, seed=seed, odds=wanted)
        if page is not None:
            page.write(_page(result, audits, inventory, seed))
        outputs.commit()
    with common.reporting(html_path):
        _show(result, as_json, odds)
    if result["lost"]:
        sys.exit(1)


def _page(result: dict[str, Any], audits: Sequence[Audit], inventory: Inventory, seed: int) -> str:
    from espsim.analysis.summary import cells, odds_curve
    from espsim.cli.pages import made_here
    from espsim.report.html.audit import audit_html
    from espsim.report.html.charts import SlotMap

    curves = [odds_curve(audit, inventory, seed=seed) for audit in audits]
    return audit_html(result, [SlotMap(*cells(audit)) for audit in audits], curves, made_here())


def _show(result: dict[str, Any], as_json: bool, odds: bool) -> None:
    if as_json:
        common.print_json(result)
        return
    from espsim.report.audit import print_audit

    print_audit(result, odds=odds)
