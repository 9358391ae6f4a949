"""How likely SPIs drawn at random are to collide in a device (analysis/odds.py): no repeats are needed."""

from __future__ import annotations

from espsim.analysis import odds
from espsim.analysis.sweep.questions.kind import (
    Axis,
    Given,
    Params,
    QuestionKind,
    TaskResult,
    model_name,
    range_of,
    spi_range,
    whole,
)

UNLIKELY, LIKELY = 0.01, 0.5


def run(params: Params, seed: int, given: Given) -> TaskResult:
    """The chance of each event among the point's number of SAs."""
    spis = range_of(params["range"])
    found = odds.chances(given.model(params["model"]), params["sas"], spis, seed=seed)
    chances = {name: chance.value for name, chance in (found or {}).items()}
    some = chances.get("any", 0.0)
    answer = "below 1 %" if some < UNLIKELY else "below 50 %" if some < LIKELY else "50 % or more"
    return TaskResult(f"a collision: {answer}", {**chances, "exact": bool(found and not found["any"].draws)})


KIND = QuestionKind(
    "odds", "the chance of a duplicate, an alias, an overflow", {
        "model": Axis("a hardware model", model_name),
        "sas": Axis("SAs", whole(1, 10_000_000)),
        "range": Axis("the range of the SPIs, MIN-MAX", spi_range, "0x100-0xffffffff"),
    }, run, headline="any", shown=("duplicate", "alias", "overflow", "any"), along="sas",
)  # fmt: skip
