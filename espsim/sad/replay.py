"""The anti-replay window: three verbs, of which only one writes.

    infer(seq)         the 64-bit sequence number that a 32-bit one stands for   RFC 4303 A2.2, xfrm_replay_seqhi
    check(seq64, seq)  may this packet pass?                                     RFC 4303 3.4.3, xfrm_replay_check_*
    advance(seq64)     an authenticated packet moves the window                  xfrm_replay_advance_*

A window of size W whose last (highest) accepted number is `top` takes top-W+1 .. top once each and everything to the
right. W = 0 switches the check off. Rules that are Linux's and not the RFC's (net/xfrm/xfrm_replay.c):

* with ESN a number left of the window is taken for one of the next 2^32, passes the check and fails its ICV;
* sequence number 0 is refused (with ESN only in the first 2^32), and moves no counter of the SA;
* a guess below the first 2^32 wraps to a high half of 2^32-1: such a packet cannot carry a good ICV;
* the bitmap of XFRMA_REPLAY_ESN_VAL is a ring whose place is (top-1) modulo W, counted in 32 bits. Where W does not
  divide 2^32 (a window of 33, say) the place jumps when the number wraps, and from 0 to the first: `RingWindow`
  keeps it so, for those who ask (`--option ring-windows`). It was read from the source and never observed, so the
  default is the window that refuses every duplicate.

A window that starts empty from a dump that had moved (`resume`) does not know its top. Until its first authenticated
packet it takes the high half from the dump: the one stated, or, where the dump states the low half too, the one that
puts the packet nearest to it.
"""

from __future__ import annotations

from espsim.core.verdict import Verdict

_LOW = 0xFFFFFFFF


class Window:
    """One SA's receive window. `top` is the highest accepted number (64 bits with ESN); bit i of `bitmap` is top-i."""

    __slots__ = ("_mask", "bitmap", "esn", "resume", "size", "top")

    def __init__(
        self, size: int, *, esn: bool = False, top: int = 0, bitmap: int = 0, resume: int | None = None
    ) -> None:
        self.size = size
        self.esn = esn
        self.top = top
        self._mask = (1 << size) - 1
        self.bitmap = bitmap & self._mask
        self.resume = resume if esn else None

    def bitmap_from_top(self) -> int:
        """Bit i is top-i."""
        return self.bitmap

    def infer(self, seq: int) -> int:
        """The 64-bit number behind a 32-bit one; the number itself without ESN. Negative: before the first 2^32."""
        if not self.esn:
            return seq
        if self.resume is not None:
            return self._infer_resumed(seq)
        base = self.top & ~_LOW
        low = self.top & _LOW
        if low >= self.size - 1:  # case A of RFC 4303 A2.2: the window lies within one 2^32
            return base + seq + (_LOW + 1 if seq < low - self.size + 1 else 0)
        if seq >= (low - self.size + 1) & _LOW:  # case B: it spans two
            return base + seq - (_LOW + 1)
        return base + seq

    def check(self, seq64: int, seq: int) -> Verdict:
        """DELIVERED where the window lets the packet pass, else which REPLAY verdict refuses it. Writes nothing."""
        if self.size == 0:
            return Verdict.DELIVERED
        if seq == 0 and self._zero_refused(seq64):
            return Verdict.REPLAY_ZERO
        if self.resume is not None:
            return Verdict.DELIVERED
        behind = self.top - seq64
        if behind < 0:
            return Verdict.DELIVERED
        if behind >= self.size:
            return Verdict.REPLAY_TOO_OLD
        return Verdict.REPLAY_DUPLICATE if self.bitmap >> behind & 1 else Verdict.DELIVERED

    def advance(self, seq64: int) -> None:
        """Mark an authenticated packet's number as seen, and move the window right where it is the highest."""
        if self.size == 0:
            return
        if self.resume is not None:
            self.resume = None
            self.top, self.bitmap = seq64, 1
            return
        ahead = seq64 - self.top
        if ahead > 0:
            self.bitmap = (self.bitmap << ahead | 1) & self._mask if ahead < self.size else 1
            self.top = seq64
        else:
            self.bitmap |= 1 << -ahead

    def _zero_refused(self, seq64: int) -> bool:
        if not self.esn:
            return True
        if self.resume is not None:
            return seq64 == 0
        return self.top < self.size - 1

    def _infer_resumed(self, seq: int) -> int:
        hint = self.resume or 0
        base = hint & ~_LOW
        if hint & _LOW == 0:
            return base + seq
        candidates = (c for c in (base + seq - _LOW - 1, base + seq, base + seq + _LOW + 1) if c >= 0)
        return min(candidates, key=lambda c: abs(c - hint))


class RingWindow(Window):
    """A window whose size does not divide 2^32, as xfrm_replay_{check,advance}_{bmp,esn} keep it.

    Their ring is indexed by (top-1) % W in 32 bits, so its bits are out of place after a wrap, and the first packet of
    a new SA (top 0) is marked where nobody looks for it: one duplicate of it passes. `bitmap` is kept as a ring here;
    the even view is `bitmap_from_top`.
    """

    __slots__ = ()

    def __init__(
        self, size: int, *, esn: bool = False, top: int = 0, bitmap: int = 0, resume: int | None = None
    ) -> None:
        super().__init__(size, esn=esn, top=top, resume=resume)
        place = self._place()
        self.bitmap = sum(1 << (place - i) % size for i in range(size) if bitmap >> i & 1)

    def check(self, seq64: int, seq: int) -> Verdict:
        """As Window.check, with the bit looked for in the ring."""
        if seq == 0 and self._zero_refused(seq64):
            return Verdict.REPLAY_ZERO
        behind = self.top - seq64
        if self.resume is not None or behind < 0:
            return Verdict.DELIVERED
        if behind >= self.size:
            return Verdict.REPLAY_TOO_OLD
        seen = self.bitmap >> (self._place() - behind) % self.size & 1
        return Verdict.REPLAY_DUPLICATE if seen else Verdict.DELIVERED

    def advance(self, seq64: int) -> None:
        """As Window.advance, with the ring's bits cleared and set where the kernel does."""
        if self.resume is not None:
            self.resume = None
            self.top = seq64
            self.bitmap = 1 << self._place()
            return
        place, ahead = self._place(), seq64 - self.top
        if ahead > 0:
            if ahead < self.size:
                for step in range(1, ahead):
                    self.bitmap &= ~(1 << (place + step) % self.size)
            else:
                self.bitmap = 0
            self.top = seq64
        self.bitmap |= 1 << (place + ahead) % self.size

    def bitmap_from_top(self) -> int:
        """Bit i is what the ring says of top-i."""
        place = self._place()
        return sum(1 << i for i in range(self.size) if self.bitmap >> (place - i) % self.size & 1)

    def _place(self) -> int:
        return ((self.top - 1) & _LOW) % self.size


def make_window(
    size: int, *, esn: bool, ring: bool, top: int = 0, bitmap: int = 0, resume: int | None = None
) -> Window:
    """A window; `ring`: as Linux's source keeps XFRMA_REPLAY_ESN_VAL, where that differs."""
    odd = ring and size and (_LOW + 1) % size
    return (RingWindow if odd else Window)(size, esn=esn, top=top, bitmap=bitmap, resume=resume)
