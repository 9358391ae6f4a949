"""What moves a window's kernels, and what loads and reads them, against sad/window.py at every edge."""

from __future__ import annotations

import numpy as np
import pytest

from espsim.batch.inbound import window as windows
from espsim.core.verdict import Verdict
from espsim.sad.window import Window, make_window, nearest
from tests.equivalence.kernel_settings import plain
from tests.equivalence.kernel_windows import (
    HALF,
    HINTS,
    KINDS,
    M32,
    M64,
    accept,
    alone,
    arrivals,
    check,
    places,
    seen,
    some_bits,
    tops,
)


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


@pytest.mark.parametrize("hint", HINTS)
def test_what_this_host_sent_is_nearest_to_the_highest(hint):
    seqs = sorted({hint + n & M32 for n in (-HALF, 1 - HALF, -1, 0, 1, HALF - 1, HALF)} | {0, 1})
    for esn in (True, False):
        window = Window(0, esn=True, resume=hint)
        form = np.uint64(windows.shape_of(64, esn=esn)[0])
        number = plain(windows.sent_number)
        want = [nearest(hint, seq) if esn else seq for seq in seqs]
        assert window.size == 0
        assert [int(number(form, np.uint64(hint), np.uint64(seq))) for seq in seqs] == want


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
