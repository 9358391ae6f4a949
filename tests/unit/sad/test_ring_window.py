"""Windows that do not divide 2^32: Linux's ring, held against a transcription of its bit arithmetic in u32."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.core.verdict import Verdict
from espsim.sad.netns import Netns
from espsim.sad.replay import RingWindow, Window, make_window
from espsim.sad.request import EsnState, SaRequest

U32 = 0xFFFFFFFF


class Kernel:
    """xfrm_replay_check_esn and xfrm_replay_advance_esn, word for word, one bit a list item."""

    def __init__(self, wsize, seq=0, seq_hi=0):
        self.wsize, self.seq, self.seq_hi = wsize, seq, seq_hi
        self.bits = [False] * wsize

    def seqhi(self, seq):
        bottom = (self.seq - self.wsize + 1) & U32
        if self.seq >= self.wsize - 1:
            return self.seq_hi + (seq < bottom) & U32
        return self.seq_hi - (seq >= bottom) & U32

    def check(self, seq):
        pos = ((self.seq - 1) & U32) % self.wsize
        bottom = (self.seq - self.wsize + 1) & U32
        if seq == 0 and self.seq_hi == 0 and self.seq < self.wsize - 1:
            return Verdict.REPLAY_ZERO
        diff = (self.seq - seq) & U32
        if self.seq >= self.wsize - 1:
            if seq > self.seq or seq < bottom:
                return Verdict.DELIVERED
        else:
            if self.seq < seq < bottom:
                return Verdict.DELIVERED
            if seq >= bottom:
                diff = (~seq + self.seq + 1) & U32
        if diff >= self.wsize:
            return Verdict.REPLAY_TOO_OLD
        bitnr = (pos - diff) % self.wsize if pos >= diff else self.wsize - (diff - pos)
        return Verdict.REPLAY_DUPLICATE if self.bits[bitnr] else Verdict.DELIVERED

    def advance(self, seq):
        pos = ((self.seq - 1) & U32) % self.wsize
        wrap = self.seqhi(seq) - self.seq_hi
        if (not wrap and seq > self.seq) or wrap > 0:
            diff = seq - self.seq if not wrap else (~self.seq & U32) + seq + 1
            if diff < self.wsize:
                for i in range(1, diff):
                    self.bits[(pos + i) % self.wsize] = False
            else:
                self.bits = [False] * self.wsize
            bitnr = (pos + diff) % self.wsize
            self.seq = seq
            self.seq_hi += wrap > 0
        else:
            diff = self.seq - seq if not wrap else (~seq & U32) + self.seq + 1
            bitnr = (pos - diff) % self.wsize if pos >= diff else self.wsize - (diff - pos)
        self.bits[bitnr] = True


@pytest.mark.parametrize("size", [3, 7, 33, 100, 1000])
@given(start=st.sampled_from([0, 2**32 - 40, 2**33 - 5, 500]), steps=st.lists(st.integers(-120, 200), max_size=60))
def test_the_ring_is_the_kernels(size, start, steps):
    window = make_window(size, esn=True, ring=True, top=start)
    kernel = Kernel(size, start & U32, start >> 32)
    assert isinstance(window, RingWindow)
    for step in steps:
        seq64 = window.top + step
        if seq64 < 0:
            continue
        seq = seq64 & U32
        guess = window.infer(seq)
        assert guess >> 32 & U32 == kernel.seqhi(seq)
        verdict = window.check(guess, seq)
        assert verdict is kernel.check(seq)
        if verdict is Verdict.DELIVERED and guess >= 0 and guess - window.top < 2**31:
            window.advance(guess)
            kernel.advance(seq)
            assert window.top == kernel.seq_hi << 32 | kernel.seq


def test_one_duplicate_of_the_first_packet_passes_where_the_window_does_not_divide_2_to_the_32():
    window = make_window(33, esn=False, ring=True)
    answers = []
    for _ in range(3):
        answers.append(window.check(1, 1))
        if answers[-1] is Verdict.DELIVERED:
            window.advance(1)
    assert answers == [Verdict.DELIVERED, Verdict.DELIVERED, Verdict.REPLAY_DUPLICATE]


@pytest.mark.parametrize(("size", "ring"), [(64, True), (32, False), (7, False), (0, True), (4096, True)])
def test_elsewhere_the_plain_window_serves(size, ring):
    assert type(make_window(size, esn=False, ring=ring)) is Window


@pytest.mark.parametrize(("options", "kind"), [((), Window), (("ring-windows",), RingWindow)])
def test_a_sad_keeps_the_ring_where_it_is_asked_for(options, kind):
    netns = Netns(options=options)
    netns.newsa(
        SaRequest(
            bytes(4), bytes(4), 50, 0x100, esn=EsnState(bmp_len=2, replay_window=33),
            algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),),
        )
    )  # fmt: skip
    (entry,) = list(netns.sad)
    assert type(entry.window) is kind
