"""The order of IP-TFS packets: each is passed on in its turn. A missing packet is waited for, up to a limit.

    put        a packet came: returns those that are in turn now
    give_up    the missing packet is given up: returns those that are in turn now

1. The first packet sets the number that is wanted.
2. A packet with a higher number is held until the missing ones have come, until a packet comes that is more than the
   window ahead, or until its time is over (iptfs_in.py has the clock and calls `give_up`).
3. A number below the wanted one is too late.
4. At most HELD bytes are held; beyond that the missing packet is given up.

Numbers are 64-bit sequence numbers; the replay window has removed duplicates.

What differs from Linux: its timer leaves the window one slot off after a second gap; this does not.

Sources: RFC 9347 2.2.3 and 3; Linux's iptfs_input_reorder (net/xfrm/xfrm_iptfs.c).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

HELD = 4 << 20
"""Bytes."""


class Held(NamedTuple):
    """A packet that waits, or is in turn: its number, its payload, and when it came (seconds)."""

    number: int
    payload: bytes
    arrived: float


@dataclass(slots=True)
class Order:
    """The order of one SA. `window`: how many packets may wait; 0: none waits. `lost`: numbers given up."""

    window: int
    wanted: int | None = None
    lost: int = 0
    _held: dict[int, Held] = field(default_factory=dict)
    _bytes: int = 0

    def __len__(self) -> int:
        """How many packets are held."""
        return len(self._held)

    @property
    def oldest(self) -> float | None:
        """When the packet that waits longest came; None: no packet waits."""
        return next(iter(self._held.values())).arrived if self._held else None

    def put(self, came: Held) -> list[Held] | None:
        """The packets in turn now, in their order. None: this one is too late."""
        if not self.window:
            return [came]
        if self.wanted is None:
            self.wanted = came.number
        if came.number < self.wanted or came.number in self._held:
            return None
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
        """Give up all numbers that are missing before the first packet that is held."""
        return self._move_to(min(self._held)) + self._in_turn() if self._held else []

    def _move_to(self, wanted: int) -> list[Held]:
        """Take the packets held below a number, in their order; that number is wanted from now on."""
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
