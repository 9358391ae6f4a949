"""Tables that fit the width: one line for each row if possible, else cells wrapped between words, else stacked rows.

No word is ever cut or broken, because an id, an SA or a number that is cut is wrong. Where even the longest words do
not fit side by side, rows are stacked: a heading (the first cell), and below it a line for each column.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from espsim.core.echo import printable

_ENDLESS = 100_000
_GAP = 2
"""Blanks between two columns."""
_SENTENCE = 30
"""A column wider than this holds sentences or lists."""
_READABLE = 16
"""Least width of a column of sentences: lines of two words are harder to read than a stacked row."""


class Grid:
    """A plain table: headers, then `rows`. Cells are rich's Text, or anything that `str` takes.

    `notes`: a sentence below each row; an empty one is left out. `fewer`: if the columns do not fit, those on the right
    are left out and a line names them, where otherwise rows would be stacked.
    """

    def __init__(
        self, headers: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None,
        notes: Sequence[str] = (),
        fewer: bool = False,
    ) -> None:  # fmt: skip
        self.headers = [Text(header, style="bold") for header in headers]
        self.rows = [[_cell(cell) for cell in row] for row in rows]
        self.title = title
        self.notes = list(notes) or [""] * len(self.rows)
        self.fewer = fewer

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Called by rich, with the width in `options`."""
        if self.title is not None:
            yield Text(self.title, style="italic")
        endless = getattr(console, "endless", False)
        widths = self._widths(_ENDLESS if endless else options.max_width)
        if widths is None and self.fewer:
            yield from self._with_fewer(console, options)
        elif widths is None:
            yield from self._stacked(options.max_width)
        else:
            room = options.update(width=sum(widths) + _GAP * len(widths))
            yield from console.render(self._table(widths, []), room)
            for row, note in zip(self.rows, self.notes, strict=True):
                line = _line(row, widths)
                if line is not None:
                    yield Segment(line)
                else:
                    yield from console.render(self._table(widths, [row], header=False), room)
                yield from _note(note, options.max_width)

    def _with_fewer(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The columns from the left that fit, at least two, then the names of those left out."""
        for kept in range(len(self.headers) - 1, 1, -1):
            grid = Grid([h.plain for h in self.headers[:kept]], [row[:kept] for row in self.rows], notes=self.notes)
            if kept == 2 or grid._widths(options.max_width) is not None:
                yield grid
                left_out = ", ".join(header.plain for header in self.headers[kept:])
                yield from _wrapped(f"no room for: {left_out} (--wide shows all)", options.max_width, "")
                return

    def _widths(self, room: int) -> list[int] | None:
        """A width for each column; None: they do not fit side by side."""
        columns = list(zip(self.headers, *self.rows, strict=True))
        natural = [max(cell.cell_len for cell in column) for column in columns]
        least = [
            max(_longest_word(column), _READABLE if n > _SENTENCE else 0)
            for n, column in zip(natural, columns, strict=True)
        ]
        room -= _GAP * (len(columns) - 1)
        spare = room - sum(least)
        if spare < 0:
            return None
        widths = least[:]
        # The narrowest columns get all that they need first; the widest ones share what is left.
        for place in sorted(range(len(columns)), key=lambda n: natural[n] - least[n]):
            more = min(natural[place] - least[place], spare)
            widths[place] += more
            spare -= more
        return widths

    def _table(self, widths: Sequence[int], rows: Iterable[Sequence[Text]], *, header: bool = True) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_edge=False, show_header=header)
        for head, width in zip(self.headers, widths, strict=True):
            table.add_column(head, width=width, overflow="fold")  # no word is longer than its column
        for row in rows:
            table.add_row(*row)
        return table

    def _stacked(self, room: int) -> Iterator[Text]:
        for row, note in zip(self.rows, self.notes, strict=True):
            head, *rest = row
            yield from _wrapped(head.plain, room, "")
            for header, cell in zip(self.headers[1:], rest, strict=True):
                if cell.plain:
                    yield from _wrapped(f"{header.plain}: {cell.plain}", room, "  ")
            yield from _note(note, room)


def _line(row: Sequence[Text], widths: Sequence[int]) -> str | None:
    """A row of plain cells that fit, as rich writes it; None: rich has to. Of 100,000 rows rich takes half a minute."""
    for cell, width in zip(row, widths, strict=True):
        plain = cell.plain
        if len(plain) > width or cell.spans or cell.style or not (plain.isascii() and plain.isprintable()):
            return None
    *cells, last = (cell.plain.ljust(width) for cell, width in zip(row, widths, strict=True))
    return f"{''.join(cell + ' ' * _GAP for cell in cells)}{last}\n"


def _note(note: str, room: int) -> Iterator[Text]:
    yield from _wrapped(note, room, "    ") if note else ()


def _cell(cell: Any) -> Text:
    """A cell's text. A line feed in it begins a line; other control characters are escaped."""
    return cell if isinstance(cell, Text) else Text(printable(str(cell), keep="\n"))


def _longest_word(cells: Iterable[Text]) -> int:
    return max((len(word) for cell in cells for word in cell.plain.split()), default=0)


def _wrapped(text: str, room: int, indent: str) -> Iterator[Text]:
    """A text in lines of whole words."""
    lines = textwrap.wrap(
        text, max(room, 1), initial_indent=indent, subsequent_indent=f"{indent}  " if len(indent) == 2 else indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    for line in lines or [""]:
        yield Text(line, no_wrap=True, overflow="ignore")
