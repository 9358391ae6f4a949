"""The rows of the conformance file whose answers are random: the same distribution as the mechanism gives.

Seeds are fixed, so nothing here fails by chance; the bounds are those of a test at p = 0.001.
"""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

PAIR = "src=10.0.0.1 dst=10.0.0.2 proto=esp"
Z_LIMIT = 3.29
CHI2_LIMIT = {1: 10.83, 2: 13.82, 3: 16.27, 15: 37.70}
KERNELS = ["linux-6.1", "linux-6.1.192", "linux-6.12"]


def ask(netns: Netns, *lines: str) -> list[dict[str, Any]]:
    return list(run_requests(netns, lines))


def chi2(observed: Counter[Any], expected: dict[Any, float]) -> float:
    assert set(observed) <= set(expected)
    return sum((observed[key] - n) ** 2 / n for key, n in expected.items())


def successes(netns: Netns, low: int, high: int, tries: int) -> int:
    """How often one ALLOCSPI succeeds, each time with the same SPIs free."""
    count = 0
    for _ in range(tries):
        [answer] = ask(netns, f"ALLOCSPI {PAIR} min={low} max={high}")
        if answer["result"] == "OK":
            count += 1
            ask(netns, f"DELSA dst=10.0.0.2 proto=esp spi={answer['reply']['spi']}")
        else:
            assert answer["result"] == "ENOENT"
    return count


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [2, 3, 4, 16, pytest.param(64, marks=pytest.mark.long)])
def test_one_free_spi_of_many_is_found_as_draws_with_replacement_find_it(kernel: str, size: int) -> None:
    netns = Netns(kernel, seed=size)
    ask(netns, *(f"ALLOCSPI {PAIR} min={0x101 + i} max={0x101 + i}" for i in range(size - 1)))
    tries = 1000
    p = 1 - (1 - 1 / size) ** size
    z = (successes(netns, 0x100, 0x100 + size - 1, tries) - tries * p) / sqrt(tries * p * (1 - p))
    assert abs(z) < Z_LIMIT


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("span", ["min=1 max=0xffffffff", "min=0 max=0xfffffffe"])
def test_spis_of_the_whole_range_are_uniform(kernel: str, span: str) -> None:
    netns = Netns(kernel, seed=7)
    replies = ask(netns, *[f"ALLOCSPI {PAIR} {span}"] * 1600)
    spis = [int(answer["reply"]["spi"], 16) for answer in replies]
    assert all(spis)
    observed = Counter(spi >> 28 for spi in spis)
    assert chi2(observed, dict.fromkeys(range(16), 100.0)) < CHI2_LIMIT[15]


def marvell(kernel: str, seed: int) -> list[dict[str, Any]]:
    """Five child SAs, each with its own pair of addresses, from a range of three SPIs."""
    pairs = range(1, 6)
    span = "proto=esp min=0x10000000 max=0x10000002"
    return ask(Netns(kernel, seed=seed), *(f"ALLOCSPI src=10.1.0.{i} dst=10.2.0.{i} {span}" for i in pairs))


def chain(size: int, children: int) -> dict[int, float]:
    """How many of the children have an SPI in the end, where each draws `size` times out of `size`."""
    share = {0: 1.0}
    for _ in range(children):
        after: dict[int, float] = dict.fromkeys(range(size + 1), 0.0)
        for taken, p in share.items():
            fails = (taken / size) ** size
            after[min(taken + 1, size)] += p * (1 - fails)
            after[taken] += p * fails
        share = {taken: p for taken, p in after.items() if p}
    return share


@pytest.mark.parametrize("kernel", ["linux-6.1.192", "linux-6.12"])
def test_marvells_range_runs_out_although_an_spi_is_free(kernel: str) -> None:
    runs = 600
    results = [[answer["result"] for answer in marvell(kernel, seed)] for seed in range(runs)]
    observed = Counter(result.count("OK") for result in results)
    expected = {taken: p * runs for taken, p in chain(3, 5).items() if p * runs > 5}
    rest = runs - sum(expected.values())
    observed[2] += observed.pop(1, 0)  # too rare a class for the test
    expected[2] += rest
    assert chi2(observed, expected) < CHI2_LIMIT[1]
    third = [result[2] for result in results if result[:2] == ["OK", "OK"]]
    assert 0.25 < third.count("ENOENT") / len(third) < 0.35  # 8/27


def test_marvells_range_is_no_trouble_where_the_destination_is_in_the_key() -> None:
    replies = [answer for seed in range(200) for answer in marvell("linux-6.1", seed)]
    observed = Counter(answer["reply"]["spi"] for answer in replies)
    expected = {f"0x1000000{i}": len(replies) / 3 for i in range(3)}
    assert chi2(observed, expected) < CHI2_LIMIT[2]


@pytest.mark.parametrize(("kernel", "p"), [("linux-6.1", 0.5), ("linux-6.12", 0.75)])
def test_a_drawn_zero_ends_the_loop_before_the_commit_and_costs_a_try_after(kernel: str, p: float) -> None:
    tries = 1000
    z = (successes(Netns(kernel, seed=3), 0, 1, tries) - tries * p) / sqrt(tries * p * (1 - p))
    assert abs(z) < Z_LIMIT


def test_6_1_192_gives_zero_away() -> None:
    spis = Counter(
        ask(Netns("linux-6.1.192", seed=s), f"ALLOCSPI {PAIR} min=0 max=1")[0]["reply"]["spi"] for s in range(400)
    )
    assert chi2(spis, {"0x00000000": 200.0, "0x00000001": 200.0}) < CHI2_LIMIT[1]
