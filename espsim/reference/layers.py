"""What an IP packet is that `outer` finds no ESP in. Nothing is opened here: a GRE packet is `gre`, whatever it holds.

    IPv4, IPv6 [hop-by-hop, routing, destination options, fragment]... -> AH, GRE, TCP, UDP -> by UDP port

Of UDP the ports of ESP are looked at first (keepalive, IKE), then 500, then the tunnels' well-known destination ports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from espsim.core.layers import Layer
from espsim.core.numbers import PROTO_DSTOPTS, PROTO_FRAGMENT, PROTO_HOP_BY_HOP, PROTO_ROUTING
from espsim.reference.outer import parse_outer
from espsim.wire import ipv4, ipv6, udp

_EXTENSIONS = (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS)
_BY_PROTOCOL = {6: Layer.TCP, 17: Layer.UDP, 47: Layer.GRE, 51: Layer.AH}
_BY_PORT = {4789: Layer.VXLAN, 8472: Layer.VXLAN, 6081: Layer.GENEVE, 2152: Layer.GTP_U}
"""IANA's ports, and 8472: VXLAN's in Linux where no port is given."""
_IKE_PORT = 500


def judge(encap_ports: Collection[int]) -> Callable[[bytes], Layer | None]:
    """Who says what a packet is: None where it is ESP, or a fragment of ESP."""

    def layer_or_esp(packet: bytes) -> Layer | None:
        return layer_of(packet, encap_ports) if parse_outer(packet, encap_ports) is None else None

    return layer_or_esp


def layer_of(packet: bytes, encap_ports: Collection[int]) -> Layer:
    """The innermost kind of a packet that is not ESP; `encap_ports` are the UDP ports that carry ESP."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        if len(packet) < ipv4.HEADER_LENGTH or (packet[0] & 15) * 4 < ipv4.HEADER_LENGTH:
            return Layer.IP
        later = (packet[6] << 8 | packet[7]) & 0x1FFF != 0
        return _behind_ip(packet, packet[ipv4.PROTOCOL], (packet[0] & 15) * 4, encap_ports, later=later)
    if version == 6:
        return _v6(packet, encap_ports) if len(packet) >= ipv6.HEADER_LENGTH else Layer.IP
    return Layer.OTHER


def _v6(packet: bytes, encap_ports: Collection[int]) -> Layer:
    kind, at, later = packet[ipv6.NEXT_HEADER], ipv6.HEADER_LENGTH, False
    while kind in _EXTENSIONS or kind == PROTO_FRAGMENT:
        if later or at + 8 > len(packet):
            return Layer.IP
        if kind == PROTO_FRAGMENT:
            later = (packet[at + 2] << 8 | packet[at + 3]) & 0xFFF8 != 0
            kind, at = packet[at], at + 8
        else:
            kind, at = packet[at], at + (packet[at + 1] + 1) * 8
    return _behind_ip(packet, kind, at, encap_ports, later=later)


def _behind_ip(packet: bytes, proto: int, at: int, encap_ports: Collection[int], *, later: bool) -> Layer:
    """By protocol; `later`: not the first fragment, so what follows is no header."""
    layer = _BY_PROTOCOL.get(proto, Layer.IP)
    if layer is not Layer.UDP or later or at + udp.HEADER_LENGTH > len(packet):
        return layer
    sport, dport, length = udp.parse(packet, at)
    data = packet[at + udp.HEADER_LENGTH :]
    if sport in encap_ports or dport in encap_ports:
        if length == udp.HEADER_LENGTH + 1 and data[:1] == udp.KEEPALIVE:
            return Layer.KEEPALIVE
        if length >= udp.HEADER_LENGTH + 4 and data[:4] == bytes(4):
            return Layer.IKE
    if _IKE_PORT in (sport, dport):
        return Layer.IKE
    return _BY_PORT.get(dport, Layer.UDP)
