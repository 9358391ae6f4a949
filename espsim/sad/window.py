"""The anti-replay window of one SA: three verbs for a packet, of which only the last one writes.

1. infer(seq)         the 64-bit sequence number that a 32-bit one stands for   RFC 4303 A2.2, xfrm_replay_seqhi
2. check(seq64, seq)  may this packet pass?                                     RFC 4303 3.4.3, xfrm_replay_check_*
3. advance(seq64)     an authenticated packet moves the window                  xfrm_replay_advance_*

A window of size W whose highest accepted number is `top` takes each of top-W+1 .. top once, and everything to the
right. W = 0 switches the check off.

Why a late ESN packet fails its ICV: only the low half of its number is on the wire, so `infer` must guess the high
half. A number left of the window is taken for one of the next 2^32 (A2.2, case A), so the check lets it pass. But its
sender computed the ICV over the high half before that (RFC 4303 2.2.1): the ICV does not fit the guess.

Rules that are Linux's and not the RFC's:

* sequence number 0 is refused (with ESN only in the first 2^32), and moves no counter of the SA;
* with ESN numbers are modulo 2^64. The high half that follows 2^32-1 is 0, and the window goes on from there. A guess
  below the first 2^32 has the high half 2^32-1;
* XFRMA_REPLAY_ESN_VAL (every ESN window, and every window above 32) keeps its bitmap as a ring. Where the size does
  not divide 2^32 the ring is `RingWindow`, which lets some duplicates pass and refuses some numbers that it never saw.

A window that starts empty from a dump that had moved (`resume`) does not know its top. Until its first authenticated
packet it takes the high half from the dump: the one stated, or, where the dump states the low half too, the one that
puts the packet nearest to it.

With ESN and no window (an SA that says its numbers' high half and no window) there is no top: the number
is the one nearest to the last authenticated one, which is kept in `resume`.

What this does not do: it counts nothing (the caller does), knows no keys, and cannot tell a forged packet from a real
one. Call `advance` only after the ICV was verified.
Sources: RFC 4303 3.4.3 and appendix A2; Linux net/xfrm/xfrm_replay.c.
"""

from __future__ import annotations

import functools

from espsim.core.verdict import DELIVERED, Verdict

_LOW = 0xFFFFFFFF
_ALL = 0xFFFFFFFFFFFFFFFF
_HALF = 1 << 63


def nearest(hint: int, seq: int) -> int:
    """The number whose low half is `seq` that is nearest to `hint`, of two the lower one; modulo 2^64."""
    base = hint & ~_LOW
    candidates = (c for c in (base + seq - _LOW - 1, base + seq, base + seq + _LOW + 1) if c >= 0)
    return min(candidates, key=lambda c: abs(c - hint)) & _ALL


def _infer_resumed(hint: int, seq: int) -> int:
    return hint + seq if hint & _LOW == 0 else nearest(hint, seq)


@functools.cache
def _form(size: int, esn: bool) -> tuple[int, bool, int]:
    """(size, esn, ones for the numbers of the window): one object for all windows that are alike."""
    return size, esn, (1 << size) - 1


class Window:
    """One SA's receive window. `top` is the highest accepted number (64 bits with ESN); bit i of `bitmap` is top-i."""

    __slots__ = ("_form", "bitmap", "resume", "top")

    def __init__(
        self, size: int, *, esn: bool = False, top: int = 0, bitmap: int = 0, resume: int | None = None
    ) -> None:
        self._form = _form(size, esn)
        self.set_numbers(top, bitmap, resume)

    @property
    def size(self) -> int:
        """W: how many numbers it holds; 0: the check is off."""
        return self._form[0]

    @property
    def esn(self) -> bool:
        """Whether numbers have 64 bits."""
        return self._form[1]

    def set_numbers(self, top: int, seen: int, resume: int | None = None) -> None:
        """Set top and bitmap, whatever they were: bit i of `seen` is top-i."""
        _, esn, mask = self._form
        self.top = top & _ALL
        self.bitmap = seen & mask
        self.resume = resume if esn else None

    def bitmap_from_top(self) -> int:
        """Bit i is top-i."""
        return self.bitmap

    def infer(self, seq: int) -> int:
        """The 64-bit number of a 32-bit one; without ESN it is the number itself."""
        size, esn, _ = self._form
        if not esn:
            return seq
        if self.resume is not None:
            return _infer_resumed(self.resume, seq)
        base = self.top & ~_LOW
        low = self.top & _LOW
        if low >= size - 1:  # case A of RFC 4303 A2.2: the window lies within one 2^32
            return base + seq + (_LOW + 1 if seq < low - size + 1 else 0) & _ALL
        if seq >= (low - size + 1) & _LOW:  # case B: it spans two
            return base + seq - (_LOW + 1) & _ALL
        return base + seq

    def check(self, seq64: int, seq: int) -> Verdict:
        """DELIVERED where the window lets the packet pass, else which REPLAY verdict refuses it. Writes nothing."""
        size, _, _ = self._form
        if size == 0:
            return DELIVERED
        if seq == 0 and self._zero_refused(seq64):
            return Verdict.REPLAY_ZERO
        if self.resume is not None:
            return DELIVERED
        back = -self._ahead(seq64)
        if back < 0:
            return DELIVERED
        if back >= size:
            return Verdict.REPLAY_TOO_OLD
        return Verdict.REPLAY_DUPLICATE if self._seen(back) else DELIVERED

    def advance(self, seq64: int) -> None:
        """Mark an authenticated packet's number as seen, and move the window right where it is the highest."""
        size, _, mask = self._form
        if size == 0:
            # A low half of 0 says in `resume` that only the high half is known.
            if self.resume is not None and seq64 & _LOW:
                self.resume = seq64
            return
        if self.resume is not None:
            self.resume = None
            self.top, self.bitmap = seq64, 1
            return
        ahead = self._ahead(seq64)
        if ahead > 0:
            self.bitmap = (self.bitmap << ahead | 1) & mask if ahead < size else 1
            self.top = seq64
        else:
            self.bitmap |= 1 << -ahead

    def even(self) -> Window:
        """The same window without Linux's ring: it refuses every duplicate. Itself where it has none."""
        return self

    def _ahead(self, seq64: int) -> int:
        """How far a number lies to the right of the top, modulo 2^64; negative to the left."""
        ahead = seq64 - self.top
        return ahead if abs(ahead) < _HALF else (ahead + _HALF & _ALL) - _HALF

    def _seen(self, back: int) -> bool:
        """Whether the bitmap has the number that lies so far to the left of the top."""
        return bool(self.bitmap >> back & 1)

    def _zero_refused(self, seq64: int) -> bool:
        if not self.esn:
            return True
        if self.resume is not None:
            return seq64 == 0 and self.resume <= _LOW  # from a higher half it is 2^64, and not the first number
        return self.top < self.size - 1


class RingWindow(Window):
    """A window whose size does not divide 2^32, as xfrm_replay_{check,advance}_{bmp,esn} keep it.

    A check looks for the number n at place (n-1) mod W of the ring, n-1 counted in 32 bits. So places jump by
    2^32 mod W between the numbers 0 and 1 of each 2^32. An advance marks the place that lies as far from the top's
    place as n lies from the top, and ignores the jump: the mark of a number that crosses it is where no check looks for
    it. That is the first packet of a fresh SA (its top is 0) and, with ESN, every pass of a multiple of 2^32. Seen on
    Linux 6.1, 6.12 and 7.3: one duplicate of a fresh SA's first packet passes, and the number that owns the marked
    place is refused.

    `bitmap` is the ring; `bitmap_from_top` has the order of a `Window`, and that is what the constructor takes.
    """

    __slots__ = ()

    def set_numbers(self, top: int, seen: int, resume: int | None = None) -> None:
        """As Window.set_numbers, with each number's bit at its place of the ring."""
        super().set_numbers(top, 0, resume)
        place = self._place()
        self.bitmap = sum(1 << (place - i) % self.size for i in range(self.size) if seen >> i & 1)

    def advance(self, seq64: int) -> None:
        """As Window.advance, with the ring's bits cleared and set where the kernel does."""
        if self.resume is not None:
            self.resume = None
            self.top = seq64
            self.bitmap = 1 << self._place()
            return
        place, ahead = self._place(), self._ahead(seq64)
        if ahead > 0:
            if ahead < self.size:
                for step in range(1, ahead):
                    self.bitmap &= ~(1 << (place + step) % self.size)
            else:
                self.bitmap = 0
            self.top = seq64
        self.bitmap |= 1 << (place + ahead) % self.size

    def bitmap_from_top(self) -> int:
        """Bit i: the ring reports top-i as seen."""
        return sum(1 << i for i in range(self.size) if self._seen(i))

    def even(self) -> Window:
        """A `Window` with the numbers that this ring reports as seen."""
        return Window(self.size, esn=self.esn, top=self.top, bitmap=self.bitmap_from_top(), resume=self.resume)

    def _seen(self, back: int) -> bool:
        return bool(self.bitmap >> (self._place() - back) % self.size & 1)

    def _place(self) -> int:
        return (self.top - 1 & _LOW) % self.size


def make_window(
    size: int, *, esn: bool, ring: bool, top: int = 0, bitmap: int = 0, resume: int | None = None
) -> Window:
    """A window; `ring`: as Linux keeps XFRMA_REPLAY_ESN_VAL, which matters where the size does not divide 2^32."""
    odd = ring and size and (_LOW + 1) % size
    return (RingWindow if odd else Window)(size, esn=esn, top=top, bitmap=bitmap, resume=resume)
