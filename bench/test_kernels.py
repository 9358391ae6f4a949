"""Lookups and replay windows with pytest-benchmark, a million packets a round: `pytest bench/test_kernels.py`.

`espsim bench lookup replay --peers` runs the same cases beside dpdk-test-sad.
"""

from __future__ import annotations

import functools

import pytest

from espsim.measure.cases import Clocked, ready
from espsim.measure.interleave import machine
from espsim.measure.lookup_cases import direct_case, hash_case, triple_case, window_case

SAS = (1_000, 100_000, 1_000_000)
LOOKUPS = {
    "triple": lambda sas: triple_case(sas, 4, 1.0, 1),
    "triple6": lambda sas: triple_case(sas, 6, 1.0, 1),
    "spi-direct": lambda sas: direct_case(sas, 1.0, 1),
    "spi-hash-shared": lambda sas: hash_case(sas, 1.0, 1, skewed=False),
    "spi-hash-skewed": lambda sas: hash_case(sas, 1.0, 1, skewed=True),
}


def measure(benchmark, make):
    case = ready(make)
    assert isinstance(case.once, Clocked)
    benchmark.extra_info |= {"machine": machine(), "what": case.what, "sas": case.sas, "model": case.model}
    benchmark.pedantic(case.once.work, setup=case.once.reset, rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("sas", SAS)
@pytest.mark.parametrize("lookup", LOOKUPS)
def test_lookup(benchmark, lookup, sas):
    measure(benchmark, functools.partial(LOOKUPS[lookup], sas))


@pytest.mark.parametrize(("window", "esn"), [(64, False), (64, True), (1024, True)])
def test_replay(benchmark, window, esn):
    measure(benchmark, lambda: window_case(10_000, window, 1, esn=esn))
