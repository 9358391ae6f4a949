"""A lesson in the terminal: text that fits, cells with what they print, questions and marks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from espsim.core.echo import shortened
from espsim.explain.lessons.cells import RanCell, Step
from espsim.explain.lessons.marks import Marked
from espsim.explain.lessons.source import Lesson, Question
from espsim.report.terminal import console, table

_COLUMNS = 100
"""Most columns of a line of text: longer lines are tiring to read."""


class LessonPage:
    """Prints a lesson part by part; `marks.play` calls `tell`. `echoes`: print the answers, which no one sees typed."""

    def __init__(self, lesson: Lesson, *, echoes: bool) -> None:
        self._out = console(most=_COLUMNS)
        self._lesson, self._echoes = lesson, echoes
        self._asked = 0
        self._say(f"[bold]{lesson.number}. {lesson.title}[/bold]", markup=True)

    def tell(self, part: Step | Marked) -> None:
        """Print the next part."""
        if isinstance(part, Marked):
            self._mark(part)
        elif isinstance(part, RanCell):
            self._cell(part)
        elif isinstance(part, Question):
            self._asked += 1
            self._say(f"\nQuestion {self._asked} of {self._lesson.questions}: {_flowing(part.text)}")
        else:
            for paragraph in part.text.split("\n\n"):
                self._say("\n" + _flowing(paragraph))

    def hint(self, question: Question) -> None:
        """Print a hint after a wrong first answer."""
        self._say(f"not yet; a hint: {_flowing(question.hint)}")

    def end(self, marks: Sequence[Marked]) -> None:
        """Print how many answers were right."""
        self._say(f"\n{sum(mark.right for mark in marks)} of {len(marks)} right")

    def _mark(self, mark: Marked) -> None:
        if self._echoes:
            self._say(f"answered: {shortened(mark.given) or 'nothing'}")
        self._say("right" if mark.right else f"wrong: it is {mark.answer}")

    def _cell(self, ran: RanCell) -> None:
        lines = ["", *(f"    {line}".rstrip() for line in ran.cell.code.splitlines())]
        lines += [f" => {line}" for part in (ran.printed, ran.shown) for line in part.splitlines()]
        self._out.print("\n".join(lines), soft_wrap=True)

    def _say(self, text: str, *, markup: bool = False) -> None:
        self._out.print(text, markup=markup)


def print_lessons(rows: Sequence[Mapping[str, Any]]) -> None:
    """The list of `espsim lesson`."""
    out = console(most=_COLUMNS)
    out.print(table(("lesson", "name", "title", "questions", "minutes"), [list(row.values()) for row in rows]))
    out.print("\nespsim lesson 1    runs one; espsim lesson plan is a plan for teachers")


def _flowing(text: str) -> str:
    """A paragraph as one line, without Markdown's marks for bold."""
    return re.sub(r"\s*\n\s*", " ", text).replace("**", "")
