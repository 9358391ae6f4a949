"""The order of IP-TFS packets: each is handed on in its turn, and what is missing is waited for, but not for ever.

    put        a packet came: which are in turn now
    give_up    the missing one is waited for no more: which are in turn now

The first packet that comes sets the number that is wanted. A packet with a higher number is held until the missing ones
have come, until one comes that is more than the window ahead, or until its time is over (`give_up`; whose clock that is
is `iptfs_in.py`'s). A number below the wanted one is too late. Numbers are 64-bit ones; the replay window has taken out
duplicates.

Not more than HELD bytes are held: where a window is that large, the missing one is given up.

Sources: RFC 9347 2.2.3 and 3; Linux's iptfs_input_reorder (net/xfrm/xfrm_iptfs.c). Its timer's walk over a second gap
leaves the window one slot off; here it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

HELD = 4 << 20
"""Bytes."""


class Held(NamedTuple):
    """A packet that waits, or is in turn: its number, payload, and when it came (seconds)."""

    number: int
    payload: bytes
    arrived: float


@dataclass(slots=True)
class Order:
    """One SA's. `window`: how many may wait; 0: each is in turn when it comes. `lost`: numbers that were given up."""

    window: int
    wanted: int | None = None
    lost: int = 0
    _held: dict[int, Held] = field(default_factory=dict)
    _bytes: int = 0

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    @property
    def oldest(self) -> float | None:
        """When the packet came that waits longest; None: none waits."""
        return next(iter(self._held.values())).arrived if self._held else None

    def put(self, came: Held) -> list[Held] | None:
        """What is in turn now, in its order. None: it is too late for this one."""
        if not self.window:
            return [came]
        if self.wanted is None:
            self.wanted = came.number
        if came.number < self.wanted or came.number in self._held:
            return None
        if came.number == self.wanted:
            self.wanted += 1
            return [came, *self._in_turn()]
        ready: list[Held] = []
        if came.number - self.wanted > self.window:
            ready = self._move_to(came.number - self.window)
        self._held[came.number] = came
        self._bytes += len(came.payload)
        ready += self._in_turn()
        while self._bytes > HELD:
            ready += self.give_up()
        return ready

    def give_up(self) -> list[Held]:
        """The wanted number, and those missing up to the first that is held, are lost."""
        return self._move_to(min(self._held)) + self._in_turn() if self._held else []

    def _move_to(self, wanted: int) -> list[Held]:
        """What is held below a number, in its order; that number is wanted then."""
        ready = [self._take(number) for number in sorted(n for n in self._held if n < wanted)]
        self.lost += wanted - (self.wanted or 0) - len(ready)
        self.wanted = wanted
        return ready

    def _in_turn(self) -> list[Held]:
        ready = []
        while self.wanted is not None and self.wanted in self._held:
            ready.append(self._take(self.wanted))
            self.wanted += 1
        return ready

    def _take(self, number: int) -> Held:
        taken = self._held.pop(number)
        self._bytes -= len(taken.payload)
        return taken
