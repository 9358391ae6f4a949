"""What a sweep found as one HTML file: no script, nothing fetched, the medians drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from espsim.core.echo import printable_values
from espsim.report.look import asset
from espsim.report.sweep import change_table, failures, heading, is_log, label_of, lines_of, point_table, text_of

_COLOURS = (
    "#2f6f9f",
    "#d9480f",
    "#5c940d",
    "#862e9c",
    "#0b7285",
    "#c2255c",
    "#e67700",
    "#364fc7",
    "#2b8a3e",
    "#495057",
)
_WIDE, _HIGH, _LEFT, _BELOW = 820, 340, 70, 40


def sweep_html(result: Mapping[str, Any]) -> str:
    """The whole page."""
    result = printable_values(result)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>espsim sweep: {escape(result['study'])}</title><style>{asset('page.css')}</style></head><body><main>",
        f"<h1>{escape(result['question'])}</h1>",
        *(f'<p class="n">{escape(line)}</p>' for line in heading(result)),
    ]
    if result["changes"]:
        parts += ["<h2>Where the answer changes</h2>", _table(*change_table(result))]
    parts += _drawn(result)
    if result["points"]:
        parts += ["<h2>Medians, with 95 % intervals</h2>", _table(*point_table(result, result["points"]))]
    for why, rows in failures(result).items():
        parts.append(f'<p class="bad">{len(rows)} failed: {escape(why)}</p>')
    parts.append("</main></body></html>\n")
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" if name else "<td></td>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _drawn(result: Mapping[str, Any]) -> Iterator[str]:
    """The headline value along its axis: a line for each combination of the others, lines that are alike together."""
    lines, places = lines_of(result), result["axes"].get(result["along"], [])
    most = max((point[3] for line in lines.values() for point in line), default=0)
    if len(places) < 2 or not lines:
        return
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, line in lines.items():
        alike.setdefault(tuple(line), []).append(name)
    yield f"<h2>{escape(result['headline'].replace('_', ' '))} along {escape(result['along'])}</h2>"
    yield f'<svg role="img" aria-label="medians" viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}">'
    yield from _frame(places, most)
    for number, (points, names) in enumerate(alike.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        at = [f"{_x(point[0], places):.1f},{_y(point[1], most):.1f}" for point in points]
        yield f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{" ".join(at)}">'
        yield f"<title>{escape(', '.join(names))}</title></polyline>"
        for point in points:
            x, low, high = _x(point[0], places), _y(point[2], most), _y(point[3], most)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>'
    yield "</svg><p>"
    for number, names in enumerate(alike.values()):
        yield f'<span style="color:{_COLOURS[number % len(_COLOURS)]}">&#9644;</span> {escape(label_of(names))}&emsp;'
    yield "</p>"


def _frame(places: Sequence[Any], most: float) -> Iterator[str]:
    floor = _HIGH - _BELOW
    yield f'<path d="M{_LEFT},10 V{floor} H{_WIDE - 10}" fill="none" stroke="#868e96"/>'
    for share in (0, 0.5, 1):
        yield f'<text x="{_LEFT - 8}" y="{_y(share * most, most) + 4:.1f}" text-anchor="end">{share * most:.3g}</text>'
    for value in places[:: max(1, len(places) // 10)]:
        x = _x(value, places)
        yield f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{escape(text_of(value))}</text>'


def _x(value: Any, places: Sequence[Any]) -> float:
    """Where a value of the axis lies: by its logarithm, by itself, or, where it is a word, by its turn."""
    numbers = all(isinstance(place, int | float) and not isinstance(place, bool) for place in places)
    scale = math.log if is_log(places) else float
    low, high, at = (
        (scale(min(places)), scale(max(places)), scale(value)) if numbers else (0, len(places) - 1, places.index(value))
    )
    return _LEFT + 15 + (at - low) / ((high - low) or 1) * (_WIDE - _LEFT - 50)


def _y(value: float, most: float) -> float:
    return _HIGH - _BELOW - value / (most or 1) * (_HIGH - _BELOW - 15)
