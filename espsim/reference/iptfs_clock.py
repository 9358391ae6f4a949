"""Packets of IP-TFS that come out by the clock, without another packet: a gap was given up, or a delay has ended."""

from __future__ import annotations

from typing import NamedTuple

from espsim.sad.entry import SadEntry


class Late(NamedTuple):
    """These packets of an SA came out at `time` (seconds): inner packets inbound, outer packets outbound."""

    time: float
    entry: SadEntry
    packets: tuple[bytes, ...]

    @property
    def time_ns(self) -> int:
        """The time in nanoseconds, rounded to microseconds, the unit of the SA's options."""
        return round(self.time * 1e6) * 1000
