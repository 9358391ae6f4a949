"""Which timers of a state fire when (xfrm_timer_handler, net/xfrm/xfrm_state.c).

A state's timer first runs one second after the state came (or was renewed), then at the second it computed: so no limit
by time is met earlier than a second after. The soft ones warn once, the hard ones end the state. A larval state ends
acq_expires seconds after it was made, with an SPI or without; 0 lets it live for ever.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from espsim.sad.entry import SadEntry, State

_SOFT, _HARD = 0, 1


def next_timer(entry: SadEntry) -> tuple[float, int] | None:
    """(when, soft 0 or hard 1) of a state's next timer, None where none is running."""
    if entry.state is State.LARVAL:
        return (entry.added + entry.hard_add, _HARD) if entry.hard_add else None
    limits = entry.sa.limits
    due: list[tuple[float, int]] = []
    used = entry.used
    if limits.hard_add is not None:
        due.append((entry.added + max(limits.hard_add, 1), _HARD))
    if limits.hard_use is not None and used is not None:
        due.append((used + max(limits.hard_use, 1), _HARD))
    if not entry.dying:
        if limits.soft_add is not None:
            due.append((entry.added + max(limits.soft_add, 1), _SOFT))
        if limits.soft_use is not None and used is not None:
            due.append((used + max(limits.soft_use, 1), _SOFT))
    return min(due, key=lambda d: (d[0], -d[1]), default=None)


class Timers:
    """The running timers of many states. A state is told of with `watch` whenever its times may have changed."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, SadEntry]] = []
        self._order = itertools.count()

    def watch(self, entry: SadEntry) -> None:
        """Start, or start again, a state's timer."""
        due = next_timer(entry)
        if due is not None:
            heapq.heappush(self._heap, (due[0], next(self._order), entry))

    def run(
        self, until: float, alive: Callable[[SadEntry], bool], fire: Callable[[SadEntry, float, int], None]
    ) -> None:
        """Fire what is due up to `until`, in order of time. `fire` is told (state, when, soft 0 or hard 1)."""
        while self._heap and self._heap[0][0] <= until:
            when, _, entry = heapq.heappop(self._heap)
            due = next_timer(entry)
            if not alive(entry) or due is None:
                continue
            if due[0] > when:  # its times have changed since this timer was started
                self.watch(entry)
                continue
            fire(entry, *due)
            if alive(entry):
                self.watch(entry)
