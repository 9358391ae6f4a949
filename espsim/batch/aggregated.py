"""IP-TFS on the batch path, both directions: what comes of its rows is beside the columns, because a row makes no
packet, one, or several.

SAs in mode IPTFS belong to the reference path from the first batch on (columns.py, out_columns.py): reordering,
reassembly and joining are an SA's state from packet to packet, and an outer packet has no place for what came out of
ten. So these rows are run one by one, in order of arrival, after a batch's other rows, and one worker runs all.

Does not read payloads (reference/iptfs_assembly.py). The clock is the rows' time, of every row: see `Aggregated.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from espsim.core.arrays import F64, I64


class LateLike(Protocol):
    """`espsim.reference.iptfs_clock.Late`."""

    @property
    def packets(self) -> tuple[bytes, ...]:
        """The packets."""

    @property
    def time_ns(self) -> int:
        """When they came out."""


class TunnelsLike(Protocol):
    """`Tunnels` of espsim.reference.iptfs_in, `Senders` of iptfs_out."""

    @property
    def due(self) -> float:
        """Before this time (seconds) nothing comes out."""

    def elapse(self, now: float) -> Sequence[LateLike]:
        """What comes out up to `now`."""


class Out(NamedTuple):
    """Packets that go out before a row's own place in the output; `time_ns` None: at the time of that row."""

    row: int
    time_ns: int | None
    packets: tuple[bytes, ...]


@dataclass(slots=True)
class Aggregated:
    """What came out of the last batch, in its order, and by row what came out with one."""

    out: list[Out] = field(default_factory=list)
    inners: dict[int, tuple[bytes, ...]] = field(default_factory=dict)

    def clear(self) -> None:
        """Another batch begins."""
        self.out, self.inners = [], {}

    def add(self, row: int, packets: tuple[bytes, ...]) -> None:
        """What came out with a row."""
        self.inners[row] = packets
        if packets:
            self.out.append(Out(row, None, packets))

    def run(self, rows: I64, time: F64, tunnels: TunnelsLike, one: Callable[[int], None]) -> None:
        """`one` for every row of `rows`; before each row of the batch the clock goes on to its time."""
        at = 0
        for row in rows.tolist():
            self._elapse(at, row + 1, time, tunnels)
            one(row)
            at = row + 1
        self._elapse(at, len(time), time, tunnels)

    def _elapse(self, at: int, end: int, time: F64, tunnels: TunnelsLike) -> None:
        while at < end:
            late = np.flatnonzero(time[at:end] >= tunnels.due)
            if not len(late):
                return
            at += int(late[0])
            self.out += [Out(at, one.time_ns, one.packets) for one in tunnels.elapse(float(time[at]))]
            at += 1

    def pieces(self, rows: int) -> Iterator[tuple[slice, Out | None]]:
        """The rows of the batch in runs, each with what goes out after it."""
        at = 0
        for out in self.out:
            yield slice(at, out.row), out
            at = out.row
        yield slice(at, rows), None
