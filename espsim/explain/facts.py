"""What is known of one failed packet, and the answer: a cause of the closed list, and a sentence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

from espsim.core.answers import Received
from espsim.reference.outer import Outer, parse_outer
from espsim.sad.association import ESPINTCP
from espsim.sad.entry import SadEntry

CAUSES = (
    "snap", "mark", "encap", "other-destination", "unusable", "unknown-spi", "rekeyed", "restart", "duplicate",
    "too-old", "late", "esn-flag", "esn-high", "icv-length", "other-sa", "damaged", "key", "larval", "direction",
    "expired", "mode", "selector", "ecn", "no-policy", "template", "blocked", "trailer", "header", "fragment", "iptfs",
    "fragment-lost", "reordered", "depth",
)  # fmt: skip
"""The closed list of causes. Of a verdict's causes the first that holds is taken."""


class Explanation(NamedTuple):
    """A cause (None: none of the list applies), and a sentence with the fact and what to do."""

    cause: str | None
    detail: str


class Top(NamedTuple):
    """The highest number that an SA's window took. `known` False: the window waits for its first packet."""

    number: int
    known: bool = True


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """What the capture says of a packet: its frame's number, and the bytes captured and on the wire, with link layer.

    `packet` starts at the IP header. `opened`: whether the ICV was right under the verdict's number (the bytes are then
    not used); None: the packet was not opened. `in_tcp`: it came in a TCP stream.
    """

    packet: bytes
    frame: int = 1
    captured: int = 0
    wire: int = 0
    opened: bool | None = None
    in_tcp: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed packet: a path's answer, what the capture says, and `outer`, where ESP is in it."""

    fate: Received[SadEntry]
    seen: CapturedPacket
    outer: Outer | None

    @classmethod
    def of(cls, fate: Received[SadEntry], seen: CapturedPacket, ports: Collection[int]) -> Failure:
        """The failure of a packet. `ports`: the UDP ports that carry ESP."""
        if fate.around is not None:  # ESP in ESP: only the layer that failed is looked at
            seen = replace(seen, packet=fate.around.inner or b"", opened=None, in_tcp=False)
        outer = parse_outer(seen.packet, ports)
        if outer is not None and seen.in_tcp and outer.encap is None:
            outer.encap = ESPINTCP
        return cls(fate, seen, outer)

    @property
    def cut(self) -> bool:
        """Whether bytes of the packet are missing. Bytes that pad the frame after it don't count."""
        return self.outer is not None and self.outer.cut

    @property
    def esp(self) -> bytes:
        """The bytes from SPI to ICV, as far as they were captured."""
        return b"" if self.outer is None else self.seen.packet[self.outer.esp : self.outer.end]
