"""TCP (RFC 9293), as much of it as a stream needs that carries ESP (RFC 9329, before it RFC 8229).

 0                   1                   2                   3
|          Source Port          |       Destination Port        |   0
|                        Sequence Number                        |   4
|                    Acknowledgment Number                      |   8
| Offset| Rsrvd |   Flags       |            Window             |  12
|           Checksum            |         Urgent Pointer        |  16
|                    Options, if Offset > 5                     |  20

In the stream: "IKETCP" first, in the direction of who connected; then messages, each with its length before it:
|            Length             |   ESP, or four zero bytes and IKE, or one byte 0xff (a keepalive) ...
The length counts its own two bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from espsim.core.numbers import PROTO_ESP, PROTO_TCP
from espsim.wire import ipv4, ipv6
from espsim.wire.fragments import MOST

HEADER_LENGTH = 20
PORT = 4500
PREFIX = b"IKETCP"
LENGTH = 2
LEAST = 6
"""A message's least length: Linux (net/xfrm/espintcp.c) ends a stream that has a shorter one."""

SYN, RST, ACK = 0x02, 0x04, 0x10

_HEADER = struct.Struct("!HHIIBB")


class Segment(NamedTuple):
    """One segment: what its IP packet says, and as much of its data as was captured.

    `key` names its direction of the connection, `back` the other one. `header`: the IP headers; `at`: the byte in them
    that names TCP.
    """

    key: bytes
    back: bytes
    ports: tuple[int, int]
    seq: int
    ack: int | None
    flags: int
    data: bytes
    header: bytes
    at: int


def parse(packet: bytes) -> Segment | None:
    """The segment in an IP packet; None where TCP's header is not there. IPv6 without extension headers only."""
    if len(packet) < ipv4.HEADER_LENGTH:
        return None
    if packet[0] >> 4 == 4:
        start, end, at, where = (packet[0] & 15) * 4, packet[2] << 8 | packet[3], ipv4.PROTOCOL, slice(12, 20)
        if start < ipv4.HEADER_LENGTH or (packet[6] << 8 | packet[7]) & ipv4.FRAGMENT_MASK:
            return None
    elif packet[0] >> 4 == 6 and len(packet) >= ipv6.HEADER_LENGTH:
        start, at, where = ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER, slice(8, 40)
        end = start + (packet[4] << 8 | packet[5])
    else:
        return None
    if packet[at] != PROTO_TCP or start + HEADER_LENGTH > min(end, len(packet)):
        return None
    sport, dport, seq, ack, offset, flags = _HEADER.unpack_from(packet, start)
    data_at = start + (offset >> 4) * 4
    if data_at < start + HEADER_LENGTH or data_at > end:
        return None
    ends, ports = packet[where], packet[start : start + 4]
    half = len(ends) // 2
    return Segment(
        ends + ports, ends[half:] + ends[:half] + ports[2:] + ports[:2], (sport, dport), seq,
        ack if flags & ACK else None, flags, packet[data_at:end], packet[:start], at,
    )  # fmt: skip


def around(segment: Segment, message: bytes) -> bytes | None:
    """An IP packet with the headers of a segment and ESP in TCP's place; None where it would be too long for one."""
    header, at = segment.header, segment.at
    if header[0] >> 4 == 4:
        if len(header) + len(message) > MOST:
            return None
        return ipv4.with_payload(header[:6] + b"\0\0" + header[8:], PROTO_ESP, message)
    return ipv6.with_payload(header, at, PROTO_ESP, message)
