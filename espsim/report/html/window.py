"""`espsim window` as a report: the window that loses nothing, what each window loses, and how late packets were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espsim.report import window as words
from espsim.report.html.charts import Point, bars, lines
from espsim.report.html.document import HtmlFigure, HtmlTable, HtmlWords, Made, Part, Report, Section, render

_MOST_DRAWN = 8


def window_html(result: Mapping[str, Any], source: str, most: int, made_by: Made) -> str:
    """The whole page. `result`: the JSON of `espsim window`; `most` of its streams are shown."""
    streams = result["streams"]
    shown = streams[:most]
    unfit = [line for stream in streams for line in words.unfit(stream)]
    good = None if all(stream["configured"] is None for stream in streams) else not unfit
    if unfit:
        verdict = f"{len(unfit)} of the SAs {'has' if len(unfit) == 1 else 'have'} a window that loses packets"
    else:
        verdict = words.verdict(result)
    lead = [words.verdict(result)] if unfit else []
    lead += unfit[:most]
    if result["unfollowed"]:
        lead.append(words.unfollowed(result))
    if len(streams) > len(shown):
        lead.append(f"{len(shown)} of {len(streams):,} streams are shown, those that lose most: --list N shows more")
    name = "standard input" if source == "-" else source
    return render(
        Report(
            "espsim window", f"Which replay window does {name} need?", verdict, good, list(_sections(shown)), lead=lead,
            assumptions=["Sequence numbers are the senders': no ICV is checked, and no key is needed."],
            made_by=made_by,
        )
    )  # fmt: skip


def _sections(shown: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    if not shown:
        return
    parts: list[Part] = [HtmlTable.of("Each SPI and destination", *words.stream_table(shown))]
    parts += _reorder(shown)
    yield Section("What came late, twice or never", parts)
    losses = words.loss_table(shown)
    if losses is None:
        yield Section("What a window loses", [HtmlWords("No packet was late, so any window will do.")])
        return
    unknown = all(stream["linux_counter"] is None for stream in shown)
    counted = [HtmlWords(words.COUNTED, "n")] if unknown else []
    yield Section("What a window loses", [*_lost(shown, losses), *counted])
    caption = "What the largest window of each device loses"
    yield Section("Devices", [HtmlTable.of(caption, *words.device_table(shown))])


def _lost(shown: Sequence[Mapping[str, Any]], losses: tuple[Sequence[str], list[tuple[Any, ...]]]) -> Iterator[Part]:
    late = [stream for stream in shown if stream["late"]][:_MOST_DRAWN]
    series = {
        words.name_of(stream): [Point(int(size), n, n, n) for size, n in stream["lost"].items()] for stream in late
    }
    title = "Packets lost as too old, by the replay window"
    says = "A line for each SPI and destination: the larger the window, the fewer packets are refused as too old."
    table = HtmlTable.of(title, *losses)
    yield HtmlFigure(lines(title, says, series, ("replay window", "packets lost"), log=(True, False)), table)


def _reorder(shown: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    late = [stream for stream in shown if stream["late"]][:_MOST_DRAWN]
    if not late:
        return
    title = "How far late packets were below the highest number"
    rows: list[tuple[str, Mapping[str, float]]] = []
    numbers = []
    for stream in late:
        name, reorder = words.name_of(stream), stream["reorder"]
        median, most = reorder["median"], reorder["largest"]
        share99 = reorder["p99"] - median
        spans = {"half of them": median, "99 %": share99, "the latest": most - reorder["p99"]}
        rows.append((name, {part: wide for part, wide in spans.items() if wide}))
        numbers.append((name, stream["late"], median, reorder["p99"], most))
    says = "A bar for each SPI and destination: how far half, 99 % and all of its late packets were below the highest."
    head = ("SPI@destination", "late packets", "half within", "99 % within", "all within")
    yield HtmlFigure(bars(title, says, rows, "numbers"), HtmlTable.of(title, head, numbers))
