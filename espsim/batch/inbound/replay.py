"""Replay: `check` before the engine, `settle` after it. REPLAY_*, and what became of the rows that were opened.

`check` asks the windows as they stand when the batch begins, and moves none. Within a batch that answer can be wrong in
three ways, and `settle`, which goes in arrival order, puts each right:

    the number came twice in this batch        refused now, although both were opened
    refused at first, may pass now             opened now (an ESN window has moved into the next 2^32)
    may pass, but with another high half       opened again with that one

The anti-replay windows of all SAs over columns, the three verbs of `sad/window.py`, verdict for verdict:


1. check     infers each row's number and asks the window as it stands now; writes no window
2. advance   goes through rows in arrival order: checks again, and moves the window for each that is authentic

An SA's window is one number in `shape` (uint64) and a few words of `bits` (uint64), so that a packet touches two cache
lines whatever the number of SAs:

    shape    bits 0-12 size, bit 13 ESN, bit 14 resumed, bit 15 odd ring, bits 16-28 places in the ring, from 32: where
    bits     [where] top, [where + 1] the dump's number of a resumed window, then the ring

The number top is at place (top-1) mod places, counted in 32 bits as Linux does. A window has 64 places or the next
power of two, which never jumps; an odd ring has as many as its size and jumps where the kernel's does
(`RingWindow`). With ESN numbers are modulo 2^64. `shape_of` gives the number and the words needed; `advance` clears
the resumed bit, but for a window of size 0, which keeps the last authentic number in place of the dump's.

Does not open a row again where the high half has changed: `advance` stops there, and batch/inbound/replay.py does that.
Sources: RFC 4303 3.4.3 and appendix A2; Linux net/xfrm/xfrm_replay.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound.open import open_again
from espsim.batch.inbound.trailer import trailer_again
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, U8, U32, U64
from espsim.core.batch import PacketBatch
from espsim.core.numbers import DELIVERED, OTHERWISE, OWN, REPLAY_DUPLICATE, REPLAY_TOO_OLD, REPLAY_ZERO, TRAILER
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns

ESN, RESUMED, RING = np.uint64(1 << 13), np.uint64(1 << 14), np.uint64(1 << 15)
WHERE = 32
"""The bit of `shape` from which on stands the place in `bits`."""

NEAR, FAR = 16, 32
"""Rows between asking for a window's bits, for its shape, and reading them."""

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
    places = size if ring else max(64, 1 << (size - 1).bit_length() if size else 0)
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
        high = (high + _1) & _LOW
    return high << _32 | seq


@inlined
def _resumed(hint: np.uint64, seq: np.uint64) -> np.uint64:
    """The high half of a window that does not know its top: the dump's, or what puts the packet nearest to it."""
    if hint & _LOW == _0:
        return hint | seq
    return _nearest(hint, seq)


@inlined
def _infer(shape: np.uint64, bits: U64, seq: np.uint64) -> tuple[np.uint64, int]:
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
            return ((high + _1) & _LOW) << _32 | seq, ahead + _SPAN_SIGNED
    elif seq + size >= _SPAN + low + _1:
        return ((high + _LOW) & _LOW) << _32 | seq, ahead - _SPAN_SIGNED
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
def _judge(shape: np.uint64, bits: U64, seq: np.uint64, seq64: np.uint64, ahead: int) -> np.uint8:
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
def _ask(i: int, rows: int, sa_index: I32, shape: U64, bits: U64) -> None:
    """Ask for what the rows after this one will read."""
    if i + FAR < rows:
        prefetch(shape, max(sa_index[i + FAR], 0))
    if i + NEAR < rows:
        prefetch(bits, shape[max(sa_index[i + NEAR], 0)] >> _32)


@inlined
def sent_number(shape: np.uint64, highest: np.uint64, seq: np.uint64) -> np.uint64:
    """The number of a packet that this host sent (sad/sent.py)."""
    return _nearest(highest, seq) if shape & ESN != _0 else seq


@kernel
def check_rows(
    sa_index: I32, seq: U32, flags: U8, verdict: U8, shape: U64, bits: U64, sent: U64, seq64: U64, replay: U8
) -> None:
    """For rows without a verdict: `seq64` and in `replay` DELIVERED or the verdict that the window gives now.

    Other rows get 0 in both. What `advance` will say later may differ, so this is no verdict yet. Of packets that this
    host sent (`flags` has OWN) no window is asked. `sent` (SAs, 2) is what their numbers are nearest to: the highest
    that was authentic, and 1; or the dump's, and 0. It is empty where no such packet is looked for.
    """
    rows = len(sa_index)
    for i in range(rows):
        _ask(i, rows, sa_index, shape, bits)
        seq64[i], replay[i] = _0, DELIVERED
        if verdict[i] != DELIVERED or sa_index[i] < 0:
            continue
        form, number = shape[sa_index[i]], np.uint64(seq[i])
        if flags[i] & OWN:
            seq64[i] = sent_number(form, sent[sa_index[i], 0], number)
        else:
            seq64[i], ahead = _infer(form, bits, number)
            replay[i] = _judge(form, bits, number, seq64[i], ahead)


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
def settle_sent(
    i: int, sa: int, form: np.uint64, number: np.uint64, opened: U8, sent: U64, seq64: U64, verdict: U8
) -> bool:
    """Settle a row that this host sent; False: its number is another by now, and it must be opened with that."""
    now = sent_number(form, sent[sa, 0], number)
    if seq64[i] != now:
        seq64[i] = now
        return False
    if opened[i] != DELIVERED:
        verdict[i] = opened[i]
    elif form & ESN != _0 and (sent[sa, 1] == _0 or now > sent[sa, 0]):
        sent[sa, 0], sent[sa, 1] = now, _1
    return True


@kernel
def advance(
    first: int, sa_index: I32, seq: U32, flags: U8, opened: U8, shape: U64, bits: U64, sent: U64,
    seq64: U64, replay: U8, verdict: U8,
) -> int:  # fmt: skip
    """Settle rows from `first` on, in arrival order, for those without a verdict; the row that must be opened, or -1.

    `opened` is what became of rows that `replay` lets pass: 0 where ICV and trailer were good, else the verdict. The
    window is asked again; it may refuse now (the row's verdict, whatever its ICV; `opened` becomes OTHERWISE where the
    row was opened under another number than the one that is refused), or stand elsewhere by now, so that
    the row was never opened, or with another high half: then `seq64` and `replay` are corrected, the row's number
    is returned, and the caller opens it, writes `opened` and comes back with `first` at that row.
    Of packets that this host sent (OWN) only the high half is asked again, and what is authentic moves `sent`.
    """
    rows = len(sa_index)
    for i in range(first, rows):
        _ask(i, rows, sa_index, shape, bits)
        if verdict[i] != DELIVERED or sa_index[i] < 0:
            continue
        form, number = shape[sa_index[i]], np.uint64(seq[i])
        if flags[i] & OWN:
            if settle_sent(i, sa_index[i], form, number, opened, sent, seq64, verdict):
                continue
            return i
        now, ahead = _infer(form, bits, number)
        refused = _judge(form, bits, number, now, ahead)
        if refused != DELIVERED:
            if seq64[i] != now and opened[i] in (DELIVERED, TRAILER):
                opened[i] = OTHERWISE
            verdict[i] = replay[i] = refused
            seq64[i] = now
        elif replay[i] != DELIVERED or seq64[i] != now:
            seq64[i], replay[i] = now, DELIVERED
            return i
        elif opened[i] != DELIVERED:
            verdict[i] = opened[i]
        else:
            accepted(sa_index[i], shape, bits, number, now, ahead)
    return -1


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


def check(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4303 3.4.3 and A2.2: the 64-bit number, and whether the window lets it pass. Writes no window.

    What this host sent has a number too, and passes.
    """
    check_rows(
        batch.sa_index, batch.seq, batch.flags, batch.verdict, columns.shape, columns.bits, columns.own.sent,
        batch.seq64, batch.replay,
    )  # fmt: skip


def settle(batch: PacketBatch, columns: SadColumns) -> None:
    """Ask again in arrival order, and move the windows of what is authentic (xfrm_replay_recheck, _advance)."""
    row = 0
    while True:
        row = advance(
            row, batch.sa_index, batch.seq, batch.flags, batch.opened, columns.shape, columns.bits, columns.own.sent,
            batch.seq64, batch.replay, batch.verdict,
        )  # fmt: skip
        if row < 0:
            return
        open_again(batch, columns, row)
        trailer_again(batch, row)


CHECK = Stage("check", check, frozenset({"seq64", "replay"}), objects=False)
SETTLE = Stage("settle", settle, sas=frozenset({"shape", "bits", "own.sent"}))
