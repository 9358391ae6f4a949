"""Runs a storm: SAs are replaced by their schedule, packets flow, and each packet's fate is counted with its cause.

The only clock is the model's: the earliest event that is due happens next. Of events at the same time, steps come
before packets.

Why a packet was lost:

    too early     it came under the new SA before the receiver had installed it
    too late      it came under the old SA after the receiver had deleted it
    no SA         the sender had none: it had deleted the old one before it had the new one
    refused       the receiver could not install the SA: the kernel refused it
    device        the receiver has the SA, and the modelled device lost the packet or opened it with another one's keys
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from espsim.core.answers import Received
from espsim.core.errors import InputError
from espsim.core.verdict import OutboundVerdict, Surfacing, Verdict
from espsim.netlink.netns import Netns
from espsim.offload.device import Device
from espsim.offload.model import Model
from espsim.sad.association import ANY, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.linux import DEFAULT_KERNEL
from espsim.sad.spi import SpiRule
from espsim.scenario.storm.hosts import DEFAULT, Nodes, StormHost
from espsim.scenario.storm.schedule import Schedule, schedule
from espsim.scenario.storm.spec import MOST_PACKETS, STEPS, Storm
from espsim.scenario.traffic import clear_packet

CAUSES = ("too early", "too late", "no SA", "refused", "device")
IN, OUT = "in", "out"
"""Directions, as the host sees them."""

_HOST_STEP, _NODE_STEP, _ARRIVES, _SENDS = range(4)


@dataclass(slots=True)
class Lost:
    """Packets of one node and direction that were lost one after another for one reason. Times in seconds."""

    node: int
    direction: str
    first: float
    last: float
    spi: int
    counter: str
    cause: str
    packets: int = 1

    def goes_on(self, other: Lost) -> bool:
        """Whether another one is of the same kind."""
        return (self.node, self.direction, self.spi, self.counter, self.cause) == (
            other.node, other.direction, other.spi, other.counter, other.cause,
        )  # fmt: skip


@dataclass(slots=True)
class StormOutcome:
    """The result of a storm. `sent`, `delivered`: by direction. `moments`: (time, SAs in the device) at each change.

    `done`: (time, node, who, what) of every step of the storm, in order.
    """

    schedule: Schedule
    host: StormHost
    begin: float
    end: float
    sent: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    lost: list[Lost] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=lambda: {"sent": [], "delivered": []})
    moments: list[tuple[float, int]] = field(default_factory=list)
    done: list[tuple[float, int, str, str]] = field(default_factory=list)

    @property
    def packets_lost(self) -> int:
        """How many packets did not arrive, those included that could not be sent."""
        return self.drops.total()


@dataclass(frozen=True, slots=True)
class _Wire:
    """A packet on its way. `generation`: that of the SA that sealed it."""

    node: int
    direction: str
    generation: int
    spi: int
    packet: bytes


class StormRun:
    """One storm while it runs."""

    def __init__(
        self, storm: Storm, like: SecurityAssociation | None, netns: Netns, device: Device | None, seed: int
    ) -> None:
        self.storm = storm
        times = schedule(storm, seed)
        begin, end = -storm.lead, times.end + storm.lead + storm.flight
        packets = 2 * storm.nodes * storm.packets * (end - begin)
        if packets > MOST_PACKETS:
            raise InputError(
                f"the storm has {packets:,.0f} packets, at most {MOST_PACKETS:,} are run: set fewer packets or nodes"
            )
        self.host = StormHost(storm, replace(like or DEFAULT, selector=ANY), netns, device, seed)
        self.nodes = Nodes(self.host, seed)
        self.result = StormOutcome(times, self.host, begin, end)
        self._clear: dict[tuple[str, int], bytes] = {}
        self._events: list[tuple[float, int, int, object]] = []
        self._count = itertools.count()
        self._last: dict[tuple[int, str], Lost] = {}
        self._phase = random.Random(f"{seed}/phases")

    def run(self) -> StormOutcome:
        """Until nothing is due any more."""
        netns, storm = self.host.netns, self.storm
        for node in range(storm.nodes):
            self.host.install_in(node, 0)
            self.host.install_out(node, 0)
            self.nodes.install_in(node, 0)
            self.nodes.install_out(node, 0)
        before = [replace(refused, time=self.result.begin) for refused in self.host.refused]
        self.host.refused[:] = before
        self.result.moments.append((self.result.begin, len(self.host.in_device)))
        self.host.peak_at = self.result.begin
        for node in range(storm.nodes):
            for direction in (IN, OUT):
                self._due(self.result.begin + self._phase.random() / storm.packets, _SENDS, (node, direction))
            for step in STEPS:
                self._due(self.result.schedule.host[node][step], _HOST_STEP, (node, step))
                self._due(self.result.schedule.node[node][step], _NODE_STEP, (node, step))
        acts: dict[int, Callable[[float, object], None]] = {
            _HOST_STEP: self._host_step, _NODE_STEP: self._node_step, _SENDS: self._send, _ARRIVES: self._arrive,
        }  # fmt: skip
        while self._events:
            now, kind, _number, what = heapq.heappop(self._events)
            if kind == _HOST_STEP and now > netns.now:
                netns.advance(now - netns.now)
            acts[kind](now, what)
        return self.result

    def _due(self, at: float, kind: int, what: object) -> None:
        heapq.heappush(self._events, (at, kind, next(self._count), what))

    # -- steps --------------------------------------------------------------------------------------------------------

    def _host_step(self, now: float, what: object) -> None:
        self._step(now, what, self.host, "host")
        if self.result.moments[-1][1] != len(self.host.in_device):
            self.result.moments.append((now, len(self.host.in_device)))

    def _node_step(self, now: float, what: object) -> None:
        self._step(now, what, self.nodes, "node")

    def _step(self, now: float, what: object, side: StormHost | Nodes, whose: str) -> None:
        """Do a side's next step, and note what it said."""
        node, step = _pair(what)
        if step == "delete":
            said = side.delete_old(node)
        else:
            said = side.install_in(node, 1) if step == "in" else side.install_out(node, 1)
        self.result.done.append((now, node, whose, said))

    # -- packets ------------------------------------------------------------------------------------------------------

    def _send(self, now: float, what: object) -> None:
        node, direction = _pair(what)
        following = now + 1 / self.storm.packets
        if following < self.result.end - self.storm.flight:
            self._due(following, _SENDS, what)
        self.result.sent[direction] += 1
        self.result.times["sent"].append(now)
        pair = self.nodes.outs[node] if direction == IN else self.host.outs[node]
        generation = 1 if pair[1] is not None else 0
        using = pair[generation]
        if using is None:
            self._lose(Lost(node, direction, now, now, 0, OutboundVerdict.NO_SA.counter or "", "no SA"))
            return
        outbound, entry = using if isinstance(using, tuple) else (self.host.outbound, using)
        sent = outbound.send_with(entry, self._packet(node, direction, entry.sa), now)
        if sent.packet is None:
            self._lose(Lost(node, direction, now, now, entry.sa.spi, sent.counter or sent.verdict.name, "no SA"))
            return
        wire = _Wire(node, direction, generation, entry.sa.spi, sent.packet)
        self._due(now + self.storm.flight, _ARRIVES, wire)

    def _arrive(self, now: float, what: object) -> None:
        assert isinstance(what, _Wire)  # noqa: S101
        inbound = self.host.inbound if what.direction == IN else self.nodes.inbound
        received = inbound.receive(what.packet, now)
        assert received is not None  # noqa: S101 - it is ESP
        if received.verdict is Verdict.DELIVERED:
            self.result.delivered[what.direction] += 1
            self.result.times["delivered"].append(now)
            return
        self._lose(
            Lost(what.node, what.direction, now, now, what.spi, _counter(received), self._cause(now, what)), wire=what
        )

    def _cause(self, now: float, what: _Wire) -> str:
        """Why a packet was lost, by the state of its SA at the receiver now."""
        side = self.host.ins if what.direction == IN else self.nodes.ins
        if side[what.node][what.generation] is not None:
            return "device"
        times = self.result.schedule.host if what.direction == IN else self.result.schedule.node
        if what.generation == 0:
            return "too late" if now >= times[what.node]["delete"] else "refused"
        return "too early" if now < times[what.node]["in"] else "refused"

    def _lose(self, lost: Lost, *, wire: _Wire | None = None) -> None:
        self.result.drops[lost.counter] += 1
        self.result.causes[lost.cause] += 1
        self.result.times.setdefault(lost.counter, []).append(lost.first)
        last = self._last.get((lost.node, lost.direction))
        if last is not None and last.goes_on(lost):
            last.last, last.packets = lost.first, last.packets + 1
            return
        self._last[lost.node, lost.direction] = lost
        self.result.lost.append(lost)

    def _packet(self, node: int, direction: str, sa: SecurityAssociation) -> bytes:
        found = self._clear.get((direction, node))
        if found is None:
            found = self._clear[direction, node] = clear_packet(sa, self.storm.size)
        return found


def _pair(what: object) -> tuple[int, str]:
    assert isinstance(what, tuple)  # noqa: S101
    node, word = what
    return node, word


def _counter(received: Received[SadEntry]) -> str:
    """The counter that moves: Linux's, else how the device reports it, else the verdict."""
    if received.counter is not None:
        return received.counter
    return received.surfacing.name if received.surfacing is not Surfacing.NONE else received.verdict.name


def run_storm(
    storm: Storm,
    policy: SpiRule | str,
    *,
    like: SecurityAssociation | None = None,
    model: Model | None = None,
    assume: Mapping[str, object] | None = None,
    options: Collection[str] = (),
    seed: int = 1,
) -> StormOutcome:
    """Run a storm under one policy (or kernel, by name) and one model; None: software alone.

    InputError: too many packets, or no such policy or option. UnknownReached: the model's answer is not public.
    """
    netns = Netns(
        policy if isinstance(policy, str) else DEFAULT_KERNEL,
        options=options, seed=seed, policy=None if isinstance(policy, str) else policy,
    )  # fmt: skip
    device = None if model is None else Device(model, assume or {})
    return StormRun(storm, like, netns, device, seed).run()
