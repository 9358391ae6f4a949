"""What `espsim bench` runs: our cases, peers that do the same work, and rounds of all of them in turn.

A case is set up once. `once` does all its packets, and returns their number and the seconds. The cases of a group are
measured together, because they are each other's peers or share one, and a peer's set-up costs more than its work.
Compilation happens in the set-up, whose time is reported apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from espsim.aead.batch import BatchEngine
from espsim.jit.compiling import compile_seconds
from espsim.measure.clock import clock
from espsim.measure.peers import BenchPeer, Unavailable

LEAST = 0.05
"""Least seconds of a round of a case."""
FEW, WARM = 3, 8
"""Rounds of a quick run. In a longer run a case of ours runs untimed after another program, for so many times LEAST."""


def engine_facts(engine: BatchEngine) -> dict[str, object]:
    """`engine_version`, with the instruction set where the engine states one, and `engine_isa` alone."""
    words = f"{engine.version}, {engine.isa}" if engine.isa else engine.version
    return {"engine_version": words, "engine_isa": engine.isa}


def nothing() -> None:
    """`reset` of a case whose work changes nothing."""


@dataclass(slots=True)
class BenchCase:
    """One row of a result, or one row for each peer.

    `size`: bytes, or "imix". `sas`: None where there are none. `stages`: returns nanoseconds a packet of each stage.
    `rate`: another way to measure a round, in millions a second. `warms`: it runs untimed after another program
    (it works in this process). `extra`: fields for the row, unchanged.
    """

    bench: str
    what: str
    sas: int | None
    once: Callable[[], tuple[int, float]] = lambda: (0, LEAST)
    size: int | str | None = None
    engine: str = "numba"
    model: str | None = None
    workers: int = 1
    hit: float | None = None
    stages: Callable[[], dict[str, float]] | None = None
    rate: Callable[[], float] | None = None
    close: Callable[[], object] = nothing
    warms: bool = True
    extra: dict[str, object] = field(default_factory=dict)
    setup_s: float = 0.0
    compile_s: float = 0.0
    rates: list[float] = field(default_factory=list)
    spent: list[dict[str, float]] = field(default_factory=list)
    peers: list[BenchPeer] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def measure(self) -> float:
        """A round: millions a second."""
        return self.rate() if self.rate else rate_of(self.once)

    def round(self) -> None:
        """Measure once more, and keep the rate."""
        self.rates.append(self.measure())
        if self.stages:
            self.spent.append(self.stages())

    def as_peer(self, name: str) -> BenchPeer:
        """This case as the peer of another case in its group."""
        return BenchPeer(name, None, "ours, measured in the same rounds", self.rates)

    def against(self, make: Callable[[], BenchPeer]) -> None:
        """Add a peer, or note why there is none."""
        try:
            self.peers.append(make())
        except Unavailable as reason:
            self.why.append(str(reason))

    def rows(self) -> Iterator[dict[str, object]]:
        """This case as rows of JSON, one for each peer. Rates: medians, in millions a second."""
        peers: list[BenchPeer | None] = [*self.peers] or [None]
        for peer in peers:
            ratios = sorted(a / b for a, b in zip(self.rates, peer.rates if peer is not None else [], strict=False))
            yield {
                "bench": self.bench,
                "what": self.what,
                "sas": self.sas,
                "size": self.size,
                "engine": self.engine,
                "model": self.model,
                "workers": self.workers,
                "hit": self.hit,
                "rate_mps": round(statistics.median(self.rates), 4),
                "peer": peer.name if peer is not None else None,
                "peer_rate_mps": round(statistics.median(peer.rates), 4) if peer is not None else None,
                "ratio_min": round(ratios[0], 2) if ratios else None,
                "ratio_median": round(statistics.median(ratios), 2) if ratios else None,
                "ratio_max": round(ratios[-1], 2) if ratios else None,
                "rounds": len(ratios) or len(self.rates),
                "setup_s": round(self.setup_s, 2),
                "compile_s": round(self.compile_s, 2),
                "peer_note": peer.note if peer is not None else None,
                "stages": self._stages(),
                **self.extra,
            }

    def _stages(self) -> dict[str, dict[str, float | None]] | None:
        if not self.spent:
            return None
        medians = {name: statistics.median(pass_[name] for pass_ in self.spent) for name in self.spent[0]}
        cycles = {name: clock().cycles(ns) for name, ns in medians.items()}
        return {
            name: {"ns": round(ns, 2), "cycles": None if cycles[name] is None else round(cycles[name] or 0.0, 1)}
            for name, ns in medians.items()
        }


@dataclass(slots=True)
class BenchGroup:
    """Cases that are measured in turn, together with their peers. `skipped`: what could not be set up, and why."""

    cases: list[BenchCase]
    skipped: list[str] = field(default_factory=list)

    def run(self, rounds: int, seconds: float) -> None:
        """Run rounds of every case and peer in turn: at least one, and no new one after `seconds`."""
        until = time.perf_counter() + seconds
        try:
            programs = any(peer.run is not None for case in self.cases for peer in case.peers)
            for number in range(rounds):
                for case in self.cases:
                    # After waiting for another process, this one is slow for some tenths of a second.
                    if programs and number and case.warms:
                        counted(case.once, WARM if rounds > FEW else 1)
                    case.round()
                for peer in {id(peer): peer for case in self.cases for peer in case.peers}.values():
                    self._round(peer)
                if time.perf_counter() > until:
                    break
        finally:
            for case in self.cases:
                case.close()

    def _round(self, peer: BenchPeer) -> None:
        try:
            if peer.run is not None:
                peer.rates.append(peer.run())
        except Unavailable as reason:
            for case in self.cases:
                if peer in case.peers:
                    case.peers.remove(peer)
                    case.why.append(str(reason))

    def rows(self) -> Iterator[dict[str, object]]:
        """The rows of all cases."""
        for case in self.cases:
            yield from case.rows()

    def notes(self) -> list[str]:
        """What did not run, and why."""
        return self.skipped + [why for case in self.cases for why in case.why]


@dataclass(frozen=True, slots=True)
class Clocked:
    """A `BenchCase.once` from `work`, which returns its number of packets. `reset` undoes the work off the clock."""

    work: Callable[[], int]
    reset: Callable[[], object] = nothing

    def __call__(self) -> tuple[int, float]:
        """(packets, seconds) of one call."""
        self.reset()
        start = time.perf_counter()
        done = self.work()
        return done, time.perf_counter() - start


def counted(once: Callable[[], tuple[int, float]], times: int = 1) -> tuple[int, float]:
    """(packets, seconds) of repeated calls that take at least `times` LEAST seconds."""
    done, spent = 0, 0.0
    while spent < times * LEAST:
        more, took = once()
        done, spent = done + more, spent + took
    return done, spent


def rate_of(once: Callable[[], tuple[int, float]]) -> float:
    """Millions a second."""
    done, spent = counted(once)
    return done / spent / 1e6


def ready(make: Callable[[], BenchCase]) -> BenchCase:
    """A case set up and run once, so that nothing is left to compile."""
    start = time.perf_counter()
    with compile_seconds() as spent:
        case = make()
        case.once()
    case.setup_s, case.compile_s = time.perf_counter() - start, sum(spent)
    return case
