"""kernels.replay against sad.replay: any windows, any batch cut, forged, duplicated and reordered packets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.batch.inbound import replay
from espsim.batch.inbound import window as windows
from espsim.core.verdict import Verdict
from espsim.sad.window import Window, make_window
from tests.equivalence.kernel_settings import quick
from tests.equivalence.kernel_windows import M32, M64, SIZES, Windows

SENT = np.zeros((0, 2), np.uint64)  # this host sent none of these packets


@dataclass(frozen=True)
class Arrival:
    """`sent`: the number that the ICV covers, none for a forged packet. `trailer`: authentic, refused later."""

    sa: int
    sent: int
    forged: bool = False
    trailer: bool = False

    def opens(self, seq64: int, esn: bool) -> Verdict:
        if self.forged or (esn and seq64 != self.sent & M64):
            return Verdict.INTEGRITY
        return Verdict.TRAILER if self.trailer else Verdict.DELIVERED


def one_by_one(twins: list[Window], arrivals: list[Arrival]) -> list[tuple[Verdict, int]]:
    """The reference path's steps around the window."""
    answers = []
    for arrival in arrivals:
        window, seq = twins[arrival.sa], arrival.sent & M32
        seq64 = window.infer(seq)
        verdict = window.check(seq64, seq)
        if verdict is Verdict.DELIVERED:
            verdict = arrival.opens(seq64, window.esn)
            if verdict is Verdict.DELIVERED:
                window.advance(seq64)
        answers.append((verdict, seq64))
    return answers


def in_batches(windows: Windows, arrivals: list[Arrival], cut: int) -> list[tuple[int, int]]:
    """The batch path's steps: open what the window accepts at the batch's start, settle in order, open some again."""
    answers = []
    for start in range(0, len(arrivals), cut):
        batch = arrivals[start : start + cut]
        sa = np.array([a.sa for a in batch], np.int32)
        seq = np.array([a.sent & M32 for a in batch], np.uint32)
        verdict, passed, opened, own = (np.zeros(len(batch), np.uint8) for _ in range(4))
        seq64 = np.zeros(len(batch), np.uint64)
        replay.check_rows(sa, seq, own, verdict, windows.shape, windows.bits, SENT, seq64, passed)
        for n, arrival in enumerate(batch):
            opened[n] = 99 if passed[n] else arrival.opens(int(seq64[n]), windows.twins[arrival.sa].esn)
        first = 0
        while True:
            row = replay.advance(first, sa, seq, own, opened, windows.shape, windows.bits, SENT, seq64, passed, verdict)
            if row < 0:
                break
            assert row >= first
            opened[row] = batch[row].opens(int(seq64[row]), windows.twins[batch[row].sa].esn)
            first = row
        answers += list(zip(verdict.tolist(), seq64.tolist(), strict=True))
    return answers


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[tuple[Window, Window]], list[Arrival]]:
    """A few windows, each twice (the twin, and one to load from), and arrivals near their edges, many twice."""
    pairs, places = [], []
    for _ in range(draw(st.integers(1, 3))):
        size, esn = draw(st.sampled_from(SIZES)), draw(st.booleans())
        near = draw(st.sampled_from([0, 0, 300, 1 << 31, M32 - 40, 1 << 32, 5 << 32, M64 - 40, 1 << 64]))
        top = max(near + draw(st.integers(-2 * size - 2, size)), 0)
        top = top if esn else min(top, M32)
        resume = draw(st.sampled_from([None, None, near & M64 or None])) if esn else None
        resume = near & M64 if esn and not size else resume  # no window: it is the last number, 0 before the first
        bitmap = draw(st.integers(0, (1 << size) - 1)) if resume is None else 0
        ring = draw(st.booleans())
        top = 0 if resume is not None else top
        twin, loaded = (make_window(size, esn=esn, ring=ring, top=top, bitmap=bitmap, resume=resume) for _ in range(2))
        pairs.append((twin, loaded))
        places.append(resume or top)
    arrivals = []
    for n, step, kind in draw(
        st.lists(st.tuples(st.integers(0, len(pairs) - 1), STEPS, st.integers(0, 9)), max_size=50)
    ):
        size, esn = pairs[n][0].size, pairs[n][0].esn
        jump = {"size": size, "-size": -size, "size-1": size - 1, "1-size": 1 - size, "far": 3 * size, "epoch": 1 << 32}
        sent = max(places[n] + (jump[step] if isinstance(step, str) else step), 0)
        sent = sent if esn else min(sent, M32)
        arrivals.append(Arrival(n, sent, forged=kind == 0, trailer=kind == 1))
        if kind > 1:
            places[n] = max(places[n], sent)
    return pairs, arrivals + draw(st.permutations(arrivals))


STEPS = st.one_of(
    st.integers(-3, 3), st.integers(-80, 80), st.sampled_from(["size", "-size", "size-1", "1-size", "far", "epoch"])
)


@quick
@given(runs(), st.sampled_from([1, 2, 7, 64, 1000]))
def test_batches_are_the_windows_packet_for_packet(run, cut):
    pairs, arrivals = run
    windows = Windows([loaded for _, loaded in pairs])
    twins = [twin for twin, _ in pairs]
    windows.same()
    want = one_by_one(twins, arrivals)
    windows.twins = twins
    assert in_batches(windows, arrivals, cut) == want
    windows.same()


@quick
@given(st.sampled_from(SIZES[1:]), st.sampled_from([0, 32, 64]), st.booleans(), st.integers(0, 2**32),
       st.integers(1, 90))  # fmt: skip
@example(4096, 32, False, 7, 64)
@example(33, 32, True, 3, 5)
@example(33, 64, True, 3, 5)
@example(64, 64, False, 3, 5)
def test_across_2_32_and_2_64(size, edge, ring, seed, cut):
    """A sender that crosses 2^32 or 2^64, its packets displaced, lost, doubled and forged; 0: one without ESN."""
    rng = np.random.default_rng(seed)
    esn = bool(edge)
    start = (1 << edge) - 60 if esn else 1000
    sent = np.repeat(np.arange(120), rng.integers(0, 3, 120))
    sent = sent[np.argsort(sent + rng.integers(-size, size + 1, len(sent)), kind="stable")]
    arrivals = [Arrival(0, start + int(n), forged=bool(rng.random() < 0.1)) for n in sent]
    twin = make_window(size, esn=esn, ring=ring, top=start - 1)
    windows = Windows([make_window(size, esn=esn, ring=ring, top=start - 1)])
    want = one_by_one([twin], arrivals)
    windows.twins = [twin]
    assert in_batches(windows, arrivals, cut) == want
    windows.same()


def test_without_a_window_esn_goes_by_the_last_number():
    """Nothing is refused, and a number is placed nearest to the last authentic one, whatever was forged."""
    sent = [(1 << 32) + n for n in (-90, -9, -90, 7, 0, -8, 7)]
    arrivals = [Arrival(0, (7 << 32) + n) for n in sent] + [Arrival(0, 8 << 32, forged=True)]
    for cut in (1, 3, 100):
        twin, loaded = (Window(0, esn=True, resume=7 << 32) for _ in range(2))
        want = one_by_one([twin], arrivals)
        assert [v.name for v, _ in want] == ["DELIVERED"] * 7 + ["INTEGRITY"]
        assert twin.resume == (8 << 32) + 7
        windows = Windows([loaded])
        assert in_batches(windows, arrivals, cut) == want
        windows.twins = [twin]
        windows.same()


def test_where_batching_could_change_the_answer():
    """With ESN a duplicate left of the window is taken for a number of the next 2^32, and its ICV fails."""
    arrivals = [Arrival(0, 100), Arrival(0, 200), Arrival(0, 100)]
    twin, loaded = (Window(64, esn=True, top=100, bitmap=1) for _ in range(2))
    want = one_by_one([twin], arrivals)
    assert [v.name for v, _ in want] == ["REPLAY_DUPLICATE", "DELIVERED", "INTEGRITY"]
    assert in_batches(Windows([loaded]), arrivals, 3) == want


@pytest.mark.parametrize("size", SIZES[1:])
def test_zero_where_the_first_window_ends(size):
    """With ESN number 0 is refused while the top is below size-1, and a number like another from there on."""
    for top in {max(size - 2, 0), size - 1, size}:
        twin, loaded = (make_window(size, esn=True, ring=False, top=top) for _ in range(2))
        arrivals = [Arrival(0, 0), Arrival(0, 0), Arrival(0, 1)]
        want = one_by_one([twin], arrivals)
        assert in_batches(Windows([loaded]), arrivals, 2) == want


@pytest.mark.parametrize("hint", [1 << 31, (1 << 31) + 1, (1 << 32) + 7, (1 << 32) + (1 << 31), (3 << 32) - 5, 2 << 32,
                                  M64 - 5, M64 - M32, 1 << 63])  # fmt: skip
def test_the_high_half_of_a_resumed_window(hint):
    for off in (-2, -1, 0, 1, 2):
        for seq in (hint + (1 << 31) + off, hint - (1 << 31) + off, hint + off):
            twin, loaded = (make_window(64, esn=True, ring=False, resume=hint) for _ in range(2))
            arrivals = [Arrival(0, seq & M32, forged=True), Arrival(0, seq), Arrival(0, seq)]
            want = one_by_one([twin], arrivals)
            windows = Windows([loaded])
            assert in_batches(windows, arrivals, 3) == want
            windows.twins = [twin]
            windows.same()


def test_check_writes_no_window_and_leaves_rows_with_a_verdict():
    windows = Windows([Window(64, top=10, bitmap=1)])
    before = windows.shape.copy(), windows.bits.copy()
    sa, seq = np.array([0, 0, -1, 0], np.int32), np.array([11, 10, 12, 0], np.uint32)
    verdict = np.array([0, 0, 0, Verdict.FRAGMENT], np.uint8)
    seq64, passed = np.full(4, 9, np.uint64), np.full(4, 9, np.uint8)
    opened, own = np.zeros(4, np.uint8), np.zeros(4, np.uint8)
    replay.check_rows(sa, seq, own, verdict, windows.shape, windows.bits, SENT, seq64, passed)
    assert passed.tolist() == [0, Verdict.REPLAY_DUPLICATE, 0, 0]
    assert seq64.tolist() == [11, 10, 0, 0]
    assert (windows.shape == before[0]).all()
    assert (windows.bits == before[1]).all()
    assert replay.advance(0, sa, seq, own, opened, windows.shape, windows.bits, SENT, seq64, passed, verdict) == -1
    assert verdict.tolist() == [0, Verdict.REPLAY_DUPLICATE, 0, Verdict.FRAGMENT]


@pytest.mark.parametrize(("size", "most"), [(0, 32), (32, 32), (64, 32), (128, 32), (1024, 160), (4096, 544)])
def test_memory_of_a_window(size, most):
    _, words = windows.shape_of(size, esn=True)
    assert 8 * words <= most
