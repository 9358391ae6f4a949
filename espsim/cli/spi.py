"""`espsim spi`: how likely SPIs drawn from a range are to collide in a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common
from espsim.cli.numbers import SEED, Number

if TYPE_CHECKING:
    from espsim.analysis.odds import Range
    from espsim.offload.model import Model

_POINTS = 40


@click.command()
@click.option(
    "--sas",
    required=True,
    type=Number(1, 10_000_000, "a number of SAs"),
    metavar="N",
    help="The number of inbound SAs, such as 1000, 100k, 1M.",
)
@click.option(
    "--range", "span", required=True, metavar="MIN-MAX", help="The range that SPIs are drawn from, both ends included."
)
@common.model_options(multiple=False)
@click.option(
    "--draws", type=Number(2, 100_000, "a number of draws"), metavar="N", help="The number of Monte Carlo draws."
)
@click.option("--seed", type=SEED, default=0, show_default=True, metavar="N", help="The seed of all draws.")
@click.option("--plot", metavar="FILE", help="Draw the curve (.png or .svg; needs matplotlib).")
@common.width_options
@common.json_option
def spi(
    sas: int,
    span: str,
    model: str | None,
    assume: tuple[str, ...],
    draws: int | None,
    seed: int,
    plot: str | None,
    as_json: bool,
) -> None:
    """Say how likely a duplicate, an alias or an overflow is among N SAs.

    SPIs are drawn uniformly and independently, each for another destination, as peers do, and kernels that check SPIs
    for each destination. If the model's table has a closed form, the chance is exact. If not, SAs are drawn and offered
    to the modelled device, and the chance comes with a 95 % interval. --model is needed: it names the table.
    """
    from espsim.analysis import odds
    from espsim.core.errors import InputError
    from espsim.offload.model import parse_assumptions
    from espsim.report.plots import image_format
    from espsim.report.spi import print_spi

    if model is None:
        raise InputError("name a device: --model ID, as `espsim models` lists them")
    if plot is not None:
        image_format(plot)  # before the work, not after it
        common.keep_apart({"--model": common.by_path(model)}, {"--plot": plot})
    spis = odds.parse_range(span)
    (loaded,) = common.named_models([model])
    common.keep_apart({"--model": [document.name for document in loaded.documents]}, {"--plot": plot})
    loaded = loaded.assuming(parse_assumptions(loaded, assume))
    found = odds.chances(loaded, sas, spis, seed=seed, draws=draws)
    lost = odds.losses(loaded, sas, seed=seed, draws=draws)
    result = {
        "model": loaded.id,
        "assumptions": _assumptions(loaded),
        "sas": sas,
        "spi_range": {"low": spis.low, "high": spis.high, "size": len(spis)},
        "seed": seed,
        "chances": {name: chance.as_dict() for name, chance in (found or {}).items()},
        "duplicates_at": [{"chance": chance, "sas": odds.sas_for(chance, spis)} for chance in (0.01, 0.5)],
        "losses": lost.as_dict() if lost is not None else None,
    }
    if plot is not None:
        _draw(plot, loaded, sas, spis, seed, draws)
    with common.reporting(plot):
        common.print_json(result) if as_json else print_spi(result)


def _assumptions(model: Model) -> list[str]:
    from espsim.offload.device import Device

    return Device(model).assumptions


def _draw(path: str, model: Model, sas: int, spis: Range, seed: int, draws: int | None) -> None:
    """The curve from one SA to four times as many, sampled where it changes."""
    from espsim.analysis.odds import curve_where_it_changes
    from espsim.io.atomic import OutputFile
    from espsim.report.plots import draw_odds, image_format

    found = curve_where_it_changes(model, max(16, 4 * sas), spis, points=_POINTS, seed=seed, draws=draws)
    sizes = list(found)
    rows: list[dict[str, Any]] = [{name: chance.as_dict() for name, chance in row.items()} for row in found.values()]
    output = OutputFile(path)
    try:
        output.file.write(draw_odds(f"{model.id}, SPIs {spis}", sizes, rows, image_format(path)))
        output.commit()
    finally:
        output.discard()
