"""`espsim policies`: the rules of SPI uniqueness, and the kernels."""

from __future__ import annotations

import click

from espsim.cli import common


@click.command()
@common.width_options
@common.json_option
def policies(as_json: bool) -> None:
    """List the rules of SPI uniqueness, and the kernels, that --policy takes.

    For each rule: when ALLOCSPI refuses an SPI, what follows from that, who proposed it, and where.
    """
    from espsim.sad.linux import DEFAULT_KERNEL, KERNELS, OPTIONS
    from espsim.sad.spi import POLICIES

    rules = [
        {"name": p.name, "refuses_by": p.summary, "effect": p.effect, "proposed_by": p.by, "where": p.where}
        for p in (POLICIES[name]() for name in POLICIES)
    ]
    kernels = [{"name": k.name, "policy": k.policy, "default": k.name == DEFAULT_KERNEL} for k in KERNELS.values()]
    if as_json:
        common.print_json({"policies": rules, "kernels": kernels, "options": OPTIONS})
        return
    from espsim.report.policies import print_policies

    print_policies(rules, kernels, OPTIONS)
