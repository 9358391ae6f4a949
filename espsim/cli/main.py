"""`espsim`: all commands in one group. `start` handles errors and signals."""

from __future__ import annotations

import click

from espsim.cli.audit import audit
from espsim.cli.bench import bench
from espsim.cli.complete import completion, teach
from espsim.cli.decap import decap
from espsim.cli.demo import demo
from espsim.cli.encap import encap
from espsim.cli.engines import engines
from espsim.cli.explain import explain
from espsim.cli.kit import kit
from espsim.cli.lesson import lesson
from espsim.cli.man import man
from espsim.cli.models import models
from espsim.cli.run import run as run_scenario
from espsim.cli.samples import samples
from espsim.cli.spi import spi
from espsim.cli.spi_rules import spi_rules
from espsim.cli.start import run
from espsim.cli.sweep import sweep
from espsim.cli.window import window
from espsim.cli.xfrm import xfrm
from espsim.version import __version__

__all__ = ["main", "run"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="espsim")
@click.option(
    "--debug", is_flag=True, expose_value=False, help="Before COMMAND: show the traceback of a fault of espsim."
)
def main() -> None:
    """An ESP (IPsec) dataplane emulator with a model of SPI-only hardware offload.

    It opens and seals real ESP packets with real AEAD. It finds the inbound SA as Linux does, by (destination, SPI,
    protocol), or as a modelled NIC does, perhaps by the SPI alone. Every packet gets a verdict.

    A file that is read may be - (standard input), and one that is written may be - (standard output). The report then
    goes to standard error.

    \b
    Exit status: 0 done; 1 done, and the answer is no; 2 bad input; 3 a fault of
    espsim; 130 interrupted by ^C (143 by TERM, 129 by HUP).
    """


for _command in (
    demo,
    samples,
    run_scenario,
    spi_rules,
    decap,
    encap,
    explain,
    lesson,
    window,
    models,
    audit,
    spi,
    sweep,
    engines,
    bench,
    xfrm,
    kit,
    completion,
    man,
):
    main.add_command(_command)
teach(main)
