"""Lookups and replay windows over a million packets in random order. Answers are checked before they are timed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from espsim.batch.device.hardware import DeviceRows
from espsim.batch.inbound import lookup, replay, triple
from espsim.jit.memory import zeros
from espsim.measure.cases import BenchCase, BenchGroup, Clocked, ready
from espsim.measure.keys import PACKETS, keys, stream, triple_table
from espsim.measure.model_tables import ModelTable
from espsim.measure.peers import BenchPeer, dpdk_test_sad
from espsim.measure.spi_tables import Filled, direct_table, hash_table

BATCH = 4096
"""Packets of one call of a kernel."""

GATHERED = 10_000_000
"""From this many SAs a lookup is compared with a plain gather: caches hold far fewer."""


def lookup_groups(sas: list[int], hit: float, seed: int, peers: bool) -> Iterator[BenchGroup]:
    """For every number of SAs: software's triple, IPv4 and IPv6, and the SPI alone. At the most SAs: IPv4 alone."""
    for count in sas:
        case = ready(functools.partial(triple_case, count, 4, hit, seed))
        if peers and count >= GATHERED:
            case.against(functools.partial(_gathered, count, seed))
        if count >= GATHERED:
            yield BenchGroup([case])
            continue
        yield _group([case], peers, count, hit, v6=False, spi_only=False)
        case = ready(functools.partial(triple_case, count, 6, hit, seed))
        yield _group([case], peers, count, hit, v6=True, spi_only=False)
        makes: tuple[Callable[[], BenchCase], ...] = (
            functools.partial(direct_case, count, hit, seed),
            functools.partial(hash_case, count, hit, seed, skewed=False),
            functools.partial(hash_case, count, hit, seed, skewed=True),
        )
        yield _group([ready(make) for make in makes], peers, count, hit, v6=False, spi_only=True)


def model_groups(table: ModelTable, sas: list[int], hit: float, seed: int, peers: bool) -> Iterator[BenchGroup]:
    """A hardware model's table, for every number of SAs that fits."""
    for count in sas:
        case = ready(functools.partial(_modelled, table, count, hit, seed))
        yield _group([case], peers, count, hit, v6=False, spi_only=table.what.startswith("spi-"))


def replay_groups(sas: list[int], windows: list[tuple[int, bool]], seed: int, peers: bool) -> Iterator[BenchGroup]:
    """Check and advance of the given windows, each with ESN or without. No other program measures that alone."""
    for count in sas:
        for window, esn in windows:
            case = ready(functools.partial(window_case, count, window, seed, esn=esn))
            case.why += ["no program measures the window alone"] if peers else []
            yield BenchGroup([case])


def _group(cases: list[BenchCase], peers: bool, count: int, hit: float, *, v6: bool, spi_only: bool) -> BenchGroup:
    if peers:
        make = functools.cache(lambda: dpdk_test_sad(count, hit=hit, v6=v6, spi_only=spi_only))
        for case in cases:
            case.against(make)
    return BenchGroup(cases)


def _batches(rows: int, call: Callable[[slice], object]) -> Callable[[], int]:
    cuts = [slice(start, start + BATCH) for start in range(0, rows, BATCH)]

    def work() -> int:
        for cut in cuts:
            call(cut)
        return rows

    return work


def _checked(work: Callable[[], int], found: np.ndarray, want: np.ndarray) -> Callable[[], int]:
    """`work`, after a first call whose answers are checked."""
    work()
    if not (found == want).all():
        raise AssertionError("a lookup gave wrong answers")
    return work


def triple_case(count: int, family: int, hit: float, seed: int) -> BenchCase:
    """Software's lookup by SPI, protocol and destination; `family` 4 or 6."""
    of = keys(count, family=family, hit=hit, seed=seed)
    table = triple_table(of)
    rows = len(of.pick)
    verdict, mark, dport = np.zeros(rows, np.uint8), np.zeros(rows, np.uint32), np.full(rows, triple.NO_PORT, np.uint32)
    kind, proto, found = np.full(rows, family, np.uint8), np.full(rows, 50, np.uint8), np.empty(rows, np.int32)

    def call(cut: slice) -> None:
        lookup.triple(
            verdict[cut], kind[cut], proto[cut], of.packet_spi[cut], of.packet_daddr[cut], mark[cut], dport[cut],
            table.table4, table.table6, table.chain, found[cut],
        )  # fmt: skip

    work = _checked(_batches(rows, call), found, of.pick)
    what, size = "triple" if family == 4 else "triple6", table.table4.nbytes + table.table6.nbytes + table.chain.nbytes
    return BenchCase("lookup", what, count, Clocked(work), hit=hit, extra={"bytes_per_sa": round(size / count, 1)})


def _gathered(sas: int, seed: int) -> BenchPeer:
    """A peer that reads one random cache line for each packet, from a table as large as the lookup's."""
    lines = zeros((sas // 2 + 1, 8), np.uint64)
    lines[:, 0] = 1  # a write gives every line physical memory of its own
    words, found = lines.reshape(-1), np.empty(PACKETS, np.uint64)
    first = np.random.default_rng(seed).integers(0, len(lines), PACKETS) * lines.shape[1]
    work = _batches(PACKETS, lambda cut: np.take(words, first[cut], out=found[cut], mode="clip"))
    other = ready(lambda: BenchCase("lookup", "gather", sas, Clocked(work)))
    return BenchPeer(
        "random gather", other.measure, f"one cache line a packet of {lines.nbytes >> 20} MiB, no prefetch"
    )


def direct_case(count: int, hit: float, seed: int) -> BenchCase:
    """A device's table that the SPI indexes."""
    filled = direct_table(count, hit=hit, seed=seed)
    return _device_case(filled, BenchCase("lookup", "spi-direct", count, hit=hit, model="direct"))


def hash_case(count: int, hit: float, seed: int, *, skewed: bool) -> BenchCase:
    """A device's hash table of SPIs with four ways. `skewed`: each way has a row of its own.

    Both are looked up in the table of `tables.by_spi`: what a packet finds does not depend on the ways.
    """
    filled, name = hash_table(count, skewed=skewed, hit=hit, seed=seed), "4-way skewed" if skewed else "4-way shared"
    return _device_case(filled, BenchCase("lookup", "spi-hash", count, hit=hit, model=name))


def _modelled(table: ModelTable, count: int, hit: float, seed: int) -> BenchCase:
    case = BenchCase("lookup", table.what, count, hit=hit, model=table.ident)
    return _device_case(table.make(count, hit, PACKETS, seed), case)


def _device_case(filled: Filled, case: BenchCase) -> BenchCase:
    """A case that looks packets up in a device's tables, as every run with a model does."""
    rows = len(filled.of.pick)
    found, whole, answers = np.empty(rows, np.int32), filled.packets(), DeviceRows.of(BATCH)
    _batches(rows, lambda cut: filled.find(whole.cut(cut), answers, found[cut]))()
    missing = filled.of.pick < 0  # a table whose rows have no SPI gives a packet without an SA to some SA
    if (found != filled.of.pick)[~missing].any() and case.what != "none":
        raise AssertionError("a packet met another SA than its own")
    case.once = Clocked(_batches(rows, lambda cut: filled.look_up(whole.cut(cut), answers)))
    return case


def window_case(count: int, window: int, seed: int, *, esn: bool) -> BenchCase:
    """Check and advance of `count` windows of `window` numbers."""
    of = stream(count, window=window, esn=esn, seed=seed)
    rows = len(of.sa)
    seq64, passed, opened, verdict = np.zeros(rows, np.uint64), *(np.zeros(rows, np.uint8) for _ in range(3))
    flags, sent = np.zeros(rows, np.uint8), np.zeros((0, 2), np.uint64)  # this host sent no packet
    fresh = of.shape.copy()

    def call(cut: slice) -> None:
        sa, seq, out = of.sa[cut], of.seq[cut], (seq64[cut], passed[cut])
        replay.check_rows(sa, seq, flags[cut], verdict[cut], of.shape, of.bits, sent, *out)
        row = replay.advance(0, sa, seq, flags[cut], opened[cut], of.shape, of.bits, sent, *out, verdict[cut])
        if row != -1:
            raise AssertionError("a packet was to be opened again")

    def reset() -> None:
        of.shape[:], of.bits[:], verdict[:] = fresh, 0, 0

    work = _batches(rows, call)
    work()
    if verdict.any():
        raise AssertionError("a window refused a new number")
    reset()
    return BenchCase(
        "replay",
        f"window-{window}{'-esn' if esn else ''}",
        count,
        Clocked(work, reset),
        extra={"window": window, "esn": esn},
    )
