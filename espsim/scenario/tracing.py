"""Packet by packet: what `espsim run --trace` shows and `--pcap` writes.

A packet's line has its sequence number on the wire, the high half that the receiver inferred, the window of its SA
before and after the packet, and the verdict. A window is drawn with its highest number on the right: `#` seen, `.` not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from espsim.core.answers import Received
from espsim.netlink.netns import Netns
from espsim.sad.entry import SadEntry

_DRAWN = 32
"""The numbers of a window that are drawn: the highest ones."""


@dataclass(frozen=True, slots=True)
class TracedWindow:
    """A receive window at one moment: its size, its highest number, and a drawing of the last 32 numbers."""

    size: int
    top: int
    drawn: str

    def __str__(self) -> str:
        """`..##.### top 7 of 64`."""
        return f"{self.drawn} top {self.top} of {self.size}" if self.size else "no window"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"size": self.size, "top": self.top, "drawn": self.drawn}


@dataclass(frozen=True, slots=True)
class Traced:
    """One packet. `seq_hi` is None without ESN or where no SA was found; `wire` is the packet; `time` in seconds."""

    to: str
    sa: str | None
    seq: int | None
    seq_hi: int | None
    before: TracedWindow | None
    after: TracedWindow | None
    verdict: str
    linux_counter: str | None
    time: float
    wire: bytes = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "to": self.to, "sa": self.sa, "seq": self.seq, "seq_hi": self.seq_hi,
            "window_before": self.before and self.before.as_dict(),
            "window_after": self.after and self.after.as_dict(),
            "verdict": self.verdict, "linux_counter": self.linux_counter,
        }  # fmt: skip


class Tracer:
    """Collects the packets of one namespace. Call `before` ahead of each packet, and `after` with its verdict."""

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._windows: dict[int, TracedWindow] = {}
        self.packets: list[Traced] = []

    def before(self, spi: int) -> None:
        """Note the windows of every SA that has the packet's SPI."""
        self._windows = {entry.sa_index: draw(entry) for entry in self._netns.sad.with_spi(spi)}

    def after(
        self, to: str, wire: bytes, received: Received[SadEntry] | None, verdict: str, counter: str | None
    ) -> None:
        """One packet's line."""
        entry = None if received is None else received.used or received.entry
        seq64 = received.seq64 if received is not None else None
        esn = entry is not None and entry.sa.esn
        self.packets.append(
            Traced(
                to, entry.sa.name if entry is not None else None, received.seq if received is not None else None,
                seq64 >> 32 if esn and seq64 is not None and seq64 >= 0 else None,
                self._windows.get(entry.sa_index) if entry is not None else None,
                draw(entry) if entry is not None else None,
                verdict, counter, self._netns.now, wire,
            )
        )  # fmt: skip


def draw(entry: SadEntry) -> TracedWindow:
    """An SA's window now."""
    size = entry.window.size
    bitmap = entry.window.bitmap_from_top()
    drawn = "".join("#" if bitmap >> place & 1 else "." for place in reversed(range(min(size, _DRAWN))))
    return TracedWindow(size, entry.window.top, drawn)
