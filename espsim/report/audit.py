"""An audit for a terminal, from the dictionary that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from espsim.core.echo import printable_values
from espsim.core.verdict import DeviceOutcome, Surfacing
from espsim.report.terminal import console, counted, table

MEANING = {
    "installed": "no other SA is in its way",
    "collides": "an SA with the same SPI has its key or slot",
    "aliases": "an SA with another SPI has its slot",
    "overflows": "there is no room for it",
    "refused": "the driver does not take it",
    "unknown": "what decides it is not public",
}
WORKS = {
    "hardware": "works in hardware",
    "software": "works in software",
    "lost": "LOST",
    "wrong_sa": "meets a WRONG SA",
    "unknown": "unknown",
}
ODDS = ("duplicate", "alias", "overflow", "refused", "any")
TRAFFIC_HEAD = ("SAs", "works", "fate", "add answers", "a packet of it", "then", "")
REFUSED_HEAD = ("SAs", "lost", "errno", "refused because", "the first")
UNKNOWN_HEAD = ("SAs", "not public", "to assume a value", "the first")
FINDINGS_HEAD = ("SA", "line", "works", "fate", "add", "its packets meet", "line", "")
ODDS_HEAD = ("SAs", "where", *ODDS, "how")


def print_audit(result: Mapping[str, Any], *, odds: bool = False) -> None:
    """Print what works and what is lost, what the dump holds, each model, and with `odds` the odds."""
    out, result = console(), printable_values(result)
    for line in (*answers(result), *heading(result)):
        out.print(line, markup=False)
    for model in result["models"]:
        _print_model(out, model)
    if odds and result["odds"]:
        out.print("\n[bold]If these SPIs were drawn anew[/bold], uniformly from their range", markup=True)
        out.print(table(ODDS_HEAD, odds_rows(result)))


def answers(result: Mapping[str, Any]) -> Iterator[str]:
    """The first lines, one for each model: how many inbound SAs work and where, and how many do not."""
    for model in result["models"]:
        yield f"{model['model']}: {answer(model)}"


def answer(model: Mapping[str, Any]) -> str:
    """`of 60 inbound SAs 12 work in hardware, 40 in software, 8 are lost, 0 meet a wrong SA, 0 are unknown`."""
    lost, wrong, unknown = model["lost"], model["wrong_sa"], model["unknown"]
    inbound, hardware = counted(model["inbound"], "inbound SA"), model["hardware"]
    return (
        f"of {inbound} {hardware} {'works' if hardware == 1 else 'work'} in hardware, {model['software']} in software,"
        f" {lost} {_be(lost)} lost, {wrong} {'meets' if wrong == 1 else 'meet'} a wrong SA,"
        f" {unknown} {_be(unknown)} unknown"
    )


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def heading(result: Mapping[str, Any]) -> Iterator[str]:
    """What the dump holds: how many SAs there are, which count, and what decided their direction."""
    others = [f"{n} {what}" for what, n in result["left_out"].items()]
    more = f", not offered: {', '.join(others)}" if others else ""
    sas = counted(result["sas"], "ESP SA")
    dump = "standard input" if result["dump"] == "-" else result["dump"]
    yield f"{dump}: {sas}, {result['inbound']} inbound, {result['outbound']} outbound{more}"
    for own in result["local"]:
        yield f"{own['address']} is taken for this host's own: {own['why']}"
    if result["local_count"] > len(result["local"]):
        yield f"and {result['local_count'] - len(result['local'])} more of this host's own addresses"
    if result["inbound_undirected"]:
        mute = result["inbound_undirected"]
        states = f"{counted(mute, 'SA')} {'states' if mute == 1 else 'state'} no direction"
        yield f"{states}, and neither --local nor pairs decide it: counted as inbound"
    span = result["spi_range"]
    if span is None:
        yield "no SA is inbound: there is nothing to offer"
    else:
        yield (
            f"SPIs 0x{span['low']:x}-0x{span['high']:x} ({span['size']}),"
            f" {counted(result['destinations'], 'destination')},"
            f" {counted(result['shared_spis'], 'SPI')} in more than one inbound SA"
        )


def _print_model(out: Console, model: Mapping[str, Any]) -> None:
    about = model["table"]
    entries = "1 entry" if about["used"] == 1 else f"{about['used']:,} entries"
    facts = f"{entries} written, table {about['kind']}, capacity {about['capacity']}"
    out.print(
        f"\n[bold]{escape(model['model'])}[/bold]: {facts}",
        markup=True,
    )
    for assumption in model["assumptions"]:
        out.print(f"  assumed: {assumption}", markup=False)
    for note in model["hidden_keys"]:
        out.print(f"  assumed: {note}", markup=False)
    if model["traffic"]:
        out.print(table(TRAFFIC_HEAD, traffic_rows(model)))
    if model["refused"]:
        out.print(table(REFUSED_HEAD, refused_rows(model)))
    if model["unknown_keys"]:
        out.print(table(UNKNOWN_HEAD, unknown_rows(model)))
    told = telling(model["findings"])
    if told:
        out.print(table(FINDINGS_HEAD, finding_rows(told)))
    for fate, n in model["findings_left_out"].items():
        out.print(f"  and {n} more that are of {fate!r}: --list and --json show more", markup=False)
    for sentence in model["advice"]:
        out.print(f"  to do: {sentence}", markup=False)


def traffic_rows(model: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The fates of SAs and of their packets, the worst first."""
    for row in model["traffic"]:
        fate = f"{row['fate']}: {MEANING[row['fate']]}"
        yield row["sas"], WORKS[row["works"]], fate, row["add"], _met(row), _then(row), _silent(row)


def _met(row: Mapping[str, Any]) -> str:
    return "not public" if row["outcome"] == "UNKNOWN" else DeviceOutcome[row["outcome"]].sentence


def _then(row: Mapping[str, Any]) -> str:
    if row["surfacing"] == "UNKNOWN":
        return "" if row["works"] == "unknown" else "not public"
    if row["works"] == "lost" and row["outcome"] == "MISS":
        return f"the kernel refused the SA with its driver: {row['counter']}"
    if row["works"] == "wrong_sa" and row["outcome"] == "MISS":
        return f"software finds another SA first: {row['counter']}"
    return "" if row["surfacing"] == "NONE" else Surfacing[row["surfacing"]].sentence


def refused_rows(model: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What the driver refuses, by reason."""
    for row in model["refused"]:
        first = f"{row['first']['sa']}, line {row['first']['line']}"
        yield row["sas"], row["lost"], row["errno"], row["why"], first


def unknown_rows(model: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What is not public, and the line that assumes it."""
    for row in model["unknown_keys"]:
        yield row["sas"], row["key"], row["assume"], f"{row['first']['sa']}, line {row['first']['line']}"


def telling(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The findings to list: all but refused SAs that work in software, which the table of refusals covers."""
    return [row for row in findings if (row["fate"], row["works"]) != ("refused", "software")]


def finding_rows(findings: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """A row for each SA whose fate is not simply "installed"."""
    for row in findings:
        meets = row["meets"] or {"sa": row["outcome"], "line": ""}
        works, met = WORKS[row["works"]], (meets["sa"], meets["line"])
        yield row["sa"], row["line"], works, row["fate"], row["add"], *met, _silent(row)


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
    """A probability in per cent; `0 %` and `100 %` only if exact."""
    if 0 < value < 0.0001:
        return f"{100 * value:.1e} %"
    if 0.9999 < value < 1:
        return ">99.99 %"
    return f"{100 * value + 0.0:.4g} %"


def interval(row: Mapping[str, Any]) -> str:
    """A probability, with its interval if it has one."""
    if row["low"] == row["high"]:
        return chance(row["chance"])
    return f"{chance(row['chance'])} ({chance(row['low'])} to {chance(row['high'])})"


def _silent(row: Mapping[str, Any]) -> str:
    if not row["silent"]:
        return ""
    return "SILENT: the driver reports success" if row["add"] == "0" else "SILENT"
