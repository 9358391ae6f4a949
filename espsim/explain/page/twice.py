"""A packet sent once, twice, late and very late, with and without ESN: the window's answer in each run.

The SAs and their keys are made up. The sequence number and the size of the window are those of the packet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.numbers import PROTO_IPIP
from espsim.explain.page.flip import CHECKS
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Mode, SecurityAssociation
from espsim.sad.sad import Sad

_USUAL = 64
"""The size of the window where the SA has none."""
_TOP = 0xFFFFFFFF
_INNER = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20, 0, 0, 64, PROTO_IPIP, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 1, 1]))


@dataclass(frozen=True, slots=True)
class _Case:
    """`others`: how far ahead another packet comes first. `times`: how often the packet comes."""

    name: str
    says: str
    others: int | None
    times: int


def cases(size: int) -> tuple[_Case, ...]:
    """The four cases, for a window of `size`."""
    return (
        _Case("once", "The packet comes, and nothing else.", None, 1),
        _Case("twice", "The same bytes come again.", None, 2),
        _Case("late", f"Another packet, {size - 1} numbers ahead, comes first.", size - 1, 1),
        _Case("very late", f"Another packet, {size} numbers ahead, comes first.", size, 1),
    )


def twice(seq: int | None, window: int | None) -> dict[str, Any]:
    """Every case, with and without ESN. `seq`: the packet's 32-bit number; `window`: its SA's size (None: no SA)."""
    size = window or _USUAL
    number = min(max(seq or 1, 1), _TOP - size)
    return {
        "seq": number,
        "size": size,
        "own_number": number == seq,
        "own_window": size == window,
        "cases": [
            {"name": case.name, "says": case.says, "esn": esn, "arrivals": _run(case, number, size, esn)}
            for case in cases(size)
            for esn in (False, True)
        ],
    }


def _run(case: _Case, number: int, size: int, esn: bool) -> list[dict[str, Any]]:
    sender, receiver = Sad(strict_windows=True), Sad(strict_windows=True)
    out, entry = sender.newsa(_sa(size, esn)), receiver.newsa(_sa(size, esn))
    outbound, inbound = Outbound(sender, bytes), Inbound(receiver)
    first = number if case.others is None else number + case.others
    sealed: dict[int, bytes] = {}
    found = []
    for each in dict.fromkeys((number, first)):
        out.send_next(each)
        sealed[each] = outbound.send_with(out, _INNER).packet or b""
    ahead = [] if case.others is None else [first]
    for each in [*ahead, *[number] * case.times]:
        before = {"top": entry.window.top, "seen": _seen(entry.window.bitmap_from_top(), entry.window.top, size)}
        received = inbound.receive(sealed[each])
        if received is not None:
            found.append(
                {
                    "seq": each,
                    "seq64": received.seq64,
                    "verdict": received.verdict.name,
                    "says": received.verdict.sentence,
                    "check": CHECKS[received.verdict],
                    "counter": received.counter,
                    "before": before,
                    "top": entry.window.top,
                }
            )
    return found


def _seen(bitmap: int, top: int, size: int) -> list[int]:
    """The numbers that a window has seen."""
    return [top - i for i in range(size) if bitmap >> i & 1]


def _sa(size: int, esn: bool) -> SecurityAssociation:
    """A made-up SA: tunnel mode, AES-GCM."""
    return SecurityAssociation(
        parse_address("198.51.100.1"),
        parse_address("192.0.2.1"),
        0x1000,
        mode=Mode.TUNNEL,
        algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),),
        window=size,
        flags=frozenset({"esn"} if esn else ()),
    )
