"""IPv6 (RFC 8200), as much of it as ESP needs.

 0                   1                   2                   3
|Version| Traffic Class |           Flow Label                  |   0
|         Payload Length        |  Next Header  |   Hop Limit   |   4
|                       Source Address (16)                     |   8
|                    Destination Address (16)                   |  24

Extension headers follow (hop-by-hop, routing, destination options; the fragment header is ipv6_fragment.py's):
|  Next Header  | Length/8 - 1  |    Options ...                |

>>> header = emit(traffic_class=2, flow=0, payload_length=8, next_header=50, hops=64, src=bytes(16), dst=bytes(16))
>>> header[:8].hex(" ", 4)
'60200000 00083240'
>>> parse(header)[:5]
(2, 0, 8, 50, 64)

What this does not do: know jumbograms (RFC 2675): a payload length of 0 means 0 bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from espsim.core.address import Address
from espsim.core.numbers import PROTO_DSTOPTS, PROTO_FRAGMENT, PROTO_HOP_BY_HOP, PROTO_ROUTING

HEADER_LENGTH = 40
EXTENSION_LEAST = 8
"""Every extension header is a multiple of 8 bytes, and its length is in the first 8."""
EXTENSIONS = (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS)
"""Extension headers of which the second byte is the length. The fragment header has none."""

PAYLOAD_LENGTH, NEXT_HEADER, HOP_LIMIT = 4, 6, 7
SRC, DST = slice(8, 24), slice(24, 40)

_HEADER = struct.Struct("!IHBB16s16s")


class Ipv6Header(NamedTuple):
    """The header, without extension headers."""

    traffic_class: int
    flow: int
    payload_length: int
    next_header: int
    hops: int
    src: Address
    dst: Address


def parse(packet: bytes) -> Ipv6Header | None:
    """The header of a packet; None: it is cut short."""
    if len(packet) < HEADER_LENGTH:
        return None
    first, payload_length, next_header, hops, src, dst = _HEADER.unpack_from(packet)
    return Ipv6Header(first >> 20 & 0xFF, first & 0xFFFFF, payload_length, next_header, hops, src, dst)


def emit(
    *, traffic_class: int, flow: int, payload_length: int, next_header: int, hops: int, src: Address, dst: Address
) -> bytes:
    """A 40-byte header."""
    return _HEADER.pack(6 << 28 | traffic_class << 20 | flow, payload_length, next_header, hops, src, dst)


def length(_packet: bytes, _at: int = 0) -> int:
    """Always 40 bytes; extension headers come after them."""
    return HEADER_LENGTH


def total_length(packet: bytes, at: int = 0) -> int:
    """Bytes of the packet with its header, as the header states them."""
    return HEADER_LENGTH + (packet[at + PAYLOAD_LENGTH] << 8 | packet[at + PAYLOAD_LENGTH + 1])


def extension_length(packet: bytes, at: int) -> int:
    """Bytes of the extension header at an offset, of any kind in EXTENSIONS."""
    return (packet[at + 1] + 1) * 8


def with_payload(headers: bytes, next_header_at: int, next_header: int, payload: bytes) -> bytes:
    """A packet of these headers (extension headers included) around another payload.

    `next_header_at` is the offset of the byte that names what follows `headers`.
    """
    size = (len(headers) - HEADER_LENGTH + len(payload)).to_bytes(2)
    headers = headers[:PAYLOAD_LENGTH] + size + headers[NEXT_HEADER:]
    return headers[:next_header_at] + bytes((next_header,)) + headers[next_header_at + 1 :] + payload


def traffic_class(packet: bytes) -> int:
    """DSCP and ECN, the byte that straddles the first two."""
    return (packet[0] & 15) << 4 | packet[1] >> 4


def flow_label(packet: bytes) -> int:
    """The 20 bits of the flow label."""
    return (packet[1] & 15) << 16 | packet[2] << 8 | packet[3]


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
        if kind not in EXTENSIONS or (kind == PROTO_DSTOPTS and routed):
            return at, pointer
        if at + EXTENSION_LEAST > len(packet):
            return None
        routed = routed or kind == PROTO_ROUTING
        pointer, at = at, at + extension_length(packet, at)
    return None


def upper_layer(packet: bytes) -> tuple[int, int]:
    """(protocol, where it begins) after all extension headers that have a length; a fragment header ends the search."""
    at, kind = HEADER_LENGTH, packet[NEXT_HEADER]
    while kind in EXTENSIONS and at + EXTENSION_LEAST <= len(packet):
        kind, at = packet[at], at + extension_length(packet, at)
    return kind, at


def has_fragment_header(packet: bytes) -> bool:
    """Whether one of its extension headers is a fragment header, an atomic fragment's too (ipv6_find_hdr)."""
    return upper_layer(packet)[0] == PROTO_FRAGMENT
