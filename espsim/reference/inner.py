"""The packet inside: what mode and next header make of an opened payload, and what selectors see of it.

1. Tunnel mode: next header 4 or 41 says which IP packet lies inside; its own length cuts TFC padding off.
2. ECN, and the outer DSCP where the SA says so, are written into the inner packet, as Linux does or as RFC 6040 4.2
   states.
3. Transport mode: the outer IP headers get the payload; length, protocol and checksum are set. BEET mode: beet.py.
4. The SA's selector judges addresses, protocol and ports of the result.

Where Linux and RFC 6040 differ, this follows Linux, unless `rfc6040` is set: an inner packet without ECN stays without
it, and is not dropped, when the outer one was marked CE.

What this does not do: it judges no policies (policies.py), opens no IP-TFS (iptfs_in.py), joins no inner fragments, and
checks no inner checksums.

Sources: RFC 4303 3.1 and 3.4.4, RFC 4301 5.1.2 (header construction); Linux xfrm_inner_mode_input and
xfrm{4,6}_remove_tunnel_encap (net/xfrm/xfrm_input.c), INET_ECN_set_ce, xfrm_decode_session.
"""

from __future__ import annotations

from espsim.core.address import Address
from espsim.core.numbers import (
    PROTO_DCCP,
    PROTO_FRAGMENT,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_IPIP,
    PROTO_IPV6,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    PROTO_UDPLITE,
)
from espsim.reference import beet
from espsim.reference.outer import Outer
from espsim.sad.association import Mode, SecurityAssociation, Selector
from espsim.wire import ipv4, ipv6, ipv6_fragment

_TUNNEL, _ANY = Mode.TUNNEL, Mode.ANY  # looked up once: see core.verdict.DELIVERED
_ECT_1, _ECT_0, _ECN_CE = 1, 2, 3
_WITH_PORTS = (PROTO_TCP, PROTO_UDP, PROTO_DCCP, PROTO_SCTP, PROTO_UDPLITE)


def mode_of(sa: SecurityAssociation, next_header: int) -> Mode:
    """The mode of a packet: its SA's mode; for Mode.ANY, the mode that the next header shows."""
    if sa.mode is not _ANY:
        return sa.mode
    return _TUNNEL if next_header in (PROTO_IPIP, PROTO_IPV6) else Mode.TRANSPORT


def decapsulated(
    sa: SecurityAssociation, packet: bytes, outer: Outer, payload: bytes, next_header: int, *,
    rfc6040: bool = False,
) -> bytes | None:  # fmt: skip
    """The inner packet of an SA's packet, by its mode. None: it does not fit the mode, or the mode is IP-TFS.

    `rfc6040`: ECN as that RFC states it; `drops_congested` says which packets must be dropped then.
    """
    mode = mode_of(sa, next_header) if sa.mode is _ANY else sa.mode
    if mode is _TUNNEL:
        return from_tunnel(sa, outer, payload, next_header, rfc6040)
    if mode is Mode.IPTFS:
        return None  # one payload may hold several, or none (iptfs_in.py)
    if mode is Mode.BEET:
        return beet.rebuilt(sa, packet, outer, payload, next_header)
    return from_transport(packet, outer, payload, next_header)


def from_tunnel(
    sa: SecurityAssociation, outer: Outer, payload: bytes, next_header: int, rfc6040: bool = False
) -> bytes | None:
    """The inner packet of a tunnel, without TFC padding, with ECN and DSCP. None: the payload is not an IP packet."""
    v4 = next_header == PROTO_IPIP
    if v4 and len(payload) >= ipv4.HEADER_LENGTH:
        length = ipv4.total_length(payload)
    elif next_header == PROTO_IPV6 and len(payload) >= ipv6.HEADER_LENGTH:
        length = ipv6.total_length(payload)
    else:
        return None
    inner = payload[:length] if length >= ipv4.HEADER_LENGTH else payload
    if outer.tos & 3 == _ECN_CE or rfc6040 or "decap-dscp" in sa.flags:
        return _carry_over(sa, outer.tos, inner, v4=v4, rfc6040=rfc6040)
    return inner


def drops_congested(sa: SecurityAssociation, outer_tos: int, inner: bytes, next_header: int) -> bool:
    """RFC 6040 4.2, figure 4: CE outside, and inside a packet that is not ECN-capable."""
    if mode_of(sa, next_header) is not _TUNNEL or "noecn" in sa.flags or outer_tos & 3 != _ECN_CE:
        return False
    if next_header == PROTO_IPIP:
        return ipv4.HEADER_LENGTH <= ipv4.length(inner) <= len(inner) and not inner[ipv4.TOS] & 3
    return not ipv6.traffic_class(inner) & 3


def _carry_over(sa: SecurityAssociation, outer_tos: int, inner: bytes, *, v4: bool, rfc6040: bool) -> bytes:
    """Write into the inner packet CE (unless `noecn`) and, with `decap-dscp`, the outer DSCP."""
    if v4 and not ipv4.HEADER_LENGTH <= ipv4.length(inner) <= len(inner):
        return inner  # no IPv4 header: the IP layer that gets it refuses it
    tos = inner[ipv4.TOS] if v4 else ipv6.traffic_class(inner)
    new = tos
    if "decap-dscp" in sa.flags:
        new = outer_tos & 0xFC | new & 3
    if outer_tos & 3 == _ECN_CE and "noecn" not in sa.flags and new & 3:
        new |= _ECN_CE
    if rfc6040 and "noecn" not in sa.flags and (outer_tos & 3, tos & 3) == (_ECT_1, _ECT_0):
        new = new & 0xFC | _ECT_1
    if new == tos:
        return inner
    return ipv4.set_tos(inner, new) if v4 else ipv6.set_traffic_class(inner, new)


def from_transport(packet: bytes, outer: Outer, payload: bytes, next_header: int) -> bytes:
    """The IP packet without ESP (and UDP); its length, protocol and checksum are set."""
    headers = packet[: outer.headers]
    if len(outer.dst) == 4:
        return ipv4.with_payload(headers, next_header, payload)
    return ipv6.with_payload(headers, outer.next_header_at, next_header, payload)


def flow(packet: bytes) -> tuple[Address, Address, int, int, int] | None:
    """(src, dst, protocol, sport, dport) as a selector sees a packet; for ICMP type and code. None: no IP header.

    The ports of a later fragment are 0, as xfrm_decode_session leaves them.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= ipv4.HEADER_LENGTH:
        at, proto = ipv4.length(packet), packet[ipv4.PROTOCOL]
        if not ipv4.HEADER_LENGTH <= at <= len(packet):
            return None
        later = ipv4.flags(packet) & ipv4.OFFSET_MASK
        sport, dport = (0, 0) if later else _ports(packet, at, proto)
        return packet[ipv4.SRC], packet[ipv4.DST], proto, sport, dport
    if version == 6 and len(packet) >= ipv6.HEADER_LENGTH:
        at, proto = ipv6.HEADER_LENGTH, packet[ipv6.NEXT_HEADER]
        while proto in ipv6.EXTENSIONS or proto == PROTO_FRAGMENT:
            if at + ipv6.EXTENSION_LEAST > len(packet):
                break
            if proto == PROTO_FRAGMENT and ipv6_fragment.parse(packet, at).offset:
                return packet[ipv6.SRC], packet[ipv6.DST], packet[at], 0, 0
            length = ipv6_fragment.HEADER_LENGTH if proto == PROTO_FRAGMENT else ipv6.extension_length(packet, at)
            proto, at = packet[at], at + length
        return packet[ipv6.SRC], packet[ipv6.DST], proto, *_ports(packet, at, proto)
    return None


def _ports(packet: bytes, at: int, proto: int) -> tuple[int, int]:
    if proto in _WITH_PORTS and len(packet) >= at + 4:
        return packet[at] << 8 | packet[at + 1], packet[at + 2] << 8 | packet[at + 3]
    if proto in (PROTO_ICMP, PROTO_ICMPV6) and len(packet) >= at + 2:
        return packet[at], packet[at + 1]
    return 0, 0


def selector_refuses(selector: Selector, inner: bytes) -> bool:
    """Whether an SA's selector refuses an inner packet (__xfrm_policy_check, the first loop)."""
    facts = flow(inner)
    return facts is None or not selector.matches(*facts)
