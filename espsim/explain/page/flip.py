"""Flips one bit of a frame after the other, a run for each: which check finds it, and which counter moves.

In every run the SAs are as they were before the packet came. The runs use the software path, whatever device is
modelled.

What this does not do: check the checksums of IP and UDP. A host drops what fails them before it looks at ESP.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.io.linktype import ip_packet
from espsim.reference.inbound import Inbound
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad

CHECKS = {
    Verdict.DELIVERED: "no check",
    Verdict.SENT: "no check",
    Verdict.HEADER: "ESP header",
    Verdict.FRAGMENT: "reassembly",
    Verdict.NO_SA: "lookup",
    Verdict.SA_LARVAL: "SA",
    Verdict.SA_INVALID: "SA",
    Verdict.DIRECTION: "SA",
    Verdict.ENCAP_MISMATCH: "SA",
    Verdict.EXPIRED: "SA",
    Verdict.REPLAY_DUPLICATE: "window",
    Verdict.REPLAY_TOO_OLD: "window",
    Verdict.REPLAY_ZERO: "window",
    Verdict.TRUNCATED: "ESP payload",
    Verdict.INTEGRITY: "ICV",
    Verdict.TRAILER: "trailer",
    Verdict.MODE: "inner packet",
    Verdict.POLICY: "selector",
    Verdict.IPTFS_BUFFER: "AGGFRAG payload",
    Verdict.IPTFS_HEADER: "AGGFRAG payload",
    Verdict.IPTFS_LOST: "AGGFRAG payload",
    Verdict.IPTFS_LATE: "reorder window",
    Verdict.DEPTH: "received again",
}
"""Each verdict: the step that gives it."""
_ALL, _ENDS, _LEAST_ENDS, _WORK = 384, 192, 48, 400_000


def flips(
    sad: Sad, data: bytes, linktype: int, *, mark: int | None, now: float, outgoing: bool = False, own: bool = False
) -> dict[str, Any]:
    """The `kinds` of answers, and `runs` of [kind, how many bits] over the bits of the `first` and `last` bytes.

    A byte's bit 7, the highest, comes first. In a frame of more than 384 bytes the middle is left out; the longer the
    frame, the more. `own`: packets that this host sent are recognised.
    """
    short = len(data) <= _ALL
    most = len(data) if short else max(min(_ENDS, _WORK // len(data)), _LEAST_ENDS)
    places = range(most) if short else [*range(most), *range(len(data) - most, len(data))]
    path = _Path(sad, mark, own, now, outgoing=outgoing)
    kinds: dict[tuple[Any, ...], int] = {}
    runs: list[list[int]] = []
    for kind in _answers(path, data, linktype, places):
        number = kinds.setdefault(kind, len(kinds))
        if runs and runs[-1][0] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    names = ("check", "verdict", "counter", "sa", "says")
    return {
        "kinds": [dict(zip(names, kind, strict=True)) for kind in kinds],
        "runs": runs,
        "first": most,
        "last": len(places) - most,
        "length": len(data),
    }


def _answers(path: _Path, data: bytes, linktype: int, places: Iterable[int]) -> Iterable[tuple[Any, ...]]:
    changed = bytearray(data)
    for at in places:
        for bit in range(7, -1, -1):
            changed[at] ^= 1 << bit
            packet = ip_packet(linktype, bytes(changed))
            changed[at] ^= 1 << bit
            received = path.receive(packet) if packet is not None else None
            yield _kind(received, packet is not None)


def _kind(received: Received[SadEntry] | None, is_ip: bool) -> tuple[Any, ...]:
    if received is None:
        said = "no longer an ESP packet: xfrm never sees it" if is_ip else "no longer an IP packet"
        return "headers", None, None, None, said
    verdict = received.verdict
    name = received.entry.sa.name if received.entry is not None else None
    return CHECKS[verdict], verdict.name, received.counter, name, verdict.sentence


class _Path:
    """A software path whose SAs are put back after each packet."""

    def __init__(self, sad: Sad, mark: int | None, own: bool, now: float, *, outgoing: bool) -> None:
        self._given, self._mark, self._own = sad, mark, own
        self._now, self._outgoing = now, outgoing
        self._start()

    def _start(self) -> None:
        self._sad = self._given.copy_of(self._given)
        self._inbound = Inbound(self._sad, mark=self._mark, own_traffic=self._own)
        self._before = {entry.sa_index: entry.moved() for entry in self._given}

    def receive(self, packet: bytes) -> Received[SadEntry] | None:
        """Run a packet, then put its SA back."""
        received = self._inbound.receive(packet, self._now, outgoing=self._outgoing)
        if len(self._sad) != len(self._given):
            self._start()  # an SA has expired and is gone
        elif received is not None and received.entry is not None:
            state, window, oseq, size, packets, used, stats, dying = self._before[received.entry.sa_index]
            back = state, copy.copy(window), oseq, size, packets, used, copy.copy(stats), dying
            received.entry.take(back)
        return received
