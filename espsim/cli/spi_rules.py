"""`espsim policies`: the rules of SPI uniqueness, and the kernels."""

from __future__ import annotations

import click

from espsim.cli import common


@click.command("policies")
@common.width_options
@common.json_option
def spi_rules(as_json: bool) -> None:
    """List the rules of SPI uniqueness, and the kernels, that --policy takes.

    For each rule: when ALLOCSPI refuses an SPI, what follows from that, who proposed it, and where.
    """
    from espsim.sad.linux import DEFAULT_KERNEL, KERNELS, OPTIONS
    from espsim.sad.spi import SPI_RULES

    rules = [
        {"name": p.name, "refuses_by": p.summary, "effect": p.effect, "proposed_by": p.by, "where": p.where}
        for p in (SPI_RULES[name]() for name in SPI_RULES)
    ]
    kernels = [{"name": k.name, "policy": k.rule, "default": k.name == DEFAULT_KERNEL} for k in KERNELS.values()]
    if as_json:
        common.print_json({"policies": rules, "kernels": kernels, "options": OPTIONS})
        return
    from espsim.report.spi_rules import print_spi_rules

    print_spi_rules(rules, kernels, OPTIONS)
