"""The headers around ESP: find it in an IP packet, plain or UDP-encapsulated, or say that it isn't there.

What Linux's IPv4, IPv6 and UDP layers do before xfrm_input sees a packet (udp.c's encap_rcv, RFC 3948), without
reassembly (io/fragments.py): a fragment of an ESP packet is told as such. Checksums of the outer headers are not
judged, because captures taken on the sending host carry unfinished ones.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from espsim.core.address import Address
from espsim.wire import esp, ipv4, ipv6, udp

_V6_EXTENSIONS = (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS)


@dataclass(slots=True)
class Outer:
    """Where ESP is in an IP packet. Offsets in bytes from the start of the IP header.

    `headers` is the end of the IP headers (UDP or ESP starts there), `esp` the ESP header, `end` the end of the IP
    packet, `next_header_at` the byte that names what follows the IP headers. `cut`: the packet goes on past what
    was captured. `ports`: the UDP ports where it is UDP-encapsulated.
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


def _parse_v4(packet: bytes, encap_ports: Collection[int]) -> Outer | None:
    proto = packet[ipv4.PROTOCOL]
    if proto not in (esp.PROTO_ESP, udp.PROTO_UDP):
        return None
    headers = (packet[0] & 15) * 4
    total = packet[2] << 8 | packet[3]
    if headers < ipv4.HEADER_LENGTH or total < headers:
        return None
    fragment = (packet[6] << 8 | packet[7]) & ipv4.FRAGMENT_MASK
    outer = Outer(packet[12:16], packet[16:20], headers, headers, total, ipv4.PROTOCOL, packet[1], None, fragment != 0)
    if proto == esp.PROTO_ESP and total <= len(packet):
        return outer
    return _find_esp(packet, outer, proto, encap_ports, later_fragment=fragment & 0x1FFF != 0)


def _parse_v6(packet: bytes, encap_ports: Collection[int]) -> Outer | None:
    end = ipv6.HEADER_LENGTH + (packet[4] << 8 | packet[5])
    at, pointer = ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER
    fragment = later = False
    while (kind := packet[pointer]) not in (esp.PROTO_ESP, udp.PROTO_UDP):
        if at + 8 > min(end, len(packet)) or later:
            return None
        if kind == ipv6.FRAGMENT:
            offset_and_more = packet[at + 2] << 8 | packet[at + 3] & 0xF9
            fragment, later = offset_and_more != 0, offset_and_more & 0xFFF8 != 0
            pointer, at = at, at + 8
        elif kind in _V6_EXTENSIONS:
            pointer, at = at, at + (packet[at + 1] + 1) * 8
        else:
            return None
        if at > end:
            return None
        if pointer >= len(packet):
            return None
    outer = Outer(packet[8:24], packet[24:40], at, at, end, pointer, ipv6.traffic_class(packet), fragment=fragment)
    return _find_esp(packet, outer, kind, encap_ports, later_fragment=later)


def _find_esp(
    packet: bytes, outer: Outer, proto: int, encap_ports: Collection[int], *, later_fragment: bool
) -> Outer | None:
    if outer.end > len(packet):
        outer.end, outer.cut = len(packet), True
    if proto == esp.PROTO_ESP:
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
    if length - udp.HEADER_LENGTH <= esp.HEADER_LENGTH or packet[start : start + 4] in (b"", b"\0\0\0\0"):
        return None
    outer.esp, outer.ports = start, (sport, dport)
    return outer
