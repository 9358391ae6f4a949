"""Outer fragments that complete nothing: they wait until the reader's joiner knows the outcome of their datagram.

The joiner's memory bounds how many wait. With several workers the reader is ahead of the rows, so an outcome may wait
too, until its rows have come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from espsim.explain.causes import FRAGMENT, snap
from espsim.explain.lines import Settling, VerdictLines
from espsim.explain.watch import Collector
from espsim.io.fragments import Settled


class Parts:
    """Reports datagrams that were never completed to the collector, and all outcomes to `lines` (None: no lines)."""

    def __init__(self, collector: Collector, lines: VerdictLines | None) -> None:
        self._collector, self._lines = collector, lines
        self._sizes: dict[int, tuple[int, int]] = {}
        self._early: list[Settled] = []

    def part(self, frame: int, captured: int, wire: int, line: dict[str, Any] | None) -> None:
        """Take a frame that completes nothing, and its line."""
        self._sizes[frame] = captured, wire
        if self._lines is not None and line is not None:
            self._lines.part(line)

    def settle(self, settled: Iterable[Settled]) -> None:
        """Take the outcomes of datagrams, in the joiner's order."""
        all_of_them, self._early = [*self._early, *settled], []
        for one in all_of_them:
            if all(frame in self._sizes for frame in one.frames):
                self._settle(one)
            else:
                self._early.append(one)

    def _settle(self, one: Settled) -> None:
        sizes = [self._sizes.pop(frame) for frame in one.frames]
        cause = None
        if one.datagram is None and one.layer is None:
            cut = next((size for size in sizes if size[0] < size[1]), None)
            answer = FRAGMENT if cut is None else snap(*cut)
            self._collector.fragments(answer)
            cause = answer.cause
        if self._lines is not None:
            for frame in one.frames:
                self._lines.settle(frame, Settling(one.datagram, one.layer, cause))
