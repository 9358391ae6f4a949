"""Marks answers: compares what a reader wrote with what a cell computed.

The cell's value decides how. True and False are yes and no. A number may be written in decimal, in hex with 0x, or as
2^32 - 1. Text is compared without case. A tuple is several of these, with blanks or commas between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from espsim.core.errors import InputError
from espsim.explain.lessons.cells import RanCell, Step, executed
from espsim.explain.lessons.source import Lesson, Question

LONGEST = 200
"""Bytes that an answer may have."""

_NUMBER = re.compile(r"0x([0-9a-f]+)|(\d+)(?:(?:\^|\*\*)(\d{1,2}))?(?: *([+-]) *(\d+))?", re.ASCII)
_YES, _NO = frozenset({"yes", "y", "true"}), frozenset({"no", "n", "false"})


@dataclass(frozen=True, slots=True)
class Marked:
    """A question, the answer given, the right answer, and whether they are equal."""

    question: str
    given: str
    answer: str
    right: bool

    def as_dict(self) -> dict[str, str | bool]:
        """For JSON."""
        return {"question": self.question, "given": self.given, "answer": self.answer, "right": self.right}


Tell = Callable[[Step | Marked], None]
Ask = Callable[[Question, bool], "str | None"]
"""Called with a question and whether it is asked again. Returns the answer; None: no second try."""


def play(lesson: Lesson, ask: Ask, tell: Tell) -> list[Marked]:
    """Run a lesson. `tell` gets each part; `ask` each question, before its cell runs. Raises what `ask` raises."""
    marks: list[Marked] = []
    steps = executed(lesson)
    for step in steps:
        tell(step)
        if not isinstance(step, Question):
            continue
        given = ask(step, False) or ""
        answer = next(steps)
        assert isinstance(answer, RanCell)  # noqa: S101 - the files are ours, and a test reads them
        if not is_right(given, answer.value):
            again = ask(step, True)
            given = given if again is None else again
        marks.append(Marked(step.text, given, written(answer.value), is_right(given, answer.value)))
        tell(marks[-1])
        tell(answer)
    return marks


def checked(answer: bytes, where: str, line: int) -> str:
    """An answer as text. InputError: it is longer than LONGEST."""
    if len(answer.rstrip(b"\r\n")) > LONGEST:
        raise InputError(f"an answer of more than {LONGEST} bytes", where=where, line=line)
    return answer.decode("utf-8", "replace").strip()


def is_right(given: str, value: Any) -> bool:
    """Whether an answer is the right one."""
    text = given.strip().strip("`'\".").casefold()
    if isinstance(value, tuple):
        parts = [part for part in re.split(r"[\s,;]+", text) if part]
        return len(parts) == len(value) and all(map(is_right, parts, value))
    if isinstance(value, bool):
        return text in (_YES if value else _NO)
    if isinstance(value, int):
        return _number(text) == value
    return " ".join(text.split()) == str(value).casefold()


def written(value: Any) -> str:
    """The right answer in a form that a reader could have written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(written, value)) if isinstance(value, tuple) else str(value)


def _number(text: str) -> int | None:
    found = _NUMBER.fullmatch(text.replace(",", "").replace("_", ""))
    if found is None:
        return None
    digits, base, power, sign, more = found.groups()
    if digits:
        return int(digits, 16)
    if len(base) * int(power or 1) > LONGEST:
        return None
    raised: int = int(base) ** int(power or 1)
    return raised + int((sign or "+") + (more or "0"))
