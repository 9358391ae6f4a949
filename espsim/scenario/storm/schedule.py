"""When each side of a storm does what, and whether these times alone can lose a packet.

The host's control plane is one server: requests wait in the order in which they fall due, and each takes 1/rate
seconds. A step that is done makes the node's next step due. A node's own requests do not wait for other nodes.

Timing loses no packet from a sender to a receiver, whatever packets are sent, if

    1. the sender always has an SA to send with: it deletes the old one after it sends with the new one
    2. the receiver has the new one when the first packet under it comes
    3. the receiver still has the old one when the last packet under it comes
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from espsim.scenario.storm.spec import STEPS, Storm

REQUESTS = {"in": 1, "out": 1, "delete": 2}
"""Requests that each step makes; "delete" makes two, because two old SAs go."""

Times = dict[str, float]
"""When a side has finished each of STEPS for one node, in seconds from the start of the storm."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The host's times and the node's own, for each node."""

    host: list[Times]
    node: list[Times]

    @property
    def end(self) -> float:
        """When the last step is done."""
        return max(max(times.values()) for side in (self.host, self.node) for times in side)

    def loses_nothing(self, flight: float) -> bool:
        """Whether no packet can be lost by the timing alone."""
        return all(
            fits(host, node, flight) and fits(node, host, flight)
            for host, node in zip(self.host, self.node, strict=True)
        )


def fits(sender: Times, receiver: Times, flight: float) -> bool:
    """The three conditions of a direction."""
    switch = sender["out"]
    return sender["delete"] >= switch and receiver["in"] <= switch + flight <= receiver["delete"]


def schedule(storm: Storm, seed: int) -> Schedule:
    """The times of a storm. The nodes' delays depend on the seed alone, so that other words can change beside them."""
    rng = random.Random(f"{seed}/propagation")
    delays = [rng.uniform(*storm.delays) for _ in range(storm.nodes)]
    host = _host(storm)
    first = storm.order[0]
    heard = [times[first] if storm.event == "rekey" else 0.0 for times in host]
    node = [_alone(storm, at + delay) for at, delay in zip(heard, delays, strict=True)]
    return Schedule(host, node)


def _host(storm: Storm) -> list[Times]:
    """One server, and a queue in the order in which steps fall due."""
    times: list[Times] = [{} for _ in range(storm.nodes)]
    waiting = [(storm.spread * node / storm.nodes, node, 0) for node in range(storm.nodes)]
    free = 0.0
    while waiting:
        due, node, number = heapq.heappop(waiting)
        step = storm.order[number]
        free = max(free, due) + REQUESTS[step] / storm.rate
        times[node][step] = free
        if number + 1 < len(STEPS):
            heapq.heappush(waiting, (_due(storm, times[node], number + 1), node, number + 1))
    return times


def _alone(storm: Storm, start: float) -> Times:
    """A node's own times."""
    times: Times = {}
    at = start
    for number, step in enumerate(storm.order):
        at = max(at, _due(storm, times, number)) if number else at
        at += REQUESTS[step] / storm.rate
        times[step] = at
    return times


def _due(storm: Storm, times: Times, number: int) -> float:
    """When step `number` falls due: `number` halves of the overlap after the first step was done."""
    return times[storm.order[0]] + number * storm.overlap / 2


def smallest_overlap(storm: Storm, seed: int) -> float | None:
    """About the smallest overlap with which timing loses nothing, rounded up to three digits; None: there is none."""
    return _smallest(lambda overlap: _safe(storm, seed, overlap=overlap), 1e-3, 1e6)


def smallest_rate(storm: Storm, seed: int) -> float | None:
    """About the smallest rate with which timing loses nothing, rounded up to three digits; None: there is none."""
    return _smallest(lambda rate: _safe(storm, seed, rate=rate), 1e-3, 1e9)


def _safe(storm: Storm, seed: int, **changed: float) -> bool:
    return schedule(storm.model_copy(update=changed), seed).loses_nothing(storm.flight)


def _smallest(safe: Callable[[float], bool], low: float, high: float) -> float | None:
    """The smallest safe number, if every larger one is safe too: doubling finds a range, then its ratio is halved."""
    top = low
    while not safe(top):
        top *= 2
        if top > high:
            return None
    if top == low:
        return low
    bottom = top / 2
    while top / bottom > 1.002:
        middle = math.sqrt(top * bottom)
        bottom, top = (bottom, middle) if safe(middle) else (middle, top)
    rounded = _up(top)
    return rounded if safe(rounded) else top


def _up(value: float) -> float:
    """Rounded up to three digits."""
    unit = 10 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit) * unit:.6g}")
