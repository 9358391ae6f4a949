"""A scenario (`espsim run`) under an SPI rule and a model: its outcome, and the verdicts of its packets.

Every variant of the scenario runs; `outcome` has them in order.
"""

from __future__ import annotations

from espsim.analysis.sweep.questions.kind import (
    Axis,
    Given,
    Params,
    QuestionKind,
    TaskResult,
    software_or_model,
    spi_rule,
)
from espsim.scenario.cell import SOFTWARE
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import parse_scenario
from espsim.scenario.traffic import expand

WHERE = "the scenario"


def run(params: Params, seed: int, given: Given) -> TaskResult:
    """One cell for each variant."""
    scenario = parse_scenario(given.text, WHERE)
    model = None if params["model"] == SOFTWARE else given.model(params["model"])
    cells = [
        run_cell(
            scenario, expand(scenario, WHERE, variant.words), params["policy"], model=model, seed=seed, variant=variant
        )
        for variant in scenario.variants
    ]
    packets = [packet for cell in cells for packet in cell.facts.packets]
    sent = sum(packet.count for packet in packets)
    lost = sum(packet.count for packet in packets if not packet.good)
    outcome = "; ".join(cell.outcome for cell in cells)
    compared = [cell for cell in cells if cell.compared]
    return TaskResult(outcome, {
        "outcome": outcome, "packets": sent, "lost": lost,
        "as_expected": all(cell.ok for cell in compared) if compared else None,
    })  # fmt: skip


KIND = QuestionKind(
    "scenario", "a scenario of `espsim run`", {
        "policy": Axis("an SPI rule, or a kernel", spi_rule, "rfc4301"),
        "model": Axis("a hardware model, or software", software_or_model, SOFTWARE),
    }, run, headline="lost", shown=("outcome", "lost"), along="policy", scenario="must",
)  # fmt: skip
