"""Which replay window a capture needs, for a terminal and as a drawing, from the JSON of `espsim window`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.report.plots import image_of, new_figure
from espsim.report.terminal import Terminal, console, counted, table

_MOST_DRAWN = 8
Rows = tuple[Sequence[str], list[tuple[Any, ...]]]


COUNTED = "a loss counts as XfrmInStateSeqError, with ESN as XfrmInStateProtoError (--sad knows which)"


def print_window(result: Mapping[str, Any], most: int) -> None:
    """Print the verdict, a row for each stream, and what each window loses."""
    out = console()
    streams = result["streams"]
    out.print(verdict(result))
    if not streams:
        return
    if result["unfollowed"]:
        out.print(unfollowed(result))
    out.print()
    shown = streams[:most]
    if shown:
        out.print(table(*stream_table(shown), title="late by how many numbers"))
        out.print()
        _print_losses(out, shown)
    if len(streams) > len(shown):
        out.print(f"{len(streams) - len(shown):,} more: --list N, or --json")
    for stream in shown:
        for line in unfit(stream):
            out.print(line, markup=False)


def verdict(result: Mapping[str, Any]) -> str:
    """The first line."""
    streams = result["streams"]
    if not streams:
        return "no ESP in it"
    what = f"{counted(result['packets'], 'ESP packet')} of {counted(len(streams), 'SPI')}"
    return f"{what}: a window of {result['smallest']} loses none of them"


def unfollowed(result: Mapping[str, Any]) -> str:
    """The number of packets of streams beyond the most that are followed."""
    return f"{result['unfollowed']:,} packets have further SPIs, which are not followed"


def stream_table(streams: Sequence[Mapping[str, Any]]) -> Rows:
    """(headers, rows): a row for each stream."""
    rows = [
        (
            name_of(s), s["packets"], s["gaps"], s["duplicates"], s["restarts"], s["late"], s["reorder"]["median"],
            s["reorder"]["p99"], s["reorder"]["largest"], s["smallest"],
        )
        for s in streams
    ]  # fmt: skip
    headers = ("SPI@destination", "packets", "never came", "duplicates", "restarts", "late", "median", "99 %", "most",
               "smallest window")  # fmt: skip
    return headers, rows


def _print_losses(out: Terminal, streams: Sequence[Mapping[str, Any]]) -> None:
    losses = loss_table(streams)
    if losses is None:
        out.print("no packet was late, so any window will do")
        return
    out.print(table(*losses))
    out.print()
    out.print(table(*device_table(streams)))
    if all(s["linux_counter"] is None for s in streams):
        out.print(COUNTED)


def loss_table(streams: Sequence[Mapping[str, Any]]) -> Rows | None:
    """(headers, rows) of the streams with late packets: how many each window loses; None where none was late."""
    windows = list(streams[0]["lost"])
    rows = [(name_of(s), *(s["lost"][window] for window in windows)) for s in streams if s["late"]]
    return (("packets lost at a window of", *windows), rows) if rows else None


def device_table(streams: Sequence[Mapping[str, Any]]) -> Rows:
    """(headers, rows): what the largest window of each device loses; devices with equal losses share a row."""
    devices: dict[tuple[int, ...], list[str]] = {}
    for ident, answer in streams[0]["devices"].items():
        lost = tuple(s["devices"][ident]["lost"] for s in streams if s["late"])
        devices.setdefault((answer["window"], *lost), []).append(ident)
    rows = [(f"{key[0]}", sum(key[1:]), ", ".join(idents)) for key, idents in sorted(devices.items())]
    return ("a device's largest window", "lost", "devices"), rows


def unfit(stream: Mapping[str, Any]) -> Iterator[str]:
    """A line where the SA's own window loses packets."""
    own = stream["configured"]
    if own is not None and own["lost"]:
        yield (
            f"{name_of(stream)}: its window of {own['window']} loses {own['lost']}, counted as"
            f" {stream['linux_counter']}; set replay-window {stream['smallest']} or more"
        )


def name_of(stream: Mapping[str, Any]) -> str:
    """`0x00000155@192.0.2.1`."""
    return f"{stream['spi_hex']}@{stream['dst']}"


def draw_window(result: Mapping[str, Any], fmt: str) -> bytes:
    """Packets lost by window, a line for each of the streams that lose most. InputError: matplotlib is missing."""
    figure = new_figure(width=8, height=4.5)
    axes = figure.subplots()
    for stream in result["streams"][:_MOST_DRAWN]:
        windows = [int(window) for window in stream["lost"]]
        axes.plot(windows, list(stream["lost"].values()), marker="o", label=name_of(stream))
    axes.set(xlabel="replay window", ylabel="packets lost as too old", title="Which window does the capture need?")
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    return image_of(figure, fmt)
