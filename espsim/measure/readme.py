"""Writes the table of ratios in bench/README.md, from the top of a checkout.

    espsim bench --peers --json > FILE.jsonl
    python -m espsim.measure.readme FILE.jsonl [README]

The file may hold the records of several commands, one after the other: of what two of them measured, the first counts.
Below the table, sentences name every figure that falls short, and every other row in which a peer was faster.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from espsim.core.errors import InputError
from espsim.io.atomic import atomic_output
from espsim.measure.figures import FIGURES, Figure, Measured

BEGIN, END = "<!-- bench table -->", "<!-- bench table end -->"
README = Path("bench", "README.md")
_WIDTH = 130
_NEEDED = ("bench", "what", "sas", "size", "engine", "rate_mps", "peer", "ratio_median", "machine", "versions")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The records of a file. InputError: a line is not a record."""
    rows = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or any(key not in row for key in _NEEDED):
            raise InputError("is not a record of `espsim bench --json`", where=str(path), line=number)
        rows.append(row)
    if not rows:
        raise InputError("holds no records", where=str(path))
    return rows


def section(rows: Sequence[dict[str, Any]]) -> str:
    """The table, and the sentences below it."""
    first = rows[0]
    engines = dict.fromkeys(str(row["engine_version"]) for row in rows if row.get("engine_version"))
    versions = ", ".join([f"{name} {version}" for name, version in first["versions"].items()] + list(engines))
    rounds = max(int(row.get("rounds", 1)) for row in rows)
    lines = [
        *_wrapped(
            f"`espsim bench --peers` on {first['machine']} ({str(first.get('when', ''))[:10]}; {versions}), up to"
            f" {rounds} rounds, peers in turn; median and, in brackets, least and most:"
        ),
        "",
        "| what | against | floor | goal | measured |",
        "|---|---|---|---|---|",
    ]
    lines += [_line(figure, figure.cells(rows)) for figure in FIGURES]
    missed = [words for figure in FIGURES for words in _missed(figure, rows)]
    lines += ["", "Where it falls short:" if missed else "Every figure reaches its goal.", *missed]
    lost = list(_lost(rows))
    if lost:
        lines += ["", "Other rows in which the peer was faster:", *lost]
    return "\n".join([*lines, "", *_peers(rows)])


def _line(figure: Figure, cells: list[Measured]) -> str:
    steps = list(dict.fromkeys((cell.floor, cell.goal) for cell in cells)) or [(figure.floor, figure.goal)]
    floor, goal = (" / ".join(dict.fromkeys(_limit(figure, step[n]) for step in steps)) for n in (0, 1))
    shown = "; ".join(f"{cell.label} {_value(figure, cell)}" if cell.label else _value(figure, cell) for cell in cells)
    return f"| {figure.what} | {figure.against} | {floor} | {goal} | {shown or 'not measured'} |"


def _limit(figure: Figure, value: float | None) -> str:
    return "" if value is None else f"{value:g} {figure.unit}" if figure.less_is_better else f"{value:g}x"


def _number(figure: Figure, value: float) -> str:
    digits = 0 if value >= 100 or figure.unit == "B" else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def _value(figure: Figure, cell: Measured) -> str:
    value = _number(figure, cell.value) + (f" {figure.unit}" if figure.less_is_better else "x")
    if cell.low is None or cell.high is None or cell.low == cell.high:
        return value
    return f"{value} ({_number(figure, cell.low)} to {_number(figure, cell.high)})"


def _missed(figure: Figure, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each cell that misses its goal or was not measured."""
    cells = figure.cells(rows)
    if not cells:
        yield f"- {figure.what}: not measured in this run."
    for cell in cells:
        sign = -1 if figure.less_is_better else 1
        name = f"{figure.what}, {cell.label}" if cell.label else figure.what
        if cell.floor is not None and sign * cell.value < sign * cell.floor:
            yield f"- {name}: {_value(figure, cell)}, short of the floor of {_limit(figure, cell.floor)}."
        elif cell.goal is not None and sign * cell.value < sign * cell.goal:
            past = " past the floor," if cell.floor is not None else ""
            yield f"- {name}: {_value(figure, cell)},{past} short of the goal of {_limit(figure, cell.goal)}."


def _lost(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Rows with a faster peer that belong to no figure."""
    told = {id(cell.row) for figure in FIGURES for cell in figure.cells(rows)}
    for row in rows:
        own = row["peer"] in ("100 SAs", "inbound pipeline", "random gather")
        if row["ratio_median"] is not None and row["ratio_median"] < 1 and id(row) not in told and not own:
            facts = [row["bench"], row["what"], f"{row['sas']:,} SAs" if row["sas"] else "",
                     f"{row['size']} bytes" if row["size"] else "", _engine(row)]  # fmt: skip
            yield f"- {', '.join(filter(None, facts))}: {row['ratio_median']}x of {row['peer']}."


def _engine(row: dict[str, Any]) -> str:
    """The library and its version where the row has them, without the instruction set."""
    return str(row.get("engine_version") or row["engine"]).partition(",")[0]


def _peers(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The other programs, each once."""
    notes = {(row["peer"], str(row["peer_note"])) for row in rows if row["peer"] and row.get("peer_note")}
    others = {(name, ", ".join(note.split(", ")[:2])) for name, note in notes if not note.startswith("ours,")}
    if others:
        yield from _wrapped("Peers: " + "; ".join(f"{name} ({note})" for name, note in sorted(others)) + ".")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def rewritten(text: str, rows: Sequence[dict[str, Any]], where: str) -> str:
    """A README with a new section between its markers. InputError: the markers are not in it exactly once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"needs the markers {BEGIN} and {END}, each once, in this order", where=where)
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{section(rows)}\n\n{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str]) -> None:
    """Rewrite a README from a file of records. InputError: one of the two cannot be used."""
    if not 1 <= len(arguments) <= 2:
        raise InputError(f"needs the file of `espsim bench --peers --json`, then the README to change ({README})")
    readme = Path(arguments[1]) if arguments[1:] else README
    try:
        before = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(readme)) from None
    text = rewritten(before, read_rows(Path(arguments[0])), str(readme))
    with atomic_output(str(readme)) as output:
        output.write(text)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"espsim.measure.readme: {error}", file=sys.stderr)
        sys.exit(2)
