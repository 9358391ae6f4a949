"""Nothing outside `espsim/sad/` assigns to an entry, its statistics or its window: the syntax trees of espsim."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import espsim
from espsim.sad.entry import SadEntry, SaStats
from espsim.sad.window import Window

PACKAGE = Path(espsim.__file__).parent
OWN = {"SadEntry", "SaStats", "Window", "RingWindow"}
NAMES = {f.name for kind in (SadEntry, SaStats) for f in fields(kind)} | set(Window.__slots__)
OTHERS = {
    "answer.seq", "answer.used",  # what became of a packet
    "columns.sa",  # a device's columns
    "group.packets", "last.packets", "self.ran.stats", "stats.packets",  # what a run counted
    "habit.sa",  # explain's
    "draft.af", "draft.seq", "draft.window",  # what a reader of text has read so far
    "self._source.window",  # of bytes
}  # fmt: skip
"""Attributes of other objects that have such a name, where no annotation says what the object is."""


def assigned(source: str) -> Iterator[str]:
    """`object.attribute` of every assignment to an attribute that could be an entry's or a window's.

    An attribute of `self` is that class's own. An argument whose annotation names another class is another object.
    """
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.Module | ast.FunctionDef):
            continue
        arguments = function.args.args + function.args.kwonlyargs if isinstance(function, ast.FunctionDef) else []
        known = {a.arg: ast.unparse(a.annotation) for a in arguments if a.annotation is not None}
        for node in _within(function):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and node.attr in NAMES:
                of = ast.unparse(node.value)
                if of != "self" and (of not in known or OWN & set(known[of].replace("|", " ").split())):
                    yield f"{of}.{node.attr}"


def _within(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function (or a module) that are in no function inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from _within(child)


def test_sad_is_the_only_writer_of_entries_and_windows():
    found = {
        f"{path.relative_to(PACKAGE)}: {place}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] != "sad"
        for place in assigned(path.read_text())
        if place not in OTHERS
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        "entry.packets += 1",
        "entry.stats.replay += 1",
        "x, entry.window = 1, w",
        "for e.oseq in (): pass",
        "del used.used",
        "def f(e: SadEntry | None):\n e.dying = True",
        "class C:\n def f(self, w: Window):\n  if w: w.top = 3",
        "def f(a: Draft):\n b = a\n b.bitmap = 3",
        "def f(e: Draft):\n def g():\n  e.top = 3",
    ],
)
def test_an_assignment_is_found(line):
    assert len(list(assigned(line))) == 1


@pytest.mark.parametrize("line", ["self.packets += 1", "def f(a: Draft):\n a.window = 3", "x = entry.packets"])
def test_what_is_no_assignment_to_an_entry(line):
    assert list(assigned(line)) == []
