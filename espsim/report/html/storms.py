"""Storms as a report: packets lost over time, by cause; the SAs in the device; what would have lost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.report import storm as words
from espsim.report.html.charts import columns
from espsim.report.html.document import HtmlFigure, HtmlTable, HtmlWords, Items, Made, Part, Report, Section, render
from espsim.report.storm import Cell


def storm_html(answers: Sequence[tuple[Mapping[str, Any], Sequence[Cell]]], made_by: Made) -> str:
    """The whole page. `answers`: (about, cells) of each storm."""
    cells = [cell for _about, mine in answers for cell in mine]
    judged = [cell["as_expected"] for cell in cells if cell["as_expected"] is not None]
    lost = sum(cell["packets"]["lost"] for cell in cells)
    sent = sum(cell["packets"]["sent"] for cell in cells)
    wrong = judged.count(False)
    compared = f"; {len(judged)} compared with what is expected: {f'{wrong} differ' if wrong else 'all as expected'}"
    verdict = f"{lost:,} of {sent:,} packets are lost{compared if judged else ''}"
    names = ", ".join(str(about["name"]) for about, _mine in answers)
    question = str(answers[0][0]["question"]) if len(answers) == 1 else f"{len(answers)} storms: {names}"
    sections = [section for about, mine in answers for section in _storm(about, mine, alone=len(answers) == 1)]
    assumed = dict.fromkeys(text for cell in cells for text in cell["assumptions"])
    good = None if not judged else not wrong
    return render(Report("espsim run", question, verdict, good, sections, assumptions=list(assumed), made_by=made_by))


def _storm(about: Mapping[str, Any], cells: Sequence[Cell], *, alone: bool) -> Iterator[Section]:
    rows = [(*words.row_of(cell), cell["meaning"]) for cell in cells]
    asked = [] if alone else [HtmlWords(str(about["question"]))]
    parts: list[Part] = [*asked, HtmlWords(f"source: {about['source']}", "n")]
    parts.append(HtmlTable.of(f"{about['name']}: what came", (*words.HEAD, "what it means"), rows))
    yield Section(str(about["name"]), parts)
    for cell in cells:
        yield Section(f"{cell['policy']}, {cell['model']}", list(_cell(cell)))


def _cell(cell: Cell) -> Iterator[Part]:
    yield from (HtmlWords(line, "bad") for line in words.unmet(cell))
    yield Items(list(words.facts_of(cell)))
    yield from _timeline(cell)
    for story in cell.get("trace") or ([cell["worst"]] if cell["worst"] else ()):
        yield HtmlTable.of(*words.story_table(story, of_many="trace" not in cell))


def _timeline(cell: Cell) -> Iterator[Part]:
    bins = cell["timeline"]
    if not bins:
        return
    causes = list(cell["drops"])
    title = f"Packets lost over time: {cell['policy']}, {cell['model']}"
    says = "A column for each interval: packets lost, by the counter that moves. The line: SAs in the device."
    drops = [(each["from"], each["to"], {name: each["drops"].get(name, 0) for name in causes}) for each in bins]
    drawing = columns(
        title, says, drops, ("SAs in the device", [each["device"] for each in bins]), ("seconds", "packets lost")
    )
    rows = [
        (words.span_of(each), f"{each['sent']:,}",
         *(f"{each['drops'].get(name, 0):,}" for name in causes), f"{each['device']:,}")
        for each in bins
    ]  # fmt: skip
    yield HtmlFigure(drawing, HtmlTable.of(title, ("seconds", "sent", *causes, "SAs in the device"), rows))
