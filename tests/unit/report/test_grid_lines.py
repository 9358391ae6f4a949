"""Rows of plain cells are written without tables of rich, which take half a minute for 100,000 rows."""

from __future__ import annotations

import io
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from espsim.report import grid
from espsim.report.grid import Grid

CELLS = st.sampled_from([
    "a", "DELIVERED", "0x00000001@10.0.0.1", "-", "", "REPLAY 5, NO_SA 2", "ü", "two words here", "x  y ", " lead",
    Text("b", style="bold"), Text.assemble(("c", "red"), "d"), "[bold]x[/bold]", ":smile:", "a\nb", "100%", "1.5", 7,
])  # fmt: skip


def printed(table: Grid, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system="truecolor").print(table)
    return out.getvalue()


@given(st.integers(1, 4), st.data(), st.sampled_from([20, 40, 80, 200]))
def test_a_line_is_what_rich_writes(columns: int, data: Any, width: int) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, min_size=columns, max_size=columns), max_size=4))
    notes = data.draw(st.sampled_from([[], [*("a note" for _ in rows)]]))
    table = Grid([f"h{n}" for n in range(columns)], rows, notes=notes)
    written = printed(table, width)
    with mock.patch.object(grid, "_line", return_value=None):
        assert written == printed(table, width)


def test_long_tables_of_plain_rows_make_one_of_richs() -> None:
    """Its header."""
    rows = [(f"0x{n:08x}@10.0.0.1", n, "-") for n in range(1000)]
    with mock.patch("espsim.report.grid.Table", wraps=Table) as made:
        lines = printed(Grid(("SA", "delivered", "dropped"), rows), 80).splitlines()
    assert (made.call_count, len(lines)) == (1, 1001)
