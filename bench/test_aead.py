"""Opening and sealing alone with pytest-benchmark, 4096 rows a round: `pytest bench/test_aead.py`.

`espsim bench aead --peers` runs the same work beside crypto-perf, `openssl speed` and scapy.
"""

from __future__ import annotations

import random

import pytest

from espsim.aead.engines import ENGINES, NOT_THERE, engine_by_name, find
from espsim.aead.suites import resolve
from espsim.measure.aead_cases import SUITES, case_of
from espsim.measure.cases import Clocked, engine_facts
from espsim.measure.interleave import machine

SIZES = (64, 256, 1024, 1424, "imix")


def measure(benchmark, name, verb, *, suite="AES-128-GCM", size=64, sas=100):
    if find(name).state == NOT_THERE:
        pytest.skip(find(name).why)
    engine = engine_by_name(name)
    if not engine.supports(resolve(SUITES[suite](random.Random(0)))):
        pytest.skip(f"{name} leaves {suite} to another engine")
    case = case_of(engine, verb, suite, size, sas=sas, seed=1)
    assert isinstance(case.once, Clocked)
    words = engine_facts(engine)["engine_version"]
    benchmark.extra_info |= {"machine": machine(), "engine": words, "suite": suite, "sas": sas}
    benchmark.pedantic(case.once.work, setup=case.once.reset, rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("verb", ["open", "seal"])
@pytest.mark.parametrize("name", ENGINES)
def test_engine(benchmark, name, verb, size):
    measure(benchmark, name, verb, size=size)


@pytest.mark.parametrize("suite", list(SUITES)[1:])
@pytest.mark.parametrize("name", ENGINES)
def test_other_suites(benchmark, name, suite):
    measure(benchmark, name, "open", suite=suite, size=1424)


@pytest.mark.parametrize("sas", [1, 1000, 100_000])
@pytest.mark.parametrize("name", ["ipsec-mb", "libcrypto"])
def test_engine_with_many_keys(benchmark, name, sas):
    """So many SAs that every key schedule is a cache miss: how much of the rate prefetching keeps."""
    measure(benchmark, name, "open", sas=sas)
