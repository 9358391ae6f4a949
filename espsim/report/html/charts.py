"""Charts as SVG shapes: lines, bars, columns over time, slots. Colours are classes of the style sheet.

A drawing's description says what it shows. Its numbers are in a table beside it (`document.HtmlFigure`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

COLOURS = 8
_WIDE, _HIGH = 760, 320
_LEFT, _RIGHT, _TOP, _BELOW = 66, 34, 26, 46
_MOST_LABELS = 10
_BAR, _GAP, _NAMES, _LONGEST = 18, 8, 250, 38
_SIDE, _SLOTS_WIDE = 8, 96


@dataclass(frozen=True, slots=True)
class SvgElement:
    """One element."""

    tag: str
    facts: Mapping[str, str | float | int]
    text: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG drawing. `says`: what it shows, in a sentence. `key`: (class, name) of each colour's meaning."""

    title: str
    says: str
    shapes: Sequence[SvgElement]
    width: int = _WIDE
    height: int = _HIGH
    key: Sequence[tuple[str, str]] = field(default_factory=tuple)


class Point(NamedTuple):
    """A point of a line, with the interval of its value."""

    x: float
    y: float
    low: float
    high: float


def colour(number: int) -> str:
    """The class of the line or part with this number."""
    return f"c{number % COLOURS}"


# -- axes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values along it."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            tens = [10.0**n for n in range(first, last + 1)]
            finer = [m * ten for ten in tens for m in (1, 2, 5)] if last - first < 3 else tens
            return [tick for tick in finer if self.low * 0.999 <= tick <= self.high * 1.001]
        span = (self.high - self.low) or 1
        step = 10 ** math.floor(math.log10(span / 4))
        step = next(step * m for m in (1, 2, 5, 10) if span / (step * m) <= 5)
        first = math.ceil(self.low / step - 1e-9)
        return [round(n * step, 12) for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A number on an axis: `1,000`, `20M`, `0.05`."""
    for size, name in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:g}{name}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _text(x: float, y: float, text: str, anchor: str = "middle") -> SvgElement:
    return SvgElement("text", {"x": x, "y": y, "text-anchor": anchor}, text)


def _frame(x: Scale, y: Scale, labels: tuple[str, str], places: Sequence[tuple[float, str]]) -> Iterator[SvgElement]:
    """The two axes, their ticks and their names."""
    floor = y.start
    yield SvgElement("path", {"class": "axis", "d": f"M{x.start},{y.end} V{floor} H{x.end}"})
    for tick in y.ticks():
        yield SvgElement("path", {"class": "grid", "d": f"M{x.start},{y.at(tick)} H{x.end}"})
        yield _text(x.start - 6, y.at(tick) + 4, number(tick), "end")
    last = -math.inf
    for at, name in places:
        if at - last >= 9 * max(len(name), 3):
            yield _text(at, floor + 17, name)
            last = at
    yield _text((x.start + x.end) / 2, floor + 37, labels[0])
    yield _text(x.start - 56, 14, labels[1], "start")


# -- the drawings -----------------------------------------------------------------------------------------------------


def lines(
    title: str,
    says: str,
    series: Mapping[str, Sequence[Point]],
    labels: tuple[str, str],
    *,
    log: tuple[bool, bool] = (False, False),
    names: Sequence[str] | None = None,
    dashed: Iterable[str] = (),
) -> Drawing:
    """A line for each name of `series`. `names`: words for the x axis, if x counts words."""
    points = [point for line in series.values() for point in line]
    lowest = min((p.low for p in points), default=0.0)
    x = Scale(min(p.x for p in points), max(p.x for p in points), _LEFT + 8, _WIDE - _RIGHT, log[0])
    top = max(p.high for p in points) or 1.0
    y = Scale(lowest if log[1] else min(0.0, lowest), top, _HIGH - _BELOW, _TOP, log[1])
    if names is not None:
        places = [(x.at(n), name) for n, name in enumerate(names)]
    else:
        places = [(x.at(tick), number(tick)) for tick in _places(sorted({p.x for p in points}), x)]
    shapes = list(_frame(x, y, labels, places))
    behind = set(dashed)
    for turn, (name, line) in enumerate(series.items()):
        look = colour(turn)
        dash = {"stroke-dasharray": "5 4"} if name in behind else {}
        for point in line:
            if point.high > point.low:
                span = f"M{x.at(point.x)},{y.at(point.low)} V{y.at(point.high)}"
                shapes.append(SvgElement("path", {"class": f"span {look}", "d": span}))
        way = " ".join(f"{x.at(p.x)},{y.at(p.y)}" for p in line)
        shapes.append(SvgElement("polyline", {"class": f"line {look}", "points": way, **dash}))
        shapes += [
            SvgElement("circle", {"class": look, "cx": x.at(p.x), "cy": y.at(p.y), "r": 2.5},
                  title=f"{name}: {number(p.y)} at {names[round(p.x)] if names is not None else number(p.x)}")
            for p in line
        ]  # fmt: skip
    return Drawing(title, says, shapes, key=[(colour(n), name) for n, name in enumerate(series)])


def _places(values: Sequence[float], axis: Scale) -> Sequence[float]:
    """The values at which an axis is marked: the measured ones if they are few, else round ones."""
    return values if len(values) <= _MOST_LABELS else axis.ticks()


def bars(title: str, says: str, rows: Sequence[tuple[str, Mapping[str, float]]], unit: str) -> Drawing:
    """A bar for each row, with its parts side by side. A part has the same colour in all rows."""
    parts = list(dict.fromkeys(part for _name, shares in rows for part in shares))
    most = max((sum(shares.values()) for _name, shares in rows), default=0) or 1
    x = Scale(0, most, _NAMES, _WIDE - _RIGHT - 50)
    shapes: list[SvgElement] = []
    for turn, (name, shares) in enumerate(rows):
        top, at = 4 + turn * (_BAR + _GAP), 0.0
        shapes.append(_text(_NAMES - 8, top + 13, _shortened(name), "end"))
        for part, value in shares.items():
            left, right = x.at(at), x.at(at + value)
            facts: dict[str, str | float] = {
                "class": colour(parts.index(part)), "x": left, "y": top,
                "width": round(right - left, 1), "height": _BAR,
            }  # fmt: skip
            shapes.append(SvgElement("rect", facts, title=f"{name}: {part} {number(value)} {unit}"))
            at += value
        shapes.append(_text(x.at(at) + 6, top + 13, number(at), "start"))
    height = 4 + len(rows) * (_BAR + _GAP) + 4
    return Drawing(title, says, shapes, height=height, key=[(colour(n), part) for n, part in enumerate(parts)])


def _shortened(name: str) -> str:
    """A name cut to fit beside its bar; the table beside the drawing has the whole name."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def columns(
    title: str,
    says: str,
    bins: Sequence[tuple[float, float, Mapping[str, float]]],
    line: tuple[str, Sequence[float]],
    labels: tuple[str, str],
) -> Drawing:
    """A column for each (from, to, parts) of `bins`, and a stepped line over them with an axis on the right."""
    parts = list(dict.fromkeys(part for _from, _to, shares in bins for part in shares))
    x = Scale(bins[0][0], bins[-1][1], _LEFT, _WIDE - _LEFT)
    y = Scale(0, max((sum(shares.values()) for *_, shares in bins), default=0) or 1, _HIGH - _BELOW, _TOP)
    other = Scale(0, max(line[1], default=0) or 1, y.start, y.end)
    shapes = list(_frame(x, y, labels, [(x.at(tick), number(tick)) for tick in x.ticks()]))
    for start, end, shares in bins:
        below = 0.0
        for part, value in shares.items():
            top = y.at(below + value)
            facts: dict[str, str | float] = {
                "class": colour(parts.index(part)), "x": x.at(start), "y": top,
                "width": max(1.0, round(x.at(end) - x.at(start) - 1, 1)), "height": round(y.at(below) - top, 1),
            }  # fmt: skip
            shapes.append(SvgElement("rect", facts, title=f"{start:.3f} to {end:.3f}: {part} {number(value)}"))
            below += value
    way = " ".join(
        f"{x.at(edge)},{other.at(value)}"
        for (start, end, _shares), value in zip(bins, line[1], strict=True)
        for edge in (start, end)
    )
    shapes.append(SvgElement("polyline", {"class": f"line {colour(len(parts))}", "points": way}))
    shapes += [_text(x.end + 6, other.at(tick) + 4, number(tick), "start") for tick in other.ticks()]
    shapes.append(_text(_WIDE, 14, line[0], "end"))
    named = [(colour(n), part) for n, part in enumerate(parts)]
    return Drawing(title, says, shapes, key=[*named, (colour(len(parts)), f"{line[0]} (the line, right)")])


class SlotMap(NamedTuple):
    """A key table in cells of `per_cell` slots each: how many are written, and how many of those others wanted."""

    size: int
    per_cell: int
    used: Sequence[int]
    wanted: Sequence[int]


def slots(title: str, says: str, table: SlotMap) -> Drawing:
    """A square for each cell, from the upper left: the fuller the darker; another colour where SAs contend."""
    across = min(_SLOTS_WIDE, len(table.used))
    shapes = []
    for n, (used, wanted) in enumerate(zip(table.used, table.wanted, strict=True)):
        if used:
            facts: dict[str, str | float] = {
                "class": "clash" if wanted else "hit",
                "x": n % _SLOTS_WIDE * _SIDE,
                "y": n // _SLOTS_WIDE * _SIDE,
                "width": _SIDE - 1,
                "height": _SIDE - 1,
                "opacity": round(0.35 + 0.65 * used / table.per_cell, 2),
            }
            place = f"slot {n * table.per_cell}"
            if table.per_cell > 1:
                place = f"slots {n * table.per_cell} to {(n + 1) * table.per_cell - 1}"
            shapes.append(SvgElement("rect", facts, title=f"{place}: {used} written, {wanted} contended"))
    high = -(-len(table.used) // _SLOTS_WIDE)
    outline = SvgElement("path", {"class": "cell", "d": f"M0,0 H{across * _SIDE} V{high * _SIDE} H0 Z"})
    key = [("hit", "written"), ("clash", "written, and others wanted it too")]
    return Drawing(title, says, [outline, *shapes], width=across * _SIDE, height=high * _SIDE, key=key)
