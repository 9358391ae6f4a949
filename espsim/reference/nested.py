"""ESP in ESP: whether a packet that was inside is ESP for this host, which receives it again.

    transport in transport    the payload is ESP again (an SA bundle); Linux goes on in the same loop of xfrm_input
    tunnel in tunnel          the inner packet is ESP to an address of this host, and its stack receives it on its own

An address is this host's where an SA that is not outbound has it as its destination. So an inner ESP packet to this
host whose SPI no SA has is NO_SA, as in Linux, and one to anyone else is delivered as it is: it is forwarded. UDP to a
port of ESP counts too. Of what this host sent, a layer is opened where an SA under which the host sends is found.

What comes out of IP-TFS is delivered as it is. So is an inner packet that is a fragment, or whose header states more
bytes than there are: nothing is put together here, and Linux's IP layer judges it. The inner packet's mark is the outer
one's, or what the outer SA's output mark makes of it.

Does not open anything: each layer is `Inbound`'s again.
Sources: Linux net/xfrm/xfrm_input.c, xfrm_input and xfrm_parse_spi; net/ipv4/esp4.c, no_policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espsim.core.answers import Received
from espsim.core.numbers import MAX_DEPTH, PROTO_ESP, PROTO_IPIP
from espsim.core.verdict import Verdict
from espsim.reference.inner import decapsulated, mode_of
from espsim.reference.outer import Arrival, Outer, parse_outer, receiving
from espsim.sad.association import Mode, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.sent import sent_under
from espsim.wire import esp

if TYPE_CHECKING:
    from espsim.reference.inbound import Inbound


class Nested:
    """What comes of packets inside others, for one `Inbound`."""

    def __init__(self, path: Inbound) -> None:
        self._path = path
        self._receiving = receiving(path.sad)

    def refresh(self) -> None:
        """Look again which destinations the SAs have, after the SAD has changed."""
        self._receiving = receiving(self._path.sad)

    def receive(self, arrival: Arrival, around: Received[SadEntry]) -> Received[SadEntry]:
        """Receive the packet that was inside another one, whose answer is `around`, and what is inside that."""
        while True:
            answer = self._layer(arrival)
            answer.around = around
            if arrival.inside is None:
                return answer
            arrival, around = arrival.inside, answer

    def inside(self, around: Arrival, sa: SecurityAssociation, inner: bytes, next_header: int) -> Arrival | None:
        """The arrival of a packet that was inside, under `sa`; None: it goes no deeper here.

        `next_header` is ESP's: in tunnel mode it says of which family the inner packet is.
        """
        if mode_of(sa, next_header) is Mode.TUNNEL and inner[0] >> 4 != (4 if next_header == PROTO_IPIP else 6):
            return None
        outer = parse_outer(inner, self._path.ports)
        if outer is None or outer.fragment or outer.cut:
            return None
        mark = None if around.mark is None else marked(around.mark, sa)
        spi, seq = esp.parse(inner, outer.esp) if outer.end - outer.esp >= esp.HEADER_LENGTH else (0, 0)
        if not (self._sent(outer, spi, mark, around) if around.own else outer.dst in self._receiving):
            return None
        return Arrival(
            inner, outer, spi, seq, around.now, around.port, around.outgoing, mark=mark, own=around.own,
            path=(*around.path, sa),
        )  # fmt: skip

    # -- for the batch path, which has to know before it settles a packet; nothing moves ------------------------

    def holds_another(  # noqa: PLR0917
        self, sa: SecurityAssociation, packet: bytes, payload: bytes, next_header: int, own: bool, outgoing: bool
    ) -> bool:
        """Whether what was opened under an SA is ESP for this host. `packet`: its headers; `own`: this host sent it."""
        outer = parse_outer(packet, self._path.ports)
        inner = None if outer is None else decapsulated(sa, packet, outer, payload, next_header)
        if outer is None or inner is None:
            return False
        around = Arrival(packet, outer, 0, 0, 0.0, outgoing=outgoing, mark=self._path.mark, own=own)
        return self.inside(around, sa, inner, next_header) is not None

    def may_hold_another(self, packet: bytes, outgoing: bool) -> bool:
        """Whether a packet may hold ESP for this host, whatever SA of its SPI is found for it when its turn comes.

        True too where that is known only then: its SA has ESN, and it does not open under the number that fits now.
        """
        outer = parse_outer(packet, self._path.ports)
        if outer is None or outer.fragment or outer.end - outer.esp < esp.HEADER_LENGTH:
            return False
        spi, seq = esp.parse(packet, outer.esp)
        arrival = Arrival(packet, outer, spi, seq, 0.0)
        for entry in self._path.sad.with_spi(spi):
            if entry.sa.proto != PROTO_ESP or entry.sa.keys is None or entry.sa.mode is Mode.IPTFS:
                continue
            verdict, plaintext = self._path.open(entry, arrival, entry.window.infer(seq))
            if plaintext is None and entry.sa.esn and verdict is Verdict.INTEGRITY:
                return True
            split = None if plaintext is None else esp.parse_trailer(plaintext)
            if plaintext is None or split is None:
                continue
            payload, following = plaintext[: split[0]], split[1]
            if any(
                self.holds_another(entry.sa, packet, payload, following, own, outgoing) for own in (False, True)
            ):  # fmt: skip
                return True
        return False

    # -- parts --------------------------------------------------------------------------------------------------

    def _layer(self, arrival: Arrival) -> Received[SadEntry]:
        path, own, spi, seq = self._path, arrival.own, arrival.spi, arrival.seq
        path.trace.again(arrival)
        if arrival.outer.end - arrival.outer.esp < esp.HEADER_LENGTH:
            return Received(Verdict.HEADER, None if own else Verdict.HEADER.counter, own=own)
        path.trace.parsed(arrival)
        if len(arrival.path) == MAX_DEPTH:
            return Received(Verdict.DEPTH, None if own else Verdict.DEPTH.counter, spi, seq, own=own)
        return path.receive_inside(arrival)

    def _sent(self, outer: Outer, spi: int, mark: int | None, around: Arrival) -> bool:
        """Whether this host sends under the SA of a packet."""
        port = outer.ports[1] if outer.ports else None
        entry = self._path.sad.lookup(outer.dst, spi, PROTO_ESP, mark, port)
        return entry is not None and sent_under(entry.sa, outer.src, outer.dst, outgoing=around.outgoing)


def marked(mark: int, sa: SecurityAssociation) -> int:
    """xfrm_smark_get: a packet's mark after an SA with an output mark."""
    output = sa.output_mark
    return mark if output is None else (mark & ~output.mask) | (output.value & output.mask)
