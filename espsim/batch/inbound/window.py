"""The anti-replay windows of all SAs over columns: where they lie, and the verbs of `sad/window.py` for one packet.

An SA's window is one number in `shape` (uint64) and a few words of `bits` (uint64), so that a packet touches two cache
lines whatever the number of SAs:

    shape    bits 0-12 size, bit 13 ESN, bit 14 resumed, bit 15 odd ring, bits 16-28 places in the ring, from 32: where
    bits     [where] top, [where + 1] the dump's number of a resumed window, then the ring

The number top is at place (top-1) mod places, counted in 32 bits as Linux does. A window has 64 places or the next
power of two, which never jumps; an odd ring has as many as its size and jumps where the kernel's does
(`RingWindow`). With ESN numbers are modulo 2^64. `shape_of` gives the number and the words needed; `advance` clears
the resumed bit, but for a window of size 0, which keeps the last authentic number in place of the dump's.

Does not go through rows: replay.py does.
Sources: RFC 4303 3.4.3 and appendix A2; Linux net/xfrm/xfrm_replay.c.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import U8, U32, U64
from espsim.core.numbers import DELIVERED, REPLAY_DUPLICATE, REPLAY_TOO_OLD, REPLAY_ZERO
from espsim.jit.compiling import inlined, kernel

ESN, RESUMED, RING = np.uint64(1 << 13), np.uint64(1 << 14), np.uint64(1 << 15)
WHERE = 32
"""The bit of `shape` from which on stands the place in `bits`."""


_0, _1, _6, _16, _32, _63, _64 = (np.uint64(n) for n in (0, 1, 6, 16, 32, 63, 64))
_HEAD = np.uint64(2)
_SIZE = np.uint64(0x1FFF)
_LOW = np.uint64(0xFFFFFFFF)
_SPAN = np.uint64(1 << 32)
_HALF = np.uint64(1 << 31)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SPAN_SIGNED = 1 << 32


def shape_of(size: int, *, esn: bool, resumed: bool = False, ring: bool = False) -> tuple[int, int]:
    """(shape without the place, words of `bits`) of a window of 0 to 4096; `ring`: it is a RingWindow.

    A multiple of 4 words, so that a window of 64 never lies across two cache lines.
    """
    places = size if ring else max(64, 1 << (size - 1).bit_length())
    flags = int(ESN) * esn | int(RESUMED) * resumed | int(RING) * ring
    words = int(_HEAD) + -(-places // 64)
    return size | flags | places << 16, -(-words // 4) * 4


@inlined
def _nearest(top: np.uint64, seq: np.uint64) -> np.uint64:
    """The number with the low half `seq` that is nearest to `top`, of two the lower one; none is below 0."""
    high, low = top >> _32, top & _LOW
    if seq >= low + _HALF and high > _0:
        high = high - _1
    elif seq + _HALF < low:
        high = high + _1  # of 2^32 the shift leaves 0
    return high << _32 | seq


@inlined
def _resumed(hint: np.uint64, seq: np.uint64) -> np.uint64:
    """The high half of a window that does not know its top: the dump's, or what puts the packet nearest to it."""
    if hint & _LOW == _0:
        return hint | seq
    return _nearest(hint, seq)


@inlined
def infer(shape: np.uint64, bits: U64, seq: np.uint64) -> tuple[np.uint64, int]:
    """(seq64, how far it is ahead of the top, 0 or less for behind): RFC 4303 A2.2."""
    where = shape >> _32
    top = bits[where]
    if shape & ESN == _0:
        return seq, np.int64(seq) - np.int64(top)
    if shape & RESUMED != _0:
        return _resumed(bits[where + _1], seq), 1
    size, low, high = shape & _SIZE, top & _LOW, top >> _32
    ahead = np.int64(seq) - np.int64(low)
    if low + _1 >= size:
        if seq + size <= low:
            return (high + _1) << _32 | seq, ahead + _SPAN_SIGNED
    elif seq + size >= _SPAN + low + _1:
        return (high + _LOW) << _32 | seq, ahead - _SPAN_SIGNED  # high - 1: the shift leaves the low half
    return high << _32 | seq, ahead


@inlined
def _place(shape: np.uint64, top: np.uint64, number: np.uint64, ahead: int) -> np.uint64:
    """The ring's place of the number (its low half) that is `ahead` of the top, or behind it by less than the size."""
    places = shape >> _16 & _SIZE
    if shape & RING == _0:
        return (number + _LOW) & (places - _1)
    place = (((top & _LOW) + _LOW) & _LOW) % places
    if ahead < 0:
        return (place + places - np.uint64(-ahead)) % places
    return (place + np.uint64(ahead)) % places


@inlined
def judge(shape: np.uint64, bits: U64, seq: np.uint64, seq64: np.uint64, ahead: int) -> np.uint8:
    """DELIVERED, or the REPLAY verdict that refuses the number."""
    size, where = shape & _SIZE, shape >> _32
    verdict = DELIVERED
    if size == _0:
        return verdict
    if seq == _0:
        if shape & ESN == _0:
            return REPLAY_ZERO
        if shape & RESUMED != _0:
            return REPLAY_ZERO if seq64 == _0 and bits[where + _1] <= _LOW else verdict
        if bits[where] < size - _1:  # not top + 1 < size: the top may be 2^64-1
            return REPLAY_ZERO
    if ahead > 0:
        return verdict
    if np.uint64(-ahead) >= size:
        return REPLAY_TOO_OLD
    place = _place(shape, bits[where], seq, ahead)
    seen = bits[where + _HEAD + (place >> _6)] >> (place & _63) & _1
    return REPLAY_DUPLICATE if seen == _1 else verdict


@inlined
def _clear(bits: U64, ring: np.uint64, places: np.uint64, place: np.uint64, count: np.uint64) -> None:
    """Clear `count` places from `place` on, around the ring's end."""
    while count > _0:
        bit = place & _63
        span = min(count, _64 - bit, places - place)
        mask = _ALL if span == _64 else ((_1 << span) - _1) << bit
        bits[ring + (place >> _6)] &= ~mask
        count = count - span
        place = place + span if place + span < places else _0


@inlined
def _move(shape: np.uint64, bits: U64, seq: np.uint64, seq64: np.uint64, ahead: int) -> None:
    """Mark an authentic number, and move the window right where it is the highest."""
    size, where, places = shape & _SIZE, shape >> _32, shape >> _16 & _SIZE
    ring, top = where + _HEAD, bits[where]
    if shape & RESUMED != _0:
        top, ahead = seq64, 0
        bits[where] = seq64
        _clear(bits, ring, places, _0, places)
    elif ahead > 0:
        if ahead >= np.int64(size):
            _clear(bits, ring, places, _0, places)
        elif ahead > 1:
            _clear(bits, ring, places, _place(shape, top, (top & _LOW) + _1, 1), np.uint64(ahead - 1))
        bits[where] = seq64
    place = _place(shape, top, seq, ahead)
    bits[ring + (place >> _6)] |= _1 << (place & _63)


@inlined
def sent_number(shape: np.uint64, highest: np.uint64, seq: np.uint64) -> np.uint64:
    """The number of a packet that this host sent (sad/sent.py)."""
    return _nearest(highest, seq) if shape & ESN != _0 else seq


@inlined
def accepted(sa: int, shape: U64, bits: U64, number: np.uint64, now: np.uint64, ahead: int) -> None:
    """An authentic number moves the SA's window; without one it is what the next number is nearest to."""
    form = shape[sa]
    if form & _SIZE != _0:
        _move(form, bits, number, now, ahead)
        shape[sa] = form & ~RESUMED
    elif form & RESUMED != _0 and number != _0:
        bits[(form >> _32) + _1] = now


@inlined
def _behind(shape: np.uint64, bits: U64, behind: np.uint32) -> np.uint64:
    """The place of the number that is so far behind the top."""
    top = bits[shape >> _32]
    number = ((top & _LOW) + _SPAN - np.uint64(behind)) & _LOW
    return _place(shape, top, number, -np.int64(behind))


@kernel
def seen(shape: np.uint64, bits: U64, behind: U32, answer: U8) -> None:
    """Of one window: whether it has seen the numbers this far behind its top, each less than its size."""
    for n in range(len(behind)):
        place = _behind(shape, bits, behind[n])
        answer[n] = bits[(shape >> _32) + _HEAD + (place >> _6)] >> (place & _63) & _1


@kernel
def mark(shape: np.uint64, bits: U64, behind: U32) -> None:
    """Of one window: mark the numbers this far behind its top as seen, as when a dump is loaded."""
    for n in range(len(behind)):
        place = _behind(shape, bits, behind[n])
        bits[(shape >> _32) + _HEAD + (place >> _6)] |= _1 << (place & _63)
