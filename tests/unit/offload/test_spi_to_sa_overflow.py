"""How many SAs an SPI_TO_SA table loses: Monte Carlo on the shipped table beside what paper says."""

from __future__ import annotations

import functools
from math import comb, sqrt
from statistics import fmean, variance

import pytest

from espsim.offload.model import Model, load_model
from espsim.offload.tables import Entry, Row, make_table
from espsim.sad.association import Mode, SecurityAssociation
from tests.support import gcm_sa

WAYS, ROWS = 4, 2048
MODEL = "marvell-cn10k-dpdk-alg4"
AT = (2048, 3072, 4096, 5120, 6144, 8192)
SEEDS = range(6)
SHARED = """schema = 1
id = "shared"
extends = "marvell-cn10k-dpdk-alg4"
[[inbound.lookup]]
kind = "hash"
key = ["spi"]
index = { fn = "vendor_hash" }
ways = 4
sets = 2048
per_way_index = false
capacity = 8192
scope = "device"
multi_match = "impossible"
miss = "unknown"
"""


@functools.cache
def sas() -> list[SecurityAssociation]:
    return [gcm_sa("1.1.1.1", "9.9.9.1", 0x1000 + n, mode=Mode.TRANSPORT) for n in range(AT[-1])]


def losses(model: Model, seed: int, at: tuple[int, ...]) -> list[int]:
    """SAs without a place after so many were added."""
    table, lost, counts = make_table(model, seed), 0, []
    for n, sa in enumerate(sas()[: at[-1]], 1):
        place = table.place_for(sa, 0)
        if place is None:
            lost += 1
        else:
            table.write(place, Row(Entry(n, sa, 0, n), None))
        if n in at:
            counts.append(lost)
    return counts


def expected_independent(added: int) -> float:
    """First free way, every way with a uniform index of its own: the share of each way's rows that is taken, SA by SA.

    It leaves out that the ways' shares vary together: thousandths of an SA at 2048, tenths at 8192.
    """
    taken, lost = [0.0] * WAYS, 0.0
    for _ in range(added):
        arrives = 1.0
        for way in range(WAYS):
            arrives, stays = arrives * taken[way], arrives * (1 - taken[way])
            taken[way] += stays / ROWS
        lost += arrives
    return lost


def expected_shared(added: int) -> float:
    """One index for all ways: what a binomial row holds above four."""
    p = 1 / ROWS
    return ROWS * sum((k - WAYS) * comb(added, k) * p**k * (1 - p) ** (added - k) for k in range(WAYS + 1, 60))


def agree(counts: list[int], *expected: float) -> None:
    """Each within three standard errors, where the spread is Poisson's if nothing or next to nothing was lost."""
    error = sqrt(max(variance(counts), *expected) / len(counts))
    for value in expected:
        assert abs(fmean(counts) - value) <= 3 * error, (fmean(counts), value, error)


@pytest.fixture(scope="module")
def independent() -> list[list[int]]:
    model = load_model(MODEL)
    return [losses(model, seed, AT) for seed in SEEDS]


@pytest.mark.parametrize(("n", "derived"), [*enumerate((0.002, 0.34, 8, 57, 207, 1017))])
def test_independent_indices_lose_what_was_derived(independent, n, derived):
    agree([counts[n] for counts in independent], expected_independent(AT[n]), derived)


def test_one_index_for_all_ways_loses_far_more(tmp_path):
    path = tmp_path / "shared.toml"
    path.write_text(SHARED)
    model = load_model(path)
    counts = [losses(model, seed, (2048,))[0] for seed in range(30)]
    assert expected_shared(2048) == pytest.approx(8.8, abs=0.1)
    agree(counts, expected_shared(2048), 8.8)


def test_the_linux_series_has_the_same_table_and_a_smaller_array():
    ours, theirs = load_model(MODEL).spec.inbound.lookup, load_model("marvell-cn10k-linux-v5").spec.inbound.lookup
    assert ours[0] == theirs[0]
    assert theirs[1].capacity == 2048
