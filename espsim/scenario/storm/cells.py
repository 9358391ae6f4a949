"""The cells of a storm. Each policy and model gets a fresh run, which is compared with `expect`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espsim.core.errors import InputError
from espsim.offload.device import Device
from espsim.offload.model import Model, load_model, parse_assumptions
from espsim.sad.association import SecurityAssociation
from espsim.sad.linux import choose
from espsim.scenario.cell import SOFTWARE
from espsim.scenario.schema import Scenario
from espsim.scenario.storm.answer import answer
from espsim.scenario.storm.lossless import lossless
from espsim.scenario.storm.run import run_storm
from espsim.scenario.storm.spec import Storm, StormExpect
from espsim.scenario.traffic import expand


@dataclass(frozen=True, slots=True)
class StormCell:
    """One policy and one model. `failures`: (key, expected, got)."""

    policy: str
    model: str
    result: dict[str, Any]
    failures: list[tuple[str, Any, Any]]
    compared: bool

    @property
    def ok(self) -> bool:
        """Whether every expectation was met."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "policy": self.policy, "model": self.model, **self.result,
            "as_expected": self.ok if self.compared else None,
            "failures": [{"key": key, "expected": want, "got": got} for key, want, got in self.failures],
        }  # fmt: skip


def run_cells(
    scenario: Scenario,
    where: str,
    policies: Sequence[str],
    *,
    models: Sequence[str] = (),
    assume: Sequence[str] = (),
    options: Sequence[str] = (),
    seed: int = 1,
    traced: bool = False,
) -> list[StormCell]:
    """Every cell. InputError: a line of the scenario is wrong, too many packets, or no such model."""
    storm = scenario.storm
    if storm is None:
        raise InputError("has no [storm]", where=where)
    like = expand(scenario, where)[storm.sa][0] if storm.sa is not None else None
    named = [load_model(name) for name in models or scenario.models]
    cases: list[tuple[Model | None, dict[str, object]]] = [(m, parse_assumptions(m, assume, named)) for m in named]
    return [
        _run(storm, like, policy, model, assumed, options, seed, traced)
        for policy in policies
        for model, assumed in cases or [(None, {})]
    ]


def _run(  # noqa: PLR0917 - a cell's coordinates
    storm: Storm, like: SecurityAssociation | None, policy: str, model: Model | None, assumed: dict[str, object],
    options: Sequence[str], seed: int, traced: bool,
) -> StormCell:  # fmt: skip
    again = functools.partial(
        run_storm, policy=policy, like=like, model=model, assume=assumed, options=options, seed=seed
    )
    outcome = again(storm)
    name = SOFTWARE if model is None else model.id
    result = {
        "assumptions": [] if model is None else Device(model, assumed).assumptions,
        **answer(storm, outcome, traced=traced),
        "lossless": lossless(storm, outcome, again, seed),
    }
    expect = next((e for e in storm.expect if e.fits((policy, choose(policy)[1].name), name)), None)
    return StormCell(policy, name, result, [] if expect is None else _compare(expect, result), expect is not None)


def _compare(expect: StormExpect, result: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    got = {
        "lost": result["packets"]["lost"], "delivered": result["packets"]["delivered"],
        "peak": result["peak"]["device"], "drops": result["drops"],
    }  # fmt: skip
    wanted = {key: getattr(expect, key) for key in got}
    return [(key, want, got[key]) for key, want in wanted.items() if want is not None and want != got[key]]
