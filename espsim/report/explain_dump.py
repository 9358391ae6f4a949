"""`espsim explain DUMP` for people: each line of a dump, and for each word the field that it sets and its effect."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from espsim.core.echo import printable_values
from espsim.report.explain import wrapped
from espsim.report.terminal import console

_NUMBER = 5
_WORD, _READS = 22, 21
_LEAST = 20
_MOST, _PIPE = 120, 80
"""Least columns on a terminal, and columns where the width is not known."""


def print_dump(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print the table. `reads`: the kernel's field or attribute (include/uapi/linux/xfrm.h)."""
    out = console(most=_MOST if sys.stdout.isatty() else _PIPE)
    width = min(out.width, 200)
    room = max(width - _NUMBER - _WORD - _READS, _LEAST)
    heading = f"{'':{_NUMBER}}{'word':<{_WORD}}{'read as':<{_READS}}what it changes"
    out.print(Text(heading, style="bold"), soft_wrap=True)
    for line in printable_values(lines):
        for n, part in enumerate(wrapped(line["text"].strip(), width - _NUMBER)):
            number = f"{line['line']:<{_NUMBER}}" if n == 0 else " " * _NUMBER
            out.print(Text.assemble((number, "dim"), (part, "bold")), soft_wrap=True)
        for word in line["words"]:
            columns = (wrapped(word["word"], _WORD - 1), wrapped(word["reads"], _READS - 1),
                       wrapped(word["changes"], room))  # fmt: skip
            for n in range(max(map(len, columns))):
                cells = [column[n] if n < len(column) else "" for column in columns]
                row = Text(f"{'':{_NUMBER}}{cells[0]:<{_WORD}}{cells[1]:<{_READS}}{cells[2]}")
                row.rstrip()
                out.print(row, soft_wrap=True)
