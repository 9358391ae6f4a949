"""TCP (RFC 9293), as much of it as a stream needs that carries ESP (RFC 9329, before it RFC 8229).

 0                   1                   2                   3
|          Source Port          |       Destination Port        |   0
|                        Sequence Number                        |   4
|                    Acknowledgment Number                      |   8
| Offset| Rsrvd |   Flags       |            Window             |  12
|           Checksum            |         Urgent Pointer        |  16
|                    Options, if Offset > 5                     |  20

The stream of the side that connected begins with "IKETCP". Messages follow, each with its length before it:
|            Length             |   ESP, or four zero bytes and IKE, or one byte 0xff (a keepalive) ...
The length counts its own two bytes.

>>> emit(4500, 31002, seq=1, ack=2, flags=ACK, window=64).hex(" ", 4)
'1194791a 00000001 00000002 50100040 00000000'
>>> parse(bytes.fromhex("1194791a 00000001 00000002 50100040 00000000"))
TcpHeader(sport=4500, dport=31002, seq=1, ack=2, flags=16, length=20)

What this does not do: put segments in order (io/tcp.py), check TCP's checksum, or read options.
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
"""Bytes of a message's length field."""
LEAST = 6
"""A message's least length: Linux (net/xfrm/espintcp.c) ends a stream that has a shorter one."""

DATA_OFFSET = 12
SYN, RST, ACK = 0x02, 0x04, 0x10

_HEADER = struct.Struct("!HHIIBBHHH")


class TcpHeader(NamedTuple):
    """The header. `length`: its bytes, options included."""

    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    length: int


class Segment(NamedTuple):
    """One segment: what its IP packet states, and as much of its data as was captured.

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


def parse(data: bytes, at: int = 0) -> TcpHeader:
    """The header at an offset; at least 20 bytes must be there."""
    sport, dport, seq, ack, _, flags, *_ = _HEADER.unpack_from(data, at)
    return TcpHeader(sport, dport, seq, ack, flags, length(data, at))


def emit(sport: int, dport: int, *, seq: int, ack: int, flags: int, window: int) -> bytes:
    """A 20-byte header without options; its checksum is 0."""
    return _HEADER.pack(sport, dport, seq, ack, HEADER_LENGTH // 4 << 4, flags, window, 0, 0)


def length(data: bytes, at: int = 0) -> int:
    """Bytes of the header with its options, as it states them."""
    return (data[at + DATA_OFFSET] >> 4) * 4


def segment(packet: bytes) -> Segment | None:
    """The segment in an IP packet; None where TCP's header is not there. IPv6 without extension headers only."""
    if len(packet) < ipv4.HEADER_LENGTH:
        return None
    if packet[0] >> 4 == 4:
        start, end, at = ipv4.length(packet), ipv4.total_length(packet), ipv4.PROTOCOL
        src, dst = packet[ipv4.SRC], packet[ipv4.DST]
        if start < ipv4.HEADER_LENGTH or ipv4.flags(packet) & ipv4.FRAGMENT_MASK:
            return None
    elif packet[0] >> 4 == 6 and len(packet) >= ipv6.HEADER_LENGTH:
        start, end, at = ipv6.HEADER_LENGTH, ipv6.total_length(packet), ipv6.NEXT_HEADER
        src, dst = packet[ipv6.SRC], packet[ipv6.DST]
    else:
        return None
    if packet[at] != PROTO_TCP or start + HEADER_LENGTH > min(end, len(packet)):
        return None
    header = parse(packet, start)
    data_at = start + header.length
    if header.length < HEADER_LENGTH or data_at > end:
        return None
    sport, dport = packet[start : start + 2], packet[start + 2 : start + 4]
    return Segment(
        src + dst + sport + dport, dst + src + dport + sport, (header.sport, header.dport), header.seq,
        header.ack if header.flags & ACK else None, header.flags, packet[data_at:end], packet[:start], at,
    )  # fmt: skip


def around(segment: Segment, message: bytes) -> bytes | None:
    """An IP packet with the headers of a segment and ESP in TCP's place; None where it would be too long for one."""
    header, at = segment.header, segment.at
    if header[0] >> 4 == 4:
        if len(header) + len(message) > MOST:
            return None
        return ipv4.with_payload(header[: ipv4.FLAGS] + b"\0\0" + header[ipv4.TTL :], PROTO_ESP, message)
    return ipv6.with_payload(header, at, PROTO_ESP, message)
