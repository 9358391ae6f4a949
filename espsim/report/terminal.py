"""Results for a terminal, from the dictionaries that `--json` prints: both always say the same."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from espsim.core.echo import printable, printable_values
from espsim.core.verdict import DeviceOutcome, OutboundVerdict, Surfacing, Verdict
from espsim.report.grid import Grid

_PIPE_WIDTH = 200
"""Columns of a sentence in a pipe or a file, where the width is not known."""
_WIDE = 100_000
_MOST_SHOWN = 40
"""Most causes and notes in a summary: a run over thousands of SAs has thousands."""
_asked: int | None = None


def use_width(columns: int | None) -> None:
    """Set the width of every later `console` (`--width`). None: that of the terminal, or COLUMNS."""
    global _asked  # noqa: PLW0603 - one command line has one width
    _asked = columns


def use_any_width() -> None:
    """`--wide`: every row is one line, however long."""
    use_width(_WIDE)


class Terminal(Console):
    """A console that breaks lines between words only, and prints no trailing blanks into a pipe.

    `endless`: its width is not known, so every row of a table is one line, however long.
    """

    endless = False

    def print(self, *objects: Any, **options: Any) -> None:
        """As Console.print, with three differences: a word longer than a line is not broken, markup is off by default,
        and control characters are shown escaped.
        """
        objects = tuple(printable(item, keep="\n") if isinstance(item, str) else item for item in objects)
        if self.is_terminal:
            self._print(*objects, **options)
            return
        with self.capture() as captured:
            self._print(*objects, **options)
        self.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))

    def _print(self, *objects: Any, markup: bool = False, **options: Any) -> None:
        if options.get("soft_wrap", False) or not (objects and isinstance(objects[0], str)):
            super().print(*objects, markup=markup, crop=False, **options)
            return
        text = self.render_str(" ".join(map(str, objects)), markup=markup, highlight=False)
        for line in text.split("\n", allow_blank=True):
            for part in line.divide(_breaks(line.plain, self.width)):
                part.rstrip()
                super().print(part, soft_wrap=True, **options)


def _breaks(line: str, room: int) -> list[int]:
    """The places where a line is broken: each is the start of a word that does not fit any more."""
    indent = len(line) - len(line.lstrip())
    places, column = [], indent
    for word in re.finditer(r"\S+\s*", line):
        if word.start() > indent and column + len(word[0].rstrip()) > room:
            places.append(word.start())
            column = 0
        column += len(word[0])
    return places


def console(most: int | None = None) -> Terminal:
    """A page on standard output. Its width: `--width`, else COLUMNS, else the terminal's; at most `most` columns."""
    width = _asked
    if width is None and os.environ.get("COLUMNS", "").isdecimal():
        width = max(1, int(os.environ["COLUMNS"]))
    endless = width is None and most is None and not sys.stdout.isatty()
    plain = bool(os.environ.get("NO_COLOR"))  # no bold either: not one escape
    page = Terminal(
        highlight=False, width=_PIPE_WIDTH if endless else width, soft_wrap=False,
        color_system=None if plain else "auto",
    )  # fmt: skip
    page.endless = endless
    if most is not None and _asked is None:
        page.width = min(page.width, most)
    return page


def table(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, notes: Sequence[str] = (),
    fewer: bool = False,
) -> Grid:  # fmt: skip
    """A plain table that fits (grid.py). `notes` go below their rows. `fewer`: leave columns out, don't stack rows."""
    return Grid(headers, rows, title=title, notes=notes, fewer=fewer)


def counted(count: int, what: str) -> str:
    """`1 frame`, `1,000 frames`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def print_inbound(result: Mapping[str, Any]) -> None:
    """The summary of `espsim decap`."""
    out, result = console(), printable_values(result)
    sent = f", {result['sent']:,} sent by this host" if result["sent"] else ""
    out.print(
        f"{counted(result['packets'], 'ESP packet')}, {result['delivered']:,} delivered{sent};"
        f" {counted(result['ignored'], 'frame')} ignored (not ESP{_kinds(result['ignored_by'])})"
    )
    if "wire" in result:
        out.print(wire_line(result["wire"]))
    if result["fragments"]["seen"]:
        seen, datagrams, incomplete = (result["fragments"][name] for name in ("seen", "datagrams", "incomplete"))
        what = f"{counted(seen, 'outer fragment')}: {counted(datagrams, 'datagram')}"
        out.print(f"{what}, {incomplete:,} incomplete")
    if "nested" in result:
        depths = ", ".join(f"{packets} with {depth} layers" for depth, packets in result["nested"].items())
        out.print(f"ESP in ESP: {depths}")
    if result["verdicts"]:
        out.print(table(("verdict", "packets", "meaning"), _with_sentences(result["verdicts"], Verdict)))
    _print_why(out, result["why"], result["notes"])
    _print_counters(out, result["linux_counters"])
    _print_iptfs(out, result.get("iptfs"))
    print_engine(out, result)
    if "model" in result:
        out.print(f"\ndevice: model {result['model']}")
        for assumption in result.get("assumptions", ()):
            out.print(f"  assumed: {assumption}")
        out.print(table(("device", "packets", "meaning"), _with_sentences(result["device"], DeviceOutcome)))
        if result.get("surfacing"):
            out.print(table(("failures", "packets", "meaning"), _with_sentences(result["surfacing"], Surfacing)))
        for row in result.get("wrong_keys", ()):
            out.print(f"{row['packets']} packets of {row['sa']} met the keys of {row['keys_of']}")
    _print_by_sa(out, result["by_sa"], "delivered")


def wire_line(wire: Mapping[str, Any], what: str = "frames") -> str:
    """What the faults of the wire did."""
    return (
        f"the wire (seed {wire['seed']}): of {wire['frames']} {what} {wire['lost']} lost, {wire['duplicated']} came"
        f" twice, {wire['reordered']} overtaken; {wire['arrived']} arrived"
    )


def _print_why(out: Console, why: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any]]) -> None:
    """Why packets failed, the most first, each with its sentence; then what was odd but accepted."""
    if why:
        shown = why[:_MOST_SHOWN]
        rows = [(one["cause"] or "-", one["packets"], one["sa"] or "-", one["verdict"], one["tried"]) for one in shown]
        headers = ("cause", "packets", "SA", "verdict", "tried")
        out.print(table(headers, rows, title="why they failed", notes=[one["detail"] for one in shown]))
    for one in notes[:_MOST_SHOWN]:
        out.print(f"note: {one['sa']}: {one['note']}: {one['packets']} packet{'s' * (one['packets'] != 1)}")
    if len(why) > _MOST_SHOWN or len(notes) > _MOST_SHOWN:
        out.print("more of these are in --json")


def _kinds(ignored_by: Mapping[str, int]) -> str:
    """`: arp 3, gre 1`, the most first; "" where nothing was ignored."""
    ordered = sorted(ignored_by.items(), key=lambda kind: (-kind[1], kind[0]))
    return ": " + ", ".join(f"{kind} {n}" for kind, n in ordered) if ordered else ""


def print_outbound(result: Mapping[str, Any]) -> None:
    """The summary of `espsim encap`."""
    out, result = console(), printable_values(result)
    out.print(
        f"{counted(result['packets'], 'packet')}, {result['sealed']:,} sealed, {result['no_sa']:,} without an SA;"
        f" {counted(result['ignored'], 'frame')} ignored (not IP)"
    )
    if result["verdicts"]:
        out.print(table(("verdict", "packets", "why"), _with_sentences(result["verdicts"], OutboundVerdict)))
    _print_counters(out, result["linux_counters"])
    if "mtu" in result:
        _print_mtu(out, result["mtu"])
    _print_iptfs(out, result.get("iptfs"))
    print_engine(out, result)
    _print_by_sa(out, result["by_sa"], "sealed")


def _print_mtu(out: Console, mtu: Mapping[str, Any]) -> None:
    """What the path's MTU did, and what would have fitted."""
    cut, fragmented = counted(mtu["cut_inside"], "datagram"), counted(mtu["fragmented"], "ESP packet")
    out.print(f"MTU {mtu['mtu']}: {cut} cut inside, {fragmented} in fragments")
    for one in mtu["fits"][:_MOST_SHOWN]:
        most = f"the largest inner packet that fits is {one['inner']} bytes" if one["inner"] else "no packet fits"
        out.print(f"{one['sa']}: {one['refused']} refused; {most}")


def _print_iptfs(out: Console, carried: Mapping[str, Any] | None) -> None:
    """What IP-TFS packets carried, the overhead, how long inner packets waited, and what went wrong."""
    if carried is None:
        return
    waiting = carried["waiting_ms"]
    out.print(
        f"IP-TFS: {counted(carried['packets'], 'ESP packet')}, {counted(carried['inner'], 'inner packet')},"
        f" {counted(carried['fragments'], 'part')} of cut ones; {counted(carried['overhead'], 'byte')} of overhead;"
        f" inner packets waited {waiting['mean']:.3f} ms on average, {waiting['max']:.3f} ms at most"
    )
    wrong = ("reordered", "lost", "late", "incomplete", "refused", "dropped")
    said = ", ".join(f"{carried[name]} {name}" for name in wrong if carried.get(name))
    if said:
        out.print(f"IP-TFS: {said}")
    if carried.get("refused"):
        out.print("IP-TFS: selector or policies refused inner packets; the ESP packets count as DELIVERED")


def print_engine(out: Terminal, result: Mapping[str, Any]) -> None:
    """The engine that sealed and opened; where several did, the packets of each."""
    isa = f"; {result['engine_isa']}" if result["engine_isa"] else ""
    out.print(f"engine: {result['engine']} ({result['engine_version']}{isa})", markup=False)
    if "engines" in result:
        ran = ", ".join(f"{name} {n}" for name, n in result["engines"].items())
        out.print(f"packets by engine: {ran}", markup=False)


def _with_sentences(counts: Mapping[str, int], names: Any) -> list[tuple[str, int, str]]:
    return [(name, n, names[name].sentence) for name, n in counts.items()]


def _print_counters(out: Console, counters: Mapping[str, int]) -> None:
    if counters:
        out.print(table(("Linux counter", "moved by"), counters.items()))


def _print_by_sa(out: Console, by_sa: Sequence[Mapping[str, Any]], passed: str) -> None:
    if by_sa:
        numbers = (passed, "sent") if any("sent" in count for count in by_sa) else (passed,)
        rows = [
            (
                f"0x{c['spi']:08x}@{c['daddr']}", *(c.get(number, 0) for number in numbers),
                ", ".join(f"{k} {v}" for k, v in c["dropped"].items()) or "-",
            )
            for c in by_sa
        ]  # fmt: skip
        out.print(table(("SA", *numbers, "dropped"), rows))
