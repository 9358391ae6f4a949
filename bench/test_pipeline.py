"""The whole batch path with pytest-benchmark, a batch a round: `pytest bench/test_pipeline.py`.

`espsim bench pipeline --peers` runs the same work beside crypto-perf and scapy, and says what each stage takes.
"""

from __future__ import annotations

import itertools

import pytest

from espsim.aead.engines import AUTO, ENGINES, NOT_THERE, find
from espsim.measure.interleave import machine
from espsim.measure.pipeline_cases import DIRECTIONS, PipelinePoint, work_of
from espsim.measure.traffic import BATCH


def measure(benchmark, point):
    work = work_of(point, 1)
    chunks = itertools.cycle(range(work.chunks))
    benchmark.extra_info |= {"machine": machine(), "packets": BATCH, "bytes_per_sa": work.bytes_per_sa}
    benchmark.extra_info |= {"stages_ns": work.staged()}
    benchmark.pedantic(work.run, setup=lambda: work.fill(next(chunks)), rounds=100, warmup_rounds=4)


@pytest.mark.parametrize("size", [64, 256, 512, 1024, 1424, "imix"])
@pytest.mark.parametrize("what", DIRECTIONS)
def test_sizes(benchmark, what, size):
    measure(benchmark, PipelinePoint(what, size, 100, AUTO))


@pytest.mark.parametrize("sas", [1, 1000, 100_000])
@pytest.mark.parametrize("what", DIRECTIONS)
def test_few_and_many_sas(benchmark, what, sas):
    measure(benchmark, PipelinePoint(what, 64, sas, AUTO))


@pytest.mark.parametrize("name", ENGINES)
def test_engines(benchmark, name):
    if find(name).state == NOT_THERE:
        pytest.skip(find(name).why)
    measure(benchmark, PipelinePoint("in", 64, 100, name))
