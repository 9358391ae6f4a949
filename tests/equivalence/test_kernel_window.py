"""The windows' kernels against sad/window.py at every edge, one packet at a time: numbers and verdicts.

Moves: test_kernel_window_moves. Random runs: test_kernel_replay.
"""

from __future__ import annotations

import pytest

from espsim.batch.inbound import window as windows
from espsim.sad.window import make_window
from tests.equivalence.kernel_windows import KINDS, alone, arrivals, check, some_bits, tops


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
