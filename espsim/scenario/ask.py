"""The step `ask`: runs lines of the request language once or many times, and says what goes into the outcome."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any

from espsim.io.arrivals import Arrivals
from espsim.io.linktype import RAW
from espsim.io.source import Record
from espsim.netlink.netns import Netns
from espsim.reference.host import HostReceived
from espsim.sad.entry import State
from espsim.scenario.facts import Arrived, Facts, LocalHost, why_refused, without_keys, words_of
from espsim.scenario.facts import RequestFact as Request
from espsim.scenario.outcome import sequence, short_counter, short_result
from espsim.scenario.schema import ScenarioStep
from espsim.scenario.tracing import Tracer
from espsim.xfrm.answers import Answer
from espsim.xfrm.requests import run_requests

_SHOWN = frozenset(
    {
        "ALLOCSPI",
        "NEWSA",
        "UPDSA",
        "GETSA",
        "DELSA",
        "FLUSHSA",
        "EXPIRE",
        "GETACQ",
        "DELACQ",
        "MIGRATE",
        "MIGRATE_STATE",
        "RX",
        "TX",
    }
)
"""Requests whose result is part of an outcome; the others (SYSCTL, ADVANCE, LISTEN, POLICY, DUMP ...) set the scene."""


@dataclass(slots=True)
class AskedStep:
    """The result of a step. `outcomes`: counts over the trials. `answers`: (line, answer) of the first trial."""

    outcomes: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: how often each result came in all trials, and the first trial's answers."""
        got: dict[str, Any] = {"result": dict(self.results)}
        got["answers"] = [{"request": line, **answer} for line, answer in self.answers]
        return got


def lines_of(step: ScenarioStep, words: Mapping[str, str]) -> list[str]:
    """The requests of a step."""
    text = Template(step.lines or "").substitute(words)
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def ask(
    netns: Netns,
    step: ScenarioStep,
    rng: random.Random,
    *,
    words: Mapping[str, str],
    names: Mapping[str, int],
    where: str,
    facts: Facts,
    host: LocalHost,
    tracer: Tracer | None = None,
    wire: Arrivals | None = None,
) -> AskedStep:
    """Ask a step's lines as often as it says. Between trials the new states are deleted again.

    `words` replace $word. `names`: SPIs by name. `rng` shuffles. `facts` gets what the first trial did. Packets of RX
    meet the faults of the `wire`. InputError, at `where`: a line is not a request.
    """
    asked = AskedStep()
    lines = lines_of(step, words)
    for trial in range(step.trials):
        before = netns.sad.index.next_index
        if step.shuffle:
            rng.shuffle(lines)
        arriving = lines if wire is None else arriving_lines(lines, wire)
        if trial == 0:
            answers = _ask_once(
                netns, arriving, where, facts=facts, host=host, tracer=tracer, setup=step.show == "nothing"
            )
        else:
            answers = list(zip(arriving, run_requests(netns, arriving, where), strict=True))
        asked.parts = parts_of(step, answers, names, _counted(netns))
        if asked.parts:
            asked.outcomes[sequence(asked.parts)] += 1
        if trial == 0 and step.show in ("zeros", "states"):
            facts.counted.append((step.show, int(asked.parts[0][1:])))
        asked.results.update(str(answer["result"]) for line, answer in answers if _verb(line) in _SHOWN)
        if trial == 0:
            asked.answers = answers
        if step.trials > 1:
            for entry in netns.sad:
                if entry.sa_index >= before:
                    netns.sad.kill(entry)
    return asked


def is_packet(line: str) -> bool:
    """Whether a line is a packet that comes over the wire, not a request."""
    return bool(line) and _verb(line) == "RX"


def arriving_lines(lines: Sequence[str], wire: Arrivals) -> list[str]:
    """The lines, with their packets as they arrive. Adjacent packets are one burst."""
    arriving: list[str] = []
    for packets, group in itertools.groupby(lines, is_packet):
        burst = list(group)
        if packets:
            frames = [Record(RAW, n, 0, b"", 0) for n in range(len(burst))]
            burst = [burst[frame.interface or 0] for frame in wire.of(frames)]
        arriving += burst
    return arriving


def _ask_once(
    netns: Netns, lines: list[str], where: str, *, facts: Facts, host: LocalHost, tracer: Tracer | None, setup: bool
) -> list[tuple[str, Answer]]:
    """Every line's answer. What each line did goes to `facts` at once, while the namespace still shows why."""
    seen: list[tuple[bytes, HostReceived]] = []
    answers = []
    requests: list[Request] = []
    packets: list[Arrived] = []
    for line, answer in zip(
        lines, run_requests(netns, _watched(lines, tracer), where, lambda *what: seen.append(what)), strict=True
    ):
        answers.append((line, answer))
        verb, words = _verb(line), words_of(line)
        if verb == "RX":
            packets.append(_received(words, answer, seen[-1][1]))
            if tracer is not None:
                wire, became = seen[-1]
                tracer.after(words["dst"], wire, became.received, packets[-1].verdict, packets[-1].linux_counter)
        elif verb == "TX":
            packets.append(_sent(words, answer))
        elif verb in _SHOWN:
            errno = None if answer["result"] == "OK" else str(answer["result"])
            extack = answer.get("extack")
            text = str(extack) if extack else None
            why = why_refused(netns, line, errno, text, host) if errno is not None else ""
            requests.append(Request(without_keys(line), errno, why, text))
    facts.add(requests, packets, setup=setup)
    return answers


def _watched(lines: list[str], tracer: Tracer | None) -> Iterator[str]:
    """The lines, and before each packet a look at the windows that it may meet."""
    for line in lines:
        if tracer is not None and _verb(line) == "RX":
            tracer.before(int(words_of(line).get("spi", "0"), 0))
        yield line


def _received(words: Mapping[str, str], answer: Answer, seen: HostReceived) -> Arrived:
    """A packet of RX. One that policies refuse after the SA accepted it has the policy's counter and no ESP verdict."""
    if answer["result"] == "delivered":
        return Arrived(words["dst"], "DELIVERED", None)
    inner = seen.received
    verdict = inner.verdict.name if inner is not None and inner.verdict.name != "DELIVERED" else "NO_POLICY"
    return Arrived(words["dst"], verdict, seen.counter)


def _sent(words: Mapping[str, str], answer: Answer) -> Arrived:
    """A packet of TX: sent, or what the sender sees."""
    counters = answer.get("counters")
    counter = next(iter(counters), None) if isinstance(counters, dict) else None
    good = answer["result"] == "sent"
    return Arrived(words["dst"], "SENT" if good else str(answer["result"]), counter, sent=True)


def _verb(line: str) -> str:
    return line.split(None, 1)[0]


def _counted(netns: Netns) -> tuple[int, int]:
    """(states, larval ones with SPI 0)."""
    return len(netns.sad), sum(not e.sa.spi and e.state is State.LARVAL for e in netns.sad)


def parts_of(
    step: ScenarioStep, answers: list[tuple[str, Answer]], names: Mapping[str, int], counted: tuple[int, int]
) -> list[str]:
    """The parts of the outcome that a step shows. `counted`: the number of states after it, and of those with SPI 0."""
    told = [answer for line, answer in answers if _verb(line) in _SHOWN]
    if step.show == "nothing":
        return []
    if step.show in ("zeros", "states"):
        return [f"+{counted[1]}" if step.show == "zeros" else f"={counted[0]}"]
    if step.show == "count":
        return [f"{sum(answer['result'] == 'OK' for answer in told)} OK"]
    if step.show == "spis":
        return [_spi(answer, names) for answer in told]
    return [_short(answer) for answer in told]


def _short(answer: Answer) -> str:
    result = str(answer["result"])
    if result in ("delivered", "sent"):
        return "OK"
    counters = answer.get("counters")
    return short_counter(counters) if result == "dropped" and isinstance(counters, dict) else short_result(result)


def _spi(answer: Answer, names: Mapping[str, int]) -> str:
    """The name of the SPI that was given, or `other`."""
    reply = answer.get("reply")
    if not isinstance(reply, dict):
        return _short(answer)
    return next((name for name, spi in names.items() if spi == int(str(reply["spi"]), 16)), "other")
