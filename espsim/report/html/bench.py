"""`espsim bench` as a report: rates against the SAs or the size, what each stage costs, ratios to other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from espsim.report import bench as words
from espsim.report.bench_axes import BY_SIZE, Row, curves, numbering, usual_sas
from espsim.report.html.charts import Point, bars, lines
from espsim.report.html.document import HtmlFigure, HtmlTable, HtmlWords, Made, Part, Report, Section, render

_MOST_DRAWN = 8
Axis = tuple[str, Callable[[Row], float]]
SIZE: Axis = ("bytes of a packet", lambda row: float(row["mean_size"] or 0))
SAS: Axis = ("SAs", lambda row: float(row["sas"] or 0))


def bench_html(rows: Sequence[Row], about: Mapping[str, Any], made_by: Made, notes: Sequence[str] = ()) -> str:
    """The whole page. `rows`: those of `espsim bench --json`. `about`: what they have in common. `notes`: warnings."""
    benches = list(dict.fromkeys(row["bench"] for row in rows))
    sections = [Section(name, list(_bench(name, [row for row in rows if row["bench"] == name]))) for name in benches]
    stages = [part for what, mine in words.staged(rows) for part in _stages(what, mine)]
    if stages:
        sections.append(Section("What each stage costs", stages))
    how = [*words.notes_of(rows, about), *notes]
    sections.append(Section("How it was measured", [HtmlWords(note) for note in how]))
    verdict, good = _verdict(rows)
    facts = [
        *((what, value) for what, value in made_by.facts if what != "versions"),
        ("versions", ", ".join(words.versions_of(rows, about))),
        ("seed", str(about["seed"])),
        ("when", str(about["when"])),
    ]
    question = f"What does the batch path cost here: {', '.join(benches)}?" if benches else "What was measured?"
    return render(
        Report("espsim bench", question, verdict, good, sections, made_by=replace(made_by, facts=facts))
    )  # fmt: skip


def _verdict(rows: Sequence[Row]) -> tuple[str, bool | None]:
    """How our rates compare with the peers'; without peers the highest rate of each bench."""
    judged = [row for row in rows if row["ratio_median"] is not None and not row["peer_note"].startswith("ours,")]
    if judged:
        slower = [row for row in judged if row["ratio_median"] < 1]
        faster = f"faster than other programs in {len(judged) - len(slower)} of {len(judged)} rows"
        return faster + (f", slower in {len(slower)}" if slower else ""), not slower
    best = [
        max((row for row in rows if row["bench"] == name), key=lambda row: row["rate_mps"] or 0)
        for name in dict.fromkeys(row["bench"] for row in rows)
    ]
    told = (f"{row['bench']} up to {row['rate_mps']:.3g} million a second ({row['what']})" for row in best)
    return "; ".join(told) or "nothing was measured", None


def _bench(name: str, rows: Sequence[Row]) -> Iterator[Part]:
    by_size = name in BY_SIZE
    if by_size:
        usual = [row for row in rows if row["sas"] == usual_sas(rows)]
        yield from _rates(name, usual, SIZE)
        yield from _ratios(name, usual, SIZE)
    sizes = [row["size"] for row in rows]
    most = max(dict.fromkeys(sizes), key=sizes.count, default=None)
    same = [row for row in rows if row["size"] == most]
    title = f"{name}, {most} bytes a packet" if by_size and len(set(sizes)) > 1 else name
    yield from _rates(title, same, SAS)
    if not by_size:
        yield from _ratios(name, same, SAS)
    yield HtmlTable.of(f"{name}: every row", *words.bench_table(rows))


def _rates(name: str, rows: Sequence[Row], axis: Axis) -> Iterator[Part]:
    x_name, place = axis
    rows = [row for row in rows if place(row)]
    if len({place(row) for row in rows}) < 2:
        return
    series: dict[str, Sequence[Point]] = {}
    dashed = []
    for curve, mine in list(curves(rows).items())[:_MOST_DRAWN]:
        own = sorted({place(row): row["rate_mps"] for row in mine if row["rate_mps"]}.items())
        series[curve] = [Point(x, rate, rate, rate) for x, rate in own]
        for peer in dict.fromkeys(row["peer"] for row in mine if row["peer"] and row["peer_rate_mps"]):
            theirs = sorted((place(row), row["peer_rate_mps"]) for row in mine if row["peer"] == peer)
            series[f"{curve}: {peer}"] = [Point(x, rate, rate, rate) for x, rate in theirs]
            dashed.append(f"{curve}: {peer}")
    series = {curve: points for curve, points in series.items() if points}
    if not series:
        return
    title = f"{name}: millions a second against {x_name}"
    says = "A line for each kind of work; both axes are logarithmic; other programs are dashed."
    if len(curves(rows)) > _MOST_DRAWN:
        yield HtmlWords(
            f"{_MOST_DRAWN} of {len(curves(rows))} kinds of work are drawn; the table below has every row.", "n"
        )
    yield HtmlFigure(
        lines(title, says, series, (x_name, "millions a second"), log=(True, True), dashed=dashed),
        _numbers(title, x_name, series),
    )


def _ratios(name: str, rows: Sequence[Row], axis: Axis) -> Iterator[Part]:
    x_name, place = axis
    rows = [row for row in rows if place(row) and row["ratio_median"] is not None]
    if len({place(row) for row in rows}) < 2:
        return
    series: dict[str, Sequence[Point]] = {}
    for curve, mine in curves(rows).items():
        for peer in dict.fromkeys(row["peer"] for row in mine):
            points = [
                Point(place(row), row["ratio_median"], row["ratio_min"], row["ratio_max"])
                for row in mine
                if row["peer"] == peer
            ]
            series[f"{curve} : {peer}"] = sorted(points)
    title = f"{name}: ratio of our rate to theirs"
    says = "Medians with the least and the most of the rounds; above 1 the batch path is faster."
    shown = dict(list(series.items())[:_MOST_DRAWN])
    yield HtmlFigure(
        lines(title, says, shown, (x_name, "ratio"), log=(True, True)), _numbers(title, x_name, series)
    )  # fmt: skip


def _numbers(title: str, x_name: str, series: Mapping[str, Sequence[Point]]) -> HtmlTable:
    places = sorted({point.x for points in series.values() for point in points})
    at = {name: {point.x: f"{point.y:.4g}" for point in points} for name, points in series.items()}
    rows = [(f"{x:,.0f}", *(at[name].get(x, "-") for name in series)) for x in places]
    return HtmlTable.of(title, (x_name, *series), rows)


def _stages(what: str, rows: Sequence[Row]) -> Iterator[Part]:
    named: list[tuple[str, Mapping[str, float]]] = [
        (", ".join([f"{row['size']} bytes, {row['sas']:,} SAs, {row['engine']}", *numbering(row)]),
         {name: stage["ns"] or 0.0 for name, stage in row["stages"].items()})
        for row in rows
    ]  # fmt: skip
    title = f"{what}: nanoseconds a packet by stage"
    says = "A bar for each case; its parts are the stages in order."
    table = HtmlTable.of(f"{what}: nanoseconds/cycles a packet by stage", *words.stage_table(rows))
    yield HtmlFigure(bars(title, says, named, "ns"), table)
