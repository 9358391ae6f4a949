"""`espsim lesson`: ESP in eight lessons, with exercises that are marked."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from espsim.cli import common
from espsim.core.inputs import STANDARD

if TYPE_CHECKING:
    from espsim.explain.lessons.marks import Ask, Marked
    from espsim.explain.lessons.source import Lesson
    from espsim.report.lesson import LessonPage

_PLAN = "plan"
_MOST = 1 << 16
"""Most bytes of a file of answers."""


@click.command()
@click.argument("name", metavar="[N|NAME|plan]", required=False)
@click.option("--answers", metavar="FILE", help="Read the answers from FILE, one a line.  [default: standard input]")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the lesson with its answers as Markdown.")
@click.option("--notebook", metavar="FILE", help="Write the lesson as an executed notebook (.ipynb).")
@common.width_options
@common.json_option
def lesson(name: str | None, answers: str | None, as_markdown: bool, notebook: str | None, as_json: bool) -> None:
    """Learn ESP in eight lessons: real packets, and a question before each answer.

    Without N the lessons are listed. In a terminal a wrong answer gets a hint and a second try. Elsewhere answers are
    read from standard input, one a line; an empty line is no answer. A number may be 84, 0x54 or 2^32 - 1. --json says
    which answers were right. `espsim lesson plan` prints the plan of a class of 45 minutes.

    --markdown and --notebook show the same lesson with all answers. The cells of a notebook need only `import espsim`.

    Exit status 1: an answer is wrong.

    \b
    espsim lesson 2
    printf 'yes\\nREPLAY_DUPLICATE\\n13\\n20\\n' | espsim lesson window --json
    espsim lesson 3 --notebook esn.ipynb
    """
    from espsim.core.errors import InputError
    from espsim.explain.lessons import written
    from espsim.explain.lessons.source import lesson_of, lessons

    ways = {"--answers": answers is not None, "--markdown": as_markdown, "--notebook": notebook is not None}
    if len(given := [way for way, asked in ways.items() if asked]) > 1:
        raise InputError(f"{given[0]} and {given[1]} do not go together: give one of them")
    if name in (None, _PLAN):
        if given and not (name == _PLAN and as_markdown):
            raise InputError(f"{given[0]} needs a lesson: `espsim lesson` lists them")
        _print_all(name == _PLAN, as_json)
        return
    chosen = lesson_of(str(name))
    if as_json and (as_markdown or notebook is not None):
        raise InputError(f"--json says which answers were right, and {given[0]} takes no answers")
    if as_markdown:
        click.echo(written.markdown(chosen), nl=False)
    elif notebook is not None:
        common.write_file(notebook, written.notebook(chosen))
        with common.reporting(notebook):
            click.echo(f"{notebook}: lesson {chosen.number} of {len(lessons())}, {chosen.title}")
    elif not all(mark.right for mark in _run(chosen, answers, as_json)):
        sys.exit(1)


def _print_all(as_plan: bool, as_json: bool) -> None:
    """Print the list of lessons, or the plan."""
    from espsim.explain.lessons.source import lessons
    from espsim.explain.lessons.written import plan
    from espsim.report.lesson import print_lessons

    rows = [each.as_dict() | ({"teacher": each.teacher} if as_plan else {}) for each in lessons().values()]
    if as_json:
        common.print_json({"lessons": rows})
    elif as_plan:
        click.echo(plan(), nl=False)
    else:
        print_lessons(rows)


def _run(chosen: Lesson, answers: str | None, as_json: bool) -> list[Marked]:
    """Play a lesson, and print it or its result."""
    from espsim.explain.lessons.marks import play
    from espsim.report.lesson import LessonPage

    people = answers is None and sys.stdin is not None and sys.stdin.isatty()
    given = _of_input() if answers in (None, STANDARD) else _of_file(str(answers), chosen)
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        page = LessonPage(chosen, echoes=not people) if people or not as_json else None
        marks = play(chosen, _asker(given, page if people else None), page.tell if page else lambda _part: None)
        if page is not None:
            page.end(marks)
    if as_json:
        right = sum(mark.right for mark in marks)
        common.print_json({"lesson": chosen.number, "name": chosen.name, "title": chosen.title, "right": right,
                           "of": len(marks), "questions": [mark.as_dict() for mark in marks]})  # fmt: skip
    return marks


def _asker(given: Iterator[str], page: LessonPage | None) -> Ask:
    """The source of answers. With a `page` a person answers, and gets a prompt, a hint and a second try."""
    from espsim.core.errors import InputError
    from espsim.explain.lessons.source import Question

    asked = 0

    def ask(question: Question, again: bool) -> str | None:
        nonlocal asked
        if again and page is None:
            return None
        asked += not again
        if page is not None:
            if again:
                page.hint(question)
            print("your answer: ", end="")
        sys.stdout.flush()  # the question must be on the screen before the answer is read
        answer = next(given, None)
        if answer is None:
            if page is not None:
                print()
            raise InputError(f"ends before the answer to question {asked} (one answer a line; an empty line: none)",
                             where=STANDARD)  # fmt: skip
        return answer

    return ask


def _of_input() -> Iterator[str]:
    """Answers from standard input, each read when it is needed."""
    from espsim.core.inputs import open_input
    from espsim.explain.lessons.marks import LONGEST, checked

    def lines(file: BinaryIO) -> Iterator[bytes]:
        while line := file.readline(LONGEST + 3):
            yield line

    with open_input(STANDARD) as file:
        for number, line in enumerate(lines(file), 1):
            yield checked(line, STANDARD, number)


def _of_file(path: str, chosen: Lesson) -> Iterator[str]:
    """Answers from a file. InputError, before anything runs: it does not have one for each question."""
    from espsim.core.errors import InputError
    from espsim.core.inputs import read_whole
    from espsim.explain.lessons.marks import checked

    lines = read_whole(path, most=_MOST).splitlines()
    if len(lines) != chosen.questions:
        given = "1 line" if len(lines) == 1 else f"{len(lines):,} lines"
        raise InputError(f"has {given}, and lesson {chosen.number} has {chosen.questions} questions: give"
                         " one answer a line; an empty line: none", where=path)  # fmt: skip
    return iter([checked(line, path, number) for number, line in enumerate(lines, 1)])
