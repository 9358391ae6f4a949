"""What every path answers: `Received` and `Sent` for one packet, `SaCount` for what an SA's packets came to.

`entry` is the SAD's row, a `espsim.sad.entry.SadEntry`. This room lies below the SAD, so the type is a parameter here:
`Received[SadEntry]`. What an answer itself reads of a row is in `_Entry`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from espsim.core.address import Address, format_address
from espsim.core.verdict import DeviceOutcome, OutboundVerdict, Surfacing, Verdict


class Association(Protocol):
    """What is read of an SA (`espsim.sad.association.SecurityAssociation`)."""

    @property
    def spi(self) -> int:
        """The SPI."""

    @property
    def dst(self) -> Address:
        """The destination."""


class _Entry(Protocol):
    """What is read of a row of the SAD."""

    @property
    def sa(self) -> Association:
        """The SA."""


EntryT = TypeVar("EntryT", bound=_Entry)


@dataclass(slots=True, repr=False)
class Received(Generic[EntryT]):
    """What happened to one ESP packet.

    `entry` is the packet's own SA, as the software lookup finds it; `used` the one whose context was used (the same
    without a device). `counter` is the Linux counter that moved, None where none did. `inner` is the packet that was
    delivered or sent; in mode IPTFS it is None, and `inners` are those that were complete with this packet. `own`: this
    host sent it, as far as is known; no counter moves then.

    Where ESP was inside ESP the answer is the innermost layer's, and `around` that of the layer around it, whose
    `inner` is the ESP packet that was received again.
    """

    verdict: Verdict
    counter: str | None
    spi: int | None = None
    seq: int | None = None
    seq64: int | None = None
    entry: EntryT | None = None
    used: EntryT | None = None
    inner: bytes | None = None
    inners: tuple[bytes, ...] | None = None
    odd_padding: bool = False
    device: DeviceOutcome | None = None
    surfacing: Surfacing = Surfacing.NONE
    own: bool = False
    around: Received[EntryT] | None = None

    @property
    def packets(self) -> tuple[bytes, ...]:
        """The packets that go out because of this one: none, one, or in mode IPTFS several."""
        if self.inners is not None:
            return self.inners
        return () if self.inner is None else (self.inner,)

    @property
    def layers(self) -> list[Received[EntryT]]:
        """The answers of all layers, the outermost first; this one is the last."""
        found = [self]
        while found[-1].around is not None:
            found.append(found[-1].around)
        return found[::-1]

    @property
    def depth(self) -> int:
        """How many layers of ESP there were: 1, but for ESP in ESP."""
        return len(self.layers)

    def __repr__(self) -> str:
        facts = [self.verdict.name]
        if self.spi is not None:
            facts += [f"spi=0x{self.spi:x}", f"seq={self.seq if self.seq64 is None else self.seq64}"]
        if self.inner is not None:
            facts.append(f"inner={len(self.inner)} bytes")
        if self.inners is not None:
            facts.append(f"inners={len(self.inners)}")
        if self.around is not None:
            facts.append(f"depth={self.depth}")
        if self.device is not None:
            facts.append(f"device={self.device.name}")
        if self.surfacing is not Surfacing.NONE:
            facts.append(f"surfacing={self.surfacing.name}")
        return f"Received({' '.join(facts)})"


@dataclass(slots=True, repr=False)
class Sent(Generic[EntryT]):
    """What happened to one outbound packet; `packet` is the sealed IP packet.

    `pieces`: the fragments that leave in its place, where it is longer than the path's MTU. `also`: the other ESP
    packets of a datagram that was cut before it was sealed, and `verdict` is the worst of all of them.
    In mode IPTFS `packet` is None and `outers` are the packets that left with this one: none where it waits.
    """

    verdict: OutboundVerdict
    entry: EntryT | None = None
    seq64: int | None = None
    packet: bytes | None = None
    pieces: tuple[bytes, ...] = ()
    also: tuple[Sent[EntryT], ...] = ()
    outers: tuple[bytes, ...] | None = None

    @property
    def counter(self) -> str | None:
        """The Linux counter that moved."""
        return self.verdict.counter

    @property
    def fragmented(self) -> int:
        """How many ESP packets leave in fragments."""
        return bool(self.pieces) + sum(sent.fragmented for sent in self.also)

    def numbers(self) -> Iterator[tuple[EntryT, int]]:
        """The SA and the number of each ESP packet that leaves, in their order; none of mode IPTFS."""
        if self.packet is not None and self.entry is not None and not self.verdict:
            yield self.entry, self.seq64 or 0
        for sent in self.also:
            yield from sent.numbers()

    def wire(self) -> Iterator[bytes]:
        """All packets that leave, in order."""
        yield from self.outers or ()
        if self.packet is not None:
            yield from self.pieces or (self.packet,)
        for sent in self.also:
            yield from sent.wire()

    def __repr__(self) -> str:
        facts = [self.verdict.name]
        if self.entry is not None:
            facts.append(f"spi=0x{self.entry.sa.spi:x}")
        if self.seq64 is not None:
            facts.append(f"seq={self.seq64}")
        if self.packet is not None:
            facts.append(f"packet={len(self.packet)} bytes")
        if self.outers is not None:
            facts.append(f"outers={len(self.outers)}")
        return f"Sent({' '.join(facts)})"


@dataclass(slots=True)
class SaCount(Generic[EntryT]):
    """One SA's packets: those that passed, the others by verdict, and those that this host sent."""

    entry: EntryT
    passed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    def as_dict(self, passed: str) -> dict[str, Any]:
        """`{spi, daddr, <passed>, dropped}`, and `sent` where this host sent some; `spi` is an integer."""
        sa = self.entry.sa
        return {
            "spi": sa.spi,
            "daddr": format_address(sa.dst),
            passed: self.passed,
            **({"sent": self.sent} if self.sent else {}),
            "dropped": dict(sorted(self.dropped.items())),
        }
