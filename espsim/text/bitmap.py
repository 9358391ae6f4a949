"""The two orders of a replay bitmap: ours, where bit i is the number top-i, and the kernel's circular one.

With ESN, and for windows above 32, the kernel uses `replay_esn->bmp` (net/xfrm/xfrm_replay.c). There the number top
(its low 32 bits) is at bit (top-1) mod window, and top-i is i places before it, going round.
"""

from __future__ import annotations


def from_circular(circular: int, seq: int, window: int) -> int:
    """A bitmap whose bit i is top-i. `seq`: low half of top. `circular`: the context's words as one integer, word 0
    lowest.
    """
    bits = _lowest_first(circular, window)
    top = (seq - 1 & 0xFFFFFFFF) % window
    return int(bits[top + 1 :] + bits[: top + 1], 2)


def to_circular(bitmap: int, seq: int, window: int) -> int:
    """The kernel's order of a bitmap whose bit i is top-i."""
    bits = _lowest_first(bitmap, window)[::-1]
    top = (seq - 1 & 0xFFFFFFFF) % window
    split = window - 1 - top
    return int((bits[split:] + bits[:split])[::-1], 2)


def _lowest_first(value: int, width: int) -> str:
    return f"{value & (1 << width) - 1:0{width}b}"[::-1]
