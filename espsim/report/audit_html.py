"""An audit as one HTML file: no script, nothing fetched, the slots of each table drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from espsim.core.echo import printable_values
from espsim.report import audit
from espsim.report.look import asset

_SIDE = 8
_WIDE = 128
_FREE, _USED, _WANTED = "#f3f4f6", "#2f6f9f", "#d9480f"


class Drawing(NamedTuple):
    """A key table in cells of `per_cell` places, by place: how many are written, how many of these others wanted."""

    size: int
    per_cell: int
    used: Sequence[int]
    wanted: Sequence[int]


def audit_html(result: Mapping[str, Any], drawings: Sequence[Drawing]) -> str:
    """The whole page; one drawing a model."""
    result = printable_values(result)
    lost = result["lost"]
    verdict = f"{lost} {'does' if lost == 1 else 'do'} not work" if lost else "none is lost, none meets a wrong SA"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>espsim audit: {escape(str(result['dump']))}</title><style>{asset('page.css')}</style></head>",
        f'<body><main><h1>SAs in hardware: <span class="{"bad" if lost else ""}">{verdict}</span></h1>',
        *(f"<p><strong>{escape(line)}</strong></p>" for line in audit.answers(result)),
        *(f"<p>{escape(line)}</p>" for line in audit.heading(result)),
        *(f'<p class="n">{escape(note)}</p>' for note in result["notes"]),
    ]
    for model, drawing in zip(result["models"], drawings, strict=True):
        parts += _model(model, drawing)
    if result["odds"]:
        parts.append("<h2>If these SPIs were drawn anew</h2><p>Uniformly from their range, independently.</p>")
        parts.append(_table(audit.ODDS_HEAD, audit.odds_rows(result)))
    parts.append("</main></body></html>\n")
    return "\n".join(parts)


def _model(model: Mapping[str, Any], drawing: Drawing) -> Iterator[str]:
    yield f"<h2>{escape(model['model'])}</h2><p>{escape(audit.answer(model))}</p>"
    for assumption in (*model["assumptions"], *model["hidden_keys"]):
        yield f'<p class="n">assumed: {escape(assumption)}</p>'
    yield _table(audit.TRAFFIC_HEAD, audit.traffic_rows(model))
    yield from _occupancy(model, drawing)
    if model["refused"]:
        yield _table(audit.REFUSED_HEAD, audit.refused_rows(model))
    if model["unknown_keys"]:
        yield _table(audit.UNKNOWN_HEAD, audit.unknown_rows(model))
    told = audit.telling(model["findings"])
    if told:
        yield _table(audit.FINDINGS_HEAD, audit.finding_rows(told))
    for fate, n in model["findings_left_out"].items():
        yield f'<p class="n">and {n} more that are of “{escape(fate)}”</p>'
    if model["advice"]:
        yield "<h3>What to do</h3><ul>"
        yield from (f"<li>{escape(sentence)}</li>" for sentence in model["advice"])
        yield "</ul>"


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" if name else "<td></td>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _occupancy(model: Mapping[str, Any], drawing: Drawing) -> Iterator[str]:
    """A rectangle a cell, by place from the upper left: the fuller the darker, another colour where SAs contend."""
    if not drawing.used:
        return
    each = "one slot" if drawing.per_cell == 1 else f"{drawing.per_cell} slots"
    rows = -(-len(drawing.used) // _WIDE)
    wide, high = min(_WIDE, len(drawing.used)) * _SIDE, rows * _SIDE
    free = drawing.size - model["table"]["used"]
    yield (
        f'<p class="n">{drawing.size} slots, {model["table"]["used"]} written, {free} free; a square is {each}.'
        f' <span style="color:{_USED}">■</span> written <span style="color:{_WANTED}">■</span> others wanted it too</p>'
    )
    size = f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}"'
    yield f'<svg class="slots" role="img" aria-label="slot occupancy" {size}>'
    for n, (used, wanted) in enumerate(zip(drawing.used, drawing.wanted, strict=True)):
        if used:
            colour = _WANTED if wanted else _USED
            opacity = 0.35 + 0.65 * used / drawing.per_cell
            place = f'x="{n % _WIDE * _SIDE}" y="{n // _WIDE * _SIDE}" width="{_SIDE - 1}" height="{_SIDE - 1}"'
            title = f"<title>slot {n * drawing.per_cell}: {used} written, {wanted} contended</title>"
            yield f'<rect {place} fill="{colour}" opacity="{opacity:.2f}">{title}</rect>'
    yield "</svg>"
