"""The result of a storm, for a terminal and as a drawing, from the JSON of `espsim run`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.core.echo import printable_values
from espsim.report.plots import image_of, new_figure
from espsim.report.terminal import Terminal, console, table

_BAR = 30
Cell = Mapping[str, Any]
HEAD = ("policy", "model", "sent", "lost", "drops", "most SAs in the device", "device refused first", "expected")


def print_storm(about: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """Print one storm: what was lost and why, the most SAs in the device, what would have lost nothing, a timeline."""
    out, about, cells = console(), printable_values(about), printable_values(cells)
    out.print(f"{about['name']}: {about['question']}", markup=False, style="bold")
    out.print(f"source: {about['source']}", markup=False)
    for assumption in dict.fromkeys(text for cell in cells for text in cell["assumptions"]):
        out.print(f"assumed: {assumption}", markup=False)
    out.print()
    out.print(table(HEAD, [row_of(cell) for cell in cells], notes=[cell["meaning"] for cell in cells]))
    for cell in cells:
        _print_cell(out, cell)


def row_of(cell: Cell) -> tuple[str, ...]:
    """A cell's row, below HEAD."""
    packets, full = cell["packets"], cell["first_overflow"]
    drops = ", ".join(f"{name} {count:,}" for name, count in cell["drops"].items()) or "-"
    expected = {None: "-", True: "yes", False: "NO"}[cell["as_expected"]]
    overflow = "-" if full is None else f"{full['time']:.3f} s, node {full['node']}, {full['errno']}"
    return (
        cell["policy"], cell["model"], f"{packets['sent']:,}", f"{packets['lost']:,}", drops,
        f"{cell['peak']['device']:,} at {cell['peak']['time']:.3f} s" if cell["peak"]["device"] else "-",
        overflow, expected,
    )  # fmt: skip


def _print_cell(out: Terminal, cell: Cell) -> None:
    out.print()
    out.print(f"{cell['policy']}, {cell['model']}", markup=False, style="bold")
    for line in unmet(cell):
        out.print(line, markup=False, style="red")
    for line in facts_of(cell):
        out.print(line, markup=False)
    _print_timeline(out, cell["timeline"])
    for story in cell.get("trace") or ([cell["worst"]] if cell["worst"] else ()):
        _print_story(out, story, of_many="trace" not in cell)


def unmet(cell: Cell) -> Iterator[str]:
    """The expectations that were not met."""
    for failure in cell["failures"]:
        yield f"expected {failure['key']} {failure['expected']}, got {failure['got']}"


def facts_of(cell: Cell) -> Iterator[str]:
    """What would have lost nothing, and what was refused."""
    for name in ("overlap", "rate"):
        yield f"would have lost nothing, by {name}: {cell['lossless'][name]['why']}"
    for one in cell["refused"]:
        yield f"refused: {one['request']} {one['errno']}, {one['count']:,} times"
    first = cell["first_refused"]
    if first is not None:
        note = f": {first['note']}" if first["note"] else ""
        yield f"first refused: {first['time']:.3f} s, node {first['node']}, {first['request']}{note}"


def span_of(each: Mapping[str, Any]) -> str:
    """`0.125 to 0.250`: an interval in seconds."""
    start, end = (round(each[name], 3) + 0.0 for name in ("from", "to"))  # 0, not -0
    return f"{start:.3f} to {end:.3f}"


def _print_timeline(out: Terminal, bins: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each interval in which packets were lost or the number of SAs in the device changed."""
    most = max((sum(each["drops"].values()) for each in bins), default=0)
    rows, before = [], None
    for each in bins:
        lost = sum(each["drops"].values())
        if lost or each["device"] != before:
            drops = ", ".join(f"{name} {count:,}" for name, count in each["drops"].items())
            bar = "#" * -(-lost * _BAR // most) if most else ""
            rows.append((span_of(each), f"{each['device']:,}", f"{bar} {drops}".strip() or "-"))
        before = each["device"]
    out.print(table(("seconds", "SAs in the device", "lost"), rows))


def _print_story(out: Terminal, story: Mapping[str, Any], *, of_many: bool) -> None:
    title, headers, rows = story_table(story, of_many=of_many)
    out.print(title, markup=False)
    out.print(table(headers, rows))


def story_table(story: Mapping[str, Any], *, of_many: bool) -> tuple[str, Sequence[str], list[tuple[Any, ...]]]:
    """(title, headers, rows): what happened to one node. `of_many`: the other nodes were not traced."""
    which = "the node that lost most" if of_many else "a node that lost packets"
    title = f"{which}: node {story['node']} ({story['address']}), {story['lost']:,} packets"
    rows = [(f"{event['time']:.3f}", event["who"], event["what"]) for event in story["events"]]
    return title, ("seconds", "side", "what"), rows


def draw_storm(about: Mapping[str, Any], cells: Sequence[Cell], fmt: str) -> bytes:
    """Drops by counter over time, and the SAs in the device: a panel for each cell."""
    figure = new_figure(width=9, height=2.2 + 2.2 * len(cells))
    figure.suptitle(printable_values(about["question"]))
    for number, cell in enumerate(cells):
        axes = figure.add_subplot(len(cells), 1, number + 1)
        bins = cell["timeline"]
        at = [each["from"] for each in bins]
        below = [0] * len(bins)
        for name in cell["drops"]:
            heights = [each["drops"].get(name, 0) for each in bins]
            axes.bar(at, heights, width=bins[0]["to"] - bins[0]["from"], bottom=below, align="edge", label=name)
            below = [a + b for a, b in zip(below, heights, strict=True)]
        axes.set(ylabel="packets lost", title=f"{cell['policy']}, {cell['model']}", xlabel="seconds")
        other = axes.twinx()
        other.step(at, [each["device"] for each in bins], where="post", color="#1c2024", label="SAs in the device")
        other.set_ylabel("SAs in the device")
        other.set_ylim(bottom=0)
        handles = [*axes.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
        axes.legend(handles=handles, frameon=False, fontsize="small")
    return image_of(figure, fmt)
