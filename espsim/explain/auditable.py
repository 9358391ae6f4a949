"""The auditable events of RFC 4303, as the JSON lines of `--audit-log`.

    overflow   3.3.3   the outbound SA has no sequence number left
    fragment   3.4.1   a fragment came to ESP (only where fragments stay apart)
    no-sa      3.4.2   no valid SA: none at all, or a larval, expired or dead one
    replay     3.4.3   the window refused the number
    icv        3.4.4   the ICV is wrong

A line has the fields that the RFC lists: SPI, time received (the capture's), addresses, sequence number, and IPv6's
flow label. It also has the frame, the verdict and the SA. It has no key and nothing from inside a packet.

At most LIMIT lines of an event are written for each second of the capture. At the second's end one line says how many
were left out. The process that runs a batch picks its events (`pick`), so those left out cost little. A capture's clock
may go back; that starts another second.

What this does not do: report packets that this host sent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any, NamedTuple

from espsim.core.address import format_address
from espsim.core.answers import Received, Sent
from espsim.core.verdict import REPLAY_VERDICTS, OutboundVerdict, Verdict
from espsim.explain.outer_facts import OuterFacts
from espsim.sad.entry import SadEntry

LIMIT = 10
"""Lines of one event in one second of the capture."""
_SECOND = 10**9
_SOURCES = {
    "overflow": "RFC 4303 3.3.3", "fragment": "RFC 4303 3.4.1", "no-sa": "RFC 4303 3.4.2", "replay": "RFC 4303 3.4.3",
    "icv": "RFC 4303 3.4.4",
}  # fmt: skip
EVENT_OF: dict[Verdict, str] = {
    Verdict.FRAGMENT: "fragment",
    **dict.fromkeys((Verdict.NO_SA, Verdict.SA_LARVAL, Verdict.SA_INVALID), "no-sa"),
    **dict.fromkeys(REPLAY_VERDICTS, "replay"),
    Verdict.INTEGRITY: "icv",
}
"""The event of an inbound verdict. The other verdicts are not auditable events of RFC 4303."""
OVERFLOW = "overflow"


class AuditEvent(NamedTuple):
    """An auditable event, its time and its line. `line` None: `more` events without a line, up to `last_ns`."""

    kind: str
    time_ns: int
    line: dict[str, Any] | None
    more: int = 0
    last_ns: int = 0


class Happened(NamedTuple):
    """An auditable event with a function that makes its line, called only if the line is written."""

    kind: str
    time_ns: int
    line: Callable[[], dict[str, Any]]


@dataclass(slots=True)
class _Second:
    """One event in one second: how many lines, how many were left out, and the first's and last's time of these."""

    second: int
    lines: int = 0
    more: int = 0
    first_ns: int = 0
    last_ns: int = 0


def pick(happened: Iterable[Happened]) -> list[AuditEvent]:
    """The events in order. Those get a line for which an `AuditLog` may need one, whatever came before."""
    seconds: dict[str, _Second] = {}
    found: list[AuditEvent] = []
    at: dict[str, int] = {}  # the place in `found` of a second's events without a line
    for kind, time_ns, line in happened:
        second = time_ns // _SECOND
        state = seconds.get(kind)
        if state is None or state.second != second:
            state = seconds[kind] = _Second(second)
            at.pop(kind, None)
        if state.lines < LIMIT:
            state.lines += 1
            found.append(AuditEvent(kind, time_ns, line()))
        elif kind in at:
            known = found[at[kind]]
            found[at[kind]] = known._replace(more=known.more + 1, last_ns=time_ns)
        else:
            at[kind] = len(found)
            found.append(AuditEvent(kind, time_ns, None, 1, time_ns))
    return found


class AuditLog:
    """Writes events to `out` in the order in which they come. `finish` after the last one."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._seconds: dict[str, _Second] = {}
        self.events: Counter[str] = Counter()
        self.left_out = 0

    def take(self, events: Iterable[AuditEvent]) -> None:
        """Write more events."""
        for kind, time_ns, line, more, last_ns in events:
            self.events[kind] += more or 1
            state = self._seconds.get(kind)
            if state is None or state.second != time_ns // _SECOND:
                self._close(kind)
                state = self._seconds[kind] = _Second(time_ns // _SECOND)
            if line is not None and state.lines < LIMIT:
                state.lines += 1
                self._write(line)
                continue
            if not state.more:
                state.first_ns = time_ns
            state.more += more or 1
            state.last_ns = last_ns if more else time_ns
            self.left_out += more or 1

    def finish(self) -> None:
        """End the log: no more events come."""
        for kind in list(self._seconds):
            self._close(kind)

    def as_dict(self) -> dict[str, Any]:
        """For the report: events by kind, and how many of all have no line."""
        return {"events": dict(sorted(self.events.items())), "left_out": self.left_out}

    def _close(self, kind: str) -> None:
        state = self._seconds.pop(kind, None)
        if state is not None and state.more:
            first, last = (_clock(time_ns) for time_ns in (state.first_ns, state.last_ns))
            self._write({"event": "left-out", "of": kind, "count": state.more, "from": first, "to": last})

    def _write(self, line: dict[str, Any]) -> None:
        self._out.write(json.dumps(line) + "\n")


def happened(
    received: Received[SadEntry], packet: Callable[[], bytes], frame: int, time_ns: int, ports: frozenset[int]
) -> list[Happened]:
    """The audit event of a received packet: one, or none. `packet` starts at the IP header."""
    kind = None if received.own else EVENT_OF.get(received.verdict)
    if kind is None:
        return []

    def line() -> dict[str, Any]:
        # With ESP in ESP, the layer that failed.
        facts = OuterFacts.of(packet() if received.around is None else received.around.inner or b"", ports)
        spi, seq = (facts.spi, facts.seq) if received.spi is None else (received.spi, received.seq)
        return _line(kind, time_ns, frame, received.verdict.name, received.entry, spi, seq, facts)

    return [Happened(kind, time_ns, line)]


def overflowed(sent: Sent[SadEntry], packet: bytes, frame: int, time_ns: int) -> list[Happened]:
    """The same for a packet to send. It has the last sequence number and the SA's addresses."""
    entry = sent.entry
    if sent.verdict is not OutboundVerdict.SEQ_OVERFLOW or entry is None:
        return []

    def line() -> dict[str, Any]:
        inner = OuterFacts.of(packet, frozenset())
        flow = None if len(entry.sa.dst) == 4 else inner.flow or 0
        facts = OuterFacts(entry.sa.src, entry.sa.dst, flow)
        return _line(OVERFLOW, time_ns, frame, sent.verdict.name, entry, entry.sa.spi, 0xFFFFFFFF, facts)

    return [Happened(OVERFLOW, time_ns, line)]


def _line(  # noqa: PLR0917 - the fields in their order
    kind: str, time_ns: int, frame: int, verdict: str, entry: SadEntry | None, spi: int | None, seq: int | None,
    facts: OuterFacts,
) -> dict[str, Any]:  # fmt: skip
    line: dict[str, Any] = {
        "event": kind,
        "source": _SOURCES[kind],
        "date": _date(time_ns),
        "time": _clock(time_ns),
        "frame": frame,
        "spi": spi,
        "spi_hex": None if spi is None else f"0x{spi:08x}",
        "src": format_address(facts.src) if facts.src else None,
        "dst": format_address(facts.dst) if facts.dst else None,
        "seq": seq,
        "verdict": verdict,
        "sa": None if entry is None else entry.sa.name,
    }
    return line if facts.flow is None else line | {"flow": facts.flow}


def _clock(time_ns: int) -> str:
    """Seconds with nine decimals, as a line of `--verdicts` has them."""
    seconds, fraction = divmod(abs(time_ns), _SECOND)
    return f"{'-' if time_ns < 0 else ''}{seconds}.{fraction:09d}"


def _date(time_ns: int) -> str | None:
    """Date and time, UTC, to the second. None: the calendar has no such day."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // _SECOND)).isoformat()
    except OverflowError:
        return None
