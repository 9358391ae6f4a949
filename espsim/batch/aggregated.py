"""IP-TFS on the batch path, both directions. Its packets are kept beside the columns: a row makes none, one or several.

SAs in mode IPTFS belong to the reference path from the first batch on (both columns.py), because reordering,
reassembly and joining carry state from packet to packet. Their rows run one by one, in order of arrival, after the
other rows of a batch; one worker runs all of them.

The clock is the time of every row, not only of IP-TFS's: see `Aggregated.run`.

What this does not do: it reads no payloads (reference/iptfs_assembly.py).
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
        """When they came out, in nanoseconds."""


class TunnelsLike(Protocol):
    """`Tunnels` of espsim.reference.iptfs_in, `Senders` of iptfs_out."""

    @property
    def due(self) -> float:
        """The time, in seconds, before which nothing comes out."""

    def elapse(self, now: float) -> Sequence[LateLike]:
        """What comes out up to `now`."""


class Released(NamedTuple):
    """Packets that go out before the packet of `row`. `time_ns` None: at the time of that row."""

    row: int
    time_ns: int | None
    packets: tuple[bytes, ...]


@dataclass(slots=True)
class Aggregated:
    """What came out of the last batch: `out` in its order, `inners` by row."""

    out: list[Released] = field(default_factory=list)
    inners: dict[int, tuple[bytes, ...]] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget the last batch."""
        self.out, self.inners = [], {}

    def add(self, row: int, packets: tuple[bytes, ...]) -> None:
        """Note what came out with a row."""
        self.inners[row] = packets
        if packets:
            self.out.append(Released(row, None, packets))

    def run(self, rows: I64, time: F64, tunnels: TunnelsLike, one: Callable[[int], None]) -> None:
        """Call `one` for every row of `rows`. Before each row of the batch the clock moves to its time."""
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
            self.out += [Released(at, one.time_ns, one.packets) for one in tunnels.elapse(float(time[at]))]
            at += 1

    def pieces(self, rows: int) -> Iterator[tuple[slice, Released | None]]:
        """The rows of the batch in order, cut where something goes out between them; after each piece what goes out."""
        at = 0
        for out in self.out:
            yield slice(at, out.row), out
            at = out.row
        yield slice(at, rows), None
