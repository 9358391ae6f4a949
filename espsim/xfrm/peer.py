"""The other end of RX and TX: packets as a peer that holds an SA's keys would send them, and plain ones.

Whatever a line asks for is built, also what no honest peer would send: a repeated or zero sequence number, a wrong
ICV, a packet cut short, UDP around an SA that has none.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from espsim.core.address import Address
from espsim.core.numbers import PROTO_AH, PROTO_ESP, PROTO_UDP
from espsim.reference.outbound import Outbound
from espsim.sad.association import NO_MARK, Direction, Limits, SecurityAssociation, Selector
from espsim.sad.sad import Sad
from espsim.wire import esp, ipv4, ipv6, udp

_TTL = 64
DATAGRAM_PORTS = _SPORT, _DPORT = 40000, 40001
_JUNK = 24
"""Bytes after the ESP header where no one has keys: about as many as an SA would put there, and no fewer."""
_LEAST_HEADER = 20


@dataclass(frozen=True, slots=True)
class Shape:
    """What the line asks of one ESP packet. `seq64` includes seq_hi; `cut` is the length that ESP is cut to;
    `ports` wraps it in UDP.
    """

    src: Address
    dst: Address
    spi: int
    seq64: int
    bad_icv: bool = False
    cut: int | None = None
    ports: tuple[int, int] | None = None


def datagram(src: Address, dst: Address, payload: int) -> bytes:
    """An IP packet with a UDP datagram of `payload` zero bytes."""
    return packet_of(src, dst, PROTO_UDP, udp.emit(_SPORT, _DPORT, bytes(payload), (src, dst)))


def keepalive(sa: SecurityAssociation) -> bytes:
    """A NAT keepalive of an SA in UDP (RFC 3948 2.3), as xfrm_nat_keepalive.c sends it: one octet between its ports."""
    ports = (sa.encap.sport, sa.encap.dport) if sa.encap is not None else (0, 0)
    payload = udp.emit(*ports, udp.KEEPALIVE, (sa.src, sa.dst) if len(sa.dst) == 16 else None)
    return packet_of(sa.src, sa.dst, PROTO_UDP, payload)


def packet_of(src: Address, dst: Address, proto: int, payload: bytes) -> bytes:
    """An IP packet around a payload."""
    if len(dst) == 4:
        header = ipv4.emit(
            tos=0, payload_length=len(payload), ident=0, flags=ipv4.DF, ttl=_TTL, proto=proto, src=src, dst=dst
        )
    else:
        header = ipv6.emit(
            traffic_class=0, flow=0, payload_length=len(payload), next_header=proto, hops=_TTL, src=src, dst=dst
        )
    return header + payload


class Peer:
    """Seals packets with the keys of SAs that it is shown. CBC's IVs and the masks of GCM's come from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def esp_packet(self, shape: Shape, sa: SecurityAssociation | None, inner: bytes) -> bytes:
        """The outer IP packet. `sa` None, or without keys: zeros behind the ESP header, for nobody has keys."""
        if sa is None or sa.keys is None:
            sealed = esp.emit(shape.spi, shape.seq64 & 0xFFFFFFFF) + bytes(max(_JUNK, len(inner) - _LEAST_HEADER))
        else:
            sealed = self._seal(shape, sa, inner)
        if shape.bad_icv:
            sealed = sealed[:-1] + bytes((sealed[-1] ^ 1,))
        if shape.cut is not None:
            sealed = sealed[: shape.cut]
        if shape.ports is None:
            return packet_of(shape.src, shape.dst, PROTO_ESP, sealed)
        addresses = (shape.src, shape.dst) if len(shape.dst) == 16 else None
        return packet_of(shape.src, shape.dst, PROTO_UDP, udp.emit(*shape.ports, sealed, addresses))

    def ah_packet(self, shape: Shape) -> bytes:
        """An AH header (RFC 4302 2) with an ICV of 96 zero bits before an empty UDP datagram: espsim runs no AH."""
        inner = udp.emit(_SPORT, _DPORT, b"", (shape.src, shape.dst))
        header = bytes((PROTO_UDP, 4, 0, 0)) + esp.emit(shape.spi, shape.seq64 & 0xFFFFFFFF) + bytes(12)
        return packet_of(shape.src, shape.dst, PROTO_AH, header + inner)

    def _seal(self, shape: Shape, sa: SecurityAssociation, inner: bytes) -> bytes:
        """ESP alone: the peer's own outbound SA, one packet old, so that the next number is the one wanted."""
        own = replace(
            sa, dst=shape.dst, src=shape.src, spi=shape.spi, dir=Direction.OUT, mark=NO_MARK, encap=None, offload=None,
            limits=Limits(), selector=Selector(), tfcpad=0,
        )  # fmt: skip
        sad = Sad()
        entry = sad.newsa(own)
        entry.send_next(shape.seq64 if sa.esn else shape.seq64 & 0xFFFFFFFF)  # without ESN no high half is sealed
        sent = Outbound(sad, self._rng.randbytes).send_with(entry, inner)
        if sent.packet is None:  # only a payload too big for one packet comes here
            raise ValueError(sent.verdict.sentence)
        return sent.packet[20 if len(shape.dst) == 4 else ipv6.HEADER_LENGTH :]
