"""The receiver of IP-TFS: puts opened packets of an SA into their order, and inner packets together.

    receive    an opened packet: the inner packets that come out with it, and what Linux counts
    elapse     the clock moves on: what has waited too long is given up; what comes out then

Two things wait, each for the SA's drop time: a packet, for a missing one before it (iptfs_order.py), and the first part
of an inner packet, for the rest (iptfs_assembly.py).

The clock is the packets' time. The caller calls `elapse` before each packet, and with infinity at a capture's end:
everything that is held comes out then, and what is not whole is `incomplete`. Without `elapse` an SA's own packets move
its clock.

An error in a packet that was held is counted when its turn comes, in `Tunnels.counters`, because its verdict has been
given already.

What this does not do: inner packets are not opened further, even if they are ESP.

Sources: RFC 9347; Linux's iptfs_input and iptfs_drop_timer (net/xfrm/xfrm_iptfs.c).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from espsim.core.numbers import PROTO_AGGFRAG
from espsim.core.verdict import Verdict
from espsim.reference.inner import selector_refuses
from espsim.reference.iptfs_assembly import Assembly, TakenPayload
from espsim.reference.iptfs_clock import Late
from espsim.reference.iptfs_order import Held, Order
from espsim.reference.outer import Arrival
from espsim.reference.policies import Policies
from espsim.reference.trace import InboundTrace
from espsim.sad.association import SecurityAssociation
from espsim.sad.entry import SadEntry, State

_US = 1e-6


class Opened(NamedTuple):
    """The result of one ESP packet. `held`: it waits for others. `taken`: what its payload held; None: it waits."""

    verdict: Verdict
    packets: tuple[bytes, ...]
    held: bool
    taken: TakenPayload | None


@dataclass(slots=True)
class Carried:
    """What an SA's packets carried.

    `outer`: ESP packets; `outer_bytes`: bytes of their whole IP packets. `refused`: inner packets that the SA's
    selector or the policies refuse. `wait`, `longest`: seconds that inner packets waited here, all together and at
    most.
    """

    outer: int = 0
    outer_bytes: int = 0
    inner: int = 0
    inner_bytes: int = 0
    fragments: int = 0
    reordered: int = 0
    late: int = 0
    refused: int = 0
    wait: float = 0.0
    longest: float = 0.0


@dataclass(slots=True)
class Receiver:
    """The receiver of one SA. `refuses` gives the counter that moves where an inner packet may not pass; None: it may
    pass. `own`: this host sent the packets, and no counter moves."""

    sa: SecurityAssociation
    refuses: Callable[[bytes], str | None]
    own: bool = False
    carried: Carried = field(default_factory=Carried)
    order: Order = field(init=False)
    assembly: Assembly = field(default_factory=Assembly)

    def __post_init__(self) -> None:
        self.order = Order(self.sa.aggregation.reorder_window)

    @property
    def deadline(self) -> float:
        """The time, in seconds, at which something is given up; infinity: nothing waits."""
        since = [time for time in (self.order.oldest, self.assembly.since) if time is not None]
        return min(since) + self.sa.aggregation.drop_time * _US if since else math.inf

    def receive(self, came: Held, outer: int, counted: Counter[str]) -> Opened:
        """Receive an opened packet of `outer` bytes. Counters that are not in its verdict are added to `counted`."""
        self.carried.outer += 1
        self.carried.outer_bytes += outer
        ready = self.order.put(came)
        if ready is None:
            self.carried.late += 1
            return Opened(Verdict.IPTFS_LATE, (), False, None)
        own, packets = self._take(ready, came.number, came.arrived, counted)
        if own is None:
            self.carried.reordered += 1
            return Opened(Verdict.DELIVERED, packets, True, None)
        return Opened(own.errors[0] if own.errors else Verdict.DELIVERED, packets, False, own)

    def give_up(self, now: float, counted: Counter[str]) -> tuple[bytes, ...]:
        """A deadline has come. A part of an inner packet is dropped: its rest would come before what is held."""
        gap = self.order.oldest is not None and self.order.oldest + self.sa.aggregation.drop_time * _US <= now
        self.assembly.drop()
        return self._take(self.order.give_up(), None, now, counted)[1] if gap else ()

    def _take(
        self, ready: list[Held], number: int | None, now: float, counted: Counter[str]
    ) -> tuple[TakenPayload | None, tuple[bytes, ...]]:
        """Read payloads in their order: (what the one with this number held, the inner packets)."""
        own, packets = None, []
        for one in ready:
            taken = self.assembly.take(one, now)
            errors = [error.counter for error in taken.errors if error.counter is not None]
            if one.number == number:
                own, errors = taken, errors[1:]
            for inner in taken.inners:
                counter = self.refuses(inner.packet)
                if counter is not None:
                    self.carried.refused += 1
                    errors.append(counter)
                    continue
                packets.append(inner.packet)
                self._carry(len(inner.packet), now - inner.begun, inner.parts)
            if not self.own:
                counted.update(errors)
        return own, tuple(packets)

    def _carry(self, size: int, waited: float, parts: int) -> None:
        carried = self.carried
        carried.inner += 1
        carried.inner_bytes += size
        carried.fragments += parts if parts > 1 else 0
        carried.wait += max(waited, 0.0)
        carried.longest = max(carried.longest, waited)


class _Judge(Protocol):
    """`espsim.reference.inbound.Inbound`, as far as inner packets need it."""

    mark: int | None
    trace: InboundTrace | None

    @property
    def policies(self) -> Policies | None:
        """The policies after decapsulation."""


class Tunnels:
    """The receivers of all SAs in mode IPTFS. `counters`: Linux's counters that are in no packet's verdict.

    `judge` has the policies that judge inner packets.
    """

    def __init__(self, judge: _Judge) -> None:
        self._judge = judge
        self.counters: Counter[str] = Counter()
        self._of: dict[SadEntry, Receiver] = {}
        self._due = math.inf

    def receive(
        self, entry: SadEntry, arrival: Arrival, payload: bytes, next_header: int, number: int, *, own: bool
    ) -> Verdict:
        """Receive an opened packet of an SA; `arrival.inners` gets the inner packets. `own`: this host sent it."""
        if next_header != PROTO_AGGFRAG:
            if self._judge.trace is not None:
                self._judge.trace.decapsulated(entry, arrival, None)
            return Verdict.MODE
        receiver = self._of.get(entry)
        if receiver is None:
            sa, refuses = entry.sa, self._refuses
            receiver = self._of[entry] = Receiver(sa, lambda inner: refuses(sa, inner, own), own)
        before = self._give_up(receiver, arrival.now)
        opened = receiver.receive(Held(number, payload, arrival.now), arrival.outer.end, self.counters)
        self._due = min(self._due, receiver.deadline)
        arrival.inners = before + opened.packets
        if self._judge.trace is not None:
            self._judge.trace.aggregated(entry, arrival, payload, opened._replace(packets=arrival.inners))
        return opened.verdict

    def _refuses(self, sa: SecurityAssociation, inner: bytes, own: bool) -> str | None:
        """The counter that moves where the SA's selector or the policies refuse an inner packet."""
        if sa.selective and selector_refuses(sa.selector, inner):
            return Verdict.POLICY.counter
        if own or self._judge.policies is None:
            return None
        judged = self._judge.policies.judge(inner, (sa,), self._judge.mark)
        return None if judged.verdict is Verdict.DELIVERED else judged.counter

    @property
    def due(self) -> float:
        """The time, in seconds, before which nothing is given up; infinity: nothing waits."""
        return self._due

    def elapse(self, now: float) -> list[Late]:
        """What comes out up to `now` (seconds), in the order of time."""
        if now < self._due:
            return []
        late: list[Late] = []
        while (due := min((r.deadline for r in self._of.values()), default=math.inf)) <= now and due < math.inf:
            for entry, receiver in self._of.items():
                if receiver.deadline > due:
                    continue
                packets = receiver.give_up(due, self.counters)
                if packets and entry.state is State.VALID:
                    late.append(Late(due, entry, packets))
        self._due = due
        return late

    def _give_up(self, receiver: Receiver, now: float) -> tuple[bytes, ...]:
        packets: tuple[bytes, ...] = ()
        while receiver.deadline <= now:
            packets += receiver.give_up(receiver.deadline, self.counters)
        return packets

    def as_dict(self) -> dict[str, Any] | None:
        """The JSON `iptfs`; None where no packet came under such an SA."""
        receivers = list(self._of.values())
        if not receivers:
            return None
        total = {name: sum(getattr(r.carried, name) for r in receivers) for name in _SUMMED}
        wait, inner = total.pop("wait"), total["inner"]
        longest = max(r.carried.longest for r in receivers)
        return {"packets": total.pop("outer"), **total} | {
            "incomplete": sum(r.assembly.incomplete for r in receivers),
            "lost": sum(r.order.lost for r in receivers),
            "padding": sum(r.assembly.padding for r in receivers),
            "overhead": total["outer_bytes"] - total["inner_bytes"],
            "waiting_ms": {"mean": round(1e3 * wait / inner, 6) if inner else 0.0, "max": round(1e3 * longest, 6)},
        }


_SUMMED = (
    "outer", "outer_bytes", "inner", "inner_bytes", "fragments", "reordered", "late", "refused", "wait",
)  # fmt: skip
