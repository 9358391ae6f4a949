"""A frame's bytes, sixteen on a line, with borders between fields and the headers' names on the right.

    0010 |00 54|a6 f2|00 00|40|32|1e 77|c6 33 64 05|c0 00   IPv4 header

Lines that lie in the middle of one long field are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

_ROW, _NARROW_ROW = 16, 8
_ENOUGH = 80
"""Columns that lines of sixteen bytes need."""
_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")
_LEAST_FOLDED = 4
"""Least number of lines of one field that are left out."""
_NAMES = 25
"""Columns of the names on the right."""


def colour_of(step: int) -> str:
    """The colour of a step's bytes."""
    return _COLOURS[step % len(_COLOURS)]


def hexdump(frame: bytes, steps: Sequence[Mapping[str, Any]], columns: int = _ENOUGH) -> list[Text]:
    """Lines of at most 80 columns, or 56 if `columns` is less. A field belongs to the first step that has it."""
    page = _Page(frame, *owners(len(frame), steps), _ROW if columns >= _ENOUGH else _NARROW_ROW)
    lines: list[Text] = []
    folded = 0
    for row in range(0, len(frame), page.size):
        if lines and page.inside(row):
            folded += 1
            continue
        lines += page.fold(row, folded)
        folded = 0
        lines.append(page.line(row))
    return lines


def owners(length: int, steps: Sequence[Mapping[str, Any]]) -> tuple[dict[int, int], set[int], dict[int, str]]:
    """(step of each byte, offsets at which fields begin, name of the step whose bytes begin at an offset)."""
    owner: dict[int, int] = {}
    borders: set[int] = {0, length}
    names: dict[int, str] = {}
    for number, step in enumerate(steps):
        for field in step["fields"]:
            start, size = field["offset"], field["length"]
            if start is None or not size or start in owner:
                continue
            own = step["step"] not in names.values()
            names[start] = step["step"] if own else ""
            borders |= {start, start + size}
            owner.update(dict.fromkeys(range(start, start + size), number))
    return owner, borders, {start: name for start, name in names.items() if name}


@dataclass(frozen=True)
class _Page:
    """A frame with the step of each byte, the borders of fields, and the names of steps where their bytes begin."""

    frame: bytes
    owner: Mapping[int, int]
    borders: set[int]
    names: Mapping[int, str]
    size: int

    def inside(self, row: int) -> bool:
        """Whether a line lies in the middle of one field."""
        end = row + self.size
        return end < len(self.frame) and not any(at in self.borders for at in range(row, end + 1))

    def fold(self, row: int, folded: int) -> list[Text]:
        """A line in place of those left out before `row`; if they are few, the lines themselves."""
        if folded < _LEAST_FOLDED:
            return [self.line(at) for at in range(row - folded * self.size, row, self.size)]
        return [Text(f"     ... {folded * self.size:,} bytes more of it", style="dim")]

    def line(self, row: int) -> Text:
        """One line."""
        end = min(row + self.size, len(self.frame))
        line = Text.assemble((f"{row:04x} ", "dim"))
        for at in range(row, end):
            line.append("|" if at in self.borders else " ", style="bold")
            line.append(f"{self.frame[at]:02x}", style=colour_of(self.owner[at]) if at in self.owner else "")
        line.append("|" if end in self.borders else "", style="bold")
        said = ", ".join(self.names[at] for at in range(row, end) if at in self.names)
        if said:
            line.append(" " * (5 + 3 * self.size + 2 - len(line)))
            line.append(said if len(said) <= _NAMES else f"{said[: _NAMES - 3]}...", style="bold")
        return line
