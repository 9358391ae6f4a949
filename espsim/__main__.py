"""`python -m espsim` is `espsim`."""

from espsim.cli.start import run

run()
