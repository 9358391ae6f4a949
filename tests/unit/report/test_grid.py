"""Tables at any width: every word of every cell is there, whole."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.report import terminal
from espsim.report.grid import Grid

ROWS = [
    ("marvell-cn10k-dpdk", "0x00001001@192.0.2.1", "XfrmInStateProtoError x100"),
    ("sw-linux-xfrm", "0x00001001@2001:db8:1:2:3:4:5:6", "-"),
]


def printed(grid, width):
    out = io.StringIO()
    terminal.Terminal(file=out, width=width, highlight=False).print(grid)
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_word_is_cut_or_broken(width):
    text = printed(Grid(("model", "SA", "counter"), ROWS), width)
    words = text.split()
    for row in ROWS:
        for word in " ".join(row).split():
            assert word in words
    assert "…" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_line_a_row_where_they_fit():
    lines = printed(Grid(("model", "SA", "counter"), ROWS), 90).splitlines()
    assert len(lines) == 3
    assert lines[1].split("  ")[0] == "marvell-cn10k-dpdk"


def test_stacked_where_they_do_not():
    lines = printed(Grid(("model", "SA", "counter"), ROWS), 40).splitlines()
    assert lines[:3] == ["marvell-cn10k-dpdk", "  SA: 0x00001001@192.0.2.1", "  counter: XfrmInStateProtoError x100"]


words = st.lists(st.text("abcdef-0123456789", min_size=1, max_size=30), max_size=6).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(words, words, words), min_size=1, max_size=4), width=st.integers(10, 120))
def test_every_word_of_any_table_is_there(rows, width):
    text = printed(Grid(("a", "b", "c"), rows), width).split()
    for row in rows:
        for word in " ".join(row).split():
            assert word in text


@pytest.mark.parametrize("width", [12, 40])
def test_a_sentence_breaks_between_words(width):
    out = io.StringIO()
    terminal.Terminal(file=out, width=width, highlight=False).print(
        "packets of 0x00001001@192.0.2.1 met the keys of another"
    )
    assert "0x00001001@192.0.2.1" in out.getvalue().split()
    assert max(map(len, out.getvalue().splitlines())) <= max(width, 20)


def test_columns_and_wide_are_honoured(monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    assert terminal.console().width == 33
    try:
        terminal.use_any_width()
        assert terminal.console().width > 1000
    finally:
        terminal.use_width(None)
    monkeypatch.setenv("COLUMNS", "wide")
    assert terminal.console().width >= 40
