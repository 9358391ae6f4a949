"""The thread's two large questions for people: `run android-and-marvell` and `run default`, from their JSON."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from espsim.report.terminal import Terminal, console, print_engine, table

_FATES = {
    "not given": "ALLOCSPI refuses its SPI",
    "own": "works",
    "refused": "the driver refuses it",
    "flagged": "meets a wrong key, flagged",
    "silent": "MEETS A WRONG KEY, SILENTLY",
    "no SA": "finds no SA",
}
"""What becomes of the second connection's inbound SA, in words."""


def print_both(result: Mapping[str, Any]) -> None:
    """A row for each group of policies with the same answers: Android's calls, the second connection by model.

    Then the conclusion.
    """
    out = console()
    _head(out, result)
    out.print(table(*both_table(result)))
    assumed = both_assumed(result)
    if assumed:
        out.print(f"{len(assumed)} values that are unknown in the models were assumed (--json lists them)")
    out.print()
    for line in result["conclusion"]:
        out.print(f"{line['topic']}: {line['meaning']}", markup=False)
    out.print()
    print_engine(out, result)


def both_table(result: Mapping[str, Any]) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    """(headers, rows)."""
    cells = result["cells"]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for (variant, policy), group in itertools.groupby(cells, key=lambda cell: (cell["variant"], cell["policy"])):
        mine = list(group)
        rows.setdefault((variant, _android(mine[0]), _second(mine)), []).append(policy)
    headers = ("policy", "direction", "Android's ALLOCSPI", f"second connection, {_models(cells)} models")
    lines = [(", ".join(names), *key[:1], _judged(key[1]), key[2]) for key, names in rows.items()]
    return headers, lines


def both_assumed(result: Mapping[str, Any]) -> list[str]:
    """Everything that the models' runs assumed, each once."""
    return sorted({text for cell in result["cells"] for text in cell["assumptions"]})


def print_default(result: Mapping[str, Any]) -> None:
    """A row for each default and toggle, a column for each party."""
    out = console()
    _head(out, result)
    out.print(table(*default_table(result)))
    out.print()
    for line in (*DEFAULT_LEGEND, *result["conclusion"]):
        out.print(line, markup=False)
    out.print()
    print_engine(out, result)


DEFAULT_LEGEND = (
    "dir: works once its requests say dir in and dir out; toggle: works once the host sets the toggle.",
    "A toggle is for the whole host: once it is set, every other party lives under the toggle's rule, too.",
)


def default_table(result: Mapping[str, Any]) -> tuple[Sequence[str], list[Sequence[Any]]]:
    """(headers, rows)."""
    rows: list[Sequence[Any]] = []
    parties = list(dict.fromkeys(row["party"] for row in result["rows"]))
    for (default, toggle), group in itertools.groupby(result["rows"], key=lambda row: (row["default"], row["toggle"])):
        name = default if toggle == "none" else f"{default}, toggle {toggle}"
        rows.append((name, *(_fit(row) for row in group)))
    return ("default", *parties), rows


def _head(out: Terminal, result: Mapping[str, Any]) -> None:
    out.print(f"{result['scenario']}: {result['question']}", markup=False, style="bold")
    out.print()


def _android(cell: Mapping[str, Any]) -> str:
    """The results of Android's two ALLOCSPI. They come first, and are the same whatever the device."""
    return ", ".join(asked["errno"] or "OK" for asked in cell["requests"][:2])


def _judged(answers: str) -> Text:
    return Text(answers, style="green" if answers == "OK, OK" else "red")


def _second(cells: Iterable[Mapping[str, Any]]) -> str:
    fates = Counter(cell["second"] for cell in cells)
    return "; ".join(f"{_FATES[fate]}: {fates[fate]}" for fate in _FATES if fates[fate])


def _models(cells: Iterable[Mapping[str, Any]]) -> int:
    return len({cell["model"] for cell in cells})


def _fit(row: Mapping[str, Any]) -> Text:
    if row["answer"] == "no":
        return Text(f"no: {row['where']}", style="red")
    return Text(row["answer"], style="green" if row["answer"] == "yes" else "")
