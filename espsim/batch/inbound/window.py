"""The anti-replay windows of all SAs over columns: where they lie, and the verbs of sad/window.py for one packet.

A window is one number in `shape` (uint64) and a few words of `bits` (uint64), so that a packet touches two cache lines
whatever the number of SAs. The bits of its number in `shape`:

    0-12     size
    13       ESN
    14       RESUMED: a dump's ESN window whose top is not known until the first authentic packet
    15       RING: Linux's ring of a size that does not divide 2^32 (sad/window.py, RingWindow)
    16-28    places in the ring
    32-63    where its words begin in `bits`

Its words in `bits`:

    0        the top: the highest number that was authentic
    HINT     the dump's number of a RESUMED window; of a window of size 0 the last number that was authentic
    2 ...    the ring, a bit for each place

The number `top` has the place (top - 1) mod places, counted in 32 bits as Linux does. A usual window has 64 places, or
the next power of two above its size. A RING has as many places as its size, and jumps at multiples of 2^32, as the
kernel's does. ESN numbers are modulo 2^64. The first authentic packet clears RESUMED, except for size 0.

What this does not do: it judges one packet; replay.py goes through the rows.
Sources: RFC 4303 3.4.3 and appendix A2; Linux net/xfrm/xfrm_replay.c.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import U8, U32, U64
from espsim.core.numbers import DELIVERED, REPLAY_DUPLICATE, REPLAY_TOO_OLD, REPLAY_ZERO
from espsim.jit.bytes import minus_one32, plus_one32
from espsim.jit.compiling import inlined, kernel

ESN, RESUMED, RING = np.uint64(1 << 13), np.uint64(1 << 14), np.uint64(1 << 15)
"""Bits of `shape`."""
WHERE = 32
"""`shape` shifted right by this: where the window's words begin in `bits`."""
HINT = 1
"""Of these words the second: see above."""

_0, _1, _6, _32, _63, _64 = (np.uint64(n) for n in (0, 1, 6, 32, 63, 64))
_WHERE, _HINT = np.uint64(WHERE), np.uint64(HINT)
_RING_AT = np.uint64(2)
"""The first word of the ring."""
_PLACES = np.uint64(16)
"""`shape` shifted right by this, under _SIZE: places in the ring."""
_SIZE = np.uint64(0x1FFF)
_LOW = np.uint64(0xFFFFFFFF)
_SPAN = np.uint64(1 << 32)
_HALF = np.uint64(1 << 31)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SPAN_SIGNED = 1 << 32


def shape_of(size: int, *, esn: bool, resumed: bool = False, ring: bool = False) -> tuple[int, int]:
    """(number in `shape` without WHERE, words of `bits`) of a window of size 0 to 4096; `ring`: it is a RingWindow.

    The words are a multiple of 4, so that a window of 64 never lies across two cache lines.
    """
    places = size if ring else max(64, 1 << (size - 1).bit_length())
    flags = int(ESN) * esn | int(RESUMED) * resumed | int(RING) * ring
    words = int(_RING_AT) + -(-places // 64)
    return size | flags | places << int(_PLACES), -(-words // 4) * 4


@inlined
def _nearest(top: np.uint64, seq: np.uint64) -> np.uint64:
    """The number with low half `seq` that is nearest to `top`, but not below 0. Of two equally near ones the lower."""
    high, low = top >> _32, top & _LOW
    if seq >= low + _HALF and high > _0:
        high = high - _1
    elif seq + _HALF < low:
        high = plus_one32(high)
    return high << _32 | seq


@inlined
def _resumed(hint: np.uint64, seq: np.uint64) -> np.uint64:
    """The number of a packet of a RESUMED window.

    A window that had not moved (low half 0) has the dump's high half. Else the packet is nearest to the dump's number.
    """
    if hint & _LOW == _0:
        return hint | seq
    return _nearest(hint, seq)


@inlined
def infer(shape: np.uint64, bits: U64, seq: np.uint64) -> tuple[np.uint64, int]:
    """(seq64, how far it is ahead of the top; 0 or less: not ahead): RFC 4303 A2.2.

    1. Without ESN `seq` is the number.
    2. A RESUMED window does not know its top: the dump says (`_resumed`).
    3. The window lies within one range of 2^32 numbers (case A): a `seq` left of it belongs to the next range.
    4. The window begins in the range before the top's (case B): a `seq` right of that beginning belongs to that range.
    """
    where = shape >> _WHERE
    top = bits[where]
    if shape & ESN == _0:
        return seq, np.int64(seq) - np.int64(top)
    if shape & RESUMED != _0:
        return _resumed(bits[where + _HINT], seq), 1
    size, low, high = shape & _SIZE, top & _LOW, top >> _32
    ahead = np.int64(seq) - np.int64(low)
    if low + _1 >= size:
        if seq + size <= low:
            return plus_one32(high) << _32 | seq, ahead + _SPAN_SIGNED
    elif seq + size >= _SPAN + low + _1:
        return minus_one32(high) << _32 | seq, ahead - _SPAN_SIGNED
    return high << _32 | seq, ahead


@inlined
def _place(shape: np.uint64, top: np.uint64, number: np.uint64, ahead: int) -> np.uint64:
    """The ring's place of a number, whose low half is `number` and which is `ahead` of the top, or inside the window.

    Of a RING the place is counted from the top's, because its size does not divide 2^32.
    """
    places = shape >> _PLACES & _SIZE
    if shape & RING == _0:
        return minus_one32(number) & (places - _1)
    place = minus_one32(top & _LOW) % places
    if ahead < 0:
        return (place + places - np.uint64(-ahead)) % places
    return (place + np.uint64(ahead)) % places


@inlined
def judge(shape: np.uint64, bits: U64, seq: np.uint64, seq64: np.uint64, ahead: int) -> np.uint8:
    """DELIVERED, or the REPLAY verdict that refuses the number.

    1. A window of size 0 refuses nothing.
    2. Number 0 is never sent: `seq` 0 without ESN, or with ESN while the window reaches below 0.
    3. What is ahead of the top passes.
    4. What is left of the window is too old.
    5. Else the number's place in the ring says whether it was seen.
    """
    size, where = shape & _SIZE, shape >> _WHERE
    verdict = DELIVERED
    if size == _0:
        return verdict
    if seq == _0:
        if shape & ESN == _0:
            return REPLAY_ZERO
        if shape & RESUMED != _0:
            return REPLAY_ZERO if seq64 == _0 and bits[where + _HINT] <= _LOW else verdict
        if bits[where] < size - _1:  # top + 1 < size, written so that a top of 2^64 - 1 does not wrap
            return REPLAY_ZERO
    if ahead > 0:
        return verdict
    if np.uint64(-ahead) >= size:
        return REPLAY_TOO_OLD
    place = _place(shape, bits[where], seq, ahead)
    seen = bits[where + _RING_AT + (place >> _6)] >> (place & _63) & _1
    return REPLAY_DUPLICATE if seen == _1 else verdict


@inlined
def _clear(bits: U64, ring: np.uint64, places: np.uint64, place: np.uint64, count: np.uint64) -> None:
    """Clear `count` places from `place` on, past the ring's end from place 0 on, a word at a time."""
    while count > _0:
        bit = place & _63
        span = min(count, _64 - bit, places - place)
        mask = _ALL if span == _64 else ((_1 << span) - _1) << bit
        bits[ring + (place >> _6)] &= ~mask
        count = count - span
        place = place + span if place + span < places else _0


@inlined
def _move(shape: np.uint64, bits: U64, seq: np.uint64, seq64: np.uint64, ahead: int) -> None:
    """Mark an authentic number as seen, and move the window right where it is the highest.

    1. A RESUMED window begins anew at this number.
    2. A number ahead of the top becomes the top; the places between the two are cleared, all where it is far ahead.
    3. The number's place is set.
    """
    where, places = shape >> _WHERE, shape >> _PLACES & _SIZE
    ring, top = where + _RING_AT, bits[where]
    if shape & RESUMED != _0:
        top, ahead = seq64, 0
        bits[where] = seq64
        _clear(bits, ring, places, _0, places)
    elif ahead > 0:
        if ahead > 1:
            between = np.uint64(ahead - 1)
            _clear(bits, ring, places, _place(shape, top, (top & _LOW) + _1, 1), min(between, places))
        bits[where] = seq64
    place = _place(shape, top, seq, ahead)
    bits[ring + (place >> _6)] |= _1 << (place & _63)


@inlined
def sent_number(shape: np.uint64, highest: np.uint64, seq: np.uint64) -> np.uint64:
    """The number of a packet that this host sent (sad/sent.py)."""
    return _nearest(highest, seq) if shape & ESN != _0 else seq


@inlined
def accepted(sa: int, shape: U64, bits: U64, number: np.uint64, now: np.uint64, ahead: int) -> None:
    """An authentic number moves the SA's window. With size 0 and ESN it becomes HINT, which the next number is near."""
    form = shape[sa]
    if form & _SIZE != _0:
        _move(form, bits, number, now, ahead)
        shape[sa] = form & ~RESUMED
    elif form & RESUMED != _0 and number != _0:
        bits[(form >> _WHERE) + _HINT] = now


@inlined
def _below(shape: np.uint64, bits: U64, below: np.uint32) -> np.uint64:
    """The place of the number that is `below` less than the top."""
    top = bits[shape >> _WHERE]
    number = ((top & _LOW) + _SPAN - np.uint64(below)) & _LOW
    return _place(shape, top, number, -np.int64(below))


@kernel
def seen(shape: np.uint64, bits: U64, below: U32, answer: U8) -> None:
    """Of one window: whether it has seen the numbers that are `below` less than its top, each inside the window."""
    for n in range(len(below)):
        place = _below(shape, bits, below[n])
        answer[n] = bits[(shape >> _WHERE) + _RING_AT + (place >> _6)] >> (place & _63) & _1


@kernel
def small(shapes: U64, bits: U64, tops: U64, bitmaps: U64) -> None:
    """Of many windows: the top; and the bitmap of those of size 1 to 64 (bit n is top-n), 0 of others."""
    for i in range(len(shapes)):
        shape = shapes[i]
        tops[i] = bits[shape >> _WHERE]
        bitmaps[i] = _0
        if shape & _SIZE <= _64:  # its ring is one word
            word = bits[(shape >> _WHERE) + _RING_AT]
            for n in range(shape & _SIZE):
                bitmaps[i] |= (word >> _below(shape, bits, np.uint32(n)) & _1) << np.uint64(n)


@kernel
def mark(shape: np.uint64, bits: U64, below: U32) -> None:
    """Of one window: mark the numbers that are `below` less than its top as seen, when a dump is loaded."""
    for n in range(len(below)):
        place = _below(shape, bits, below[n])
        bits[(shape >> _WHERE) + _RING_AT + (place >> _6)] |= _1 << (place & _63)
