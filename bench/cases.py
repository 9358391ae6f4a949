"""What `espsim bench` runs: cases of ours, the peer that does the same work, and rounds of both in turn.

A case is set up once; `work` does all its packets and returns how many. Groups of cases share a peer's round, because a
peer's set-up costs more than its work. Whatever compiles does so in the set-up, whose time is told apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bench.keys import dense_keys, keys, stream, triple_table
from bench.peers import Peer, Unavailable, dpdk_test_sad
from bench.spi_tables import direct_table, hash_table
from espsim.kernels import lookup, replay, tables

BATCH = 4096
"""Packets a call of a kernel, as the pipeline's batches."""

LEAST = 0.05
"""Seconds that a round of a case lasts at least."""


@dataclass(slots=True)
class Case:
    """One row of a result. `reset` undoes what `work` changed, off the clock."""

    bench: str
    what: str
    sas: int
    work: Callable[[], int]
    hit: float | None = None
    model: str | None = None
    reset: Callable[[], object] = lambda: None
    setup_s: float = 0.0
    rates: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """Cases on the same work as one peer; `why` says why there is no peer."""

    cases: list[Case]
    peer: Peer | None = None
    why: str | None = None
    peer_rates: list[float] = field(default_factory=list)

    def run(self, rounds: int, seconds: float) -> None:
        """Rounds of every case and the peer in turn, at least one, no further one after `seconds`."""
        until = time.perf_counter() + seconds
        for _ in range(rounds):
            for case in self.cases:
                case.rates.append(_rate(case))
            if self.peer is not None:
                self.peer_rates.append(self.peer.run())
            if time.perf_counter() > until:
                break

    def rows(self) -> Iterator[dict[str, object]]:
        """The cases as rows of JSON; rates in millions a second, medians."""
        for case in self.cases:
            ratios = sorted(a / b for a, b in zip(case.rates, self.peer_rates, strict=False))
            yield {
                "bench": case.bench,
                "what": case.what,
                "sas": case.sas,
                "size": None,
                "engine": "numba",
                "model": case.model,
                "workers": 1,
                "hit": case.hit,
                "rate_mps": round(statistics.median(case.rates), 3),
                "peer": self.peer.name if self.peer else None,
                "peer_rate_mps": round(statistics.median(self.peer_rates), 3) if self.peer else None,
                "ratio_min": round(ratios[0], 2) if ratios else None,
                "ratio_median": round(statistics.median(ratios), 2) if ratios else None,
                "ratio_max": round(ratios[-1], 2) if ratios else None,
                "rounds": len(case.rates),
                "setup_s": round(case.setup_s, 2),
                "peer_note": self.peer.note if self.peer else self.why,
            }


def _rate(case: Case) -> float:
    done, spent = 0, 0.0
    while spent < LEAST:
        case.reset()
        start = time.perf_counter()
        done += case.work()
        spent += time.perf_counter() - start
    return done / spent / 1e6


def _ready(make: Callable[[], Case]) -> Case:
    """A case set up and run once, so that nothing is left to compile."""
    start = time.perf_counter()
    case = make()
    case.work()
    case.setup_s = time.perf_counter() - start
    return case


def lookup_groups(sas: list[int], hit: float, seed: int, peers: bool) -> Iterator[Group]:
    """Every lookup that there is a figure for, for every number of SAs."""
    for count in sas:
        for family in (4, 6):
            case = _ready(lambda count=count, family=family: _triple(count, family, hit, seed))  # type: ignore[misc]
            yield _group([case], peers, count, hit, v6=family == 6, spi_only=False)
        makes: tuple[Callable[[], Case], ...] = (
            lambda count=count: _direct(count, hit, seed),  # type: ignore[misc]
            lambda count=count: _hash(count, hit, seed, skewed=False),  # type: ignore[misc]
            lambda count=count: _hash(count, hit, seed, skewed=True),  # type: ignore[misc]
        )
        yield _group([_ready(make) for make in makes], peers, count, hit, v6=False, spi_only=True)


def replay_groups(sas: list[int], hit: float, seed: int, peers: bool) -> Iterator[Group]:
    """Check and advance, plain and ESN, windows of 64 and 1024. Nobody's program measures it alone."""
    why = "no program measures the window alone" if peers else None
    for count in sas:
        for window, esn in ((64, False), (64, True), (1024, True)):
            make = lambda count=count, window=window, esn=esn: _window(count, window, seed, esn=esn)  # noqa: E731
            yield Group([_ready(make)], why=why)


def _group(cases: list[Case], peers: bool, count: int, hit: float, *, v6: bool, spi_only: bool) -> Group:
    if not peers:
        return Group(cases)
    try:
        return Group(cases, dpdk_test_sad(count, hit=hit, v6=v6, spi_only=spi_only))
    except Unavailable as reason:
        return Group(cases, why=str(reason))


def _batches(rows: int, call: Callable[[slice], object]) -> Callable[[], int]:
    cuts = [slice(start, start + BATCH) for start in range(0, rows, BATCH)]

    def work() -> int:
        for cut in cuts:
            call(cut)
        return rows

    return work


def _checked(work: Callable[[], int], found: np.ndarray, want: np.ndarray) -> Callable[[], int]:
    """`work`, having shown once that its answers are right."""
    work()
    assert (found == want).all()
    return work


def _triple(count: int, family: int, hit: float, seed: int) -> Case:
    of = keys(count, family=family, hit=hit, seed=seed)
    table = triple_table(of)
    rows = len(of.pick)
    verdict, mark, dport = np.zeros(rows, np.uint8), np.zeros(rows, np.uint32), np.full(rows, lookup.NO_PORT, np.uint32)
    kind, proto, found = np.full(rows, family, np.uint8), np.full(rows, 50, np.uint8), np.empty(rows, np.int32)

    def call(cut: slice) -> None:
        lookup.triple(
            verdict[cut], kind[cut], proto[cut], of.packet_spi[cut], of.packet_daddr[cut], mark[cut], dport[cut],
            table.table4, table.table6, table.chain, found[cut],
        )  # fmt: skip

    work = _checked(_batches(rows, call), found, of.pick)
    return Case("lookup", "triple" if family == 4 else "triple6", count, work, hit)


def _direct(count: int, hit: float, seed: int) -> Case:
    of = dense_keys(count, hit=hit, seed=seed)
    table, found = direct_table(of), np.empty(len(of.pick), np.int32)
    mask = np.uint64(len(table) - 1)

    def call(cut: slice) -> None:
        tables.direct(of.packet_spi[cut], np.uint64(0), mask, table, found[cut])

    work = _batches(len(found), call)
    work()
    assert (np.where(found < -1, -1, found) == of.pick).all()  # a masked SPI meets another's slot: the check refuses it
    return Case("lookup", "spi-direct", count, work, hit, "direct")


def _hash(count: int, hit: float, seed: int, *, skewed: bool) -> Case:
    table = hash_table(count, skewed=skewed, hit=hit, seed=seed)
    of, found = table.of, np.empty(len(table.of.pick), np.int32)
    scratch = np.zeros((tables.AHEAD, 4), np.uint32)

    def call(cut: slice) -> None:
        if skewed:
            tables.spi_skewed(of.packet_spi[cut], table.starts, table.cells, scratch, found[cut])
        else:
            tables.spi_shared(of.packet_spi[cut], table.starts[0], table.cells, found[cut])

    work = _checked(_batches(len(found), call), found, of.pick)
    return Case("lookup", "spi-hash", count, work, hit, "4-way skewed" if skewed else "4-way shared")


def _window(count: int, window: int, seed: int, *, esn: bool) -> Case:
    of = stream(count, window=window, esn=esn, seed=seed)
    rows = len(of.sa)
    seq64, passed, opened, verdict = np.zeros(rows, np.uint64), *(np.zeros(rows, np.uint8) for _ in range(3))
    fresh = of.shape.copy()

    def call(cut: slice) -> None:
        sa, seq, out = of.sa[cut], of.seq[cut], (seq64[cut], passed[cut])
        replay.check(sa, seq, verdict[cut], of.shape, of.bits, *out)
        row = replay.advance(0, sa, seq, opened[cut], of.shape, of.bits, *out, verdict[cut])
        assert row == -1

    def reset() -> None:
        of.shape[:], of.bits[:], verdict[:] = fresh, 0, 0

    work = _batches(rows, call)
    work()
    assert not verdict.any()
    reset()
    return Case("replay", f"window-{window}{'-esn' if esn else ''}", count, work, reset=reset)
