"""The window against a slow twin: Linux's u32 arithmetic (net/xfrm/xfrm_replay.c), and a set in place of the bitmap."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from espsim.core.verdict import Verdict
from espsim.sad.window import Window
from tests.examples import examples

M32 = 0xFFFFFFFF
M64 = 0xFFFFFFFFFFFFFFFF
SIZES = st.sampled_from([1, 7, 32, 33, 64, 128, 1024, 4096])


class Twin:
    """top and its high half are u32; `seen` holds every accepted 64-bit number for ever.

    The set replaces the bitmap: what the bitmap forgets is left of the window, where no check looks.
    """

    def __init__(self, size: int, esn: bool, top: int) -> None:
        self.size, self.esn = size, esn
        self.seq, self.seq_hi = top & M32, top >> 32 & M32
        self.seen: set[int] = set()

    def seqhi(self, seq: int) -> int:
        if not self.esn:
            return 0
        bottom = (self.seq - self.size + 1) & M32
        if self.seq >= self.size - 1:
            return (self.seq_hi + 1) & M32 if seq < bottom else self.seq_hi
        return (self.seq_hi - 1) & M32 if seq >= bottom else self.seq_hi

    def check(self, seq: int) -> Verdict:
        return self._check_esn(seq) if self.esn else self._check_plain(seq)

    def _check_plain(self, seq: int) -> Verdict:
        if self.size == 0:
            return Verdict.DELIVERED
        if seq == 0:
            return Verdict.REPLAY_ZERO
        if seq > self.seq:
            return Verdict.DELIVERED
        if self.seq - seq >= self.size:
            return Verdict.REPLAY_TOO_OLD
        return Verdict.REPLAY_DUPLICATE if seq in self.seen else Verdict.DELIVERED

    def _check_esn(self, seq: int) -> Verdict:
        top, size = self.seq, self.size
        bottom = (top - size + 1) & M32
        if seq == 0 and self.seq_hi == 0 and top < size - 1:
            return Verdict.REPLAY_ZERO
        diff = (top - seq) & M32
        if top >= size - 1:
            if seq > top or seq < bottom:
                return Verdict.DELIVERED
        else:
            if top < seq < bottom:
                return Verdict.DELIVERED
            if seq >= bottom:
                diff = ((~seq & M32) + top + 1) & M32
        if diff >= size:
            return Verdict.REPLAY_TOO_OLD
        return Verdict.REPLAY_DUPLICATE if self.seqhi(seq) << 32 | seq in self.seen else Verdict.DELIVERED

    def advance(self, seq: int) -> None:
        if self.size == 0:
            return
        seq_hi = self.seqhi(seq)
        self.seen.add(seq_hi << 32 | seq)
        wrap = (seq_hi - self.seq_hi) & M32
        wrap -= (wrap >> 31) << 32  # to a signed int
        if (wrap == 0 and seq > self.seq) or wrap > 0:
            self.seq = seq
            if wrap > 0:
                self.seq_hi = (self.seq_hi + 1) & M32


def step(window: Window, twin: Twin, seq: int, *, authentic: bool) -> Verdict:
    seq64 = window.infer(seq)
    assert seq64 == twin.seqhi(seq) << 32 | seq
    verdict = window.check(seq64, seq)
    assert verdict is twin.check(seq)
    if verdict is Verdict.DELIVERED and authentic:
        window.advance(seq64)
        twin.advance(seq)
    if window.size:
        assert window.top == twin.seq_hi << 32 | twin.seq
    return verdict


@st.composite
def streams(draw: st.DrawFn, boundary: int) -> tuple[int, int, list[tuple[int, bool]]]:
    """A size, a top, and arrivals as distances from a common place, many near the window's edges, some twice."""
    size = draw(SIZES)
    start = max(draw(st.integers(-2 * size - 3, size)) + boundary, 0)
    edges = st.sampled_from([0, 1, -1, size, -size, 1 - size, size - 1, -size - 1])
    near = st.integers(-40, 40)
    wide = st.integers(-2 * size, 2 * size)
    steps = st.tuples(st.one_of(edges, near, wide), st.sampled_from([True, True, True, False]))
    arrivals = draw(st.lists(steps, min_size=1, max_size=60))
    return size, start, arrivals + draw(st.permutations(arrivals))


@given(st.one_of(streams(300), streams(1 << 31), streams(M32 - 5000)))
@settings(max_examples=examples(60), deadline=None)
def test_plain_windows_answer_as_the_twin(stream):
    size, start, arrivals = stream
    window, twin = Window(size, top=start), Twin(size, False, start)
    for distance, authentic in arrivals:
        seq = min(max(twin.seq + distance, 0), M32)
        step(window, twin, seq, authentic=authentic)


@given(st.one_of(*(streams(n << 32) for n in (0, 1, 2, 5, 1 << 32))), st.booleans())
@settings(max_examples=examples(100), deadline=None)
@example((64, 0, [(0, True), (M32 - 3, True), (1, True)]), True)
@example((64, (1 << 32) - 1, [(1, True), (0, True), (-1, True), (-63, True), (-64, True)]), True)
@example((64, M64, [(0, True), (1, True), (1, True), (2, True), (-61, True), (-62, True)]), False)
def test_esn_windows_answer_as_the_twin_around_2_32_and_2_64(stream, from_top):
    """Whatever is fed, wrong guesses of the high half included."""
    size, start, arrivals = stream
    window, twin = Window(size, esn=True, top=start), Twin(size, True, start)
    for distance, authentic in arrivals:
        base = twin.seq_hi << 32 | twin.seq if from_top else start
        step(window, twin, (base + distance) & M32, authentic=authentic)


@given(st.one_of(*(streams(n << 32) for n in (1, 2, 1 << 32))))
@settings(max_examples=examples(60), deadline=None)
def test_of_an_honest_sender_every_number_passes_at_most_once(stream):
    """And exactly the first time, where it is not left of the window; but 2^64, come late, is taken for number 0."""
    size, start, arrivals = stream
    window, twin = Window(size, esn=True, top=start), Twin(size, True, start)
    passed: set[int] = set()
    top = start
    for distance, _ in arrivals:
        sent = max(top + distance, 0)
        seq = sent & M32
        right = window.infer(seq) == sent & M64
        assert right is (sent > top - size)  # no number here is 2^32 ahead
        zero = sent == 1 << 64 and window.top < size - 1
        verdict = step(window, twin, seq, authentic=right)
        if zero:
            assert verdict is Verdict.REPLAY_ZERO
        elif right:
            assert (verdict is Verdict.DELIVERED) is (sent not in passed)
            passed.add(sent)
            top = max(top, sent)


@given(st.lists(st.integers(0, 3 * 33), max_size=120), st.integers(0, 40))
@settings(max_examples=examples(40), deadline=None)
def test_small_numbers_from_an_empty_window(seqs, size):
    window, twin = Window(size), Twin(size, False, 0)
    for seq in seqs:
        step(window, twin, seq, authentic=True)
