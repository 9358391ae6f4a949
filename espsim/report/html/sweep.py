"""A sweep as a report: a drawing of the medians, and where the answer changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.report.html.charts import Point, lines
from espsim.report.html.document import HtmlFigure, HtmlTable, HtmlWords, Made, Part, Report, Section, render
from espsim.report.sweep import change_table, failures, heading, is_log, label_of, lines_of, point_table, text_of

_MOST_DRAWN = 10


def sweep_html(result: Mapping[str, Any], made_by: Made) -> str:
    """The whole page."""
    sections: list[Section] = []
    if result["changes"]:
        head, rows = change_table(result)
        sections.append(Section("Where the answer changes", [HtmlTable.of("Where the answer changes", head, rows)]))
    drawn = list(_drawn(result))
    if drawn:
        sections.append(Section("Drawn", drawn))
    if result["points"]:
        head, rows = point_table(result, result["points"])
        caption = "Medians, with 95 % intervals"
        sections.append(Section(caption, [HtmlTable.of(caption, head, rows)]))
    failed = failures(result)
    if failed:
        parts = [HtmlWords(f"{len(rows)} failed: {why}", "bad") for why, rows in failed.items()]
        sections.append(Section("What failed", parts))
    lead = list(heading(result))
    return render(
        Report("espsim sweep", result["question"], _verdict(result), None, sections, lead=lead, made_by=made_by)
    )


def _verdict(result: Mapping[str, Any]) -> str:
    n = sum(len(group["stretches"]) > 1 for group in result["changes"])
    if n:
        return f"The answer changes along {result['along']}, in {n} {'case' if n == 1 else 'cases'}."
    answers = dict.fromkeys(str(point["answer"]) for point in result["points"] if point["answer"] is not None)
    return f"The answer is the same everywhere: {', '.join(answers)}." if len(answers) == 1 else "No answer changes."


def _drawn(result: Mapping[str, Any]) -> Iterator[Part]:
    """The headline value along its axis: a line for each combination of the other axes; equal lines are one."""
    found, places = lines_of(result), result["axes"].get(result["along"], [])
    if len(places) < 2 or not found:
        return
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, line in found.items():
        alike.setdefault(tuple(line), []).append(name)
    ranked = sorted(alike.items(), key=lambda item: -max(point[1] for point in item[0]))
    numbers = all(isinstance(place, int | float) and not isinstance(place, bool) for place in places)
    series: dict[str, Sequence[Point]] = {}
    for points, names in ranked[:_MOST_DRAWN]:
        series[label_of(names)] = [
            Point(at if numbers else places.index(at), median, low, high) for at, median, low, high in points
        ]
    value, along = result["headline"].replace("_", " "), str(result["along"])
    says = f"The median of {value} along {along}, a line for each combination of the other axes, with 95 % intervals."
    yield HtmlFigure(
        lines(
            f"{value} along {along}", says, series, (along, value), log=(is_log(places), False),
            names=None if numbers else [text_of(place) for place in places],
        )
    )  # fmt: skip
    if len(ranked) > _MOST_DRAWN:
        yield HtmlWords(f"The {_MOST_DRAWN} highest of {len(ranked)} lines are drawn; the table has all.", "n")
    yield HtmlWords("The medians are in the table below.", "n")
