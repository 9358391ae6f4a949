"""The result of `espsim xfrm --live` for a terminal: lines that differ, lines that can't be compared, the counts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from espsim.report.terminal import console, counted, table


def print_live(result: Mapping[str, Any]) -> None:
    """Print a row for each line that differs or can't be compared. `result`: what `--json` prints."""
    out = console()
    counts, lines = result["counts"], result["lines"]
    out.print(f"kernel {result['kernel']} ({result['ip']}) beside the model's {result['model']}")
    differing = [line for line in lines if line["verdict"] == "differs"]
    if differing:
        rows = [(c["line"], c["command"], *_apart(c["live"], c["model"])) for c in differing]
        out.print(table(("line", "command", "this kernel", "the model"), rows))
    left_out = [line for line in lines if line["verdict"] == "not comparable"]
    if left_out:
        reasons = [(c["line"], c["command"], c["why"]) for c in left_out]
        out.print(table(("line", "command", "not comparable"), reasons))
    same = f"{counted(counts['same'], 'line')} {'agrees' if counts['same'] == 1 else 'agree'}"
    out.print(f"{same}, {counts['differs']} differ, {counts['not comparable']} not comparable")


def _apart(live: str, model: str) -> tuple[str, str]:
    """The rows that only one of the two has, in order; "-": none."""
    one, other = live.splitlines(), model.splitlines()
    left: list[str] = []
    right: list[str] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag != "equal":
            left += one[i1:i2]
            right += other[j1:j2]
    return _cell(left), _cell(right)


def _cell(rows: list[str]) -> str:
    return "\n".join(row.strip() for row in rows) or "-"
