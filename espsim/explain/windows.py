"""The replay window, drawn with a packet's place in it, and ESN's high half as arithmetic (RFC 4303 A2.2)."""

from __future__ import annotations

from espsim.core.verdict import Verdict
from espsim.explain import repeat
from espsim.explain.steps import Field, Step, fact
from espsim.sad.entry import SadEntry
from espsim.sad.window import RingWindow, Window

_LOW = 0xFFFFFFFF
_ALL = 0xFFFFFFFFFFFFFFFF
_WIDTH = 40
"""How many numbers of a window are drawn."""


def esn_step(window: Window, seq: int, seq64: int) -> Step:
    """How the 64-bit number was computed, with the RFC's names."""
    top_low, top_high, size = window.top & _LOW, window.top >> 32, window.size
    facts = [fact("Seql", seq), fact("Tl", top_low), fact("Th", top_high), fact("W", size), fact("seq64", seq64)]
    got = f"so Seqh = {seq64 >> 32} and seq64 = {seq64}"
    if not size:
        near = f"the one nearest to the last, {window.resume}, " if window.resume else ""
        return Step("ESN", "RFC 4303 A2.2", f"there is no window for A2.2: {near}{got}", tuple(facts))
    if window.resume is not None:
        return Step(
            "ESN", "RFC 4303 A2.2",
            f"nothing has been received yet: the high half is the dump's ({window.resume >> 32}), {got}",
            tuple(facts),
        )  # fmt: skip
    bottom = top_low - size + 1
    if bottom >= 0:
        sign = ">=" if seq >= bottom else "<"
        says = f"case A, Tl >= W - 1: Seql {seq} {sign} Tl - W + 1 = {bottom}, {got}"
    else:
        edge = bottom + _LOW + 1
        sign = ">=" if seq >= edge else "<"
        says = f"case B, Tl < W - 1: Seql {seq} {sign} Tl - W + 1 + 2^32 = {edge}, {got}"
    return Step("ESN", "RFC 4303 A2.2", says, tuple(facts), (repeat.esn(top_low, top_high, size, seq),))


def window_fields(window: Window, seq64: int) -> list[Field]:
    """Size, top, and the window around a number: `#` seen, `.` not seen, the highest number on the right."""
    if not window.size:
        return [fact("size", 0)]
    fields = [fact("size", window.size), fact("top", window.top)]
    ahead = _ahead(window, seq64)
    seq64 = window.top + ahead
    right = window.top + min(max(ahead, 0), _WIDTH // 2)
    if -window.size < ahead < -_WIDTH + 1:
        right = seq64 + _WIDTH // 2
    left = max(right - _WIDTH + 1, window.top - window.size + 1, 0)
    bitmap = window.bitmap_from_top()
    drawn = "".join(_mark(window, bitmap, number) for number in range(left, right + 1))
    fields.append(fact(f"{left & _ALL} to {right & _ALL}", drawn))
    if left <= seq64 <= right:
        fields.append(fact("this packet", " " * (seq64 - left) + "^"))
    else:
        fields.append(fact("this packet", f"{abs(ahead)} to the {'right' if ahead > 0 else 'left'} of the top"))
    return fields


def _ahead(window: Window, seq64: int) -> int:
    """How far a number is to the right of the top, modulo 2^64."""
    return (seq64 - window.top + (1 << 63) & _ALL) - (1 << 63)


def _mark(window: Window, bitmap: int, number: int) -> str:
    below = window.top - number
    if below < 0:
        return "_"
    return "#" if below < window.size and bitmap >> below & 1 else "."


def check_step(entry: SadEntry, seq64: int, verdict: Verdict) -> Step:
    """The window's answer, before the packet is opened."""
    window = entry.window
    if not window.size:
        return Step("window", "RFC 4303 3.4.3", "off (size 0): replays are not refused", (fact("size", 0),))
    low = max(window.top - window.size + 1, 0)
    span = f"{low} to {window.top}, {window.size} numbers"
    if window.resume is not None:
        says = f"empty, the first packet places it: {seq64} may pass"
    elif verdict is Verdict.DELIVERED:
        where = "to the right of it" if _ahead(window, seq64) > 0 else "in it and not seen"
        says = f"{span}: {seq64} is {where}, it may pass"
    else:
        says = f"{span}: {seq64} is refused, {verdict.sentence}"
    if isinstance(window, RingWindow):
        says += "; Linux keeps this size as a ring"
    return Step("window", "RFC 4303 3.4.3", says, tuple(window_fields(window, seq64)))


def advance_step(entry: SadEntry, seq64: int, before: int) -> Step:
    """The window after the packet. `before`: its top before the packet."""
    window = entry.window
    if not window.size:
        says = f"off; the SA has counted {entry.packets} packets"
        return Step("window after", "RFC 4303 3.4.3", says)
    moved = f"top moves from {before} to {window.top}" if window.top != before else f"top stays {window.top}"
    says = f"{moved}, {seq64} is marked as seen; the SA has counted {entry.packets} packets"
    return Step("window after", "RFC 4303 3.4.3", says, tuple(window_fields(window, seq64)))
