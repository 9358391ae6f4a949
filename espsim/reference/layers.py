"""What an IP packet without ESP is: the innermost kind that its headers name.

1. IPv4, or IPv6 and its extension headers.
2. The protocol: AH, GRE, TCP, UDP.
3. UDP to or from a port of ESP: a keepalive, or IKE after a non-ESP marker (RFC 3948 2.2, 2.3).
4. UDP to or from port 500: IKE.
5. UDP to a tunnel's port: VXLAN, GENEVE, GTP-U.

What this does not do: it opens no tunnel (a GRE packet is `gre`, whatever it holds), and checks no checksum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from espsim.core.layers import Layer
from espsim.core.numbers import (
    PORT_GENEVE,
    PORT_GTP_U,
    PORT_IKE,
    PORT_VXLAN,
    PORT_VXLAN_LINUX,
    PROTO_AH,
    PROTO_FRAGMENT,
    PROTO_GRE,
    PROTO_TCP,
    PROTO_UDP,
)
from espsim.reference.outer import parse_outer
from espsim.wire import ipv4, ipv6, ipv6_fragment, udp

_BY_PROTOCOL = {PROTO_TCP: Layer.TCP, PROTO_UDP: Layer.UDP, PROTO_GRE: Layer.GRE, PROTO_AH: Layer.AH}
_BY_PORT = {
    PORT_VXLAN: Layer.VXLAN, PORT_VXLAN_LINUX: Layer.VXLAN, PORT_GENEVE: Layer.GENEVE, PORT_GTP_U: Layer.GTP_U,
}  # fmt: skip


def judge(encap_ports: Collection[int]) -> Callable[[bytes], Layer | None]:
    """A function that names a packet's kind: None where it is ESP, or a fragment of ESP."""

    def layer_or_esp(packet: bytes) -> Layer | None:
        return layer_of(packet, encap_ports) if parse_outer(packet, encap_ports) is None else None

    return layer_or_esp


def layer_of(packet: bytes, encap_ports: Collection[int]) -> Layer:
    """The innermost kind of a packet that is not ESP; `encap_ports` are the UDP ports that carry ESP."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        if len(packet) < ipv4.HEADER_LENGTH or ipv4.length(packet) < ipv4.HEADER_LENGTH:
            return Layer.IP
        later = ipv4.flags(packet) & ipv4.OFFSET_MASK != 0
        return _after_ip(packet, packet[ipv4.PROTOCOL], ipv4.length(packet), encap_ports, later=later)
    if version == 6:
        return _v6(packet, encap_ports) if len(packet) >= ipv6.HEADER_LENGTH else Layer.IP
    return Layer.OTHER


def _v6(packet: bytes, encap_ports: Collection[int]) -> Layer:
    kind, at, later = packet[ipv6.NEXT_HEADER], ipv6.HEADER_LENGTH, False
    while kind in ipv6.EXTENSIONS or kind == PROTO_FRAGMENT:
        if later or at + ipv6.EXTENSION_LEAST > len(packet):
            return Layer.IP
        if kind == PROTO_FRAGMENT:
            header = ipv6_fragment.parse(packet, at)
            kind, at, later = header.next_header, at + ipv6_fragment.HEADER_LENGTH, header.offset != 0
        else:
            kind, at = packet[at], at + ipv6.extension_length(packet, at)
    return _after_ip(packet, kind, at, encap_ports, later=later)


def _after_ip(packet: bytes, proto: int, at: int, encap_ports: Collection[int], *, later: bool) -> Layer:
    """By protocol. `later`: a later fragment, so what follows is not a header."""
    layer = _BY_PROTOCOL.get(proto, Layer.IP)
    if layer is not Layer.UDP or later or at + udp.HEADER_LENGTH > len(packet):
        return layer
    sport, dport, length = udp.parse(packet, at)
    data = packet[at + udp.HEADER_LENGTH :]
    if sport in encap_ports or dport in encap_ports:
        if length == udp.HEADER_LENGTH + 1 and data[:1] == udp.KEEPALIVE:
            return Layer.KEEPALIVE
        if length >= udp.HEADER_LENGTH + 4 and data[:4] == udp.NON_ESP_MARKER:
            return Layer.IKE
    if PORT_IKE in (sport, dport):
        return Layer.IKE
    return _BY_PORT.get(dport, Layer.UDP)
