"""`espsim demo`: the question in one screen."""

from __future__ import annotations

import click

from espsim.cli import common


@click.command()
@common.width_options
@common.json_option
def demo(as_json: bool) -> None:
    """The question in one screen: what breaks if SPIs are not unique and the hardware looks at nothing else?

    One packet is traced through the reference path, a line a step with its RFC section. Then two inbound SAs get one
    SPI on two local addresses, traffic goes to both, and every hardware model shows what it makes of that. Real
    packets, real AES-GCM; no root, no network.
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
