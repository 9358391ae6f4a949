"""A storm (scenario/storm/): what is lost when many nodes' keys are rotated.

A study may name a scenario with [storm]; its axes then change that storm. A row's seed is the storm's: `espsim run` of
the same storm with `--seed` loses the same packets, and says why.
"""

from __future__ import annotations

from typing import Any

from espsim.analysis.sweep.questions.kind import (
    LOSES_NONE,
    LOSES_SOME,
    SPAN,
    Axis,
    Given,
    Params,
    QuestionKind,
    TaskResult,
    Value,
    number,
    software_or_model,
    spi_rule,
    whole,
    word,
)
from espsim.core.errors import InputError
from espsim.scenario.cell import SOFTWARE
from espsim.scenario.schema import parse_scenario
from espsim.scenario.storm.run import CAUSES, StormOutcome, run_storm
from espsim.scenario.storm.schedule import smallest_overlap
from espsim.scenario.storm.spec import STEPS, Storm, changed_storm, span_of
from espsim.scenario.traffic import expand

WHERE = "the scenario"


def run(params: Params, seed: int, given: Given) -> TaskResult:
    """One storm."""
    like = None
    storm = Storm(nodes=100)
    if given.text:
        scenario = parse_scenario(given.text, WHERE)
        if scenario.storm is None:
            raise InputError("the study's scenario has no [storm]")
        storm = scenario.storm
        like = expand(scenario, WHERE)[scenario.storm.sa][0] if scenario.storm.sa is not None else None
    changes = {name: _read(name, value) for name, value in params.items() if name not in ("model", "policy")}
    storm = changed_storm(storm, changes)
    model = None if params["model"] == SOFTWARE else given.model(params["model"])
    return _result(storm, run_storm(storm, params["policy"], like=like, model=model, seed=seed), seed)


def _result(storm: Storm, found: StormOutcome, seed: int) -> TaskResult:
    sent, host = found.sent.total(), found.host
    full = next((refused.time for refused in host.refused if refused.request == "offload"), None)
    return TaskResult(LOSES_SOME if found.packets_lost else LOSES_NONE, {
        "sent": sent, "lost": found.packets_lost, "lost_share": found.packets_lost / max(1, sent),
        **{cause.replace(" ", "_"): found.causes[cause] for cause in CAUSES},
        "peak_device": host.peak_device, "peak_sad": host.peak_sad, "first_overflow": full,
        "requests_refused": len(host.refused), "overlap_needed": smallest_overlap(storm, seed),
    })  # fmt: skip


def _read(name: str, value: Any) -> Any:
    """The value of an axis in the form that [storm] takes."""
    if name == "propagation":
        low, _dash, high = str(value).partition("-")
        return [float(low), float(high)] if high else float(low)
    return value.split(",") if name == "order" else value


def _delays(value: Value) -> Value:
    text = str(value)
    low, high = found.groups() if (found := SPAN.fullmatch(text)) else (None, None)
    try:
        if low is None or (high is not None and float(low) > float(high)):
            raise ValueError
        return text
    except ValueError:
        raise ValueError(f"{text[:40]!r} is neither seconds nor FROM-TO, such as 0.1-2") from None


def _order(value: Value) -> Value:
    words = str(value).replace(" ", "").split(",")
    if sorted(words) != sorted(STEPS):
        raise ValueError(f"{str(value)[:40]!r} is not in, out and delete in some order, such as in,out,delete")
    return ",".join(words)


def _range(value: Value) -> Value:
    span_of(str(value))
    return str(value)


def _may(what: str, read: Any) -> Axis:
    return Axis(what, read, optional=True)


KIND = QuestionKind(
    "storm", "what is lost while many nodes' SAs are replaced (`[storm]` of a scenario)", {
        "model": Axis("a hardware model, or software", software_or_model, SOFTWARE),
        "policy": Axis("an SPI rule, or a kernel", spi_rule, "rfc4301"),
        "event": _may("rotation, or rekey", word("rotation", "rekey")),
        "nodes": _may("nodes, each with an SA in and one out", whole(1, 100_000)),
        "rate": _may("requests that the host makes in a second", number(1e-3, 1e9)),
        "propagation": _may("seconds until a node hears, or FROM-TO", _delays),
        "spread": _may("seconds over which the host begins with its nodes", number(0, 1e6)),
        "overlap": _may("seconds from a side's first step to its last", number(0, 1e6)),
        "order": _may("in, out and delete in some order", _order),
        "spi": _may("new, same or freed", word("new", "same", "freed")),
        "range": _may("SPIs that the host draws, MIN-MAX", _range),
        "packets": _may("packets a second, for each node and direction", number(1e-3, 1e6)),
        "flight": _may("seconds that a packet is on its way", number(0, 1e6)),
        "lead": _may("seconds before the storm, and after it", number(0, 1e6)),
    }, run, headline="lost_share", shown=("lost", "peak_device", "overlap_needed"), along="overlap", scenario="may",
)  # fmt: skip
