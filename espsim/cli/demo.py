"""`espsim demo`: the question in one screen."""

from __future__ import annotations

import click

from espsim.cli import common


@click.command()
@common.width_options
@common.json_option
def demo(as_json: bool) -> None:
    """The question in one screen: what breaks if SPIs are not unique and the hardware looks at nothing else?

    One packet is traced through the reference path: a line for each step, with its RFC section. Then two inbound SAs
    get the same SPI on two local addresses, and both get traffic: a hardware model of each kind shows what it does.
    Packets and AES-GCM are real. The demo needs no root and no network.
    """
    from espsim.scenario.story import duplicate_spi_rows, trace_one_packet

    steps = trace_one_packet()
    rows = [row.as_dict() for row in duplicate_spi_rows()]
    if as_json:
        trace = [{"section": section, "step": step, "text": text} for section, step, text in steps]
        common.print_json({"trace": trace, "table": rows})
        return
    from espsim.report.demo import print_demo

    print_demo(steps, rows)
