"""The plot of `espsim bench`: rates by SAs or by size, and below them the ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from espsim.report.bench_axes import BY_SIZE, Row, curve_name, curves, place, usual_sas
from espsim.report.plots import image_of, new_figure

_COLOURS = ("#2f6f9f", "#d9480f", "#5c940d", "#862e9c", "#0b7285", "#868e96", "#c2255c", "#1c2024")


def draw_bench(rows: Sequence[Row], title: str, fmt: str) -> bytes:
    """A column for each bench with several points: rates (peers dashed), and below them ratios with their spans.

    The pipeline and AEAD are drawn by size, at the number of SAs that most rows have; the others by SAs.
    """
    drawn = {name: _drawn([row for row in rows if row["bench"] == name], name) for name in _benches(rows)}
    ratios = any(row["ratio_median"] is not None for row in rows)
    figure = new_figure(width=1.5 + 7.5 * len(drawn), height=8 if ratios else 4.5)
    grid = figure.subplots(2 if ratios else 1, len(drawn), squeeze=False, sharex="col")
    for number, (name, mine) in enumerate(drawn.items()):
        _draw_rates(grid[0][number], name, mine)
        if ratios:
            _draw_ratios(grid[1][number], name, mine)
        _ticks(grid[-1][number], name, mine)
    figure.suptitle(title, fontsize=9)
    return image_of(figure, fmt)


def _benches(rows: Sequence[Row]) -> list[str]:
    """The benches with a curve; if none has one, all."""
    names = list(dict.fromkeys(row["bench"] for row in rows))
    several = [name for name in names if len({place(row, name) for row in rows if row["bench"] == name}) > 1]
    return several or names


def _drawn(rows: list[Row], bench: str) -> list[Row]:
    """The rows that have a place on the axis."""
    if bench not in BY_SIZE:
        return rows
    return [row for row in rows if row["sas"] == usual_sas(rows)]


def _draw_rates(axes: Any, bench: str, rows: list[Row]) -> None:
    for number, (name, curve) in enumerate(curves(rows).items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = sorted({place(row, bench): row["rate_mps"] for row in curve}.items())
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=name)
        # A peer that is a case of ours has a curve already.
        others = [row for row in curve if row["peer"] and not row["peer_note"].startswith("ours,")]
        for peer in dict.fromkeys(row["peer"] for row in others):
            theirs = sorted((place(row, bench), row["peer_rate_mps"]) for row in curve if row["peer"] == peer)
            axes.plot(*zip(*theirs, strict=True), color=colour, linestyle="--", linewidth=1)
    axes.set(title=bench, xscale="log", yscale="log", ylabel="millions a second (peers dashed)")
    _finish(axes)


def _draw_ratios(axes: Any, bench: str, rows: list[Row]) -> None:
    """Ratios of ours to the peers. Points below the line at 1 are rows in which a peer is faster."""
    colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(curves(rows))}
    pairs = dict.fromkeys((curve_name(row), row["peer"]) for row in rows if row["peer"])
    for name, peer in pairs:
        curve = sorted((r for r in rows if (curve_name(r), r["peer"]) == (name, peer)), key=lambda r: place(r, bench))
        middle = [row["ratio_median"] for row in curve]
        low = [row["ratio_median"] - row["ratio_min"] for row in curve]
        high = [row["ratio_max"] - row["ratio_median"] for row in curve]
        axes.errorbar(
            [place(row, bench) for row in curve], middle, yerr=(low, high), color=colours[name], marker="o",
            markersize=3, capsize=2, linewidth=1, label=f"{name} : {peer.removeprefix('dpdk-test-crypto-perf ')}",
        )  # fmt: skip
    axes.axhline(1, color="#1c2024", linewidth=0.8)
    axes.set(xscale="log", yscale="log", ylabel="ratio: median, min to max")
    _finish(axes)


def _ticks(axes: Any, bench: str, rows: Sequence[Row]) -> None:
    """Mark the x axis at the points, and nowhere else."""
    points = dict(sorted((place(row, bench), row["size"] if bench in BY_SIZE else row["sas"]) for row in rows))
    labels = [f"{value:,}" if isinstance(value, int) else value for value in points.values()]
    axes.set_xticks(list(points), labels, fontsize=8, rotation=30)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("bytes of a packet" if bench in BY_SIZE else "SAs")


def _finish(axes: Any) -> None:
    axes.yaxis.set_major_formatter("{x:g}")
    low, high = axes.get_ylim()
    if high < 100 * low:  # over a wider span the labels between powers of ten would overlap
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="y", which="minor", labelsize=6)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        # The legend is beside the curves, so that it hides none.
        axes.legend(frameon=False, fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
