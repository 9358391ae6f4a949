"""The report of a storm that ran: one dictionary, for JSON and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from espsim.core.address import format_address
from espsim.scenario.storm.hosts import RefusedRequest, address
from espsim.scenario.storm.run import CAUSES, IN, OUT, Lost, StormOutcome
from espsim.scenario.storm.spec import Storm

BINS = 40
"""Number of equal intervals that the report divides the time into."""

_WHY = {
    "too early": "came under the new SA before the receiver had installed it",
    "too late": "came under the old SA after the receiver had deleted it",
    "no SA": "had no SA to be sent with: the old one was deleted before the new one was there",
    "refused": "came under an SA that the receiver could not install",
    "device": "came for an SA that the receiver has, and the device lost them",
}


def answer(storm: Storm, outcome: StormOutcome, *, traced: bool = False) -> dict[str, Any]:
    """The report of a storm. `traced`: the story of every node that lost a packet, not only of the worst one."""
    host, sent = outcome.host, outcome.sent.total()
    by_node: Counter[int] = Counter()
    for lost in outcome.lost:
        by_node[lost.node] += lost.packets
    worst = min(by_node, key=lambda node: (-by_node[node], node), default=None)
    told = sorted(by_node) if traced else []
    full = next((refused for refused in host.refused if refused.request == "offload"), None)
    result: dict[str, Any] = {
        "nodes": storm.nodes,
        "seconds": round(outcome.end - outcome.begin, 9),
        "packets": {"sent": sent, "delivered": outcome.delivered.total(), "lost": outcome.packets_lost},
        "directions": {name: {"sent": outcome.sent[name], "delivered": outcome.delivered[name]} for name in (IN, OUT)},
        "drops": dict(outcome.drops.most_common()),
        "causes": {cause: outcome.causes[cause] for cause in CAUSES if outcome.causes[cause]},
        "nodes_that_lost": len(by_node),
        "peak": {"device": host.peak_device, "sad": host.peak_sad, "time": _time(host.peak_at)},
        "first_overflow": _refused(full),
        "first_refused": _refused(next(iter(host.refused), None)),
        "refused": _counted(host.refused),
        "timeline": list(_bins(outcome)),
        "worst": None if worst is None else _story(outcome, worst, by_node[worst]),
        "meaning": meaning(outcome),
    }
    if traced:
        result["trace"] = [_story(outcome, node, by_node[node]) for node in told]
    return result


def meaning(outcome: StormOutcome) -> str:
    """What happened to the packets, in a sentence."""
    sent, lost = outcome.sent.total(), outcome.packets_lost
    if not lost:
        return f"None of {sent:,} packets is lost."
    why = "; ".join(f"{outcome.causes[cause]:,} {_WHY[cause]}" for cause in CAUSES if outcome.causes[cause])
    return f"{lost:,} of {sent:,} packets {'is' if lost == 1 else 'are'} lost: {why}."


def _bins(outcome: StormOutcome) -> Iterator[dict[str, Any]]:
    """For each interval: packets sent, delivered and dropped by counter, and the most SAs in the device."""
    width = (outcome.end - outcome.begin) / BINS
    counts: list[Counter[str]] = [Counter() for _ in range(BINS)]
    for name, times in outcome.times.items():
        for at in times:
            counts[min(BINS - 1, int((at - outcome.begin) / width))][name] += 1
    moments = iter(outcome.moments)
    following = next(moments, None)
    held = 0
    for number, count in enumerate(counts):
        end, most = outcome.begin + (number + 1) * width, held
        while following is not None and (following[0] < end or number == BINS - 1):
            held, following = following[1], next(moments, None)
            most = max(most, held)
        yield {
            "from": _time(end - width), "to": _time(end), "sent": count.pop("sent", 0),
            "delivered": count.pop("delivered", 0), "drops": dict(count.most_common()), "device": most,
        }  # fmt: skip


def _story(outcome: StormOutcome, node: int, lost: int) -> dict[str, Any]:
    """What both sides did for a node, and when its packets were lost, in order."""
    events = [(at, 0, who, what) for at, which, who, what in outcome.done if which == node]
    events += [(one.first, 1, _sender(one), _said(one)) for one in outcome.lost if one.node == node]
    return {
        "node": node, "address": format_address(address(node)), "lost": lost,
        "events": [{"time": _time(at), "who": who, "what": what} for at, _rank, who, what in sorted(events)],
    }  # fmt: skip


def _sender(lost: Lost) -> str:
    return "node" if lost.direction == IN else "host"


def _said(lost: Lost) -> str:
    many = f"{lost.packets} packets" if lost.packets > 1 else "1 packet"
    until = f" until {lost.last:.3f}" if lost.packets > 1 else ""
    under = f" under 0x{lost.spi:08x}" if lost.spi else ""
    return (
        f"{many}{under} to the {'host' if lost.direction == IN else 'node'} lost{until}: {lost.counter} ({lost.cause})"
    )


def _refused(refused: RefusedRequest | None) -> dict[str, Any] | None:
    if refused is None:
        return None
    return {
        "time": _time(refused.time), "node": refused.node, "request": refused.request, "errno": refused.errno,
        "full": refused.full, "note": refused.note,
    }  # fmt: skip


def _counted(refused: Collection[RefusedRequest]) -> list[dict[str, Any]]:
    """How often each request was refused with each errno."""
    counts = Counter((one.request.split()[0], one.errno) for one in refused)
    return [{"request": request, "errno": errno, "count": count} for (request, errno), count in counts.most_common()]


def _time(at: float) -> float:
    return round(at, 9) + 0.0  # 0, not -0
