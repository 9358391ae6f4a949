"""`espsim engines`: the AEAD engines, what each can do, and why one cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from espsim.cli.common import json_option, print_json, width_options

if TYPE_CHECKING:
    from espsim.aead.engines import FoundEngine


@click.command()
@click.option(
    "--suites",
    "by_suites",
    is_flag=True,
    help="List the algorithms: who specified each, which engines support it, and who else checked it.",
)
@width_options
@json_option
def engines(by_suites: bool, as_json: bool) -> None:
    """List the AEAD engines, the fastest first. `auto` takes the first that can be used.

    A usable engine has just passed its proof: it got published packets right, agreed with `cryptography`, and refused
    forged packets. Any other engine is "not there" (missing, too old) or "wrong" (it failed its proof), with the
    reason. A suite that an engine lacks is run by the next engine.

    --suites lists the algorithms by Linux's names. A cipher and a MAC make a suite, and an engine supports a suite if
    it supports both. iiv(NAME) is espsim's own word: the AEAD NAME with an implicit IV (RFC 8750).
    """
    from espsim.aead.engines import survey

    if by_suites:
        _print_suites(as_json)
        return
    rows = [_row(found) for found in survey()]
    auto = next((row["engine"] for row in rows if row["usable"]), None)
    if as_json:
        print_json({"auto": auto, "engines": rows})
        return
    for row in rows:
        if row["usable"]:
            isa = f", {row['isa']}" if row["isa"] else ""
            _say(f"{row['engine']}: {row['version']}{isa}; got {row['proved']} test rows right")
            _say(f"    does {', '.join(_together(row['suites']))}")
        else:
            state = "WRONG, never used" if row["state"] == "wrong" else "not there"
            _say(f"{row['engine']}: {state}: {row['why']}")
            _say(f"    {row['about']}")
    _say(f"auto: {auto or 'no engine can be used'}")


def _print_suites(as_json: bool) -> None:
    """Print the table of algorithms; the JSON also has the engines of each suite."""
    from dataclasses import asdict

    from espsim.aead.checks import PEERS, by_suite, documents, rows
    from espsim.aead.engines import survey
    from espsim.aead.linux_names import NOT_RUN
    from espsim.report.terminal import console, table

    usable = [found.engine for found in survey() if found.engine is not None]
    found = rows(usable)
    if as_json:
        suites = [
            {"suite": name, "auto": engines[0] if engines else None, "engines": engines}
            for name, engines in by_suite(usable).items()
        ]
        peers = [{"name": peer.name, "test": peer.test} for peer in PEERS]
        print_json({
            "algorithms": [asdict(row) for row in found], "suites": suites, "peers": peers, "not_run": list(NOT_RUN),
        })  # fmt: skip
        return
    cells = [
        (row.name, _bits(row.key_bits) or "any", _bits(row.icv_bits) or "-", ", ".join(row.engines),
         ", ".join(dict.fromkeys((row.specified, *documents(row.published)))), ", ".join(row.peers) or "-")
        for row in found
    ]  # fmt: skip
    headers = ("algorithm", "key bits", "ICV bits", "engines", "published", "checked by")
    console().print(table(headers, cells))
    _say(f"Linux also has these, which espsim does not run: {', '.join(NOT_RUN)}")


def _bits(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def _say(text: str) -> None:
    """Print a sentence in lines that fit."""
    from espsim.report.terminal import console

    console().print(text, markup=False)


def _together(suites: list[str]) -> list[str]:
    """Suite names; ciphers that are supported with the same MACs share one."""
    macs: dict[str, list[str]] = {}
    for suite in suites:
        cipher, _, mac = suite.partition("+")
        macs.setdefault(cipher, []).append(mac)
    ciphers: dict[tuple[str, ...], list[str]] = {}
    for cipher, found in macs.items():
        ciphers.setdefault(tuple(found) if any(found) else (), []).append(cipher)
    aeads = ciphers.pop((), [])
    return aeads + [f"{' or '.join(names)} with {' or '.join(found)}" for found, names in ciphers.items()]


def _row(found: FoundEngine) -> dict[str, Any]:
    from espsim.aead.engines import ENGINES
    from espsim.aead.known_answers import suites
    from espsim.aead.suites import resolve

    engine = found.engine
    names = dict.fromkeys(k.suite.name for k in map(resolve, suites()) if engine and engine.supports(k))
    return {
        "engine": found.name,
        "about": ENGINES[found.name],
        "state": found.state,
        "usable": engine is not None,
        "version": engine.version if engine else None,
        "isa": engine.isa if engine else None,
        "proved": found.proved,
        "suites": list(names),
        "why": found.why or None,
    }
