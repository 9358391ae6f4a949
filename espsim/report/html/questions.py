"""The thread's two large questions as reports: `run android-and-marvell` and `run default`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espsim.report import questions as words
from espsim.report.html.document import HtmlTable, HtmlWords, Items, Made, Part, Report, Section, render


def question_html(result: Mapping[str, Any], made_by: Made) -> str:
    """The whole page; the conclusion is the verdict."""
    both = "cells" in result
    first, *more = [
        line if isinstance(line, str) else f"{line['topic']}: {line['meaning']}" for line in result["conclusion"]
    ]
    if both:
        parts: list[Part] = [HtmlTable.of("Android's calls, and the second connection", *words.both_table(result))]
    else:
        parts = [HtmlTable.of("Who works under which default", *words.default_table(result))]
        parts += [HtmlWords(line, "n") for line in words.DEFAULT_LEGEND]
    sections = [Section("The runs", parts), *([Section("What follows", [Items(more)])] if more else [])]
    return render(
        Report(
            f"espsim run {result['scenario']}", result["question"], first, None, sections,
            assumptions=words.both_assumed(result) if both else (), made_by=made_by,
        )
    )  # fmt: skip
