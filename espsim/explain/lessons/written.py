"""A lesson as Markdown and as an executed notebook (nbformat 4.5), and the plan of a class.

In a notebook the cells that answer a question are marked as folded, code and output; JupyterLab folds them. Source: the
nbformat documentation, "The Notebook file format".

What this does not do: read either format back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from espsim.explain.lessons.cells import RanCell, Step, executed
from espsim.explain.lessons.source import Lesson, Question, lessons


def markdown(lesson: Lesson) -> str:
    """The lesson with the outputs of its cells. A question's hint and answer are folded."""
    return "\n\n".join([_title(lesson), *(_paragraph(step, asked) for step, asked in _steps(lesson))]) + "\n"


def notebook(lesson: Lesson) -> bytes:
    """The lesson as an .ipynb with its outputs."""
    cells: list[dict[str, Any]] = [_markdown_cell(_title(lesson))]
    count = 0
    for step, asked in _steps(lesson):
        if isinstance(step, RanCell):
            count += 1
            cells.append(_code_cell(step, count, asked))
        else:
            cells.append(_markdown_cell(_paragraph(step, asked)))
    for number, cell in enumerate(cells):
        cell["id"] = f"{lesson.name}-{number}"
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def plan() -> str:
    """The plan of a class as Markdown: when each lesson begins, and what the teacher says."""
    every = lessons().values()
    total = sum(lesson.minutes for lesson in every)
    lines = [
        f"# A class of {total} minutes",
        "",
        f"{len(every)} lessons, {sum(lesson.questions for lesson in every)} questions. Let everyone answer before the"
        " cell is run; a wrong guess that is discussed is worth more than a right one. `espsim lesson N` marks the"
        " answers of someone who works alone; `espsim lesson N --notebook FILE` and `--markdown` are for handing out.",
        "",
        "| from minute | lesson | the teacher |",
        "|---|---|---|",
    ]
    start = 0
    for lesson in every:
        lines.append(f"| {start} | {lesson.number}. {lesson.title} (`{lesson.name}`) | {lesson.teacher} |")
        start += lesson.minutes
    return "\n".join([*lines, ""])


def _steps(lesson: Lesson) -> Iterator[tuple[Step, bool]]:
    """Each part that was run, and whether it is a cell that answers the question before it."""
    asked = False
    for step in executed(lesson):
        yield step, asked
        asked = isinstance(step, Question)


def _title(lesson: Lesson) -> str:
    return f"# {lesson.number}. {lesson.title}"


def _paragraph(step: Step, asked: bool) -> str:
    if isinstance(step, Question):
        return f"**Question.** {step.text}\n\n<details><summary>A hint</summary>\n\n{step.hint}\n\n</details>"
    if not isinstance(step, RanCell):
        return step.text
    shown = f"```python\n{step.cell.code}\n```"
    if output := "\n".join(part for part in (step.printed.rstrip("\n"), step.shown) if part):
        shown += f"\n\n```text\n{output}\n```"
    return f"<details><summary>The answer</summary>\n\n{shown}\n\n</details>" if asked else shown


def _markdown_cell(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code_cell(ran: RanCell, count: int, asked: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"tags": ["measured"]} if ran.cell.measured else {}
    if asked:
        metadata["jupyter"] = {"outputs_hidden": True, "source_hidden": True}
    outputs: list[dict[str, Any]] = []
    if ran.printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": ran.printed.splitlines(keepends=True)})
    if ran.shown:
        data = {"text/plain": ran.shown.splitlines(keepends=True)}
        outputs.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    return {
        "cell_type": "code",
        "execution_count": count,
        "metadata": metadata,
        "outputs": outputs,
        "source": ran.cell.code.splitlines(keepends=True),
    }
