"""`python -m espsim` is `espsim`."""

from espsim.cli.main import run

run()
