"""The windows' kernels against sad/window.py at every edge, one packet at a time. Random runs: test_kernel_replay."""

from __future__ import annotations

import random

import numpy as np
import pytest

from espsim.batch.inbound import replay
from espsim.batch.inbound import window as windows
from espsim.core.verdict import Verdict
from espsim.sad.window import Window, make_window, nearest
from tests.equivalence.kernel_windows import M32, M64, Windows

KINDS = [
    (64, False, False), (64, True, False), (33, False, True), (33, True, True), (100, False, True),
    (7, True, False), (1, False, False), (1, True, False), (2, True, True), (65, True, False),
    (128, True, False), (0, False, False), (4096, True, False),
]  # fmt: skip
"""Size, ESN, ring. Linux's ring differs from a strict window only if the size does not divide 2^32."""
NONE = np.zeros((0, 2), np.uint64)
HALF = 1 << 31


def tops(size: int, esn: bool) -> list[int]:
    """Numbers where the answer changes: the ends of the first window, of 2^32 and of 2^64."""
    near = [0, 1, size - 2, size - 1, size, size + 1, 3 * size, M32 - size, M32 - 1, M32]
    if esn:
        near += [(1 << 32) + n for n in (-1, 0, 1, size - 2, size - 1, size)]
        near += [(5 << 32) + n for n in (-1, 0, 1, size - 2, size - 1, HALF)]
        near += [M64 - size, M64 - 1, M64]
    return sorted({n for n in near if 0 <= n <= (M64 if esn else M32)})


def arrivals(size: int, top: int) -> list[int]:
    """Low halves: around the top, around the window's left edge, to the right of the top, and around 0."""
    off = (
        -size - 1,
        -size,
        1 - size,
        2 - size,
        -66,
        -65,
        -64,
        -63,
        -2,
        -1,
        0,
        1,
        2,
        63,
        64,
        65,
        size - 1,
        size,
        size + 1,
    )
    return sorted({top + n & M32 for n in off} | {0, 1, M32, HALF})


def alone(window: Window) -> Windows:
    """The window in the kernel's arrays, another one before it and one after it."""
    return Windows([Window(64, top=9, bitmap=0x155), window, Window(100, top=7, bitmap=0x2A)])


def check(held: Windows, seqs: list[int]) -> list[tuple[int, int]]:
    """(seq64, verdict) of each."""
    sa, seq = np.ones(len(seqs), np.int32), np.array(seqs, np.uint32)
    own, verdict, answer = (np.zeros(len(seqs), np.uint8) for _ in range(3))
    seq64 = np.zeros(len(seqs), np.uint64)
    replay.check_rows(sa, seq, own, verdict, held.shape, held.bits, NONE, seq64, answer)
    return list(zip(seq64.tolist(), answer.tolist(), strict=True))


def accept(held: Windows, seq: int, seq64: int) -> None:
    """An authentic packet, by `advance`."""
    none, answer = np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    row = replay.advance(
        0, np.ones(1, np.int32), np.array([seq], np.uint32), none, none, held.shape, held.bits, NONE,
        np.array([seq64], np.uint64), none, answer,
    )  # fmt: skip
    assert (row, int(answer[0])) == (-1, Verdict.DELIVERED)


def seen(held: Windows, below: list[int]) -> list[bool]:
    answer = np.zeros(len(below), np.uint8)
    windows.seen(held.shape[1], held.bits, np.array(below, np.uint32), answer)
    return answer.astype(bool).tolist()


def places(size: int, ahead: int) -> list[int]:
    """The numbers to look at: all in a small window, else those around the edges of words, window and move."""
    near = (0, 63, 64, 127, 128, ahead, ahead + 64, -ahead, size - 1, size // 2)
    return sorted({n + d for n in near for d in (-1, 0, 1) if 0 <= n + d < size} if size > 130 else set(range(size)))


def some_bits(size: int) -> int:
    """Three of four numbers have been seen."""
    drawn = random.Random(size)
    return drawn.getrandbits(size or 1) | drawn.getrandbits(size or 1)


@pytest.mark.parametrize(
    ("size", "words"), [(0, 4), (1, 4), (64, 4), (65, 4), (128, 4), (129, 8), (256, 8), (257, 12), (4096, 68)]
)
def test_a_windows_shape(size, words):
    """Its size, ESN, whether it is resumed, whether it is an odd ring, and how many places there are."""
    places = max(64, 1 << (size - 1).bit_length()) if size else 64
    assert windows.shape_of(size, esn=False) == (size | places << 16, words)
    assert windows.shape_of(size, esn=True)[0] == size | 1 << 13 | places << 16
    assert windows.shape_of(size, esn=False, resumed=True)[0] == size | 1 << 14 | places << 16
    assert windows.shape_of(size, esn=False, ring=True)[0] == size | 1 << 15 | size << 16


def test_an_odd_ring_has_room_for_its_places():
    """Two words, then the ring's; a multiple of four in all, and no more than needed."""
    for size in range(1, 600):
        _, words = windows.shape_of(size, esn=True, ring=True)
        assert words % 4 == 0
        assert words - 4 < 2 + (size + 63) // 64 <= words


@pytest.mark.parametrize(("size", "esn", "ring"), KINDS)
def test_number_and_verdict_at_every_edge(size, esn, ring):
    for top in tops(size, esn):
        window = make_window(size, esn=esn, ring=ring, top=top, bitmap=some_bits(size))
        seqs = arrivals(size, top)
        want = [(window.infer(seq), int(window.check(window.infer(seq), seq))) for seq in seqs]
        assert check(alone(window), seqs) == want, top


@pytest.mark.parametrize(("size", "esn", "ring"), KINDS)
def test_the_window_after_an_authentic_packet(size, esn, ring):
    for top in tops(size, esn):
        bitmap = some_bits(size)
        held = alone(make_window(size, esn=esn, ring=ring, top=top, bitmap=bitmap))
        shape, bits = held.shape.copy(), held.bits.copy()
        for seq in arrivals(size, top):
            twin = make_window(size, esn=esn, ring=ring, top=top, bitmap=bitmap)
            number = twin.infer(seq)
            if twin.check(number, seq) is not Verdict.DELIVERED:
                continue
            held.shape[:], held.bits[:] = shape, bits
            accept(held, seq, number)
            twin.advance(number)
            if size:
                assert int(held.bits[held.at[1]]) == twin.top, (top, seq)
            else:  # it has no hint, and nothing to keep
                assert (held.bits == bits).all()
            want, at = twin.bitmap_from_top(), places(size, number - top)
            assert seen(held, at) == [bool(want >> n & 1) for n in at], (top, seq)
            assert (held.shape == shape).all()
            others = np.r_[0 : held.at[1], held.at[2] : held.at[3]]
            assert (held.bits[others] == bits[others]).all()


@pytest.mark.parametrize(("size", "esn", "ring"), [*KINDS, (63, True, True), (3, False, True)])
def test_a_window_is_loaded_and_read_back_bit_by_bit(size, esn, ring):
    """`mark` and `seen` of any size; `small` of up to 64, and of larger ones the top alone."""
    for top in tops(size, esn)[:: 1 if size <= 128 else 12]:
        for bitmap in (0, 1, some_bits(size), (1 << size) - 1):
            window = make_window(size, esn=esn, ring=ring, top=top, bitmap=bitmap)
            want, held = window.bitmap_from_top(), alone(window)
            assert sum(bit << n for n, bit in enumerate(seen(held, list(range(size))))) == want, top
            highest, bitmaps = np.full((2, 3), 77, np.uint64)
            windows.small(held.shape, held.bits, highest, bitmaps)
            assert highest.tolist() == [9, top, 7]
            assert bitmaps.tolist() == [0x155, want if size <= 64 else 0, 0]
            assert held.bits[: held.at[1]].tolist() == [9, 0, 0x155, 0]
            assert held.bits[held.at[2] :].tolist() == [7, 0, 0x2A, 0]


HINTS = [5, HALF - 1, HALF, HALF + 1, M32 - 1, M32, 1 << 32, (1 << 32) + 1, (1 << 32) + HALF - 1, (1 << 32) + HALF,
         (1 << 32) + HALF + 1, (7 << 32) - 1, 7 << 32, (7 << 32) + 5, M64 - M32, M64 - HALF, M64 - 1, M64]  # fmt: skip


@pytest.mark.parametrize(("size", "ring"), [(1, False), (7, False), (33, True), (64, False), (100, True), (128, False)])
@pytest.mark.parametrize("hint", HINTS)
def test_a_resumed_window_at_every_edge(size, ring, hint):
    """The first authentic packet places it, and it has seen no other number, whatever its bits were."""
    off = (-HALF - 1, -HALF, 1 - HALF, -2, -1, 0, 1, 2, HALF - 1, HALF, HALF + 1)
    window = make_window(size, esn=True, ring=ring, resume=hint)
    held = alone(window)
    seqs = sorted({hint + n & M32 for n in off} | {0, 1, HALF, M32})
    numbers = [window.infer(seq) for seq in seqs]
    verdicts = [window.check(number, seq) for number, seq in zip(numbers, seqs, strict=True)]
    assert check(held, seqs) == [(number, int(verdict)) for number, verdict in zip(numbers, verdicts, strict=True)]
    held.bits[held.at[1] + 2 : held.at[2]] = M64
    shape, bits = held.shape.copy(), held.bits.copy()
    for seq, number, verdict in zip(seqs, numbers, verdicts, strict=True):
        if verdict is not Verdict.DELIVERED:
            continue
        held.shape[:], held.bits[:] = shape, bits
        accept(held, seq, number)
        assert int(held.bits[held.at[1]]) == number
        assert held.shape.tolist() == [shape[0], int(shape[1]) & ~int(windows.RESUMED), shape[2]]
        assert seen(held, list(range(size))) == [n == 0 for n in range(size)]


@pytest.mark.parametrize("hint", [*HINTS, 0])
def test_without_a_window_the_dumps_number_is_the_last_authentic_one(hint):
    """A number whose low half is 0 would mean that only the high half is known, so it is not kept."""
    for seq in sorted({hint + n & M32 for n in (-HALF, -1, 0, 1, HALF)} | {0, 1}):
        twin = Window(0, esn=True, resume=hint)
        held = alone(Window(0, esn=True, resume=hint))
        number = twin.infer(seq)
        assert check(held, [seq]) == [(number, Verdict.DELIVERED)]
        accept(held, seq, number)
        twin.advance(number)
        assert int(held.bits[held.at[1] + 1]) == twin.resume
        assert held.shape[1] & windows.RESUMED


@pytest.mark.parametrize("hint", HINTS)
def test_what_this_host_sent_is_nearest_to_the_highest(hint):
    seqs = sorted({hint + n & M32 for n in (-HALF, 1 - HALF, -1, 0, 1, HALF - 1, HALF)} | {0, 1})
    for esn in (True, False):
        window = Window(0, esn=True, resume=hint)
        form = np.uint64(windows.shape_of(64, esn=esn)[0])
        number = getattr(windows.sent_number, "py_func", windows.sent_number)
        want = [nearest(hint, seq) if esn else seq for seq in seqs]
        assert window.size == 0
        assert [int(number(form, np.uint64(hint), np.uint64(seq))) for seq in seqs] == want
