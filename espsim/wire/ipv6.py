"""IPv6 (RFC 8200), as much of it as ESP needs.

 0                   1                   2                   3
|Version| Traffic Class |           Flow Label                  |   0
|         Payload Length        |  Next Header  |   Hop Limit   |   4
|                       Source Address (16)                     |   8
|                    Destination Address (16)                   |  24
"""

from __future__ import annotations

import struct

from espsim.core.address import Address
from espsim.core.numbers import PROTO_DSTOPTS, PROTO_FRAGMENT, PROTO_HOP_BY_HOP, PROTO_ROUTING

HEADER_LENGTH = 40
PAYLOAD_LENGTH = 4
NEXT_HEADER = 6

_HEADER = struct.Struct("!IHBB16s16s")


def emit(
    *, traffic_class: int, flow: int, payload_length: int, next_header: int, hops: int, src: Address, dst: Address
) -> bytes:
    """A 40-byte header."""
    return _HEADER.pack(6 << 28 | traffic_class << 20 | flow, payload_length, next_header, hops, src, dst)


def with_payload(headers: bytes, next_header_at: int, next_header: int, payload: bytes) -> bytes:
    """A packet of these headers (extension headers included) around another payload.

    `next_header_at` is the offset of the byte that names what follows `headers`.
    """
    length = (len(headers) - HEADER_LENGTH + len(payload)).to_bytes(2)
    headers = headers[:PAYLOAD_LENGTH] + length + headers[PAYLOAD_LENGTH + 2 :]
    return headers[:next_header_at] + bytes((next_header,)) + headers[next_header_at + 1 :] + payload


def traffic_class(packet: bytes) -> int:
    """DSCP and ECN, the byte that straddles the first two."""
    return (packet[0] & 15) << 4 | packet[1] >> 4


def set_traffic_class(packet: bytes, value: int) -> bytes:
    """The packet with another traffic class."""
    return bytes((packet[0] & 0xF0 | value >> 4, (value & 15) << 4 | packet[1] & 15)) + packet[2:]


def transport_insertion(packet: bytes) -> tuple[int, int] | None:
    """Where ESP goes in transport mode: (offset, offset of the next-header byte that names what is there).

    After hop-by-hop and routing headers, and destination options that no routing header precedes (RFC 4303 3.1.1;
    ip6_find_1stfragopt in net/ipv6/output_core.c). None where a header is cut or the packet is a fragment.
    """
    at, pointer = HEADER_LENGTH, NEXT_HEADER
    routed = False
    while at <= len(packet):
        kind = packet[pointer]
        if kind == PROTO_FRAGMENT:
            return None
        if kind not in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS) or (kind == PROTO_DSTOPTS and routed):
            return at, pointer
        if at + 8 > len(packet):
            return None
        routed = routed or kind == PROTO_ROUTING
        pointer, at = at, at + (packet[at + 1] + 1) * 8
    return None


def has_fragment_header(packet: bytes) -> bool:
    """Whether one of its extension headers is a fragment header, an atomic fragment's too (ipv6_find_hdr)."""
    at, kind = HEADER_LENGTH, packet[NEXT_HEADER]
    while kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS) and at + 8 <= len(packet):
        kind, at = packet[at], at + (packet[at + 1] + 1) * 8
    return kind == PROTO_FRAGMENT
