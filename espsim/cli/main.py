"""`espsim`: the commands together, and what becomes of errors.

Exit status: 0 done; 1 done, and the answer is no (an expectation failed); 2 bad input, one line on standard error.
"""

from __future__ import annotations

import os
import sys

import click

from espsim import __version__
from espsim.cli.audit import audit
from espsim.cli.bench import bench
from espsim.cli.decap import decap
from espsim.cli.demo import demo
from espsim.cli.encap import encap
from espsim.cli.engines import engines
from espsim.cli.models import models
from espsim.cli.run import run as run_scenario
from espsim.cli.spi import spi
from espsim.cli.xfrm import xfrm
from espsim.core.errors import EspsimError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="espsim")
def main() -> None:
    """An ESP (IPsec) dataplane emulator with a model of SPI-only hardware offload.

    Real ESP packets, real AEAD, the inbound SA found by software's (destination, SPI, protocol) hash or by a modelled
    NIC that may see the SPI alone, and a verdict for every packet.

    Exit status: 0 done; 1 done, and the answer is no; 2 bad input.
    """


for _command in (demo, run_scenario, decap, encap, models, audit, spi, engines, bench, xfrm):
    main.add_command(_command)


def run() -> None:
    """The console script: errors of input become one line and exit status 2."""
    try:
        main()
    except EspsimError as error:
        click.echo(f"espsim: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output went away (`espsim ... | head`): not our error, and nothing to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
