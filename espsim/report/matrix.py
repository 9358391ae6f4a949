"""Outcomes of scenarios by policy as plain text, aligned, to be pasted into a mail."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from espsim.scenario.outcome import LEGEND, expected_text

_WIDTH = 10
_HEADINGS = {"rfc4301-spi0": "4301-spi0"}
_DIFFERS = "!"
_OPEN = "~"


def matrix(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of `espsim run --thread` (from its JSON), with a legend and every cell that is not as expected."""
    policies = list(dict.fromkeys(cell["policy"] for row in rows for cell in row["cells"]))
    label = max(4, *(len(_label(cell["variant"])) + 1 for row in rows for cell in row["cells"]))
    widths = [max(_WIDTH, len(_heading(policy))) + 1 for policy in policies]
    lines = [_line("", label, [[_heading(policy)] for policy in policies], widths)]
    for row in rows:
        if row["id"]:
            lines.append(f"{row['id']:<4} {row['question']}")
        for variant in dict.fromkeys(cell["variant"] for cell in row["cells"]):
            found = {cell["policy"]: _cell(cell) for cell in row["cells"] if cell["variant"] == variant}
            lines.append(_line(" " + _label(variant), label, [found.get(policy, []) for policy in policies], widths))
    text = "\n".join(lines)
    return "\n".join([text, "", *_legend(rows), "", *_failures(rows)])


def _label(variant: str) -> str:
    return "" if variant == "-" else variant


def _heading(policy: str) -> str:
    return _HEADINGS.get(policy, policy)


def _cell(cell: Mapping[str, Any]) -> list[str]:
    mark = {None: _OPEN, True: "", False: _DIFFERS}[cell["ok"]]
    return _wrapped(cell["outcome"] + mark)


def _wrapped(outcome: str) -> list[str]:
    """An outcome in lines of the column's width; `E2 x4` and `OK .70` stay together."""
    words: list[str] = []
    for word in outcome.split():
        if words and word[0] in "x." and len(words[-1]) + 1 + len(word) <= _WIDTH:
            words[-1] += f" {word}"
        else:
            words.append(word)
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= _WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _line(first: str, label: int, cells: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """One row; cells of several lines go on below."""
    height = max(1, *(len(cell) for cell in cells))
    lines = []
    for n in range(height):
        parts = [(cell[n] if n < len(cell) else "").ljust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append(((first if n == 0 else "").ljust(label) + " " + "".join(parts)).rstrip())
    return "\n".join(lines)


_NOTATION = (
    (r"x\d", "x4 = four times"),
    (r"\.\d\d", ".70 = share of trials"),
    (r"\+\d", "+4 = four states with SPI 0 are left"),
    (r"=\d", "=3 = three states altogether"),
)


def _legend(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the short forms that are used stand for."""
    cells = [cell for row in rows for cell in row["cells"]]
    used = " ".join(cell["outcome"] for cell in cells).replace(",", " ")
    words = set(used.split())
    names = [f"{short} = {long}" for short, long in LEGEND.items() if short in words]
    names += [text for pattern, text in _NOTATION if re.search(pattern, used)]
    if any(cell["ok"] is None for cell in cells):
        names.append(f"{_OPEN} = nothing fixes this: espsim's choice")
    if any(cell["ok"] is False for cell in cells):
        names.append(f"{_DIFFERS} = not as expected")
    return textwrap.wrap("; ".join(names), 98)


def _failures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [(row["id"], cell) for row in rows for cell in row["cells"]]
    bad = [(name, cell) for name, cell in cells if cell["ok"] is False]
    checked = sum(cell["ok"] is not None for _name, cell in cells)
    lines = [
        f"{name} {_label(cell['variant'])} {cell['policy']}: expected {expected_text(cell['expected'])},"
        f" got {cell['outcome']}".replace("  ", " ")
        for name, cell in bad
    ]
    verdict = f"{len(bad)} differ" if bad else "all as expected"
    compared = f"{checked} compared with what is expected: {verdict}" if checked else "nothing expected of them"
    return [*lines, f"{len(cells)} cells run, {compared}"]
