"""Windows of sad/window.py as the kernels keep them: shared by the tests of the window and of the replay check."""

from __future__ import annotations

import numpy as np

from espsim.batch.inbound import window as windows
from espsim.jit.memory import zeros
from espsim.sad.window import RingWindow, Window

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
SIZES = [0, 1, 2, 7, 32, 33, 63, 64, 65, 100, 128, 1000, 1024, 4095, 4096]


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
