"""Packets that this host sent, which a capture taken on it shows too: opened under its outbound SA, and SENT.

The steps are those of inbound.py, in their order. The ESN high half is inferred from what was sent before
(sad/sent.py).

What this does not do: window, lifetime and policies are not asked, and no counter moves, because these packets never
came to xfrm_input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.reference.outer import Arrival
from espsim.sad.entry import SadEntry
from espsim.sad.sent import SentNumbers
from espsim.wire import esp

if TYPE_CHECKING:
    from espsim.reference.inbound import Inbound


def receive_own(
    path: Inbound, entry: SadEntry | None, arrival: Arrival, sent: SentNumbers
) -> Received[SadEntry]:  # fmt: skip
    """All steps after the SA lookup. NO_SA where it found none."""
    arrival.own = True
    if path.trace is not None:
        path.trace.own(arrival, entry)
    verdict, seq64, inner = Verdict.NO_SA, None, None
    if entry is not None:
        verdict, seq64, inner = _accept(path, entry, arrival, sent)
    return Received(
        verdict, None, arrival.spi, arrival.seq, seq64, entry, entry, inner,
        odd_padding=arrival.odd_padding, own=True, inners=arrival.inners,
    )  # fmt: skip


def _accept(
    path: Inbound, entry: SadEntry, arrival: Arrival, sent: SentNumbers
) -> tuple[Verdict, int | None, bytes | None]:
    """As `Inbound.accept`, without window, lifetime and counters."""
    verdict = path.ready(entry, arrival.outer)
    if path.trace is not None:
        path.trace.usable(entry, arrival, verdict)
    if verdict is not Verdict.DELIVERED:
        return verdict, None, None
    seq64 = sent.infer(entry, arrival.seq)
    if path.trace is not None:
        path.trace.inferred(entry, arrival, seq64)
    verdict, plaintext = path.open(entry, arrival, seq64)
    if plaintext is None:
        return verdict, seq64, None
    split = path.trailer(plaintext)
    if split is None:
        return Verdict.TRAILER, seq64, None
    sent.advance(entry, seq64)
    length, next_header = split
    arrival.odd_padding = esp.odd_padding(plaintext, length)
    verdict, inner = path.decap(entry, arrival, plaintext[:length], next_header, seq64, own=True)
    return Verdict.SENT if verdict is Verdict.DELIVERED else verdict, seq64, inner
