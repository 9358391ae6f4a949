"""`espsim samples DIR`: the small captures and SADs that ship in the package, to try the commands on."""

from __future__ import annotations

import click

from espsim.cli import common


@click.command()
@click.argument("folder", metavar="DIR")
@common.json_option
def samples(folder: str, as_json: bool) -> None:
    """Write small captures and SADs into DIR, with a README.txt of commands to try on them.

    DIR is made if it does not exist. If DIR has a file of the same name with other content, nothing is written, and the
    exit status is 2.
    """
    from espsim.io.samples import write_samples

    written = write_samples(folder)
    if as_json:
        common.print_json({"folder": folder, "files": written})
        return
    for name in written:
        click.echo(f"{folder}/{name}")
