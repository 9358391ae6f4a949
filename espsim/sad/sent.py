"""Packets that this host sent, in its own capture: which these are, and their 64-bit numbers.

AF_PACKET shows both directions of a host's traffic. No window judges what the host sends, so the high half of an ESN is
guessed from what it has sent before. None of this is state of the SAD.
"""

from __future__ import annotations

from espsim.core.address import Address
from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.window import nearest

_LOW = 0xFFFFFFFF
_HALF = 1 << 31


def sent_under(sa: SecurityAssociation, src: Address, dst: Address, *, outgoing: bool) -> bool:
    """Whether this host sent a packet of this SA: it is an outbound SA's, and has its two addresses.

    `outgoing`: the capture itself says that the host sent it (PACKET_OUTGOING). Then the addresses are not compared,
    and an SA without a direction will do.
    """
    direction = sa.direction
    if outgoing:
        return direction is not Direction.IN
    return direction is Direction.OUT and sa.src == src and sa.dst == dst


def before(entry: SadEntry) -> int:
    """The number near which the first packet of this host is expected: the last one sent, by the dump.

    Without one (another host's dump) it is the last one received. A low half of 0 means that the high half alone is
    stated; then it is the number in the middle.
    """
    replay = entry.sa.replay
    number = entry.oseq or replay.seq_hi << 32 | replay.seq
    return number if number & _LOW or not number else number | _HALF


class SentNumbers:
    """Of each SA, by sa_index, the highest authentic number that this host was seen to send."""

    def __init__(self) -> None:
        self.highest: dict[int, int] = {}

    def infer(self, entry: SadEntry, seq: int) -> int:
        """The 64-bit number of a 32-bit one: the nearest to the highest; without ESN it is the number itself."""
        if not entry.sa.esn:
            return seq
        highest = self.highest.get(entry.sa_index)
        return nearest(before(entry) if highest is None else highest, seq)

    def advance(self, entry: SadEntry, seq64: int) -> None:
        """An authentic packet had this number."""
        if entry.sa.esn:
            self.highest[entry.sa_index] = max(self.highest.get(entry.sa_index, 0), seq64)
