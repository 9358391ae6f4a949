"""Results for a terminal. Takes the dictionaries that `--json` prints, so both always say the same."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from espsim.core.verdict import DeviceOutcome, OutVerdict, Surfacing, Verdict

_PIPE_WIDTH = 200  # a table into a pipe or a file is not cut to 80 columns


def console() -> Console:
    """A console on standard output; wide where that is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH, soft_wrap=False)


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> Table:
    """A plain table: one line a row, headers above."""
    result = Table(*headers, box=None, title=title, title_justify="left", header_style="bold", pad_edge=False)
    for row in rows:
        result.add_row(*(Text(str(cell)) for cell in row))
    return result


def print_inbound(result: Mapping[str, Any]) -> None:
    """The summary of `espsim decap`."""
    out = console()
    out.print(
        f"{result['packets']} ESP packets, {result['delivered']} delivered;"
        f" {result['ignored']} frames ignored (not ESP)"
    )
    out.print(table(("verdict", "packets", "why"), _with_sentences(result["verdicts"], Verdict)))
    _print_counters(out, result["linux_counters"])
    if "model" in result:
        out.print(f"\ndevice: model {result['model']}")
        for assumption in result.get("assumptions", ()):
            out.print(f"  assumed: {assumption}")
        out.print(table(("device", "packets", "meaning"), _with_sentences(result["device"], DeviceOutcome)))
        if result.get("surfacing"):
            out.print(table(("failures", "packets", "meaning"), _with_sentences(result["surfacing"], Surfacing)))
        for row in result.get("wrong_keys", ()):
            out.print(f"{row['packets']} packets of {row['sa']} met the keys of {row['keys_of']}")
    _print_by_sa(out, result["by_sa"], "delivered")


def print_outbound(result: Mapping[str, Any]) -> None:
    """The summary of `espsim encap`."""
    out = console()
    out.print(
        f"{result['packets']} packets, {result['sealed']} sealed, {result['no_sa']} without an SA;"
        f" {result['ignored']} frames ignored (not IP)"
    )
    out.print(table(("verdict", "packets", "why"), _with_sentences(result["verdicts"], OutVerdict)))
    _print_counters(out, result["linux_counters"])
    _print_by_sa(out, result["by_sa"], "sealed")


def _with_sentences(counts: Mapping[str, int], names: Any) -> list[tuple[str, int, str]]:
    return [(name, n, names[name].sentence) for name, n in counts.items()]


def _print_counters(out: Console, counters: Mapping[str, int]) -> None:
    if counters:
        out.print(table(("Linux counter", "moved by"), counters.items()))


def _print_by_sa(out: Console, by_sa: Sequence[Mapping[str, Any]], passed: str) -> None:
    if by_sa:
        rows = [
            (f"0x{c['spi']:08x}@{c['daddr']}", c[passed], ", ".join(f"{k} {v}" for k, v in c["dropped"].items()) or "-")
            for c in by_sa
        ]
        out.print(table(("SA", passed, "dropped"), rows))
