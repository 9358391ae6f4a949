"""What the clock brings where a packet's coming brings nothing: IP-TFS gives up a gap, or ends a delay."""

from __future__ import annotations

from typing import NamedTuple

from espsim.sad.entry import SadEntry


class Late(NamedTuple):
    """At `time` (seconds) these packets of an SA came out, inner ones on the way in, outer ones on the way out."""

    time: float
    entry: SadEntry
    packets: tuple[bytes, ...]

    @property
    def time_ns(self) -> int:
        """The time in nanoseconds, as exact as the microseconds in which options are."""
        return round(self.time * 1e6) * 1000
