"""The outer headers: where ESP begins in an IP packet, plain or in UDP, or that it isn't there.

1. The version: IPv4 or IPv6. A packet that is too short for its header is not ESP.
2. The end of the IP headers: IPv4 options, IPv6 extension headers. A fragment is marked as one.
3. The end of the IP packet. Where it lies past the captured bytes, the packet is `cut`.
4. Protocol 50 (ESP): ESP begins here.
5. Protocol 17 (UDP) to a port of `encap_ports`: ESP begins after the UDP header, unless the datagram is a keepalive or
   IKE.

What this does not do: it joins no fragments and no TCP streams (io/), reads no SPI or sequence number (wire/esp.py),
and checks no checksum of the outer headers, because the sending host captures packets before their checksums are
complete.

Sources: RFC 4303 3.1, RFC 3948 2, RFC 8200 4; Linux udp.c encap_rcv, and what its IPv4 and IPv6 layers do before
xfrm_input sees a packet.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from espsim.core.address import Address
from espsim.core.numbers import PROTO_ESP, PROTO_FRAGMENT, PROTO_UDP
from espsim.sad.association import ESPINUDP, Direction, SecurityAssociation
from espsim.sad.sad import Sad
from espsim.wire import esp, ipv4, ipv6, ipv6_fragment, udp
from espsim.wire.udp import PORT_NAT_T

_CARRY_ESP = (PROTO_ESP, PROTO_UDP)


@dataclass(slots=True)
class Outer:
    """Where ESP is in an IP packet. Offsets in bytes from the start of the IP header.

    `headers`: the end of the IP headers, where UDP or ESP begins. `esp`: the ESP header. `end`: the end of ESP.
    `next_header_at`: the byte that names what follows the IP headers. `cut`: the packet goes on past the captured
    bytes. `ports`: the UDP ports, if it is in UDP. `encap`: the encapsulation in which it came, as `Encap.kind` names
    it; None: none.
    """

    src: Address
    dst: Address
    headers: int
    esp: int
    end: int
    next_header_at: int
    tos: int
    ports: tuple[int, int] | None = None
    fragment: bool = False
    cut: bool = False
    encap: str | None = None


def parse_outer(packet: bytes, encap_ports: Collection[int]) -> Outer | None:
    """The outer headers of an ESP packet, or None where it is not ESP (IKE and NAT keepalives are not).

    `encap_ports`: the destination ports at which UDP carries ESP.
    """
    if len(packet) < ipv4.HEADER_LENGTH:
        return None
    version = packet[0] >> 4
    if version == 4:
        return _parse_v4(packet, encap_ports)
    if version == 6 and len(packet) >= ipv6.HEADER_LENGTH:
        return _parse_v6(packet, encap_ports)
    return None


def destination(packet: bytes) -> Address:
    """The destination of an IP packet that has at least one byte; shorter where the header is cut."""
    return packet[ipv4.DST] if packet[0] >> 4 == 4 else packet[ipv6.DST]


def _parse_v4(packet: bytes, encap_ports: Collection[int]) -> Outer | None:
    first, tos, total, flags, proto, src, dst = ipv4.RECEIVED.unpack_from(packet)
    if proto not in _CARRY_ESP:
        return None
    headers = (first & 15) * 4
    if headers < ipv4.HEADER_LENGTH or total < headers:
        return None
    fragment = flags & ipv4.FRAGMENT_MASK != 0
    outer = Outer(src, dst, headers, headers, total, ipv4.PROTOCOL, tos, None, fragment)
    if proto == PROTO_ESP and total <= len(packet):
        return outer
    return _find_esp(packet, outer, proto, encap_ports, later_fragment=flags & ipv4.OFFSET_MASK != 0)


def _parse_v6(packet: bytes, encap_ports: Collection[int]) -> Outer | None:
    end = ipv6.total_length(packet)
    at, pointer = ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER
    fragment = later = False
    while (kind := packet[pointer]) not in _CARRY_ESP:
        if at + ipv6.EXTENSION_LEAST > min(end, len(packet)) or later:
            return None
        if kind == PROTO_FRAGMENT:
            header = ipv6_fragment.parse(packet, at)
            fragment, later = header.offset != 0 or header.more, header.offset != 0
            pointer, at = at, at + ipv6_fragment.HEADER_LENGTH
        elif kind in ipv6.EXTENSIONS:
            pointer, at = at, at + ipv6.extension_length(packet, at)
        else:
            return None
        if at > end:
            return None
        if pointer >= len(packet):
            return None
    src, dst = packet[ipv6.SRC], packet[ipv6.DST]
    outer = Outer(src, dst, at, at, end, pointer, ipv6.traffic_class(packet), fragment=fragment)
    return _find_esp(packet, outer, kind, encap_ports, later_fragment=later)


def _find_esp(
    packet: bytes, outer: Outer, proto: int, encap_ports: Collection[int], *, later_fragment: bool
) -> Outer | None:
    if outer.end > len(packet):
        outer.end, outer.cut = len(packet), True
    if proto == PROTO_ESP:
        return outer
    at = outer.headers
    if later_fragment or outer.end - at < udp.HEADER_LENGTH:
        return None
    sport, dport, length = udp.parse(packet, at)
    if dport not in encap_ports or length < udp.HEADER_LENGTH:
        return None
    if at + length > outer.end and not (outer.cut or outer.fragment):
        return None
    outer.end = min(outer.end, at + length)
    # A NAT keepalive (0xff), a datagram of no more than 8 bytes, and the non-ESP marker are not ESP (RFC 3948 2).
    start = at + udp.HEADER_LENGTH
    if length - udp.HEADER_LENGTH <= esp.HEADER_LENGTH or packet[start : start + 4] in (b"", udp.NON_ESP_MARKER):
        return None
    outer.esp, outer.ports, outer.encap = start, (sport, dport), ESPINUDP
    return outer


@dataclass(slots=True)
class Arrival:
    """One ESP packet on its way in: the IP packet, where ESP is in it, and when (seconds) and by which port it came.

    `outgoing`: the capture says that this host sent it. `own`: this host sent it, as far as the path knows. `path`: the
    SAs that it has come through, the outermost first. `inside`: the ESP packet inside, which this host receives again.
    `inners`: the inner packets of IP-TFS that came out with it.
    """

    packet: bytes
    outer: Outer
    spi: int
    seq: int
    now: float
    port: int = 0
    outgoing: bool = False
    mark: int | None = 0
    odd_padding: bool = False
    inners: tuple[bytes, ...] | None = None
    own: bool = False
    path: tuple[SecurityAssociation, ...] = ()
    inside: Arrival | None = None


def encap_ports(sad: Sad) -> frozenset[int]:
    """The UDP ports at which ESP is expected: 4500 and every port that an SA names (in either direction)."""
    ports = {PORT_NAT_T}
    for entry in sad:
        if entry.sa.encap is not None:
            ports |= {entry.sa.encap.sport, entry.sa.encap.dport}
    return frozenset(ports)


def receiving(sad: Sad) -> frozenset[Address]:
    """The addresses at which this host receives ESP: the destinations of SAs that are not outbound."""
    return frozenset(e.sa.dst for e in sad if e.sa.proto == PROTO_ESP and e.sa.direction is not Direction.OUT)
