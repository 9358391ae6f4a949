"""Makes the packets of RX and TX: those of a peer that holds an SA's keys, and plain ones.

It builds whatever a line asks for, also what no honest peer would send: a repeated or zero sequence number, a wrong
ICV, a packet cut short, UDP around an SA without encapsulation.

What this does not do: ask a counter, limit or window, or compute an ICV of AH.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.suites import pack_seq_hi
from espsim.core.address import Address
from espsim.core.numbers import PROTO_AGGFRAG, PROTO_AH, PROTO_ESP, PROTO_IPIP, PROTO_IPV6, PROTO_UDP
from espsim.sad.association import Mode, SecurityAssociation
from espsim.wire import esp, iptfs, ipv4, ipv6, udp

_TTL = 64
DATAGRAM_PORTS = _SPORT, _DPORT = 40000, 40001
_JUNK = 24
"""Bytes after the ESP header where no SA has keys: at least as many as an SA would put there."""
_LEAST_HEADER = 20


@dataclass(frozen=True, slots=True)
class PacketShape:
    """What a line asks of one ESP packet.

    `seq64` includes seq_hi. `cut`: bytes to which ESP is cut. `ports`: of the UDP around it. `next_header` is ESP's,
    whatever is inside. `aggregation` is the header of an AGGFRAG payload (RFC 9347), and `blocks` follow it.
    """

    src: Address
    dst: Address
    spi: int
    seq64: int
    bad_icv: bool = False
    cut: int | None = None
    ports: tuple[int, int] | None = None
    next_header: int | None = None
    blocks: bytes | None = None
    aggregation: bytes | None = None


def datagram(src: Address, dst: Address, payload: int) -> bytes:
    """An IP packet with a UDP datagram of `payload` zero bytes."""
    return packet_of(src, dst, PROTO_UDP, udp.emit(_SPORT, _DPORT, bytes(payload), (src, dst)))


def keepalive(sa: SecurityAssociation) -> bytes:
    """A NAT keepalive of an SA in UDP (RFC 3948 2.3), as xfrm_nat_keepalive.c sends it: a datagram of one octet."""
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
    """Seals packets with the keys of given SAs. IVs come from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._engine = CryptographyEngine()

    def esp_packet(self, shape: PacketShape, sa: SecurityAssociation | None, inner: bytes) -> bytes:
        """The outer IP packet. `sa` None, or without keys: zeros follow the ESP header."""
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

    def ah_packet(self, shape: PacketShape) -> bytes:
        """An AH header (RFC 4302 2) before an empty UDP datagram. Its ICV is 96 zero bits: espsim runs no AH."""
        inner = udp.emit(_SPORT, _DPORT, b"", (shape.src, shape.dst))
        header = bytes((PROTO_UDP, 4, 0, 0)) + esp.emit(shape.spi, shape.seq64 & 0xFFFFFFFF) + bytes(12)
        return packet_of(shape.src, shape.dst, PROTO_AH, header + inner)

    def _seal(self, shape: PacketShape, sa: SecurityAssociation, inner: bytes) -> bytes:
        """ESP under the SA's keys, with the line's sequence number. No counter or limit is asked."""
        keys = sa.keys
        assert keys is not None  # noqa: S101 - the caller has checked
        payload, next_header = _inside(sa, shape, inner)
        header = esp.emit(shape.spi, shape.seq64 & 0xFFFFFFFF)
        iv = self._rng.randbytes(keys.suite.iv_length)
        seq_hi = pack_seq_hi(shape.seq64) if sa.esn else b""  # without ESN no high half is sealed
        plaintext = payload + esp.emit_trailer(len(payload), next_header, sa.aligned)
        return header + iv + self._engine.transform(keys).seal(header, seq_hi, iv, plaintext)


def _inside(sa: SecurityAssociation, shape: PacketShape, inner: bytes) -> tuple[bytes, int]:
    """The payload of ESP and its next header, by the SA's mode and the line."""
    v4 = inner[0] >> 4 == 4
    if sa.mode is Mode.IPTFS or shape.blocks is not None or shape.aggregation is not None:
        blocks = inner if shape.blocks is None else shape.blocks
        payload, next_header = (shape.aggregation or iptfs.emit(0)) + blocks, PROTO_AGGFRAG
    elif sa.mode is Mode.TUNNEL:
        payload, next_header = inner, PROTO_IPIP if v4 else PROTO_IPV6
    elif v4:
        payload, next_header = inner[ipv4.length(inner) :], inner[ipv4.PROTOCOL]
    else:
        payload, next_header = inner[ipv6.HEADER_LENGTH :], inner[ipv6.NEXT_HEADER]
    return payload, next_header if shape.next_header is None else shape.next_header
