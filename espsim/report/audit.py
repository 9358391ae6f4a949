"""An audit for a terminal, from the dictionary that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from espsim.core.verdict import DeviceOutcome, Surfacing
from espsim.report.terminal import console, table

MEANING = {
    "installed": "no other SA is in its way",
    "collides": "an SA with the same SPI has its key or slot",
    "aliases": "an SA with another SPI has its slot",
    "overflows": "there is no room for it",
    "refused": "the driver does not take it",
}
ODDS = ("duplicate", "alias", "overflow", "refused", "any")


def print_audit(result: Mapping[str, Any]) -> None:
    """What the dump holds, then each model, then the odds."""
    out = console()
    for line in heading(result):
        out.print(line, markup=False, soft_wrap=True)
    for model in result["models"]:
        _print_model(out, model)
    out.print("\n[bold]If these SPIs were drawn anew[/bold], uniformly from their range")
    out.print(table(ODDS_HEAD, odds_rows(result)))


def heading(result: Mapping[str, Any]) -> Iterator[str]:
    """The first lines: how many SAs there are, and which count."""
    others = [f"{n} {what}" for what, n in result["left_out"].items()]
    more = f", not offered: {', '.join(others)}" if others else ""
    yield f"{result['dump']}: {result['sas']} SAs, {result['inbound']} inbound, {result['outbound']} outbound{more}"
    if result["inbound_undirected"]:
        yield (
            f"{result['inbound_undirected']} SAs state no direction, and no --local says which addresses are"
            " this host's: they count as inbound"
        )
    span = result["spi_range"]
    yield (
        f"SPIs 0x{span['low']:x}-0x{span['high']:x} ({span['size']}), {result['destinations']} destinations,"
        f" {result['shared_spis']} SPIs in more than one inbound SA"
    )


def _print_model(out: Console, model: Mapping[str, Any]) -> None:
    used, of = model["table"]["used"], model["table"]["capacity"]
    out.print(f"\n[bold]{model['model']}[/bold]: {used} entries written, table {model['table']['kind']}, capacity {of}")
    for assumption in model["assumptions"]:
        out.print(f"  assumed: {assumption}", markup=False)
    for note in model["hidden_keys"]:
        out.print(f"  assumed: {note}", markup=False)
    out.print(table(TRAFFIC_HEAD, traffic_rows(model)))
    if model["refused"]:
        out.print(table(("SAs", "errno", "refused because", "the first"), refused_rows(model)))
    if model["findings"]:
        out.print(table(FINDINGS_HEAD, finding_rows(model["findings"])))
    for fate, n in model["findings_left_out"].items():
        out.print(f"  and {n} more that are of {fate!r}: --list shows more", markup=False)
    for sentence in model["advice"]:
        out.print(f"  change: {sentence}", markup=False, soft_wrap=True)


TRAFFIC_HEAD = ("SAs", "fate", "add answers", "a packet of it", "then", "")
FINDINGS_HEAD = ("SA", "line", "fate", "add", "its packets meet", "line", "")
ODDS_HEAD = ("SAs", "where", *ODDS, "how")


def traffic_rows(model: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What becomes of SAs and of their packets, the most frequent first."""
    for row in model["traffic"]:
        yield (
            row["sas"], f"{row['fate']}: {MEANING[row['fate']]}", row["add"], DeviceOutcome[row["outcome"]].sentence,
            "" if row["surfacing"] == "NONE" else Surfacing[row["surfacing"]].sentence, _silent(row),
        )  # fmt: skip


def refused_rows(model: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What the driver refuses, by its sentence."""
    for row in model["refused"]:
        yield row["sas"], row["errno"], row["why"], f"{row['first']['sa']}, line {row['first']['line']}"


def finding_rows(findings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """One row an SA that is not simply installed."""
    for row in findings:
        meets = row["meets"] or {"sa": DeviceOutcome[row["outcome"]].name, "line": ""}
        yield row["sa"], row["line"], row["fate"], row["add"], meets["sa"], meets["line"], _silent(row)


def odds_rows(result: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The odds of a duplicate in any table, then those of each model."""
    for row in result["odds"]:
        checked, unchecked = row["duplicate_checked_per_destination"], row["duplicate_unchecked"]
        yield row["sas"], "anywhere, checked per destination", chance(checked), "", "", "", chance(checked), "exact"
        yield row["sas"], "anywhere, not checked", chance(unchecked), "", "", "", chance(unchecked), "exact"
    for model in result["models"]:
        for row in model["odds"]:
            if row["any"] is None:
                yield row["sas"], model["model"], *[""] * len(ODDS), "not worked out: see `espsim spi`"
            else:
                yield row["sas"], model["model"], *(interval(row[name]) for name in ODDS), row["any"]["how"]


def chance(value: float) -> str:
    """A probability in per cent; 0 and 100 only where it is that."""
    if 0 < value < 0.0001:
        return f"{100 * value:.1e} %"
    if 0.9999 < value < 1:
        return ">99.99 %"
    return f"{100 * value:.4g} %"


def interval(row: Mapping[str, Any]) -> str:
    """A probability with its interval, where it has one."""
    if row["low"] == row["high"]:
        return chance(row["chance"])
    return f"{chance(row['chance'])} ({chance(row['low'])} to {chance(row['high'])})"


def _silent(row: Mapping[str, Any]) -> str:
    if not row["silent"]:
        return ""
    return "SILENT: the driver reports success" if row["add"] == "0" else "SILENT"
