"""`espsim run` as a report: the question, whether the answer is as expected, a table for each variant, lost packets."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.report import scenario as words
from espsim.report.html.charts import bars
from espsim.report.html.document import HtmlFigure, HtmlTable, HtmlWords, Made, Part, Report, Section, render
from espsim.report.scenario import Cell

_NAMED = 6


def run_html(
    answers: Sequence[tuple[Mapping[str, Any], Sequence[Cell]]],
    made_by: Made,
    *,
    concluded: Sequence[tuple[str, str]] | None = None,
    kernel: Mapping[str, Any] | None = None,
) -> str:
    """The whole page. `answers`: (about, cells) of each scenario. `concluded`, `kernel`: as in the JSON of `run`."""
    cells = [cell for _about, mine in answers for cell in mine]
    verdict, good = words.verdict(cells)
    one = len(answers) == 1
    names = [words.name_of(about) for about, _mine in answers]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    several = f"{len(names)} questions: {', '.join(names[:_NAMED])}{more}"
    question = str(answers[0][0]["question"]) if one else several
    sections = [_scenario(about, mine, alone=one) for about, mine in answers]
    if concluded is not None:
        follows = HtmlTable.of("What each policy means", ("policy", "what follows"), concluded)
        sections.insert(0, Section("What follows", [follows]))
    if kernel is not None:
        sections.append(Section("This machine's kernel", [HtmlWords(line) for line in words.live_lines(kernel)]))
    assumed = dict.fromkeys(text for cell in cells for text in cell["assumptions"])
    return render(
        Report(
            "espsim run", question, verdict, good, sections, lead=list(words.missed(cells)),
            assumptions=list(assumed), made_by=made_by,
        )
    )  # fmt: skip


def _scenario(about: Mapping[str, Any], cells: Sequence[Cell], *, alone: bool) -> Section:
    asked = [] if alone else [HtmlWords(str(about["question"]))]
    parts: list[Part] = [*asked, HtmlWords(f"source: {about['source']}", "n")]
    for variant, group in itertools.groupby(cells, key=lambda cell: str(cell["variant"])):
        parts += _variant(words.name_of(about), variant, list(group))
    policies = list(dict.fromkeys(cell["policy"] for cell in cells))
    choice = " ".join(words.notes_for(about["choice"], policies))
    if choice:
        parts.append(HtmlWords(f"note: {choice}", "n"))
    return Section(words.name_of(about), parts)


def _variant(name: str, variant: str, cells: Sequence[Cell]) -> Iterator[Part]:
    title = name if variant == "-" else f"{name}, {variant}"
    headers, rows, notes = words.variant_table(cells)
    said = [(*row, note) for row, note in zip(rows, notes, strict=True)]
    yield from (HtmlWords(line) for line in words.wire_lines(cells))
    yield HtmlTable.of(f"{title}: what came", (*headers, "what it means"), said)
    yield from _fates(title, cells)
    for cell in cells:
        if cell.get("trace"):
            caption, headers, traced, bad = words.trace_table(cell)
            yield HtmlTable.of(caption, headers, traced)
            yield HtmlWords(bad)


def _fates(title: str, cells: Sequence[Cell]) -> Iterator[Part]:
    """The packets' fates, if some were lost: a bar for each answer."""
    rows: list[tuple[str, Mapping[str, float]]] = []
    for same in words.answers_alike(cells):
        counted: Counter[str] = Counter()
        for packet in same[0]["packets"]:
            counted[words.fate(packet)] += packet["count"]
        if counted:
            model = "" if same[0]["model"] == "software" else f", {same[0]['model']}"
            rows.append((f"{', '.join(dict.fromkeys(cell['policy'] for cell in same))}{model}", counted))
    fates = list(dict.fromkeys(fate for _name, counted in rows for fate in counted))
    if not set(fates) - {"delivered", "sent"}:
        return
    caption = f"{title}: packets, and why they were lost"
    numbers = [(name, *(str(counted.get(fate, 0)) for fate in fates)) for name, counted in rows]
    says = "A bar for each answer: how many packets were delivered, and how many were lost by which cause."
    yield HtmlFigure(bars(caption, says, rows, "packets"), HtmlTable.of(caption, ("policy", *fates), numbers))
