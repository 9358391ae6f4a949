"""Lessons: each runs, in time, with the library alone; marks; Markdown and executed notebooks."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import time
from contextlib import redirect_stdout

import pytest

import espsim
from espsim.core.errors import InputError
from espsim.explain.lessons.cells import RanCell, Step, executed
from espsim.explain.lessons.marks import LONGEST, Marked, checked, is_right, play, written
from espsim.explain.lessons.source import CodeCell, Question, Text, lesson_of, lessons, parse
from espsim.explain.lessons.written import markdown, notebook, plan

SECONDS = 2.0
EVERY = pytest.mark.parametrize("name", lessons())
LIBRARY = frozenset({"io", "time", "espsim"})


def right_answers(name):
    """The right answers."""
    marks = play(lesson_of(name), lambda _question, again: None if again else "", lambda _part: None)
    return [mark.answer for mark in marks]


# -- the sources ------------------------------------------------------------------------------------------------------


def test_the_eight_lessons_in_order():
    assert [lesson.number for lesson in lessons().values()] == [*range(1, 9)]
    assert sum(lesson.minutes for lesson in lessons().values()) == 45
    assert all(lesson.questions >= 3 for lesson in lessons().values())


@EVERY
def test_cells_use_the_front_door_alone(name):
    for cell in (part for part in lessons()[name].parts if isinstance(part, CodeCell)):
        for node in ast.walk(ast.parse(cell.code)):
            assert not isinstance(node, ast.ImportFrom)
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= LIBRARY
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "espsim":
                assert node.attr in espsim.__all__


@EVERY
def test_a_question_is_answered_by_the_next_cell(name):
    parts = lessons()[name].parts
    for question, answer in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(question, Question):
            assert isinstance(answer, CodeCell)
            assert question.hint


@EVERY
def test_no_number_is_typed_in_a_text(name):
    """But for names that have digits: of sections, of commits, of widths."""
    named = r"\{\{.*?\}\}|`[^`]*`|RFC \d+('s|,)?( (section|appendix) \w[\d.]*)?|2\^32|32 bits|94f39804d891"
    for part in lessons()[name].parts:
        if isinstance(part, Text):
            assert not re.findall(r"\d+", re.sub(named, "", part.text)), part.text


# -- running ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 9))
def test_right_answers_are_right_and_in_time(number):
    lesson = lesson_of(str(number))
    answers = iter(right_answers(lesson.name))
    told: list[Step | Marked] = []
    start = time.process_time()
    marks = play(lesson, lambda _question, _again: next(answers), told.append)
    assert time.process_time() - start < SECONDS
    assert all(mark.right for mark in marks)
    assert len(marks) == lesson.questions
    assert not any("{{" in part.text for part in told if isinstance(part, Text))


@EVERY
def test_wrong_answers_are_wrong(name):
    marks = play(lesson_of(name), lambda _question, _again: "-7 maybe", lambda _part: None)
    assert not any(mark.right for mark in marks)


def test_a_second_try_counts():
    def ask(_question, again):
        return "84" if again else "85"

    marks = play(lesson_of("1"), ask, lambda _part: None)
    assert [mark.right for mark in marks] == [True, True, False]


def test_an_answer_is_asked_for_before_its_cell_is_shown():
    told: list[Step | Marked] = []
    seen = []

    def ask(_question, _again):
        seen.append(isinstance(told[-1], Question))
        return ""

    play(lesson_of("2"), ask, told.append)
    assert all(seen)
    assert len(seen) == 2 * lesson_of("2").questions


def test_lessons_load_no_compiled_kernel():
    """A beginner should not have to wait for a compiler."""
    code = (
        "import sys\nfrom espsim.explain.lessons.cells import executed\n"
        "from espsim.explain.lessons.source import lessons\n"
        "for lesson in lessons().values():\n    list(executed(lesson))\nprint('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "value", "right"),
    [
        ("84", 84, True),
        (" 0x54 ", 84, True),
        ("84.", 84, True),
        ("4,294,967,295", 2**32 - 1, True),
        ("2^32 - 1", 2**32 - 1, True),
        ("2**32+2", 2**32 + 2, True),
        ("", 84, False),
        ("٨٤", 84, False),
        ("9" * 200, 84, False),
        ("9" * 190 + "^99", 0, False),
        ("99^99", 84, False),
        ("1", True, False),
        ("Yes", True, True),
        ("no", True, False),
        ("N", False, True),
        ("", False, False),
        ("`xfrminnostates`", "XfrmInNoStates", True),
        ("None", "XfrmInNoStates", False),
        ("1, b", (1, "B"), True),
        ("1", (1, "B"), False),
    ],
)
def test_judging(given, value, right):
    assert is_right(given, value) is right


@pytest.mark.parametrize("value", [84, True, False, "ENOENT", (1, "B")])
def test_what_is_said_to_be_right_is_right(value):
    assert is_right(written(value), value)


def test_answers_that_no_one_would_give():
    assert checked(b"a" * LONGEST + b"\r\n", "-", 1) == "a" * LONGEST
    assert checked(b"\xff\0\n", "-", 1) == "\ufffd\0"
    with pytest.raises(InputError, match="-:3: an answer of more than 200 bytes"):
        checked(b"a" * (LONGEST + 1), "-", 3)


@pytest.mark.parametrize("name", ["0", "9", "", "wind", "windwo", "a" * 10**6])
def test_lessons_that_are_not_there(name):
    with pytest.raises(InputError, match="there is no lesson") as raised:
        lesson_of(name)
    assert ("did you mean window?" in str(raised.value)) == name.startswith("wind")
    assert len(str(raised.value)) < 300


# -- what is written --------------------------------------------------------------------------------------------------


def unmeasured(text):
    """A text without the numbers of a machine's clock."""
    return re.sub(r"\d+\.\d+", "N", text)


@EVERY
def test_a_notebook_says_what_its_cells_say(name):
    """They are executed here with nothing of ours around them."""
    document = json.loads(notebook(lesson_of(name)))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell["id"]) for cell in document["cells"])
    names: dict[str, object] = {}
    count = 0
    for cell in document["cells"]:
        if cell["cell_type"] == "markdown":
            assert set(cell) == {"id", "cell_type", "metadata", "source"}
            continue
        count += 1
        assert set(cell) == {"id", "cell_type", "metadata", "source", "outputs", "execution_count"}
        assert cell["execution_count"] == count
        *body, ends = ast.parse("".join(cell["source"])).body
        if isinstance(ends, ast.Expr):
            last = ends.value
        else:
            body, last = [*body, ends], ast.parse("None", mode="eval").body
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(ast.Module(body, []), "cell", "exec"), names)  # noqa: S102 - it is the test
            value = eval(compile(ast.Expression(last), "cell", "eval"), names)  # noqa: S307
        shown = {"stdout": printed.getvalue(), "value": "" if value is None else repr(value)}
        stored = {"stdout": "", "value": ""}
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                stored["stdout"] = "".join(output["text"])
            else:
                assert output["execution_count"] == count
                stored["value"] = "".join(output["data"]["text/plain"])
        if "measured" in cell["metadata"].get("tags", ()):
            shown, stored = ({k: unmeasured(v) for k, v in each.items()} for each in (shown, stored))
        assert shown == stored
    assert count == sum(isinstance(part, CodeCell) for part in lesson_of(name).parts)


@EVERY
def test_markdown_has_every_cell_with_its_output(name):
    lesson = lesson_of(name)
    text = markdown(lesson)
    assert text.startswith(f"# {lesson.number}. {lesson.title}\n")
    assert text.count("<summary>The answer</summary>") == lesson.questions
    for step in executed(lesson):
        if isinstance(step, RanCell):
            assert f"```python\n{step.cell.code}\n```" in text
            if step.shown and not step.cell.measured:
                assert f"{step.shown}\n```" in text
    assert text == markdown(lesson) or name == "time"


def test_the_plan_is_of_45_minutes():
    rows = [line.split(" | ") for line in plan().splitlines() if re.match(r"\| \d", line)]
    assert "45 minutes" in plan()
    assert [int(row[0].strip("| ")) for row in rows][:2] == [0, 6]
    assert len(rows) == 8


def test_a_source_is_read():
    lesson = parse(
        "3-x.md",
        "# T\nminutes: 2\nteacher: t\n\nOne.\n\n```question\nTwo?\n(hint: h)\n```\n\n```python measured\n3\n```\n",
    )
    assert lesson.parts == (Text("One."), Question("Two?", "h"), CodeCell("3", measured=True))
    assert (lesson.number, lesson.name, lesson.title, lesson.minutes, lesson.questions) == (3, "x", "T", 2, 1)
