"""The results of a sweep: rows in the order of tasks, a median and interval at each point, where the answer changes.

The interval of a median comes from order statistics. It is the narrowest pair of sorted values, equally far from both
ends, that holds the median with a chance of at least 95 %. For fewer than six values it is the lowest and the highest,
whose chance is smaller. If all repeats at a point give the same number, the interval is that number.

Two finished sweeps of one study and seed have the same summary, wherever and whenever they ran.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from espsim.analysis.sweep.plan import TaskRow, seed_of
from espsim.analysis.sweep.questions import KINDS
from espsim.analysis.sweep.store import Saved

_CONFIDENCE = 0.95


def summary(saved: Saved) -> dict[str, Any]:
    """For JSON and for people. `rows`, `points` and `changes` are in the order of tasks."""
    study = saved.study
    kind = KINDS[study["kind"]]
    along = _along(study)
    rows = [_row(row, study, saved.seed) for row in saved.rows]
    points = list(_points(rows, study))
    failed = sum(row["error"] is not None for row in rows)
    return {
        **study, "along": along, "seed": saved.seed, "tasks": saved.tasks, "done": len(rows), "failed": failed,
        "complete": len(rows) == saved.tasks, "headline": kind.headline, "shown": list(kind.shown),
        "rows": rows, "points": points, "changes": list(_changes(points, along)),
    }  # fmt: skip


def point_of(study: Mapping[str, Any], place: int) -> tuple[dict[str, Any], int]:
    """(the value of each axis, the number of the repeat from 0) of a place, as SweepPlan.point gives it."""
    rest, repeat = divmod(place, study["repeats"])
    found: dict[str, Any] = {}
    for name, values in reversed(study["axes"].items()):
        rest, at = divmod(rest, len(values))
        found[name] = values[at]
    return {name: found[name] for name in study["axes"]}, repeat


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(median, low, high) of at least one number."""
    ordered = sorted(values)
    return statistics.median(ordered), *_between(ordered)


def _between(ordered: Sequence[float]) -> tuple[float, float]:
    n = len(ordered)
    outside, cut = 0.0, 0
    for k in range(n // 2):
        outside += 2 * math.comb(n, k) / 2**n if n < 1024 else 2 * _binomial(n, k)
        if outside > 1 - _CONFIDENCE:
            break
        cut = k + 1
    low = max(0, cut - 1) if cut else 0
    return ordered[low], ordered[n - 1 - low]


def _binomial(n: int, k: int) -> float:
    return math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))


def _along(study: Mapping[str, Any]) -> str | None:
    """The axis along which changes of the answer are reported: the study's `along`, if it has several values."""
    varied = [name for name, values in study["axes"].items() if len(values) > 1]
    if study["along"] in varied:
        return str(study["along"])
    return varied[-1] if varied else None


def _row(row: TaskRow, study: Mapping[str, Any], seed: int) -> dict[str, Any]:
    axes, repeat = point_of(study, row.place)
    return {
        "place": row.place, "axes": axes, "repeat": repeat, "seed": seed_of(seed, row.place), "answer": row.answer,
        "result": row.values, "error": row.error,
    }  # fmt: skip


def _points(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The result of each point's repeats together. A point without a row is left out."""
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["place"] // study["repeats"], []).append(row)
    for group in groups.values():
        answers = Counter(row["answer"] for row in group if row["error"] is None)
        # Of equally frequent answers the greater text is taken, so "loses some" rather than "loses none".
        ranked = sorted(answers.items(), key=lambda item: (item[1], item[0]), reverse=True)
        results = [row["result"] for row in group if row["result"] is not None]
        yield {
            "axes": group[0]["axes"], "runs": len(group), "failed": sum(row["error"] is not None for row in group),
            "answer": ranked[0][0] if ranked else None, "answers": dict(ranked), "values": _values(results),
        }  # fmt: skip


def _values(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each value {median, low, high} if it is a number, else the most frequent one."""
    names = dict.fromkeys(name for result in results for name in result)
    found: dict[str, Any] = {}
    for name in names:
        values = [result[name] for result in results if result.get(name) is not None]
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if values and len(numbers) == len(values):
            median, low, high = median_interval(numbers)
            found[name] = {"median": median, "low": low, "high": high}
        else:
            ranked = sorted(Counter(values).items(), key=lambda item: (-item[1], str(item[0])))
            found[name] = ranked[0][0] if ranked else None
    return found


def _changes(points: Iterable[Mapping[str, Any]], along: str | None) -> Iterator[dict[str, Any]]:
    """For every combination of the other axes: the parts of `along` with one answer, and where they end."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for point in points:
        if point["answer"] is not None:
            groups.setdefault(tuple(v for name, v in point["axes"].items() if name != along), []).append(point)
    for group in groups.values():
        others = {name: value for name, value in group[0]["axes"].items() if name != along}
        stretches: list[dict[str, Any]] = []
        for point in group:
            value = point["axes"].get(along)
            if stretches and stretches[-1]["answer"] == point["answer"]:
                stretches[-1]["to"] = value
            else:
                stretches.append({"answer": point["answer"], "from": value, "to": value})
        changes = [
            {"after": a["to"], "at": b["from"], "was": a["answer"], "is": b["answer"]} for a, b in pairwise(stretches)
        ]
        yield {"axes": others, "along": along, "stretches": stretches, "changes": changes}
