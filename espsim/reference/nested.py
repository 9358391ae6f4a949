"""ESP in ESP: whether a packet that was inside is ESP for this host, which receives it again.

    transport in transport    the payload is ESP again (an SA bundle); Linux goes on in the same loop of xfrm_input
    tunnel in tunnel          the inner packet is ESP to an address of this host, and its IP stack receives it

An address belongs to this host where it is the destination of an SA that is not outbound. So an inner ESP packet to
this host whose SPI no SA has is NO_SA, as in Linux. One to another host is delivered as it is: the host forwards it.
ESP in UDP counts too. Of a packet that this host sent, a layer is opened where the host sends under its SA.

The mark of the inner packet is that of the outer one, changed by the outer SA's output mark.

What this does not do: packets out of IP-TFS are delivered as they are. So is an inner packet that is a fragment, or
whose header states more bytes than there are: nothing is joined here, and Linux's IP layer judges such packets. Nothing
is opened here; `Inbound` opens each layer.
Sources: Linux net/xfrm/xfrm_input.c, xfrm_input and xfrm_parse_spi; net/ipv4/esp4.c, no_policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espsim.core.answers import Received
from espsim.core.numbers import MAX_DEPTH, PROTO_ESP, PROTO_IPIP
from espsim.core.verdict import Verdict
from espsim.reference.inner import decapsulated, mode_of
from espsim.reference.outer import Arrival, Outer, destination, parse_outer, receiving
from espsim.sad.association import Mode, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.sent import sent_under
from espsim.wire import esp

if TYPE_CHECKING:
    from espsim.reference.inbound import Inbound


class Nested:
    """The inner layers of ESP in ESP, for one `Inbound`."""

    def __init__(self, path: Inbound) -> None:
        self._path = path
        self._receiving = receiving(path.sad)

    def refresh(self) -> None:
        """Read again which destinations the SAs have. Call it after the SAD has changed."""
        self._receiving = receiving(self._path.sad)

    def receive(self, arrival: Arrival, around: Received[SadEntry]) -> Received[SadEntry]:
        """Receive an inner packet, and the packets inside it. `around`: the answer to the outer packet."""
        while True:
            answer = self._layer(arrival)
            answer.around = around
            if arrival.inside is None:
                return answer
            arrival, around = arrival.inside, answer

    def inside(
        self, around: Arrival, sa: SecurityAssociation, inner: bytes, next_header: int, *, ahead: bool = False
    ) -> Arrival | None:
        """The arrival of an inner packet, which was opened under `sa`; None: it is not ESP for this host.

        `next_header`: of the ESP trailer; in tunnel mode it names the inner packet's family. `ahead`: packets before
        this one may still remove SAs, so of a packet that this host sent any SA is taken that may be found then.
        """
        if destination(inner) not in self._receiving and not around.own:
            return None
        if mode_of(sa, next_header) is Mode.TUNNEL and inner[0] >> 4 != (4 if next_header == PROTO_IPIP else 6):
            return None
        outer = parse_outer(inner, self._path.ports)
        if outer is None or outer.fragment or outer.cut:
            return None
        mark = None if around.mark is None else marked(around.mark, sa)
        spi, seq = esp.parse(inner, outer.esp) if outer.end - outer.esp >= esp.HEADER_LENGTH else (0, 0)
        if around.own:
            ours = self._may_send(outer, spi, around) if ahead else self._sent(outer, spi, mark, around)
            if not ours:
                return None
        return Arrival(
            inner, outer, spi, seq, around.now, around.port, around.outgoing, mark=mark, own=around.own,
            path=(*around.path, sa),
        )  # fmt: skip

    # -- for the batch path, which must know before it settles a packet; these change nothing -------------------

    def holds_another(  # noqa: PLR0917
        self, sa: SecurityAssociation, packet: bytes, payload: bytes, next_header: int, own: bool, outgoing: bool
    ) -> bool:
        """Whether a payload that was opened under `sa` is ESP for this host, or may be when its turn comes.

        `packet`: the outer packet, for its headers. `own`: this host sent it.
        """
        outer = parse_outer(packet, self._path.ports)
        if outer is None:
            return False
        inner = decapsulated(sa, packet, outer, payload, next_header)
        around = Arrival(packet, outer, 0, 0, 0.0, outgoing=outgoing, own=own)
        return inner is not None and self.inside(around, sa, inner, next_header, ahead=True) is not None

    def may_hold_another(self, packet: bytes, outgoing: bool) -> bool:
        """Whether a packet may hold ESP for this host, under any SA of its SPI.

        Also True where that is not known yet: the SA has ESN, and the packet does not open under the number inferred
        now.
        """
        outer = parse_outer(packet, self._path.ports)
        if outer is None or outer.fragment or outer.end - outer.esp < esp.HEADER_LENGTH:
            return False
        spi, seq = esp.parse(packet, outer.esp)
        arrival = Arrival(packet, outer, spi, seq, 0.0)
        for entry in self._path.sad.with_spi(spi):
            if entry.sa.mode is Mode.IPTFS:
                continue
            verdict, plaintext = self._path.open(entry, arrival, entry.window.infer(seq))  # an AH state opens nothing
            if verdict is Verdict.INTEGRITY and entry.sa.esn:
                return True
            if plaintext is None or (split := esp.parse_trailer(plaintext)) is None:
                continue
            payload, following = plaintext[: split[0]], split[1]
            if any(self.holds_another(entry.sa, packet, payload, following, own, outgoing) for own in (False, True)):
                return True
        return False

    # -- parts --------------------------------------------------------------------------------------------------

    def _layer(self, arrival: Arrival) -> Received[SadEntry]:
        path, own, spi, seq = self._path, arrival.own, arrival.spi, arrival.seq
        if path.trace is not None:
            path.trace.again(arrival)
        if arrival.outer.end - arrival.outer.esp < esp.HEADER_LENGTH:
            return Received(Verdict.HEADER, None if own else Verdict.HEADER.counter, own=own)
        if path.trace is not None:
            path.trace.parsed(arrival)
        if len(arrival.path) == MAX_DEPTH:
            return Received(Verdict.DEPTH, None if own else Verdict.DEPTH.counter, spi, seq, own=own)
        return path.receive_inside(arrival)

    def _sent(self, outer: Outer, spi: int, mark: int | None, around: Arrival) -> bool:
        """Whether this host sends under the SA of a packet."""
        port = outer.ports[1] if outer.ports else None
        entry = self._path.sad.lookup(outer.dst, spi, PROTO_ESP, mark, port)
        return entry is not None and sent_under(entry.sa, outer.src, outer.dst, outgoing=around.outgoing)

    def _may_send(self, outer: Outer, spi: int, around: Arrival) -> bool:
        """Whether this host sends under some SA of a packet, which `_sent` finds once newer ones are gone."""
        return any(
            entry.sa.dst == outer.dst and sent_under(entry.sa, outer.src, outer.dst, outgoing=around.outgoing)
            for entry in self._path.sad.with_spi(spi)
        )


def marked(mark: int, sa: SecurityAssociation) -> int:
    """xfrm_smark_get: a packet's mark after an SA with an output mark."""
    output = sa.output_mark
    return mark if output is None else (mark & ~output.mask) | (output.value & output.mask)
