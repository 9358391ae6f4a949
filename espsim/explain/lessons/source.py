"""The files of lessons: their format, and how they are found and read.

    # A title
    minutes: 6                      of a class
    teacher: what to say or ask     in the plan of a class

    Text, in which {{an expression}} is replaced by its value after the cells above.

    ```question
    What the reader is asked. (hint: what helps)
    ```

    ```python
    a cell; the value of its last expression is the right answer of the question above it
    ```

A file is called after the lesson's number and name: `2-window.md`.

What this does not do: run cells (cells.py) or mark answers (marks.py).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import InputError

_FENCE = re.compile(r"^```(python|python measured|question)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_HEAD = re.compile(r"# (.+)\nminutes: (\d+)\nteacher: (.+)\n")
_HINT = re.compile(r"\s*\(hint: (.*)\)\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """Markdown for the reader, with expressions in it."""

    text: str


@dataclass(frozen=True, slots=True)
class CodeCell:
    """Python that the reader sees and runs. `measured`: its output differs from machine to machine."""

    code: str
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question. The value of the next cell is the right answer."""

    text: str
    hint: str


Part = Text | CodeCell | Question


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson as its file states it. `minutes` and `teacher` are for the plan of a class."""

    number: int
    name: str
    title: str
    minutes: int
    teacher: str
    parts: tuple[Part, ...]

    @property
    def questions(self) -> int:
        """How many questions it asks."""
        return sum(isinstance(part, Question) for part in self.parts)

    def as_dict(self) -> dict[str, int | str]:
        """For the list of lessons, in JSON."""
        return {
            "lesson": self.number,
            "name": self.name,
            "title": self.title,
            "questions": self.questions,
            "minutes": self.minutes,
        }


@functools.cache
def lessons() -> Mapping[str, Lesson]:
    """Every lesson by its name, in order."""
    files = [item for item in (resources.files("espsim") / "explain" / "lessons").iterdir() if item.name[0].isdigit()]
    read = [parse(item.name, item.read_text(encoding="utf-8")) for item in sorted(files, key=lambda item: item.name)]
    return {lesson.name: lesson for lesson in read}


def lesson_of(text: str) -> Lesson:
    """The lesson with a number or a name. InputError: there is none; it names the nearest."""
    known = lessons()
    numbers = {str(lesson.number): lesson for lesson in known.values()}
    found = numbers.get(text) or known.get(text.casefold())
    if found is None:
        like = did_you_mean(text, known, f"there are 1 to {len(known)}, and `espsim lesson` lists them")
        raise InputError(f"there is no lesson {shortened(repr(text))}: {like}")
    return found


def parse(file: str, text: str) -> Lesson:
    """A lesson from its file's name and text."""
    number, _, name = file.removesuffix(".md").partition("-")
    head = _HEAD.match(text)
    assert head is not None, file  # noqa: S101 - the files are ours
    parts: list[Part] = []
    at = head.end()
    for fence in _FENCE.finditer(text, at):
        _add_text(parts, text[at : fence.start()])
        parts.append(_question(fence[2]) if fence[1] == "question" else CodeCell(fence[2].rstrip(), " " in fence[1]))
        at = fence.end()
    _add_text(parts, text[at:])
    return Lesson(int(number), name, head[1], int(head[2]), head[3], tuple(parts))


def _add_text(parts: list[Part], text: str) -> None:
    if text.strip():
        parts.append(Text(text.strip()))


def _question(text: str) -> Question:
    hint = _HINT.search(text)
    assert hint is not None, text  # noqa: S101 - the files are ours
    return Question(text[: hint.start()].strip(), hint[1])
