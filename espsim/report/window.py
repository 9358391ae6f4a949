"""What replay window a capture needs, for a terminal and drawn, from the JSON of `espsim window`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espsim.report.plots import image_of, new_figure
from espsim.report.terminal import Page, console, table

_MOST_DRAWN = 8


def print_window(result: Mapping[str, Any], most: int) -> None:
    """The verdict, a row a stream, and what each window loses."""
    out = console()
    streams = result["streams"]
    if not streams:
        out.print("no ESP in it")
        return
    spis = "1 SPI" if len(streams) == 1 else f"{len(streams):,} SPIs"
    out.print(f"{result['packets']:,} ESP packets of {spis}: a window of {result['smallest']} loses none of them")
    if result["unfollowed"]:
        out.print(f"{result['unfollowed']:,} packets were of further SPIs, which are not followed")
    out.print()
    shown = streams[:most]
    _print_streams(out, shown)
    out.print()
    _print_losses(out, shown)
    if len(streams) > len(shown):
        out.print(f"{len(streams) - len(shown):,} more: --list N, or --json")
    for stream in shown:
        _print_configured(out, stream)


def _print_streams(out: Page, streams: list[Mapping[str, Any]]) -> None:
    rows = [
        (
            _name(s), s["packets"], s["gaps"], s["duplicates"], s["restarts"], s["late"], s["reorder"]["median"],
            s["reorder"]["p99"], s["reorder"]["largest"], s["smallest"],
        )
        for s in streams
    ]  # fmt: skip
    headers = ("SPI@destination", "packets", "never came", "duplicates", "restarts", "late", "median", "99 %", "most",
               "smallest window")  # fmt: skip
    out.print(table(headers, rows, title="late by how many numbers"))


def _print_losses(out: Page, streams: list[Mapping[str, Any]]) -> None:
    windows = list(streams[0]["lost"])
    rows = [(_name(s), *(s["lost"][window] for window in windows)) for s in streams if s["late"]]
    if not rows:
        out.print("no packet was late, so any window will do")
        return
    out.print(table(("packets lost at a window of", *windows), rows))
    devices: dict[tuple[int, ...], list[str]] = {}
    for ident, answer in streams[0]["devices"].items():
        lost = tuple(s["devices"][ident]["lost"] for s in streams if s["late"])
        devices.setdefault((answer["window"], *lost), []).append(ident)
    named = [(f"{key[0]}", sum(key[1:]), ", ".join(idents)) for key, idents in sorted(devices.items())]
    out.print()
    out.print(table(("a device's largest window", "lost", "devices"), named))
    if all(s["linux_counter"] is None for s in streams):
        out.print("a loss shows as XfrmInStateSeqError, with extended numbers as XfrmInStateProtoError (--sad knows)")


def _print_configured(out: Page, stream: Mapping[str, Any]) -> None:
    own = stream["configured"]
    if own is None or not own["lost"]:
        return
    out.print(
        f"{_name(stream)}: its window of {own['window']} loses {own['lost']}, counted as {stream['linux_counter']};"
        f" set replay-window {stream['smallest']} or more",
        markup=False,
    )


def _name(stream: Mapping[str, Any]) -> str:
    return f"{stream['spi_hex']}@{stream['dst']}"


def draw_window(result: Mapping[str, Any], fmt: str) -> bytes:
    """Packets lost by window, a line a stream (of those that lose most). InputError where matplotlib is missing."""
    figure = new_figure(width=8, height=4.5)
    axes = figure.subplots()
    for stream in result["streams"][:_MOST_DRAWN]:
        windows = [int(window) for window in stream["lost"]]
        axes.plot(windows, list(stream["lost"].values()), marker="o", label=_name(stream))
    axes.set(xlabel="replay window", ylabel="packets lost as too old", title="Which window does the capture need?")
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(frameon=False)
    return image_of(figure, fmt)
