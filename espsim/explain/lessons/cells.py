"""Runs a lesson's cells as a notebook does: in order, in one namespace, with the value of the last expression shown.

`executed` runs a cell only when its part is asked for, so that a reader may answer first.

What this does not do: catch what a cell raises. The cells are ours, so that is a fault of espsim.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from espsim.explain.lessons.source import CodeCell, Lesson, Question, Text

_EXPRESSION = re.compile(r"\{\{(.+?)\}\}")


@dataclass(frozen=True, slots=True)
class RanCell:
    """A cell that has run: what it printed, and the value of its last expression (None where it has none)."""

    cell: CodeCell
    printed: str
    value: Any

    @property
    def shown(self) -> str:
        """The value as a notebook shows it, "" for None."""
        return "" if self.value is None else repr(self.value)


Step = Text | Question | RanCell


def executed(lesson: Lesson) -> Iterator[Step]:
    """The parts of a lesson in order: texts with their values filled in, questions, cells that have run."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for part in lesson.parts:
        if isinstance(part, CodeCell):
            yield _run(part, names)
        elif isinstance(part, Text):
            # The expressions come from our own files, like the cells.
            yield Text(_EXPRESSION.sub(lambda found: str(eval(found[1], names)), part.text))  # noqa: S307
        else:
            yield part


def _run(cell: CodeCell, names: dict[str, Any]) -> RanCell:
    body = ast.parse(cell.code).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None  # type: ignore[attr-defined]
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(ast.Module(body, []), "<lesson>", "exec", dont_inherit=True), names)  # noqa: S102
        if last is not None:
            value = eval(compile(last, "<lesson>", "eval", dont_inherit=True), names)  # noqa: S307
    return RanCell(cell, printed.getvalue(), value)
