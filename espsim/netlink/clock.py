"""When the timer of a state fires (xfrm_timer_handler, net/xfrm/xfrm_state.c).

1. The timer first fires one second after the state was made or renewed, then at the time that it computed. So no time
   limit is reached within the first second.
2. A soft limit is reported once; a hard limit ends the state.
3. A larval state ends acq_expires seconds after it was made, whether it has an SPI or not. With 0 it never ends.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

from espsim.sad.entry import SadEntry, State

END_OF_TIME = 1 << 53
"""Seconds. From here on a float cannot tell one second from the next."""

_SOFT, _HARD = 0, 1
_FEW = 64
"""Up to so many timers are kept before outdated ones are removed."""


def next_timer(entry: SadEntry) -> tuple[float, int] | None:
    """(when, soft 0 or hard 1) of a state's next timer; None: none is running. In seconds."""
    if entry.state is State.LARVAL:
        return (entry.added + entry.hard_add, _HARD) if entry.hard_add else None
    limits = entry.sa.limits
    due: list[tuple[float, int]] = []
    used = entry.used
    if limits.hard_add is not None:
        due.append((entry.added + limits.hard_add, _HARD))
    if limits.hard_use is not None and used is not None:
        due.append((used + limits.hard_use, _HARD))
    if not entry.dying:
        if limits.soft_add is not None:
            due.append((entry.added + limits.soft_add, _SOFT))
        if limits.soft_use is not None and used is not None:
            due.append((used + limits.soft_use, _SOFT))
    first = max(entry.renewed, entry.added) + 1
    return min(((max(when, first), kind) for when, kind in due), key=lambda d: (d[0], -d[1]), default=None)


class Timers:
    """The running timers of many states, at most one of each. `alive`: whether a state is still in the SAD.

    Call `watch` whenever a state's times may have changed; a call too many does no harm. A timer that is too early is
    started again when it is reached. States that end at the same time end in the order of their `sa_index`.
    """

    def __init__(self, alive: Callable[[SadEntry], bool]) -> None:
        self._alive = alive
        self._heap: list[tuple[float, int, SadEntry]] = []
        self._running: dict[int, float] = {}
        self._most = _FEW

    def __len__(self) -> int:
        """How many timers the heap holds, outdated ones included."""
        return len(self._heap)

    def watch(self, entry: SadEntry) -> None:
        """Start a state's timer, unless its running one is early enough."""
        due = next_timer(entry)
        if due is None or self._running.get(entry.sa_index, math.inf) <= due[0]:
            return
        self._running[entry.sa_index] = due[0]
        heapq.heappush(self._heap, (due[0], entry.sa_index, entry))
        if len(self._heap) > self._most:
            self._sweep()

    def run(self, until: float, fire: Callable[[SadEntry, float, int], None]) -> None:
        """Call `fire` for what is due up to `until`, in order of time: (state, when, soft 0 or hard 1)."""
        while self._heap and self._heap[0][0] <= until:
            when, index, entry = heapq.heappop(self._heap)
            if self._running.get(index) != when:  # an earlier timer has replaced it
                continue
            del self._running[index]
            due = next_timer(entry)
            if not self._alive(entry) or due is None:
                continue
            if due[0] > when:  # its times have changed since this timer was started
                self.watch(entry)
                continue
            fire(entry, *due)
            if self._alive(entry):
                self.watch(entry)

    def _sweep(self) -> None:
        """Remove timers of states that are gone, and timers that an earlier one has replaced."""
        kept = [timer for timer in self._heap if self._running.get(timer[1]) == timer[0] and self._alive(timer[2])]
        heapq.heapify(kept)
        self._heap = kept
        self._running = {index: when for when, index, _ in kept}
        self._most = max(_FEW, 2 * len(kept))
