"""The receive window: edges at every size, what check never does, and where a dump's numbers start it."""

from __future__ import annotations

import pytest

from espsim.core.verdict import Verdict
from espsim.sad.association import ReplayState
from espsim.sad.window import Window
from tests.support import gcm_sa, new_sad

SIZES = [1, 7, 32, 33, 64, 128, 1024, 4096]
TOO_OLD, DUPLICATE, ZERO, GOOD = (
    Verdict.REPLAY_TOO_OLD, Verdict.REPLAY_DUPLICATE, Verdict.REPLAY_ZERO, Verdict.DELIVERED,
)  # fmt: skip


def receive(window: Window, seq64: int) -> Verdict:
    """One authentic packet, as the datapath does it; a wrong guess of the high half fails its ICV."""
    seq = seq64 & 0xFFFFFFFF
    inferred, seq64 = window.infer(seq), seq64 & 0xFFFFFFFFFFFFFFFF
    verdict = window.check(inferred, seq)
    if verdict is not GOOD:
        return verdict
    if inferred != seq64:
        return Verdict.INTEGRITY
    window.advance(seq64)
    return GOOD


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("top", [10_000, 0xFFFFFFFF])
def test_the_last_place_inside_and_the_first_outside(size, top):
    window = Window(size)
    assert receive(window, top) is GOOD
    assert receive(window, top - size) is TOO_OLD
    inside = top - size + 1
    assert receive(window, inside) is (DUPLICATE if size == 1 else GOOD)
    assert receive(window, inside) is DUPLICATE
    assert receive(window, top) is DUPLICATE
    assert window.top == top


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("top", [10_000, 1 << 32 | 10_000, 7 << 32])
def test_the_same_edge_with_esn_fails_the_icv_instead(size, top):
    window = Window(size, esn=True, top=top - 1)
    assert receive(window, top) is GOOD
    inside = top - size + 1
    assert receive(window, inside) is (DUPLICATE if size == 1 else GOOD)
    assert receive(window, inside) is DUPLICATE
    assert receive(window, top - size) is Verdict.INTEGRITY
    assert window.top == top


@pytest.mark.parametrize("size", SIZES)
def test_behind_the_boundary_and_across_it(size):
    """ESN: 2^32 itself is sent with low half 0; within W the previous 2^32 is still taken, once."""
    boundary = 1 << 32
    window = Window(size, esn=True, top=boundary - 1)
    assert receive(window, boundary) is GOOD
    assert window.top == boundary
    for back in range(1, min(size, 64)):
        assert receive(window, boundary - back) is GOOD, back
        assert receive(window, boundary - back) is DUPLICATE
    assert receive(window, boundary + 5) is GOOD
    assert receive(window, boundary) is (DUPLICATE if size > 5 else Verdict.INTEGRITY)


@pytest.mark.parametrize("size", SIZES)
def test_past_2_64_the_high_half_is_0_again(size):
    edge = 1 << 64
    window = Window(size, esn=True, top=edge - 2)
    assert receive(window, edge - 1) is GOOD
    assert receive(window, edge) is GOOD  # low half 0: the first number of all is not refused here
    assert window.top == 0
    for back in range(1, min(size, 64)):
        assert receive(window, edge - back) is (DUPLICATE if back == 1 else GOOD), back
    assert receive(window, edge + 5) is GOOD
    assert window.top == 5
    assert receive(window, edge + 5) is DUPLICATE
    assert receive(window, edge + 5 - size) is Verdict.INTEGRITY


def test_a_jump_of_two_epochs_fails_its_icv():
    window = Window(64, esn=True, top=100)
    assert receive(window, (2 << 32) + 200) is Verdict.INTEGRITY
    assert receive(window, (2 << 32) + 5) is Verdict.INTEGRITY
    assert window.top == 100
    assert receive(window, (1 << 32) + 5) is GOOD


def test_a_number_half_way_round_lies_left_of_the_top():
    window = Window(32, esn=True, top=5)
    assert window.check((1 << 63) + 5, 5) is TOO_OLD
    assert window.check((1 << 63) + 4, 4) is GOOD


@pytest.mark.parametrize("seq", [0, 1, 5, 0xFFFFFFFF])
def test_window_0_checks_nothing_and_remembers_nothing(seq):
    window = Window(0)
    for _ in range(3):
        assert receive(window, seq) is GOOD
    assert (window.top, window.bitmap) == (0, 0)


def test_sequence_0_without_esn_is_refused_for_ever():
    window = Window(32)
    assert window.check(0, 0) is ZERO
    assert receive(window, 5) is GOOD
    assert window.check(0, 0) is ZERO
    assert receive(window, 5000) is GOOD
    assert window.check(0, 0) is ZERO  # not "too old": no counter of the SA moves


def test_sequence_0_with_esn_is_refused_only_in_the_first_2_32():
    fresh = Window(32, esn=True)
    assert fresh.check(fresh.infer(0), 0) is ZERO
    later = Window(32, esn=True, top=3 << 32 | 5)
    assert later.infer(0) == 3 << 32
    assert later.check(3 << 32, 0) is GOOD


@pytest.mark.parametrize("size", SIZES[1:])
def test_with_esn_0_is_refused_until_the_window_begins_at_it(size):
    assert Window(size, esn=True, top=size - 2).check(0, 0) is ZERO
    assert Window(size, esn=True, top=size - 1).check(0, 0) is GOOD


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_window_that_begins_with_the_last_number_of_a_2_32(size):
    window = Window(size, esn=True, top=(1 << 32) + size - 2)
    assert window.infer(0xFFFFFFFF) == 0xFFFFFFFF
    assert window.infer(0xFFFFFFFE) == 0x1FFFFFFFE


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("esn", [False, True])
def test_check_and_infer_never_write(size, esn):
    window = Window(size, esn=esn, top=1000 + size, bitmap=1)
    before = (window.top, window.bitmap, window.resume)
    for seq in (0, 1, 999, 1000 + size, 1001 + size, 0xFFFFFFFF):
        window.check(window.infer(seq), seq)
    assert (window.top, window.bitmap, window.resume) == before


def test_the_bitmap_of_a_dump_counts_from_the_top_down():
    window = Window(32, top=100, bitmap=0b1011)
    assert [window.check(100 - i, 100 - i) for i in range(5)] == [DUPLICATE, DUPLICATE, GOOD, DUPLICATE, GOOD]


def test_a_bitmap_wider_than_the_window_is_cut():
    window = Window(4, top=100, bitmap=(1 << 64) - 1)
    assert window.bitmap == 0b1111


def test_jumping_further_than_the_window_forgets_what_was_seen():
    window = Window(32)
    for seq in range(1, 33):
        assert receive(window, seq) is GOOD
    assert receive(window, 32 + 31) is GOOD  # exactly one old number is left: 32
    assert receive(window, 32) is DUPLICATE
    assert all(receive(window, seq) is GOOD for seq in range(33, 63))
    assert window.bitmap == 0xFFFFFFFF  # and nothing left of the window
    assert receive(window, 63 + 32) is GOOD
    assert all(receive(window, seq) is GOOD for seq in range(64, 95))


class TestResume:
    """A window that starts empty from a dump that had moved: the high half comes from the dump."""

    def test_a_stated_high_half_alone_is_taken_as_it_is(self):
        window = Window(64, esn=True, resume=5 << 32)
        assert window.infer(1) == 5 << 32 | 1
        assert window.infer(0xFFFFFFFF) == 5 << 32 | 0xFFFFFFFF
        assert window.infer(0) == 5 << 32
        assert window.check(5 << 32, 0) is GOOD

    @pytest.mark.parametrize(
        ("hint", "seq", "seq64"),
        [
            ((5 << 32) - 1, 3, 5 << 32 | 3),
            ((5 << 32) + 2, 0xFFFFFFF0, 4 << 32 | 0xFFFFFFF0),
            ((5 << 32) + 1000, 900, 5 << 32 | 900),
            ((5 << 32) + 0x80000000, 0, 5 << 32),
            (10, 0xFFFFFFF0, 0xFFFFFFF0),  # there is no epoch before the first
            ((1 << 64) - 10, 3, 3),  # but the last is followed by the first
            ((1 << 64) - 10, 0xFFFFFFF0, (1 << 64) - 16),
        ],
    )
    def test_a_stated_low_half_chooses_the_nearest(self, hint, seq, seq64):
        window = Window(64, esn=True, resume=hint)
        assert window.infer(seq) == seq64
        assert receive(window, seq64) is GOOD

    def test_a_forged_packet_does_not_fix_the_top_and_an_authentic_one_does(self):
        window = Window(64, esn=True, resume=(5 << 32) - 1)
        assert window.check(window.infer(77), 77) is GOOD  # and then its ICV fails: no advance
        before, _ = window.resume, receive(window, (5 << 32) - 3)
        assert before == (5 << 32) - 1
        assert window.top == (5 << 32) - 3
        assert window.resume is None
        assert receive(window, (5 << 32) - 3) is DUPLICATE
        assert receive(window, (5 << 32) - 5) is GOOD  # empty: older numbers within W are new
        assert receive(window, (5 << 32) + 3) is GOOD
        assert receive(window, (5 << 32) - 66) is Verdict.INTEGRITY

    def test_sequence_0_is_refused_only_where_it_would_be_the_first_ever(self):
        assert Window(64, esn=True, resume=40).infer(0) == 0
        assert Window(64, esn=True, resume=40).check(0, 0) is ZERO
        assert Window(64, esn=True, resume=(1 << 32) - 2).infer(0) == 1 << 32
        assert Window(64, esn=True, resume=(1 << 32) - 2).check(1 << 32, 0) is GOOD
        assert Window(64, esn=True, resume=(1 << 64) - 2).infer(0) == 0
        assert Window(64, esn=True, resume=(1 << 64) - 2).check(0, 0) is GOOD

    def test_before_the_first_authentic_packet_no_number_is_too_old(self):
        """The top is not known: it counts as 0, and 2^64-1 is one to the left of it."""
        window = Window(64, esn=True, resume=3 << 62 | 5)
        assert window.check(window.infer(77), 77) is GOOD

    def test_without_a_window_the_last_authentic_number_is_kept(self):
        window = Window(0, esn=True, resume=5 << 32 | 0x80000000)
        assert receive(window, 5 << 32 | 0xFFFFFFF0) is GOOD
        assert window.resume == 5 << 32 | 0xFFFFFFF0
        assert receive(window, 6 << 32 | 3) is GOOD
        window.advance(7 << 32)  # a low half of 0 would say that the high half alone is known
        assert (window.resume, window.top, window.bitmap) == (6 << 32 | 3, 0, 0)

    def test_without_a_window_and_a_number_of_the_dump_nothing_is_kept(self):
        window = Window(0, esn=True)
        window.advance(5)
        assert window.resume is None

    def test_without_esn_there_is_nothing_to_resume(self):
        assert Window(64, resume=1000).resume is None

    def test_of_a_dump_through_the_sad(self):
        esn = frozenset({"esn"})
        dump = ReplayState(seq=7, seq_hi=2, bitmap=0b11, stated=True)
        (empty,) = new_sad(gcm_sa(flags=esn, replay=dump))
        assert (empty.window.top, empty.window.bitmap, empty.window.resume) == (0, 0, 2 << 32 | 7)
        (kept,) = new_sad(gcm_sa(flags=esn, replay=dump), keep_window=True)
        assert (kept.window.top, kept.window.bitmap, kept.window.resume) == (2 << 32 | 7, 0b11, None)
        (outbound,) = new_sad(gcm_sa(flags=esn, replay=ReplayState(oseq=9, oseq_hi=3)))
        assert (outbound.oseq, outbound.window.resume) == (3 << 32 | 9, 3 << 32 | 9)
        (plain,) = new_sad(gcm_sa(replay=ReplayState(seq=7, seq_hi=2, oseq=9, oseq_hi=3)))
        assert (plain.oseq, plain.window.top, plain.window.resume) == (9, 0, None)
