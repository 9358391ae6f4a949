"""Sequence numbers: replay windows of every size, and extended sequence numbers.

Sources: RFC 4303 3.4.3 and appendix A2 (ESN), RFC 6479, net/xfrm/xfrm_replay.c. Each receiver starts with an empty
window at the stated high half. With ESN a number left of the window counts as one of the next 2^32: its ICV is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from espsim.analysis.kit.packets import Case, CaseSealer, clear, make_case, make_sa

WRAP = 1 << 32
SIZES = (32, 64, 128, 1024, 2048, 4096)
FORGED = "forged"

_Arrivals = Iterable["int | tuple[int, str]"]


def windows() -> Iterator[Case]:
    """Every size: the left edge, one number left of it, duplicates, a long jump, a forged packet, number 0."""
    for size in SIZES:
        about = "Both sides of the left edge, duplicates, a long jump, a forged packet far ahead, and number 0."
        yield _case(f"window-{size}", f"Antireplay with window size {size}", about, size, _edges(size))
    yield _case("window-1", "Antireplay with window size 1", "Only newer packets pass.", 1, [1, 1, 3, 2, 4, 4])
    yield _case(
        "window-0",
        "Antireplay with window size 0",
        "No window: everything passes, number 0 too.",
        0,
        [5, 5, 1, 0, 900, 2],
    )
    without_the_first_again = [number for n, number in enumerate(_edges(33)) if n != 2]
    about = (
        "A size that does not divide 2^32. The first packet does not come again, because Linux's ring would let that"
        " pass, and others do not."
    )
    yield _case("window-33", "Antireplay with window size 33", about, 33, without_the_first_again)
    yield _case(
        "reordered",
        "Antireplay, reordered packets",
        "Late by up to 63, in a window of 64.",
        64,
        [64, *range(63, 0, -1), 1, 63, 65],
    )
    yield _case(
        "even-then-all",
        "Antireplay, even numbers and then all",
        "Even numbers, then all: the odd ones still pass, the even ones do not.",
        64,
        [*range(2, 62, 2), *range(1, 62)],
    )
    yield _case(
        "last-number",
        "Antireplay at 2^32 - 1",
        "Without ESN the numbers end there.",
        64,
        [WRAP - 2, WRAP - 1, WRAP - 3, WRAP - 1, WRAP - 70],
    )


def _edges(size: int) -> list[int | tuple[int, str]]:
    """Numbers around the window of one size."""
    top = 10 * size
    return [
        1,
        size,
        1,
        size,
        2 if size > 1 else size + 1,
        size + 1,
        1,
        top,
        top - size + 1,
        top - size,
        top - size + 1,
        top - 1,
        top,
        (top + 10 * size, FORGED),
        top + 1,
        top - size + 2,
        0,
        top + 2,
    ]


def extended() -> Iterator[Case]:
    """The same with ESN, and across 2^32."""
    for size in SIZES:
        about = "The numbers of the window of this size, with ESN and in the sixth 2^32."
        start = 5 * WRAP
        moved = [(n[0] + start, n[1]) if isinstance(n, tuple) else n + start for n in _edges(size)]
        yield _case(f"esn-window-{size}", f"ESN and Antireplay with window size {size}", about, size, moved, esn=True)
        yield _across(size)
    low = WRAP - 3
    yield _case(
        "esn-zero",
        "ESN, low half 0",
        "Across 2^32 the wire says 0, and the packet passes.",
        64,
        [WRAP - 100, low, WRAP - 1, WRAP, WRAP + 1, WRAP, low],
        esn=True,
    )
    about = "A jump of more than 2^32 cannot be inferred: its ICV fails, and the window stays."
    yield _case("esn-two-wraps", "ESN, a jump of more than 2^32", about, 64, [10, 2 * WRAP + 20, 11, 12], esn=True)
    about = "The receiver starts at a multiple of 2^32; a packet from before it comes late."
    yield _case(
        "esn-start",
        "ESN, the start of a receiver",
        about,
        64,
        [3 * WRAP + 1, 3 * WRAP + 40, 3 * WRAP - 2, 3 * WRAP + 41],
        esn=True,
        start=3 * WRAP,
    )


def _across(size: int) -> Case:
    """Across 2^32: late packets of the old half, inside and outside the window, and duplicates of both halves."""
    low = WRAP - size // 2
    numbers: list[int | tuple[int, str]] = [
        low - size,
        low,
        WRAP - 1,
        WRAP + 1,
        WRAP - 1,
        WRAP,
        low,
        WRAP + 1 - size + 1,
        WRAP + 1 - size,
        WRAP + 10 * size,
        WRAP - 1,
        WRAP + 10 * size - size + 1,
        (2 * WRAP - 5, FORGED),
        WRAP + 10 * size + 1,
    ]
    about = "Across 2^32: late packets of the old half inside the window pass, outside it they do not."
    return _case(
        f"esn-wrap-{size}", f"ESN and Antireplay with window size {size}, across 2^32", about, size, numbers, esn=True
    )


def _case(
    ident: str, name: str, about: str, size: int, arrivals: _Arrivals, *, esn: bool = False, start: int | None = None
) -> Case:
    """A case with these 64-bit numbers, in this order. The receiver starts at the first one's high half."""
    numbers = [n if isinstance(n, tuple) else (n, "") for n in arrivals]
    begin = numbers[0][0] if start is None else start
    sa = make_sa(window=size, label=ident, flags=("esn",) if esn else (), start=begin if esn else 0)
    seal = CaseSealer(sa)
    frames = []
    for number, harm in numbers:
        packet = seal.packet(number, clear(f"{ident} {number}"))
        frames.append(packet[:-1] + bytes((packet[-1] ^ 1,)) if harm else packet)
    return make_case(ident, name, about, sa, frames)
