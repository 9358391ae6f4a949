"""`espsim engines`: which AEAD engines there are, what each does, and why one cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from espsim.cli.common import json_option, print_json

if TYPE_CHECKING:
    from espsim.aead.engines import Found


@click.command()
@json_option
def engines(as_json: bool) -> None:
    """List the AEAD engines, the fastest first. `auto` takes the first that can be used.

    Each engine that is there has just proved itself on published packets and beside `cryptography`; one that is
    missing, too old, or answers wrongly is listed with the reason. What an engine lacks, the next one does.
    """
    from espsim.aead.engines import survey

    rows = [_row(found) for found in survey()]
    if as_json:
        print_json({"auto": next(row["engine"] for row in rows if row["usable"]), "engines": rows})
        return
    for row in rows:
        if row["usable"]:
            click.echo(f"{row['engine']}: {row['version']}; got {row['proved']} test rows right")
            click.echo(f"    does {', '.join(_together(row['suites']))}")
        else:
            click.echo(f"{row['engine']}: cannot be used: {row['why']}")
            click.echo(f"    {row['about']}")
    click.echo(f"auto: {next(row['engine'] for row in rows if row['usable'])}")


def _together(suites: list[str]) -> list[str]:
    """Suite names, those of one cipher with several MACs as one."""
    macs: dict[str, list[str]] = {}
    for suite in suites:
        cipher, _, mac = suite.partition("+")
        macs.setdefault(cipher, []).append(mac)
    return [f"{cipher} with {' or '.join(found)}" if any(found) else cipher for cipher, found in macs.items()]


def _row(found: Found) -> dict[str, Any]:
    from espsim.aead.engines import ENGINES
    from espsim.aead.known_answers import suites
    from espsim.aead.suites import resolve

    engine = found.engine
    names = dict.fromkeys(k.suite.name for k in map(resolve, suites()) if engine and engine.supports(k))
    return {
        "engine": found.name,
        "about": ENGINES[found.name],
        "usable": engine is not None,
        "version": engine.version if engine else None,
        "proved": found.proved,
        "suites": list(names),
        "why": found.why or None,
    }
