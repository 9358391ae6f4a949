"""A frame's bytes with a border between its fields, sixteen a line, and the headers' names on the right.

    0010 |00 54|a6 f2|00 00|40|32|1e 77|c6 33 64 05|c0 00   IPv4 header

Lines that lie in the middle of one long field are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

_ROW = 16
_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")
_LEAST_FOLDED = 4
"""Lines of one field that are worth leaving out."""


def colour_of(step: int) -> str:
    """The colour of a step's bytes."""
    return _COLOURS[step % len(_COLOURS)]


def hexdump(frame: bytes, steps: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Lines of at most 80 columns; a field belongs to the first step that has it."""
    owner, borders, names = _owners(len(frame), steps)
    lines: list[Text] = []
    folded = 0
    rows = range(0, len(frame), _ROW)
    for row in rows:
        inside = row + _ROW <= len(frame) and not any(at in borders for at in range(row, row + _ROW + 1))
        if inside and lines and row + _ROW < len(frame):
            folded += 1
            continue
        lines += _fold(frame, row, folded, owner)
        folded = 0
        lines.append(_line(frame, row, owner, borders, names))
    return lines


def _owners(length: int, steps: Sequence[Mapping[str, Any]]) -> tuple[dict[int, int], set[int], dict[int, str]]:
    """Which step has each byte, where fields begin, and which step's bytes begin there."""
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


def _fold(frame: bytes, row: int, folded: int, owner: Mapping[int, int]) -> list[Text]:
    """The lines that were left out before `row`: themselves where they are few."""
    first = row - folded * _ROW
    if folded < _LEAST_FOLDED:
        return [_line(frame, at, owner, set(), {}) for at in range(first, row, _ROW)]
    return [Text(f"     ... {folded * _ROW:,} bytes more of it", style="dim")]


def _line(frame: bytes, row: int, owner: Mapping[int, int], borders: set[int], names: Mapping[int, str]) -> Text:
    line = Text(f"{row:04x} ", style="dim")
    for at in range(row, min(row + _ROW, len(frame))):
        line.append("|" if at in borders else " ", style="bold")
        line.append(f"{frame[at]:02x}", style=colour_of(owner[at]) if at in owner else "")
    line.append("|" if min(row + _ROW, len(frame)) in borders else "", style="bold")
    here = [names[at] for at in range(row, min(row + _ROW, len(frame))) if at in names]
    if here:
        line.append(" " * (55 - len(line)))
        said = ", ".join(here)
        line.append(said if len(said) <= 80 - 55 else said[: 80 - 58] + "...", style="bold")
    return line
