"""SAs with lifetimes: kernels run one until a limit could be reached in the next batch, then the reference path does.

Before a batch `Lifetimes.due` names the SAs that would reach a limit if every packet and byte of the batch were theirs
and came at its latest time. That names too many SAs rather than too few. An SA that the reference path has taken over
stays there, so that its state is in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from espsim.batch.inbound.count import BEFORE, IN_RUN
from espsim.core.arrays import F64, I32, I64, U32, U64
from espsim.sad.association import Direction
from espsim.sad.entry import SadEntry

_NEVER = 1 << 62
_T = TypeVar("_T", bound=np.generic)


class Coming(NamedTuple):
    """Packets that are not counted yet: number, bytes, first and last time in seconds, bytes of the longest."""

    packets: int
    bytes: int
    earliest: float
    latest: float
    longest: int = 0

    @classmethod
    def of(cls, time: F64, length: I32) -> Coming:
        """The packets of a batch."""
        if not len(time):
            return cls(0, 0, np.inf, -np.inf)
        size = int(length.sum(dtype=np.int64))
        return cls(len(time), size, float(time.min()), float(time.max()), int(length.max()))

    def with_(self, others: Iterable[Coming]) -> Coming:
        """These and others together."""
        packets, sizes, earliest, latest, longest = zip(self, *others, strict=True)
        return Coming(sum(packets), sum(sizes), min(earliest), max(latest), max(longest))


class Lifetimes:
    """The SAs of `entries` that have lifetimes and that kernels run. `rows`: their places; `spis`: the SPIs of all.

    `kernels`: False for an SA that the reference path has. `outbound`: whether SAs with `dir out` can expire here; they
    cannot where a capture only shows what their sender did.
    """

    def __init__(self, entries: Sequence[SadEntry], kernels: npt.NDArray[np.bool_], *, outbound: bool = True) -> None:
        rows = [
            row for row, entry in enumerate(entries)
            if entry.sa.limited and kernels[row] and (outbound or entry.sa.dir is not Direction.OUT)
        ]  # fmt: skip
        self.rows: I64 = np.array(rows, np.int64)
        self.spis: U32 = np.array([entry.sa.spi for entry in entries], np.uint32)
        limited = [entries[row] for row in rows]
        limits = [entry.sa.limits for entry in limited]
        self._left: I64 = np.array([_left(entry) for entry in limited], np.int64).reshape(len(rows), 2)
        self._added: F64 = np.array([entry.added for entry in limited], np.float64)
        self._hard_add = _seconds([limit.hard_add for limit in limits])
        self._hard_use = _seconds([limit.hard_use for limit in limits])
        self._used: F64 = np.array([np.nan if e.used is None else e.used for e in limited], np.float64)

    def due(self, coming: Coming, packets: I64, since: F64) -> I64:
        """The SAs of `rows` that could reach a limit with these packets.

        `packets` (rows, 2): packets and bytes that kernels have counted since this was made. `since`: first use in
        seconds; NaN: none.
        """
        if not coming.packets:
            return self.rows[:0]
        used = np.fmin(np.fmin(self._used, since), coming.earliest)
        due = (packets + np.array((coming.packets, coming.bytes)) >= self._left).any(axis=1)
        # The same subtraction as in hard_time_passed. Rounding keeps the order of differences, so the latest time is
        # enough.
        due |= (coming.latest - self._added >= self._hard_add) | (coming.latest - used >= self._hard_use)
        rows: I64 = self.rows[due]
        return rows

    def without(self, gone: I64) -> None:
        """Forget the SAs at these places."""
        stay = ~np.isin(self.rows, gone)
        self.rows, self._left, self._added = self.rows[stay], self._left[stay], self._added[stay]
        self._hard_add, self._hard_use, self._used = self._hard_add[stay], self._hard_use[stay], self._used[stay]


def take_first_use(counts: I64 | U64, used: int, since: int) -> float | None:
    """When an SA was first used in this run (seconds). None: it never was, was used before, or this was asked already.

    `counts`: the SA's row. `used`, `since`: the places of USED and SINCE in it (inbound/count.py, outbound/facts.py).
    """
    if counts[used] != IN_RUN:
        return None
    counts[used] = BEFORE
    return float(counts[since : since + 1].view(np.float64)[0])


def _left(entry: SadEntry) -> tuple[int, int]:
    """Packets and bytes up to the nearest limit. A soft limit counts until it has been reported."""
    limits = entry.sa.limits
    soft_packets, soft_bytes = (None, None) if entry.dying else (limits.soft_packets, limits.soft_bytes)
    packets = min(n for n in (limits.hard_packets, soft_packets, _NEVER) if n is not None)
    size = min(n for n in (limits.hard_bytes, soft_bytes, _NEVER) if n is not None)
    return min(packets, _NEVER) - entry.packets, min(size, _NEVER) - entry.bytes


def _seconds(limits: list[int | None]) -> F64:
    return np.array([np.inf if n is None else n for n in limits], np.float64)


def shared(column: npt.NDArray[_T], memory: Callable[..., Any]) -> npt.NDArray[_T]:
    """A copy of a column in memory of `memory(shape, dtype)`."""
    there: npt.NDArray[_T] = memory(column.shape, column.dtype.type)
    there[...] = column
    return there
