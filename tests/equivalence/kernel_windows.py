"""Windows of sad/window.py as the kernels keep them, and the numbers at their edges."""

from __future__ import annotations

import random

import numpy as np

from espsim.batch.inbound import replay
from espsim.batch.inbound import window as windows
from espsim.core.verdict import Verdict
from espsim.jit.memory import zeros
from espsim.sad.window import RingWindow, Window

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
HALF = 1 << 31
KINDS = [
    (0, False, False), (1, False, False), (1, True, False), (2, True, True), (7, True, False), (33, False, True),
    (33, True, True), (64, False, False), (64, True, False), (65, True, False), (100, False, True), (128, True, False),
    (4096, True, False),
]  # fmt: skip
"""Size, ESN, ring. Linux's ring differs from a strict window only if the size does not divide 2^32."""
SIZES = [0, 1, 2, 7, 32, 33, 63, 64, 65, 100, 128, 1000, 1024, 4095, 4096]

HINTS = [5, HALF - 1, HALF, HALF + 1, M32 - 1, M32, 1 << 32, (1 << 32) + 1, (1 << 32) + HALF - 1, (1 << 32) + HALF,
         (1 << 32) + HALF + 1, (7 << 32) - 1, 7 << 32, (7 << 32) + 5, M64 - M32, M64 - HALF, M64 - 1, M64]  # fmt: skip
NONE = np.zeros((0, 2), np.uint64)


class Windows:
    """All windows in the kernel's two arrays, loaded from the twins."""

    def __init__(self, twins: list[Window]) -> None:
        self.twins = twins
        shapes = [
            windows.shape_of(t.size, esn=t.esn, resumed=t.resume is not None, ring=isinstance(t, RingWindow))
            for t in twins
        ]
        at = np.concatenate([[0], np.cumsum([words for _, words in shapes])]).astype(int)
        self.bits = zeros((int(at[-1]),), np.uint64)
        self.shape = np.array(
            [form | int(where) << windows.WHERE for (form, _), where in zip(shapes, at, strict=False)], np.uint64
        )
        self.at = at
        for n, twin in enumerate(twins):
            self.bits[at[n]], self.bits[at[n] + 1] = twin.top, twin.resume or 0
            seen = twin.bitmap_from_top()
            windows.mark(self.shape[n], self.bits, np.array([i for i in range(twin.size) if seen >> i & 1], np.uint32))

    def same(self) -> None:
        tops, bitmaps = np.zeros((2, len(self.twins)), np.uint64)
        windows.small(self.shape, self.bits, tops, bitmaps)
        for n, twin in enumerate(self.twins):
            if not twin.size:
                assert int(self.bits[self.at[n] + 1]) == (twin.resume or 0)
                continue
            assert int(self.bits[self.at[n]]) == twin.top
            assert bool(self.shape[n] & windows.RESUMED) == (twin.resume is not None)
            if twin.resume is None and twin.size <= 64:
                assert (int(tops[n]), int(bitmaps[n])) == (twin.top, twin.bitmap_from_top())
            if twin.resume is None:
                answer = np.zeros(twin.size, np.uint8)
                windows.seen(self.shape[n], self.bits, np.arange(twin.size, dtype=np.uint32), answer)
                assert sum(int(bit) << i for i, bit in enumerate(answer)) == twin.bitmap_from_top()


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
