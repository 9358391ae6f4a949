"""The rules of SPI uniqueness for a terminal, from the JSON of `espsim policies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espsim.report.terminal import console, table


def print_spi_rules(
    rules: Sequence[Mapping[str, Any]], kernels: Sequence[Mapping[str, Any]], options: Mapping[str, str]
) -> None:
    """A paragraph for each rule (what ALLOCSPI refuses, what follows, who, where), then kernels and options."""
    out = console()
    for rule in rules:
        out.print(rule["name"], style="bold", markup=False)
        for line in (
            f"refuses by: {rule['refuses_by']}",
            rule["effect"],
            f"{rule['proposed_by']} ({rule['where']})",
        ):
            out.print(line, markup=False)
        out.print()
    rows = [(k["name"], k["policy"], "the default" if k["default"] else "") for k in kernels]
    out.print(table(("kernel", "its rule, with its other habits", ""), rows))
    out.print()
    out.print(table(("option", "beside any rule"), options.items()))
