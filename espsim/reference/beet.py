"""BEET mode (bound end-to-end tunnel): the SA's addresses on the wire, the addresses of its selector inside.

Only the payload is encrypted, as in transport mode. Each header is made from the other one:

| field               | outer, from the inner one             | inner, from the outer one              |
|---|---|---|
| addresses           | the SA's                              | the selector's, host bits included     |
| TOS, TTL            | copied                                | copied                                 |
| IPv4 id, flags      | copied; from an IPv6 packet 0 and DF  | copied; from an IPv6 packet 0 and DF   |
| IPv6 flow label     | copied; from an IPv4 packet 0         | copied; from an IPv4 packet 0          |
| IPv4 options        | none: in a pseudo header inside ESP   | those of the pseudo header             |
| extension headers   | none: inside ESP                      | those inside ESP                       |

As in Linux, an SA without a selector has the outer family and addresses of zeros inside. With the flag af-unspec and
without a selector it has no inner addresses, and every packet is MODE.

What this does not do: it takes no fragments (Linux: "BEET mode doesn't support inner IPv4 fragments"), and ignores the
ECN flags of the SA. Where the pseudo header states more options than an IPv4 header or the packet has, the packet is
MODE; Linux makes a header that its IP layer drops without a counter.

Sources: draft-nikander-esp-beet-mode-09; Linux net/xfrm/xfrm_input.c, xfrm4_remove_beet_encap and
xfrm6_remove_beet_encap; net/xfrm/xfrm_output.c, xfrm{4,6}_beet_encap_add and xfrm{4,6}_extract_output.
"""

from __future__ import annotations

from espsim.core.numbers import PROTO_BEETPH
from espsim.reference.outer import Outer
from espsim.sad.association import SecurityAssociation
from espsim.wire import beet, ipv4, ipv6

_MOST_OPTIONS = 40


def rebuilt(
    sa: SecurityAssociation, packet: bytes, outer: Outer, payload: bytes, next_header: int
) -> bytes | None:  # fmt: skip
    """The inner packet. None: it does not fit the mode."""
    ends = sa.inner_ends
    if ends is None:
        return None
    if len(ends[0]) != 4:
        flow = ipv6.flow_label(packet) if len(outer.dst) == 16 else 0
        return ipv6.emit(
            traffic_class=outer.tos, flow=flow, payload_length=len(payload), next_header=next_header,
            hops=_ttl(packet), src=ends[0], dst=ends[1],
        ) + payload  # fmt: skip
    options = b""
    if next_header == PROTO_BEETPH:
        found = beet.parse(payload)
        if found is None:
            return None
        next_header, at, length = found
        options, payload = payload[at : at + length], payload[at + length :]
        if length > _MOST_OPTIONS or len(options) < length:
            return None
    if ipv4.HEADER_LENGTH + len(options) + len(payload) > ipv4.LONGEST:
        return None
    ident, flags = _ident_and_flags(packet)
    return ipv4.emit(
        tos=outer.tos, payload_length=len(payload), ident=ident, flags=flags, ttl=_ttl(packet), proto=next_header,
        src=ends[0], dst=ends[1], options=options,
    ) + payload  # fmt: skip


def inside(packet: bytes) -> tuple[bytes, int] | None:
    """(what goes inside ESP, its next header). None: a fragment, or a broken header.

    Linux does not write the reserved byte of the pseudo header, so that a byte of the inner header shows there: the
    last byte of its source, or of its destination where the options need no padding. This writes the same byte.
    """
    if packet[0] >> 4 == 6:
        if len(packet) < ipv6.HEADER_LENGTH or ipv6.has_fragment_header(packet):
            return None
        return packet[ipv6.HEADER_LENGTH :], packet[ipv6.NEXT_HEADER]
    headers = ipv4.length(packet)
    if ipv4.flags(packet) & ipv4.FRAGMENT_MASK or not ipv4.HEADER_LENGTH <= headers <= len(packet):
        return None
    options, payload, proto = packet[ipv4.HEADER_LENGTH : headers], packet[headers:], packet[ipv4.PROTOCOL]
    if not options:
        return payload, proto
    reserved = (packet[ipv4.DST] if len(options) & 4 else packet[ipv4.SRC])[-1]
    return beet.emit(proto, options, reserved) + payload, PROTO_BEETPH


def outer_header(sa: SecurityAssociation, packet: bytes, proto: int, length: int) -> bytes:
    """The outer header for an inner packet, before `length` bytes of protocol `proto`."""
    tos = packet[ipv4.TOS] if packet[0] >> 4 == 4 else ipv6.traffic_class(packet)
    if len(sa.dst) == 4:
        ident, flags = _ident_and_flags(packet)
        return ipv4.emit(
            tos=tos, payload_length=length, ident=ident, flags=flags, ttl=_ttl(packet), proto=proto,
            src=sa.src, dst=sa.dst,
        )  # fmt: skip
    flow = ipv6.flow_label(packet) if packet[0] >> 4 == 6 else 0
    return ipv6.emit(
        traffic_class=tos, flow=flow, payload_length=length, next_header=proto, hops=_ttl(packet),
        src=sa.src, dst=sa.dst,
    )  # fmt: skip


def _ident_and_flags(packet: bytes) -> tuple[int, int]:
    """(identification, 16-bit flags and offset field); for IPv6 0 and DF."""
    if packet[0] >> 4 != 4:
        return 0, ipv4.DF
    return packet[ipv4.IDENT] << 8 | packet[ipv4.IDENT + 1], ipv4.flags(packet)


def _ttl(packet: bytes) -> int:
    return packet[ipv4.TTL] if packet[0] >> 4 == 4 else packet[ipv6.HOP_LIMIT]
