"""The running kernel beside the policies: a scenario's requests as netlink messages, in a namespace made for it.

A kernel cannot be asked everything: not packets, the model's clock, the model's options, modelled devices, or an ESP
type or algorithm that it lacks. Each such reason is reported once, and counts neither as agreement nor as a difference.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from espsim.core.errors import InputError
from espsim.scenario.ask import lines_of, parts_of
from espsim.scenario.cell import SOFTWARE, Cell, StepResult
from espsim.scenario.facts import Facts, RequestFact, without_keys
from espsim.scenario.matrix import Answered
from espsim.scenario.outcome import Expected, sequence
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import Scenario, ScenarioStep, Variant
from espsim.scenario.traffic import expand
from espsim.xfrm.answers import Answer
from espsim.xfrm.live import kernel_of, running_release, unavailable
from espsim.xfrm.live_netlink import LiveKernel, NotAskable

LIVE = "live"
"""The policy of the running kernel's cells."""

_LACKS = {
    "Requested type not found": "this kernel has no ESP type",
    "algorithm not found": "this kernel lacks the algorithm",
    "Requested mode not found": "this kernel lacks the mode",
    "Protocol not supported": "this kernel has no XFRM_USER, or no such type",
}
_NOT_A_KERNELS = {
    "RX": "packets are not sent", "TX": "packets are not sent", "POLICY": "policies are not set",
    "LISTEN": "packets are not sent", "ADVANCE": "the clock is the model's", "SYSCTL": "sysctls are not set",
    "GETACQ": "the message is a proposal", "DELACQ": "the message is a proposal",
}  # fmt: skip


class _Cannot(Exception):  # noqa: N818 - an outcome
    """The kernel cannot be asked this; the text is the reason."""


@dataclass(slots=True)
class LiveRun:
    """The kernel's answers. `not_asked`: each reason, with the (scenario, variant) pairs that were left out for it."""

    release: str
    model: str
    cells: list[Cell] = field(default_factory=list)
    not_asked: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        differ = sum(not cell.ok for cell in self.cells)
        reasons = [
            {"reason": reason, "cells": [{"scenario": s, "variant": v} for s, v in cells]}
            for reason, cells in self.not_asked.items()
        ]
        return {
            "kernel": self.release, "model": self.model, "agree": len(self.cells) - differ, "differ": differ,
            "not_asked": reasons,
        }  # fmt: skip


def run_live(answers: Iterable[Answered], seed: int = 1) -> LiveRun:
    """Ask the running kernel what each scenario asks; its cells join the scenarios' and are compared with the model.

    InputError: this machine cannot (no root, no namespaces).
    """
    why = unavailable()
    if why is not None:
        raise InputError(f"--live cannot run here: {why}")
    release = running_release()
    result = LiveRun(release, kernel_of(release))
    for answered in answers:
        scenario = answered.scenario
        for variant in scenario.variants:
            try:
                cell = _cell(scenario, variant, result.model, seed)
            except _Cannot as reason:
                result.not_asked.setdefault(str(reason), []).append((scenario.name, variant.name))
                continue
            result.cells.append(cell)
            answered.cells.append(cell)
        order = [variant.name for variant in scenario.variants]
        answered.cells.sort(key=lambda cell: order.index(cell.variant))
    return result


def _cell(scenario: Scenario, variant: Variant, kernel: str, seed: int) -> Cell:
    if variant.options or variant.lookup or variant.model or scenario.models:
        raise _Cannot("options, lookups and devices are the model's")
    if any(step.do != "ask" for step in scenario.step):
        raise _Cannot("packets are not sent")
    with LiveKernel.made() as asked:
        steps, facts = _Run(asked, scenario, variant, seed).steps()
    return Cell(
        LIVE, SOFTWARE, steps, [], variant.name, _expected(scenario, variant, kernel, seed),
        scenario=scenario.name, source=f"the model's {kernel}", party=scenario.party, facts=facts,
    )  # fmt: skip


def _expected(scenario: Scenario, variant: Variant, kernel: str, seed: int) -> Expected:
    """The model's answer: for a scenario whose outcome is a share the fixed answer, else what the model does."""
    groups = expand(scenario, scenario.name, variant.words)
    cell = run_cell(scenario, groups, kernel, seed=seed, variant=variant)
    return cell.expected if isinstance(cell.expected, dict) else cell.shares if cell.trials > 1 else cell.outcome


class _Run:
    """One scenario's steps on the kernel."""

    def __init__(self, kernel: LiveKernel, scenario: Scenario, variant: Variant, seed: int) -> None:
        self._kernel = kernel
        self._scenario = scenario
        self._words = variant.words
        self._rng = random.Random(seed)
        self._facts = Facts()

    def steps(self) -> tuple[list[StepResult], Facts]:
        """The parts of every step's outcome, and the facts."""
        steps: list[StepResult] = []
        for place, step in enumerate(self._scenario.step):
            lines = lines_of(step, self._words)
            answers, counted = self._ask(lines, step)
            self._note(lines, answers, step)
            parts = parts_of(step, list(zip(lines, answers, strict=True)), self._scenario.names, counted)
            result = StepResult(step, {"result": dict(Counter(str(a["result"]) for a in answers))}, parts=parts)
            result.outcomes[sequence(parts)] += 1
            for _ in range(step.trials - 1):
                self._again(place)
                if step.shuffle:
                    self._rng.shuffle(lines)
                answers, counted = self._ask(lines, step)
                more = parts_of(step, list(zip(lines, answers, strict=True)), self._scenario.names, counted)
                result.outcomes[sequence(more)] += 1
            steps.append(result)
        self._facts.states, self._facts.spi0 = self._count()
        return steps, self._facts

    def _again(self, place: int) -> None:
        """Empty the namespace and run the step's set-up again."""
        self._kernel.ask("FLUSHSA")
        for step in self._scenario.step[:place]:
            self._ask(lines_of(step, self._words), step)

    def _ask(self, lines: Sequence[str], step: ScenarioStep) -> tuple[list[Answer], tuple[int, int]]:
        answers = [self._one(line) for line in lines]
        return answers, self._count() if step.show in ("zeros", "states") else (0, 0)

    def _one(self, line: str) -> Answer:
        verb = line.split(None, 1)[0]
        if verb in _NOT_A_KERNELS:
            raise _Cannot(_NOT_A_KERNELS[verb])
        try:
            answer = self._kernel.ask(line)
        except NotAskable as error:
            raise _Cannot(str(error)) from None
        extack = str(answer.get("extack") or "")
        for text, why in _LACKS.items():
            if text in extack or (answer["result"] == "EPROTONOSUPPORT" and not extack):
                raise _Cannot(why)
        return answer

    def _count(self) -> tuple[int, int]:
        """(states, those with SPI 0)."""
        states = self._kernel.ask("DUMP")["states"]
        return len(states), sum(state["spi"] == "0x00000000" for state in states)

    def _note(self, lines: Sequence[str], answers: Sequence[Answer], step: ScenarioStep) -> None:
        requests = []
        for line, answer in zip(lines, answers, strict=True):
            if line.split(None, 1)[0] == "DUMP":
                continue
            errno = None if answer["result"] == "OK" else str(answer["result"])
            extack = str(answer["extack"]) if errno is not None and answer["extack"] else None
            requests.append(
                RequestFact(without_keys(line), errno, f'the kernel says "{extack}"' if extack else "", extack)
            )
        self._facts.add(requests, setup=step.show == "nothing")
        if step.show in ("zeros", "states"):
            states, zeros = self._count()
            self._facts.counted.append((step.show, zeros if step.show == "zeros" else states))
