"""Which overlap, and which rate, would have lost nothing.

The schedule gives the smallest number with which timing loses no packet (schedule.py). The storm then runs once more
with that number, because a device may lose packets even so: with a longer overlap it holds more SAs at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from espsim.scenario.storm.answer import meaning
from espsim.scenario.storm.run import StormOutcome
from espsim.scenario.storm.schedule import schedule, smallest_overlap, smallest_rate
from espsim.scenario.storm.spec import Storm

MOST_RERUN = 400_000
"""Most packets of a storm that is run again to check the answer."""


def lossless(storm: Storm, outcome: StormOutcome, again: Callable[[Storm], StormOutcome], seed: int) -> dict[str, Any]:
    """{overlap, rate}: each {value, holds, why}. `value` None: no such number; `holds` None: it was not run.

    `again` runs a storm under the same policy and model.
    """
    small = outcome.sent.total() <= MOST_RERUN
    return {
        name: _tried(storm, name, value, again if small else None, seed)
        for name, value in (("overlap", smallest_overlap(storm, seed)), ("rate", smallest_rate(storm, seed)))
    }


def _tried(
    storm: Storm, name: str, value: float | None, again: Callable[[Storm], StormOutcome] | None, seed: int
) -> dict[str, Any]:
    unit = "s" if name == "overlap" else "requests a second"
    if value is None:
        return {"value": None, "holds": None, "why": _why_none(storm, name, seed)}
    said = f"an overlap of {value:g} s" if name == "overlap" else f"{value:g} requests a second"
    if again is None:
        return {"value": value, "holds": None, "why": f"{said}: by timing alone; it was not run again"}
    found = again(storm.model_copy(update={name: value}))
    if found.packets_lost:
        why = f"with {said} timing loses nothing, and yet: {meaning(found)}"
        return {"value": None, "holds": False, "why": why}
    return {
        "value": value,
        "holds": True,
        "why": f"with {value:g} {unit} none of {found.sent.total():,} packets is lost",
    }


def _why_none(storm: Storm, name: str, seed: int) -> str:
    order = storm.order
    if order.index("delete") < order.index("out") or order.index("delete") < order.index("in"):
        return "with this order the old SA is deleted before the new one is used"
    if order.index("out") < order.index("in"):
        return "with this order each side sends with its new SA before it has installed a new inbound one"
    if name == "overlap":
        return "no overlap fits"
    # With requests that take no time the host does its steps at once, and only the delays are left.
    fast = schedule(storm.model_copy(update={"rate": 1e9}), seed)
    apart = max(abs(node["in"] - host["in"]) for host, node in zip(fast.host, fast.node, strict=True))
    return (
        f"no rate is enough: the two sides hear of the new keys up to {apart:.3g} s apart, and half of the overlap is"
        f" {storm.overlap / 2:g} s"
    )
