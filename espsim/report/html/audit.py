"""An audit as a report: what works, what is lost, the slots of each table, and the odds where they change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.report import audit as words
from espsim.report.html.charts import Drawing, Point, SlotMap, lines, slots
from espsim.report.html.document import HtmlFigure, HtmlTable, HtmlWords, Items, Made, Part, Report, Section, render

Curve = Mapping[str, Sequence[tuple[int, float, float, float]]]
"""The chance of each event: (SAs, chance, low, high)."""


def audit_html(result: Mapping[str, Any], tables: Sequence[SlotMap], curves: Sequence[Curve], made_by: Made) -> str:
    """The whole page. `tables`, `curves`: one for each model; a curve is empty where the odds are not known."""
    lost = result["lost"]
    verdict = f"{lost} {'does' if lost == 1 else 'do'} not work" if lost else "none is lost, none meets a wrong SA"
    models = list(zip(result["models"], tables, curves, strict=True))
    sections = [_model(model, table, curve) for model, table, curve in models]
    if result["odds"]:
        sections.append(_odds(result, models))
    if result["notes"]:
        sections.append(Section("What was passed over in the dump", [Items(result["notes"])]))
    return render(
        Report(
            "espsim audit", "SAs in hardware: which work, which are lost?", verdict, not lost, sections,
            lead=[*words.answers(result), *words.heading(result)],
            assumptions=[
                f"{model['model']}: {text}"
                for model in result["models"]
                for text in (*model["assumptions"], *model["hidden_keys"])
            ],
            made_by=made_by,
        )
    )  # fmt: skip


def _model(model: Mapping[str, Any], table: SlotMap, curve: Curve) -> Section:
    name = model["model"]
    parts: list[Part] = [HtmlWords(words.answer(model))]
    parts.append(HtmlTable.of(f"What becomes of them: {name}", _named(words.TRAFFIC_HEAD), words.traffic_rows(model)))
    parts += _occupancy(model, table)
    parts.append(HtmlTable.of("What the driver refuses", words.REFUSED_HEAD, words.refused_rows(model)))
    parts.append(HtmlTable.of("What is not public", words.UNKNOWN_HEAD, words.unknown_rows(model)))
    told = words.telling(model["findings"])
    parts.append(
        HtmlTable.of("SAs that are not simply installed", _named(words.FINDINGS_HEAD), words.finding_rows(told))
    )
    parts += [
        HtmlWords(f"and {n} more that are of “{fate}”", "n") for fate, n in model["findings_left_out"].items()
    ]  # fmt: skip
    if model["advice"]:
        parts += [HtmlWords("What to do:"), Items(model["advice"])]
    return Section(name, [*parts, *_curve(name, curve)])


def _named(head: Sequence[str]) -> list[str]:
    return [name or "remark" for name in head]


def _occupancy(model: Mapping[str, Any], table: SlotMap) -> Iterator[Part]:
    if not table.used:
        return
    each = "one slot" if table.per_cell == 1 else f"{table.per_cell} slots"
    written = model["table"]["used"]
    contended = sum(map(bool, table.wanted))
    says = (
        f"{table.size} slots, {written} written, {table.size - written} free; a square is {each};"
        f" others wanted {contended} of the squares that are written."
    )
    numbers = HtmlTable(
        f"Slots of {model['model']}",
        ("slots", "written", "free", "squares that others wanted too"),
        [[str(table.size), str(written), str(table.size - written), str(contended)]],
    )
    yield HtmlWords(says, "n")
    if not any(table.used):
        return
    yield HtmlFigure(slots(f"Slots of {model['model']}", says, table), numbers)


def _curve(name: str, curve: Curve) -> Iterator[Part]:
    happens = {event: row for event, row in curve.items() if any(chance for _sas, chance, *_ in row)}
    if not happens:
        return
    drawn = {event: [Point(*point) for point in row] for event, row in happens.items()}
    says = "The chance that each of these happens at least once among so many SAs; points lie where it changes."
    title = f"Odds in {name}, SPIs drawn anew"
    drawing: Drawing = lines(title, says, drawn, ("SAs", "chance"), log=(True, False), dashed=("any",))
    sizes = [sas for sas, *_ in next(iter(happens.values()))]
    rows = [[f"{sas:,}", *(words.chance(row[at][1]) for row in happens.values())] for at, sas in enumerate(sizes)]
    yield HtmlFigure(drawing, HtmlTable(title, ("SAs", *happens), rows))


def _odds(result: Mapping[str, Any], models: Sequence[tuple[Mapping[str, Any], SlotMap, Curve]]) -> Section:
    parts: list[Part] = [HtmlWords("Each SPI is drawn uniformly and independently from the range of the dump's SPIs.")]
    parts.append(
        HtmlTable.of("Odds for as many SAs, and for ten times as many", words.ODDS_HEAD, words.odds_rows(result))
    )
    if not any(curve for _model, _table, curve in models):
        parts.append(
            HtmlWords("No odds are drawn: there are more than 1,000 SAs, or what decides them is not public.", "n")
        )
    return Section("If these SPIs were drawn anew", parts)
