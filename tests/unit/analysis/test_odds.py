"""Odds of SPIs: against counting all cases, against drawing, and against the derived figures of the datasheets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from espsim.analysis import occupancy, odds
from espsim.analysis.odds import EVENTS, Range, chances, curve, losses, parse_range
from espsim.core.errors import InputError, UnknownReached
from espsim.offload.model import Model, load_model, parse_assumptions


def model_of(name: str) -> Model:
    model = load_model(name)
    return model.assuming(parse_assumptions(model, ["model"]))


def share(balls: int, bins: int, holds: Callable[[Sequence[int]], bool]) -> float:
    """The share of all throws for which something holds."""
    throws = list(itertools.product(range(bins), repeat=balls))
    return sum(map(holds, throws)) / len(throws)


# -- closed forms, by counting all cases -------------------------------------------------------------------------


@pytest.mark.parametrize(("balls", "bins"), [(1, 1), (2, 1), (2, 5), (4, 6), (5, 4), (6, 5)])
def test_shared_bins(balls, bins):
    assert occupancy.shared(balls, bins) == pytest.approx(share(balls, bins, lambda t: len(set(t)) < balls), abs=1e-12)


def test_shared_bins_where_groups_do_not_share():
    throws = [t for t in itertools.product(range(5), repeat=4) if len({t[0], t[1]}) == 2 and len({t[2], t[3]}) == 2]
    expected = sum(len(set(t)) < 4 for t in throws) / len(throws)
    assert occupancy.shared_across([2, 2], 5) == pytest.approx(expected)
    assert occupancy.shared_across([4], 5) == 0.0
    assert occupancy.shared_across([4, 4], 5) == 1.0


@pytest.mark.parametrize(("balls", "low", "size", "bits"), [(3, 0, 6, 2), (4, 3, 7, 2), (3, 1, 8, 1), (3, 0, 3, 3)])
def test_duplicates_and_aliases_of_a_table_that_the_low_bits_index(balls, low, size, bits):
    mask = (1 << bits) - 1

    def alias(throw: Sequence[int]) -> bool:
        return any(a != b and (a + low) & mask == (b + low) & mask for a, b in itertools.combinations(throw, 2))

    found = odds._slots(balls, Range(low, low + size - 1), bits)
    assert found is not None
    assert found[0] == pytest.approx(share(balls, size, lambda t: len(set(t)) < balls))
    assert found[1] == pytest.approx(share(balls, size, alias))
    assert found[2] == pytest.approx(share(balls, size, lambda t: len({(s + low) & mask for s in t}) < balls))


def test_repeats_and_left_over():
    for again in range(5):
        expected = share(5, 4, lambda t, k=again: len(t) - len(set(t)) == k)  # type: ignore[misc]
        assert occupancy.repeats(5, 4)[again] == pytest.approx(expected)
        arrivals = np.zeros(6)
        arrivals[5] = 1
        assert occupancy.left_over(arrivals, 4)[again] == pytest.approx(expected)


def test_two_skewed_ways_are_the_same_as_first_free_way_in_order():
    def lost(throw: Sequence[int]) -> int:
        taken: set[tuple[int, int]] = set()
        count = 0
        for rows in zip(throw[::2], throw[1::2], strict=True):
            place = next(((way, row) for way, row in enumerate(rows) if (way, row) not in taken), None)
            count += place is None
            taken |= {place} if place is not None else set()
        return count

    arrivals = np.zeros(5)
    arrivals[4] = 1
    found = occupancy.skewed_left_over(arrivals, 2, 3)
    for k in range(3):
        assert found[k] == pytest.approx(share(8, 3, lambda t, k=k: lost(t) == k))  # type: ignore[misc]


@pytest.mark.parametrize(("balls", "ways", "sets"), [(2, 1, 3), (5, 2, 3), (6, 2, 3), (4, 3, 2), (3, 1, 1), (7, 2, 3)])
def test_ways_with_one_row_index(balls, ways, sets):
    def over(throw: Sequence[int]) -> int:
        return sum(max(0, throw.count(row) - ways) for row in range(sets))

    assert occupancy.fits_shared(balls, ways, sets) == pytest.approx(share(balls, sets, lambda t: not over(t)))
    throws = list(itertools.product(range(sets), repeat=balls))
    mean = sum(map(over, throws)) / len(throws)
    assert occupancy.expected_loss_shared(balls, ways, sets) == pytest.approx(mean)


def test_no_cancellation_where_a_chance_is_tiny():
    assert occupancy.shared(2, 2**32) == pytest.approx(2**-32, rel=1e-9)
    assert occupancy.shared(10**6, 2**32) == pytest.approx(1.0)
    assert occupancy.shared(1, 2**32) == 0.0


# -- the derived figures of the datasheets -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spis", "sas"),
    # 8192 and 8193: 107 exactly; the usual approximation sqrt(2 n ln 2) + 1/2 gives 107.07, read as 108.
    [(4501, 80), (5001, 84), (8193, 107), (256, 20), (4096, 76), (8192, 107), (65536, 302), (2**30, 38582)],
)
def test_half_a_chance_of_a_duplicate(spis, sas):
    assert occupancy.balls_for(0.5, spis) == sas
    assert occupancy.shared(sas, spis) >= 0.5 > occupancy.shared(sas - 1, spis)


def test_one_per_cent_at_eleven_sas():
    assert odds.sas_for(0.01, Range(500, 5000)) == 11


@pytest.mark.parametrize(("bits", "model"), [(8, "marvell-cn10k-dpdk"), (14, "marvell-cn10k-vpp")])
def test_masked_aliasing_of_random_spis(bits, model, tmp_path):
    if bits == 14:  # as if it took any SPI
        path = tmp_path / "wide.toml"
        path.write_text(
            f'schema = 1\nid = "wide"\nextends = "{model}"\n[inbound.program]\n'
            'spi_range = { min = 0, max = 8192, outside = "ignore" }\n'
        )
        model = str(path)
    half = occupancy.balls_for(0.5, 1 << bits)
    below, at = curve(load_model(model), [half - 1, half], Range(0, 2**32 - 1))
    assert below["alias"].value < 0.5 <= at["alias"].value + 1e-6
    assert at["alias"].how == "exact"


@pytest.mark.parametrize(
    ("sas", "stated"),
    [(2048, 0.002), (3072, 0.34), (4096, 8), (5120, 57), pytest.param(6144, 207, marks=pytest.mark.long), (8192, 1017)],
)
def test_losses_of_spi_to_sa(sas, stated):
    """The stated figures were drawn themselves: each is within a Monte Carlo of a few draws, ours within many."""
    found = losses(load_model("marvell-cn10k-linux-v5"), sas, seed=3)
    assert found is not None
    mean, low, high = found.drawn
    assert found.expected is not None
    assert low <= found.expected <= high or (mean == 0 and found.expected < 0.01)
    one_draw = (high - low) / 2 / 1.96 * math.sqrt(found.draws) or math.sqrt(found.expected)
    assert abs(stated - found.expected) < 1.0 * one_draw + 0.002


def test_losses_with_one_index_for_all_ways():
    found = losses(load_model("marvell-cn10k-linux-v5"), 2048)
    assert found is not None
    assert found.expected_shared == pytest.approx(8.8, abs=0.1)
    drawn = occupancy.draw_losses(2048, 4, 2048, 200, np.random.default_rng(5), skewed=False)
    _mean, low, high = occupancy.mean_interval(drawn)
    assert low < found.expected_shared < high


# -- a device, and drawing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sas", "spis"),
    [
        ("marvell-cn10k-dpdk", 12, Range(0x100, 0x21F)),
        ("marvell-cn10k-vpp", 60, Range(0, 8192)),
        ("marvell-cn10k-linux-v5", 40, Range(500, 1500)),
        ("sw-linux-xfrm", 40, Range(500, 1500)),
        ("intel-82599-linux", 130, Range(500, 5000)),
    ],
)
def test_the_closed_forms_are_what_the_modelled_device_does(name, sas, spis):
    model = model_of(name)
    exact = chances(model, sas, spis)
    assert exact is not None
    (drawn,) = odds._simulated(model, [sas], spis, 1, 150)
    for event in EVENTS:
        assert exact[event].how == "exact"
        assert drawn[event].low - 0.02 <= exact[event].value <= drawn[event].high + 0.02, event


def small_hash(tmp_path, skewed: bool) -> Model:
    path = tmp_path / "small.toml"
    path.write_text(
        'schema = 1\nid = "small"\nextends = "marvell-cn10k-linux-v5"\n'
        '[[inbound.lookup]]\nkind = "hash"\nkey = ["spi"]\nindex = { fn = "vendor_hash" }\nways = 2\nsets = 16\n'
        f'per_way_index = {str(skewed).lower()}\ncapacity = 32\nscope = "device"\nmulti_match = "impossible"\n'
        'miss = "software"\n[inbound.program]\nidentity = ["spi"]\n'
    )
    return load_model(path)


@pytest.mark.parametrize("skewed", [True, False])
@pytest.mark.parametrize("spis", [Range(1, 40), Range(1, 2**32 - 1)])
def test_overflow_of_a_hash_in_the_device(tmp_path, skewed, spis):
    model = small_hash(tmp_path, skewed)
    exact = curve(model, [8, 14, 20], spis)
    drawn = odds._simulated(model, [8, 14, 20], spis, 7, 400)
    for mine, theirs in zip(exact, drawn, strict=True):
        for event in EVENTS:
            assert theirs[event].low - 0.01 <= mine[event].value <= theirs[event].high + 0.01, event
    assert 0.01 < exact[1]["overflow"].value < 0.99


def test_spis_outside_of_the_drivers_range_are_drawn():
    found = chances(load_model("marvell-cn10k-vpp"), 3, Range(0, 16385), draws=400)
    assert found is not None
    assert found["refused"].draws == 400
    assert found["refused"].low <= 1 - 0.5**3 <= found["refused"].high
    assert chances(load_model("marvell-cn10k-vpp"), 3, Range(0, 16385), draw=False) is None


def test_one_seed_one_answer():
    spis = Range(0, 9000)
    first, again = (chances(load_model("marvell-cn10k-vpp"), 9, spis, seed=4, draws=50) for _ in range(2))
    assert first == again != chances(load_model("marvell-cn10k-vpp"), 9, spis, seed=5, draws=50)


def test_a_million_sas_and_none():
    spis = Range(0, 2**32 - 1)
    found = chances(load_model("marvell-cn10k-dpdk"), 10**6, spis)
    assert found is not None
    assert [round(found[event].value, 9) for event in EVENTS] == [1, 1, 0, 0, 1]
    single = chances(load_model("marvell-cn10k-linux-v5"), 1, spis)
    assert single is not None
    assert single["any"].value == 0.0


def test_what_cannot_be_answered_says_so():
    with pytest.raises(InputError, match="takes no inbound SA"):
        chances(load_model("marvell-cn10k-linux-mainline"), 3, Range(1, 9))
    with pytest.raises(UnknownReached):
        chances(load_model("unknown-nic"), 3, Range(1, 9))


@pytest.mark.parametrize("text", ["", "5", "9-5", "1-0x100000000", "a-b", "-5"])
def test_bad_ranges(text):
    with pytest.raises(InputError, match="--range"):
        parse_range(text)


def test_a_range():
    assert parse_range("0x10-32") == Range(16, 32)
    assert len(Range(16, 32)) == 17


def test_a_curve_is_sampled_where_it_changes():
    """A table of 128 rows ends between 128 and 129, which places a factor apart miss."""
    found = odds.curve_where_it_changes(load_model("intel-82599-linux"), 2000, odds.Range(1, 1 << 20), points=24)
    assert len(found) <= 24
    assert list(found) == sorted(found)
    assert (min(found), max(found)) == (1, 2000)
    assert [round(found[sas]["overflow"].value) for sas in (127, 128, 129)] == [0, 0, 1]
