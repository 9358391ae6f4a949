"""ALLOCSPI: order of checks, leftovers, and draws with replacement."""

from __future__ import annotations

import errno
import itertools
import math
import random
from collections import Counter

import pytest

from espsim.core.address import parse_address
from espsim.core.errors import XfrmError
from espsim.core.numbers import PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.sad.association import Direction, Mark, Mode
from espsim.sad.entry import State
from espsim.sad.sad import Sad
from espsim.sad.spi import SPI_RULES
from tests.support import gcm_sa

A = parse_address
SRC, DST, DST2 = A("10.0.0.1"), A("10.0.0.2"), A("10.0.0.3")
PROTOCOL = (errno.EINVAL, "Invalid protocol, must be one of AH, ESP, IPCOMP")
RANGE = (errno.EINVAL, "Invalid SPI range: min > max")
COMP = (errno.EINVAL, "IPCOMP SPI must be <= 65535")


def make(policy="rfc4301", seed=1):
    return Sad(SPI_RULES[policy](), random.Random(seed))


@pytest.fixture(params=["rfc2401", "rfc4301"])
def sad(request):
    return make(request.param)


def ask(sad, low, high=None, *, dst=DST, proto=PROTO_ESP, **options):
    """The SPI, or (errno, extack)."""
    try:
        return sad.allocspi(SRC, dst, proto, low, low if high is None else high, **options).sa.spi
    except XfrmError as refusal:
        return refusal.errno, refusal.extack


class TestChecks:
    @pytest.mark.parametrize(
        ("low", "high", "proto", "answer"),
        [
            (0x2000, 0x1000, PROTO_ESP, RANGE),
            (0x2000, 0x1000, 17, PROTOCOL),  # the protocol comes first
            (1, 1, 0, PROTOCOL),
            (0x100, 0x10000, PROTO_COMP, COMP),
            (0x20000, 0x10000, PROTO_COMP, COMP),  # COMP's bound comes before min > max
            (0x200, 0x100, PROTO_COMP, RANGE),
        ],
    )
    def test_a_bad_request_leaves_nothing_behind(self, sad, low, high, proto, answer):
        assert ask(sad, low, high, proto=proto) == answer
        assert len(sad) == 0

    @pytest.mark.parametrize("spi", [1, 0xFF, 0x100, 0xFFFFFFFF])
    def test_every_spi_but_0_can_be_had(self, sad, spi):
        assert ask(sad, spi) == spi
        assert ask(sad, 0xFFFF, proto=PROTO_COMP) == 0xFFFF

    def test_spi_0_and_the_whole_range_never(self, sad):
        assert ask(sad, 0)[0] == errno.ENOENT
        assert ask(sad, 0, 0xFFFFFFFF)[0] == errno.ENOENT  # the u32 count of draws wraps to 0
        assert isinstance(ask(sad, 1, 0xFFFFFFFF), int)
        assert isinstance(ask(sad, 0, 0xFFFFFFFE), int)

    def test_the_larval_state(self, sad):
        entry = sad.allocspi(SRC, DST, PROTO_ESP, 5, 5, mode=Mode.TUNNEL, reqid=9, dir=Direction.IN, now=3.0)
        sa = entry.sa
        assert (entry.state, entry.added, sa.keys) == (State.LARVAL, 3.0, None)
        assert (sa.src, sa.dst, sa.spi, sa.mode, sa.reqid, sa.dir) == (SRC, DST, 5, Mode.TUNNEL, 9, Direction.IN)
        assert sad.lookup(DST, 5, PROTO_ESP) is entry

    def test_the_extack_of_a_range_without_a_free_spi(self):
        sad = make()
        ask(sad, 7)
        assert ask(sad, 7) == (errno.ENOENT, "No SPI available in the requested range")
        assert ask(sad, 0) == (errno.ENOENT, "No SPI available in the requested range")

    def test_the_extack_of_one_taken_spi_before_the_commit(self):
        sad = make("rfc2401")
        ask(sad, 7)
        assert ask(sad, 7) == (errno.ENOENT, "Requested SPI is already in use")


class TestLeftovers:
    def test_a_failure_leaves_one_and_a_success_of_the_tuple_adopts_it(self, sad):
        assert ask(sad, 0x1000) == 0x1000
        for _ in range(3):
            assert ask(sad, 0x1000)[0] == errno.ENOENT
            assert sorted(e.sa.spi for e in sad) == [0, 0x1000]
        (leftover,) = (e for e in sad if not e.sa.spi)
        assert ask(sad, 0x1001) == 0x1001
        assert sorted(e.sa.spi for e in sad) == [0x1000, 0x1001]
        assert sad.getsa(DST, 0x1001, PROTO_ESP) is leftover
        assert ask(sad, 0x1002) == 0x1002  # and the next one is new
        assert len(sad) == 3

    @pytest.mark.parametrize("other", [{"reqid": 1}, {"mode": Mode.TUNNEL}, {"dst": DST2}, {"proto": PROTO_AH}])
    def test_another_tuple_does_not_adopt_it(self, sad, other):
        ask(sad, 0)
        assert ask(sad, 0x1000, **other) == 0x1000
        assert sorted(e.sa.spi for e in sad) == [0, 0x1000]

    def test_it_keeps_the_time_it_was_made(self, sad):
        ask(sad, 0, now=1.0)
        assert ask(sad, 5, now=20.0) == 5
        assert sad.getsa(DST, 5, PROTO_ESP).added == 1.0

    def test_a_mark_adopts_a_leftover_whose_mark_matches(self, sad):
        ask(sad, 0)
        assert ask(sad, 5, mark=Mark(1, 0xFF)) == 5
        assert [e.sa.mark for e in sad] == [Mark()]  # its own mark, not the request's
        ask(sad, 0, mark=Mark(2, 0xFF))
        assert ask(sad, 6) == 6
        assert len(sad) == 3  # an unmarked request does not match mark 2

    def test_of_two_that_match_the_newest_is_adopted(self, sad):
        """__find_acq_core walks bydst, and states are put in at its head."""
        ask(sad, 0, mark=Mark(1, 0xFF))
        ask(sad, 0)
        assert ask(sad, 5, mark=Mark(1, 0xFF)) == 5
        assert sad.getsa(DST, 5, PROTO_ESP, Mark(1, 0xFF)).sa.mark == Mark()

    def test_the_direction_is_stored_on_success_only(self, sad):
        ask(sad, 0, dir=Direction.IN)
        assert ask(sad, 5) == 5
        assert sad.getsa(DST, 5, PROTO_ESP).sa.dir is None

    def test_an_adopted_state_is_checked_under_its_own_mark(self):
        """xfrm_alloc_spi takes the mark of the state that gets the SPI (after the commit marks play no part)."""
        sad = make("rfc2401")
        ask(sad, 0)
        sad.newsa(gcm_sa("10.0.0.1", "10.0.0.2", 5, mark=Mark(1, 0xFF)))
        assert ask(sad, 5, mark=Mark(1, 0xFF)) == 5

    def test_a_dump_shows_an_adopted_state_where_it_was_made(self, sad):
        """State order of a dump is order of creation (net->xfrm.state_all), whenever the SPI came."""
        ask(sad, 0)
        ask(sad, 0x2000, dst=DST2)
        ask(sad, 0x1000)
        assert [e.sa.spi for e in sad] == [0x1000, 0x2000]


def within(successes: int, trials: int, p: float) -> bool:
    """Within five standard deviations of a binomial's mean."""
    return abs(successes - trials * p) < 5 * math.sqrt(trials * p * (1 - p))


class TestDraws:
    @pytest.mark.parametrize("policy", ["rfc2401", "rfc4301"])
    @pytest.mark.parametrize(("size", "free"), [(2, 1), (3, 1), (4, 1), (16, 1), (64, 1), (16, 2), (4, 3)])
    def test_with_replacement(self, policy, size, free):
        """1-(1-k/N)^N, and not 1: ENOENT does not mean that no SPI is free."""
        sad = make(policy, seed=size)
        for spi in range(0x1000, 0x1000 + size - free):
            assert ask(sad, spi) == spi
        trials, found = 600, 0
        for _ in range(trials):
            answer = ask(sad, 0x1000, 0x1000 + size - 1)
            if isinstance(answer, int):
                assert answer >= 0x1000 + size - free
                found += 1
                sad.delsa(DST, answer, PROTO_ESP)
        assert within(found, trials, 1 - (1 - free / size) ** size)

    def test_a_drawn_0_costs_a_try(self):
        sad = make(seed=5)
        found = 0
        for _ in range(800):
            if ask(sad, 0, 1) == 1:
                found += 1
                sad.delsa(DST, 1, PROTO_ESP)
        assert within(found, 800, 0.75)

    def test_a_drawn_0_ended_the_loop_before_the_commit(self):
        sad = make("rfc2401", seed=5)
        found = 0
        for _ in range(800):
            if ask(sad, 0, 1) == 1:
                found += 1
                sad.delsa(DST, 1, PROTO_ESP)
        assert within(found, 800, 0.5)

    def test_uniformly_and_not_in_sequence(self):
        sad = make(seed=9)
        drawn = []
        for _ in range(3200):
            drawn.append(ask(sad, 0x1000, 0x100F))
            sad.delsa(DST, drawn[-1], PROTO_ESP)
        counts = Counter(drawn)
        assert set(counts) == set(range(0x1000, 0x1010))
        chi_squared = sum((n - 200) ** 2 / 200 for n in counts.values())
        assert chi_squared < 50  # 15 degrees of freedom: p about 1e-5
        follows = sum(b == a + 1 for a, b in itertools.pairwise(drawn))
        assert within(follows, 3199, 15 / 256)

    def test_marvells_range_has_three_spis_and_the_third_child_fails_now_and_then(self):
        """S12: five child SAs on five address pairs, spi_min=0x10000000 spi_max=0x10000002."""
        trials, third_failed = 500, 0
        for seed in range(trials):
            sad = make(seed=seed)
            got = [ask(sad, 0x10000000, 0x10000002, dst=A(f"10.2.0.{n}")) for n in range(1, 4)]
            given = [spi for spi in got if isinstance(spi, int)]
            assert len(set(given)) == len(given)
            assert isinstance(got[0], int)
            if isinstance(got[1], int):
                third_failed += not isinstance(got[2], int)
        second = 1 - (1 / 3) ** 3
        assert within(third_failed, trials, second * 8 / 27)

    def test_marvells_range_under_the_triple(self):
        sad = make("rfc2401")
        got = [ask(sad, 0x10000000, 0x10000002, dst=A(f"10.2.0.{n}")) for n in range(1, 6)]
        assert all(isinstance(spi, int) for spi in got)

    def test_the_same_seed_draws_the_same(self):
        one, two = ([ask(s, 1, 0xFFFFFFFF) for _ in range(5)] for s in (make(seed=3), make(seed=3)))
        assert one == two
