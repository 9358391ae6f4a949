"""The result of a sweep for a terminal, as CSV and as a drawing, from the JSON of `espsim sweep report`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.core.echo import printable_values
from espsim.report.plots import image_of, new_figure
from espsim.report.terminal import Terminal, console, table

_MOST_DRAWN = 10


def print_run(result: Mapping[str, Any], path: str) -> None:
    """Print how a sweep ended."""
    out, result = console(), printable_values(result)
    before = f", {result['there_before']:,} of them there before" if result["there_before"] else ""
    out.print(f"{result['study']}: {result['done']:,} of {result['tasks']:,} rows{before}", markup=False)
    if result["failed"]:
        out.print(f"{result['failed']:,} of them failed: `espsim sweep report` shows why", markup=False)
    out.print(f"espsim sweep report {printable_values(path)}", markup=False)


def print_studies(studies: Sequence[Mapping[str, Any]]) -> None:
    """Print the built-in studies."""
    rows = [(s["name"], f"{s['tasks']:,}", s["question"]) for s in studies]
    console().print(table(("study", "tasks", "question"), rows))


def print_kinds(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the kinds of questions, with their axes."""
    out = console()
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        out.print(f"{kind}: {own[0]['what']}", markup=False, style="bold")
        out.print(table(("axis", "default", "means"), [(r["axis"], _default(r), r["means"]) for r in own]))
        out.print()


def _default(row: Mapping[str, Any]) -> str:
    if row["default"] is not None:
        return text_of(row["default"])
    return "the scenario's" if row["optional"] else "must be given"


def print_sweep(result: Mapping[str, Any], most: int) -> None:
    """Print the question, where the answer changes, the medians of the first `most` points, and what failed."""
    out, result = console(), printable_values(result)
    out.print(f"{result['study']}: {result['question']}", markup=False, style="bold")
    for line in heading(result):
        out.print(line, markup=False)
    if result["changes"]:
        out.print()
        out.print(table(*change_table(result)))
    if result["points"]:
        out.print()
        out.print(table(*point_table(result, result["points"][:most])))
    if len(result["points"]) > most:
        out.print(f"{len(result['points']) - most:,} more points: --list N, --csv, --html or --json")
    _print_failures(out, result)


def heading(result: Mapping[str, Any]) -> Iterator[str]:
    """How many tasks are done, and what all tasks have in common."""
    state = "finished" if result["complete"] else "not finished: the same command goes on with it"
    failed = f", {result['failed']:,} failed" if result["failed"] else ""
    repeats = f", {result['repeats']:,} at each point" if result["repeats"] > 1 else ""
    quick = ", the quick form" if result["quick"] else ""
    yield f"{result['done']:,} of {result['tasks']:,} tasks{repeats}{quick}, seed {result['seed']}{failed}; {state}"
    fixed = [f"{name} {text_of(values[0])}" for name, values in result["axes"].items() if len(values) == 1]
    if fixed:
        yield "fixed: " + ", ".join(fixed)


def varied(result: Mapping[str, Any]) -> list[str]:
    """The axes that have several values."""
    return [name for name, values in result["axes"].items() if len(values) > 1]


def change_table(result: Mapping[str, Any]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """(headers, rows): the answer, and where it changes. Points with the same answers share a row."""
    along, others = result["along"], [name for name in varied(result) if name != result["along"]]
    alike: dict[str, list[str]] = {}
    for group in result["changes"]:
        name = ", ".join(text_of(group["axes"][axis]) for axis in others) or "all"
        alike.setdefault("; ".join(_stretches(group, along)), []).append(name)
    head = (", ".join(others) or "axes", f"the answer along {along}" if along else "the answer")
    return head, [(", ".join(names), answer) for answer, names in alike.items()]


def _stretches(group: Mapping[str, Any], along: str | None) -> Iterator[str]:
    for stretch in group["stretches"]:
        if along is None:
            yield stretch["answer"]
        elif stretch["from"] == stretch["to"]:
            yield f"{stretch['answer']} at {text_of(stretch['from'])}"
        else:
            yield f"{stretch['answer']} from {text_of(stretch['from'])} to {text_of(stretch['to'])}"


def point_table(
    result: Mapping[str, Any], points: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """(headers, rows): the values of each point; a median with its interval, where the repeats differ."""
    axes = varied(result)
    shown = [name for name in result["shown"] if any(name in point["values"] for point in points)]
    rows = [
        (*(text_of(point["axes"][axis]) for axis in axes), *(value_text(point["values"].get(n)) for n in shown),
         str(point["answer"] or "failed"))
        for point in points
    ]  # fmt: skip
    return (*axes, *shown, "answer"), rows


def value_text(value: Any) -> str:
    """A value of a point: `0.25 (0.2 to 0.3)`."""
    if not isinstance(value, Mapping):
        return "-" if value is None else text_of(value)
    median = text_of(value["median"])
    if value["low"] == value["high"]:
        return median
    return f"{median} ({text_of(value['low'])} to {text_of(value['high'])})"


def text_of(value: Any) -> str:
    """A number to three or four digits; a word unchanged."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def failures(result: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows that failed, by reason."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["rows"]:
        if row["error"] is not None:
            found.setdefault(row["error"], []).append(row)
    return found


def _print_failures(out: Terminal, result: Mapping[str, Any]) -> None:
    for why, rows in failures(result).items():
        first = ", ".join(f"{name} {text_of(rows[0]['axes'][name])}" for name in varied(result))
        place = f"task {rows[0]['place']}{f' ({first})' if first else ''}"
        more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        out.print(f"failed: {place}{more}: {why}", markup=False, style="red")


def csv_text(result: Mapping[str, Any]) -> str:
    """A line for each row: its place, its point, its repeat, the answer, every value, and why it failed."""
    axes = list(result["axes"])
    names = list(dict.fromkeys(name for row in result["rows"] for name in row["result"] or ()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("place", *axes, "repeat", "answer", *(n if n not in axes else f"result_{n}" for n in names), "error")
    )
    for row in result["rows"]:
        found = row["result"] or {}
        writer.writerow((
            row["place"], *(row["axes"][axis] for axis in axes), row["repeat"], row["answer"],
            *(found.get(name) for name in names), row["error"],
        ))  # fmt: skip
    return text.getvalue()


def lines_of(result: Mapping[str, Any]) -> dict[str, list[tuple[Any, float, float, float]]]:
    """The headline value as (place on the axis, median, low, high), for each combination of the other axes."""
    along, name = result["along"], result["headline"]
    others = [axis for axis in varied(result) if axis != along]
    lines: dict[str, list[tuple[Any, float, float, float]]] = {}
    for point in result["points"]:
        value = point["values"].get(name)
        if isinstance(value, Mapping):
            line = ", ".join(text_of(point["axes"][axis]) for axis in others) or result["study"]
            at = point["axes"].get(along, 0)
            lines.setdefault(line, []).append((at, value["median"], value["low"], value["high"]))
    return lines


def is_log(places: Sequence[Any]) -> bool:
    """Whether an axis should be logarithmic."""
    numbers = [p for p in places if isinstance(p, int | float)]
    return len(numbers) == len(places) > 2 and min(numbers) > 0 and max(numbers) / min(numbers) >= 20


def draw_sweep(result: Mapping[str, Any], fmt: str) -> bytes:
    """The headline value's medians: a line for each combination of the other axes; equal lines are one."""
    figure = new_figure(width=9, height=5)
    axes = figure.subplots()
    places = result["axes"].get(result["along"], [0])
    alike: dict[tuple[Any, ...], list[str]] = {}
    for name, line in lines_of(result).items():
        alike.setdefault(tuple(line), []).append(name)
    highest_first = sorted(alike.items(), key=lambda item: -max(p[1] for p in item[0]))
    for number, (points, names) in enumerate(highest_first):
        label = label_of(names) if number < _MOST_DRAWN else None
        at = [p[0] if isinstance(p[0], int | float) else str(p[0]) for p in points]
        style = {"marker": "o", "markersize": 3} if number < _MOST_DRAWN else {"color": "#868e96", "linewidth": 0.7}
        (drawn,) = axes.plot(at, [p[1] for p in points], label=label, **style)
        axes.fill_between(
            at, [p[2] for p in points], [p[3] for p in points], color=drawn.get_color(), alpha=0.2, linewidth=0
        )
    axes.set(xlabel=result["along"] or "", ylabel=result["headline"].replace("_", " "), title=result["question"])
    if is_log(places):
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")
    return image_of(figure, fmt)


def label_of(names: Sequence[str]) -> str:
    """The first two names, and how many more there are."""
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
