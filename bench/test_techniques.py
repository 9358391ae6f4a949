"""The effect of each technique on the triple's lookup: `pytest bench/test_techniques.py`.

    as it is       rows prefetched, tables in whole cache lines and large pages, thousands of rows a call
    no prefetch    every row waits for its own cache line
    4 KiB pages    the table without transparent huge pages
    off the line   buckets 16 bytes into a cache line, as in numpy's own memory: half of them lie across two
    N rows a call  the cost of Python's call of a kernel

Turn by turn, medians; prints and asserts no time.
"""

from __future__ import annotations

import statistics
import time
import types
from typing import Any, cast

import numpy as np
import pytest

from espsim.batch.inbound import lookup, triple
from espsim.jit import compiling
from espsim.jit.memory import zeros
from espsim.measure.interleave import machine
from espsim.measure.keys import ESP, Keys, keys

ROUNDS, BATCH, PACKETS = 7, 4096, 1 << 19


def unprefetched():
    """The kernel with a look-ahead of one row: compiled again from its own source."""
    function = cast(Any, lookup.triple).py_func
    near = types.FunctionType(function.__code__, {**function.__globals__, "AHEAD": 1}, function.__name__)
    return compiling.compiler.njit(**compiling.OPTIONS)(near)


def tables(of: Keys, *, huge: bool = True, off: int = 0):
    """(table4, table6, chain), filled; `off`: bytes between a cache line and the first bucket."""
    sas = len(of.spi)
    table4, table6 = triple.triple_tables(sas, 0, huge=huge)
    if off:
        room = zeros((table4.nbytes + 64,), np.uint8, huge=huge)
        table4 = room[off : off + table4.nbytes].view(np.uint64).reshape(table4.shape)
    chain = zeros((sas, 5), np.uint32)
    chain[:, 0], chain[:, 3] = ESP, triple.ANY_PORT
    family = np.full(sas, 4, np.uint8)
    assert triple.triple_insert(np.arange(sas), family, of.spi, of.daddr, table4, table6, chain) == sas
    return table4, table6, chain


def timed(of: Keys, kernel, table, batch: int = BATCH):
    """A call that looks up all packets and returns nanoseconds a packet. Its answers are checked once."""
    rows = len(of.pick)
    verdict, mark, dport = np.zeros(rows, np.uint8), np.zeros(rows, np.uint32), np.full(rows, triple.NO_PORT, np.uint32)
    family, proto, found = np.full(rows, 4, np.uint8), np.full(rows, ESP, np.uint8), np.empty(rows, np.int32)

    def run() -> float:
        start = time.perf_counter_ns()
        for at in range(0, rows, batch):
            cut = slice(at, at + batch)
            kernel(
                verdict[cut], family[cut], proto[cut], of.packet_spi[cut], of.packet_daddr[cut], mark[cut],
                dport[cut], *table, found[cut],
            )  # fmt: skip
        return (time.perf_counter_ns() - start) / rows

    run()
    assert (found == of.pick).all()
    return run


@pytest.mark.parametrize("sas", [1_000, 100_000, 1_000_000])
def test_what_each_buys(sas, capsys):
    of = keys(sas, packets=PACKETS)
    good = tables(of)
    cases = {
        "as it is": timed(of, lookup.triple, good),
        "no prefetch": timed(of, unprefetched(), good),
        "4 KiB pages": timed(of, lookup.triple, tables(of, huge=False)),
        "off the line": timed(of, lookup.triple, tables(of, off=16)),
        **{f"{n:,} rows a call": timed(of, lookup.triple, good, n) for n in (16, 256, 1024)},
    }
    spent: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, run in cases.items():
            spent[name].append(run())
    medians = {name: statistics.median(times) for name, times in spent.items()}
    base = medians["as it is"]
    with capsys.disabled():
        print(f"\ntriple, {sas:,} SAs; {machine()}")
        for name, ns in medians.items():
            print(f"  {name:18} {ns:6.1f} ns a packet, {ns / base:.2f} x")
