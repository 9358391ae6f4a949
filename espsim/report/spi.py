"""The odds of SPIs for a terminal, from the dictionary that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espsim.core.echo import printable_values
from espsim.report.audit import interval
from espsim.report.terminal import console, table

_MEANING = {
    "duplicate": "two SAs have one SPI, and meet in the device",
    "alias": "two SAs with different SPIs have one slot",
    "overflow": "an SA finds no room",
    "refused": "an SPI lies outside the driver's range",
    "any": "at least one of these",
}


def print_spi(result: Mapping[str, Any]) -> None:
    """Print the chances, the number of SAs that makes a duplicate likely, and what a hash table loses."""
    out, result = console(), printable_values(result)
    span = result["spi_range"]
    out.print(
        f"{result['sas']} SAs, each with a destination of its own, SPIs uniform in 0x{span['low']:x}-0x{span['high']:x}"
        f" ({span['size']}), model {result['model']}",
        markup=False,
    )
    for assumption in result["assumptions"]:
        out.print(f"  assumed: {assumption}", markup=False)
    rows = [(name, interval(row), row["how"], _MEANING[name]) for name, row in result["chances"].items()]
    out.print(table(("event", "chance", "how", "meaning"), rows))
    likely = ", ".join(f"{row['chance']:.0%} at {row['sas']}" for row in result["duplicates_at"])
    out.print(f"two SAs with one SPI, on any device: {likely} SAs", markup=False)
    losses = result["losses"]
    if losses is not None:
        drawn = losses["monte_carlo"]
        exact = "not worked out" if losses["expected"] is None else f"{losses['expected']:.4g}"
        out.print(
            f"SAs without a place in {losses['ways']} ways of {losses['sets']} rows: {exact} on average;"
            f" Monte Carlo {drawn['mean']:.4g} ({drawn['low']:.4g} to {drawn['high']:.4g}, {drawn['draws']} draws);"
            f" with one row index for all ways {losses['shared_index']:.4g}",
            markup=False,
        )
