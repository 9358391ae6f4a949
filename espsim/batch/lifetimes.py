"""SAs with lifetimes: the kernels run them for as long as no limit can be met, and the reference path from then on.

Before a batch it is asked whether, with every packet and byte of the batch on one SA and at its latest time, a limit
could be met. That errs on the side of the reference path, which counts, and then the SA stays there: its state is in
one place at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from espsim.core.arrays import F64, I32, I64, U32, U64
from espsim.sad.association import Direction
from espsim.sad.entry import SadEntry

_NEVER = 1 << 62
_T = TypeVar("_T", bound=np.generic)


class Coming(NamedTuple):
    """Packets that are not counted yet: how many, their bytes, their times in seconds, the longest one's bytes."""

    packets: int
    bytes: int
    earliest: float
    latest: float
    longest: int = 0

    @classmethod
    def of(cls, time: F64, length: I32) -> Coming:
        """A batch's."""
        if not len(time):
            return cls(0, 0, np.inf, -np.inf)
        size = int(length.sum(dtype=np.int64))
        return cls(len(time), size, float(time.min()), float(time.max()), int(length.max()))

    def with_(self, others: Iterable[Coming]) -> Coming:
        """These and others together."""
        packets, sizes, earliest, latest, longest = zip(self, *others, strict=True)
        return Coming(sum(packets), sum(sizes), min(earliest), max(latest), max(longest))


class Lifetimes:
    """Those of the SAs `entries` that have lifetimes, as they stand now; `rows` are their places, `spis` those of all.

    Where `kernels` is False an SA is the reference path's already. `outbound`: SAs with dir out end too; else they
    are only looked at, and how long they live is their sender's.
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
        """Those of `rows` that could meet a limit while these packets run.

        `packets` (rows, 2) and `since` are what the kernels have counted since this was made: packets and bytes, and
        the first use in seconds, NaN where there was none.
        """
        if not coming.packets:
            return self.rows[:0]
        used = np.fmin(np.fmin(self._used, since), coming.earliest)
        due = (packets + np.array((coming.packets, coming.bytes)) >= self._left).any(axis=1)
        # As hard_time_passed says it: a difference of floats grows with what it is taken from, so the latest time
        # speaks for all.
        due |= (coming.latest - self._added >= self._hard_add) | (coming.latest - used >= self._hard_use)
        rows: I64 = self.rows[due]
        return rows

    def without(self, gone: I64) -> None:
        """Forget the SAs at these places."""
        stay = ~np.isin(self.rows, gone)
        self.rows, self._left, self._added = self.rows[stay], self._left[stay], self._added[stay]
        self._hard_add, self._hard_use, self._used = self._hard_add[stay], self._hard_use[stay], self._used[stay]


def take_first_use(counts: I64 | U64, used: int, since: int) -> float | None:
    """When an SA was first used (seconds) in this run, None where it was before or never was; told once.

    `counts` is the SA's row, with the columns USED and SINCE of batch/inbound/decap.py at `used` and `since`.
    """
    if counts[used] != 2:
        return None
    counts[used] = 1
    return float(counts[since : since + 1].view(np.float64)[0])


def _left(entry: SadEntry) -> tuple[int, int]:
    """Packets and bytes up to the nearest limit; a soft one is told of once."""
    limits = entry.sa.limits
    soft_packets, soft_bytes = (None, None) if entry.dying else (limits.soft_packets, limits.soft_bytes)
    packets = min(n for n in (limits.hard_packets, soft_packets, _NEVER) if n is not None)
    size = min(n for n in (limits.hard_bytes, soft_bytes, _NEVER) if n is not None)
    return min(packets, _NEVER) - entry.packets, min(size, _NEVER) - entry.bytes


def _seconds(limits: list[int | None]) -> F64:
    return np.array([np.inf if n is None else n for n in limits], np.float64)


def shared(column: npt.NDArray[_T], memory: Callable[..., Any]) -> npt.NDArray[_T]:
    """A column's values in memory of `memory(shape, dtype)`."""
    there: npt.NDArray[_T] = memory(column.shape, column.dtype.type)
    there[...] = column
    return there
