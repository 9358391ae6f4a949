"""Windows that do not divide 2^32: Linux's ring, held against a transcription of its bit arithmetic in u32."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.core.verdict import Verdict
from espsim.netlink.netns import Netns
from espsim.netlink.request import EsnState, SaRequest, StateKey
from espsim.sad.window import RingWindow, Window, make_window

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
        wrap = self.seqhi(seq) - self.seq_hi & U32
        wrap -= (wrap >> 31) << 32  # an int in the kernel
        if (not wrap and seq > self.seq) or wrap > 0:
            diff = seq - self.seq if not wrap else (~self.seq & U32) + seq + 1
            if diff < self.wsize:
                for i in range(1, diff):
                    self.bits[(pos + i) % self.wsize] = False
            else:
                self.bits = [False] * self.wsize
            bitnr = (pos + diff) % self.wsize
            self.seq = seq
            self.seq_hi = self.seq_hi + (wrap > 0) & U32
        else:
            diff = self.seq - seq if not wrap else (~seq & U32) + self.seq + 1
            bitnr = (pos - diff) % self.wsize if pos >= diff else self.wsize - (diff - pos)
        self.bits[bitnr] = True


@pytest.mark.parametrize("size", [3, 7, 33, 100, 1000])
@given(
    start=st.sampled_from([0, 2**32 - 40, 2**33 - 5, 500, 2**64 - 40, 2**64 - 1]),
    steps=st.lists(st.integers(-120, 200), max_size=60),
)
@example(start=500, steps=[1] * 40 + [3, 2, 1, -1, 7, 1, 33, 5, -3, 1, 99, -98])
@example(start=2**33 - 5, steps=[1] * 40 + [3, 2, 1, -1, 7, 1, 33, 5, -3, 1, 99, -98])
def test_the_ring_is_the_kernels(size, start, steps):
    window = make_window(size, esn=True, ring=True, top=start)
    kernel = Kernel(size, start & U32, start >> 32)
    assert isinstance(window, RingWindow)
    for step in steps:
        seq = window.top + step & U32
        guess = window.infer(seq)
        assert guess >> 32 == kernel.seqhi(seq)
        verdict = window.check(guess, seq)
        assert verdict is kernel.check(seq)
        if verdict is Verdict.DELIVERED:
            window.advance(guess)
            kernel.advance(seq)
            assert window.top == kernel.seq_hi << 32 | kernel.seq
        assert window.bitmap == sum(seen << place for place, seen in enumerate(kernel.bits))


@pytest.mark.parametrize("number", [5 << 32 | 9, 5 << 32, 4 << 32 | 0xFFFFFFFF])
def test_after_a_dump_a_ring_has_seen_its_first_authentic_number_alone(number):
    window = make_window(33, esn=True, ring=True, resume=5 << 32 | 7, bitmap=0b1010)
    window.advance(number)
    assert (window.top, window.resume, window.bitmap_from_top()) == (number, None, 1)
    window.advance(number + 2)
    assert window.bitmap_from_top() & 0b110 == (0b100 if number & U32 and number + 1 & U32 else 0)


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


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ((), RingWindow),
        (("ring-windows",), RingWindow),
        (("strict-windows",), Window),
        (("strict-windows", "ring-windows"), Window),
    ],
)
def test_a_window_is_linuxs_ring_unless_it_is_to_be_strict(options, kind):
    netns = Netns(options=options)
    netns.newsa(
        SaRequest(
            bytes(4), bytes(4), 50, 0x100, esn=EsnState(bmp_len=2, replay_window=33),
            algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),),
        )
    )  # fmt: skip
    (entry,) = list(netns.sad)
    assert type(entry.window) is kind
    netns.newae(
        StateKey(bytes(4), 50, 0x100), EsnState(bmp_len=2, replay_window=33, seq=5, bitmap=9), replace_flag=True
    )
    assert type(entry.window) is kind
    assert (entry.window.top, entry.window.bitmap_from_top()) == (5, 9)


def test_the_legacy_bitmap_is_no_ring():
    netns = Netns()
    netns.newsa(
        SaRequest(
            bytes(4), bytes(4), 50, 0x100, replay_window=20,
            algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),),
        )
    )  # fmt: skip
    (entry,) = list(netns.sad)
    assert type(entry.window) is Window


@pytest.mark.parametrize(("size", "shift"), [(20, 16), (33, 4), (40, 16), (48, 16), (100, 96)])
def test_what_the_first_packet_leaves_at_the_wrong_place(size, shift):
    """Its duplicate passes once; the number that owns the place where it was marked is refused, though never seen."""
    for first in (1, 5, 1000):
        window = make_window(size, esn=False, ring=True)
        window.advance(first)
        refused = [n for n in range(max(first - size + 1, 1), first + 1) if window.check(n, n) is not Verdict.DELIVERED]
        owner = first + shift - size
        assert refused == ([owner] if owner > max(first - size, 0) else [])
        window.advance(first)
        assert window.check(first, first) is Verdict.REPLAY_DUPLICATE
    assert (1 << 32) % size == shift


def test_an_sa_that_was_given_a_number_has_no_such_fault():
    window = make_window(33, esn=False, ring=True, top=499)
    window.advance(500)
    assert window.check(500, 500) is Verdict.REPLAY_DUPLICATE
    assert all(window.check(n, n) is Verdict.DELIVERED for n in range(468, 500))


@pytest.mark.parametrize("size", [33, 64, 100])
@given(
    top=st.integers(0, 2**64 - 1), resume=st.sampled_from([None, 1 << 40]), bitmap=st.integers(0, 2**100)
)  # fmt: skip
def test_even_keeps_what_was_seen(size, top, resume, bitmap):
    window = make_window(size, esn=True, ring=True, top=top, bitmap=bitmap, resume=resume)
    even = window.even()
    assert type(even) is Window
    assert (even.size, even.esn, even.top, even.resume) == (size, True, top, resume)
    assert even.bitmap == window.bitmap_from_top() == bitmap & (1 << size) - 1
