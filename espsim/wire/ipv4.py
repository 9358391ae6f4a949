"""IPv4 (RFC 791), as much of it as ESP needs.

 0                   1                   2                   3
|Version|  IHL  |Type of Service|          Total Length         |   0
|         Identification        |Flags|      Fragment Offset    |   4
|  Time to Live |    Protocol   |         Header Checksum       |   8
|                       Source Address                          |  12
|                    Destination Address                        |  16
|                    Options, if IHL > 5                        |  20

>>> header = bytes.fromhex("45000073 00004000 4011b861 c0a80001 c0a800c7")
>>> parse(header)[:6]
(0, 115, 0, 16384, 64, 17)
>>> emit(tos=0, payload_length=95, ident=0, flags=DF, ttl=64, proto=17, src=header[SRC], dst=header[DST]) == header
True

What this does not do: judge a header's checksum, or say what an option means.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from espsim.core.address import Address
from espsim.wire.checksum import internet_checksum

HEADER_LENGTH = 20
LONGEST = 0xFFFF
"""Bytes of a datagram, header included."""

TOS, TOTAL_LENGTH, IDENT, FLAGS, TTL, PROTOCOL, CHECKSUM = 1, 2, 4, 6, 8, 9, 10
SRC, DST = slice(12, 16), slice(16, 20)

DF = 0x4000
MF = 0x2000
OFFSET_MASK = 0x1FFF
"""The fragment offset, in units of 8 bytes."""
FRAGMENT_MASK = MF | OFFSET_MASK
"""Non-zero in every fragment."""

HEADER = struct.Struct("!BBHHHBBH4s4s")
"""The fields of the first 20 bytes, in their order: version and IHL are one, and flags and fragment offset."""

RECEIVED = struct.Struct("!BBH2xHxB2x4s4s")
"""Of the same bytes what a receiver needs: not identification, TTL and checksum."""


class Ipv4Header(NamedTuple):
    """The header. `flags`: the 16 bits of flags and fragment offset; `length`: its bytes, options included."""

    tos: int
    total_length: int
    ident: int
    flags: int
    ttl: int
    proto: int
    src: Address
    dst: Address
    length: int


def parse(packet: bytes) -> Ipv4Header | None:
    """The header of a packet; None: it is cut short, or it states fewer than 20 bytes for itself."""
    if len(packet) < HEADER_LENGTH or length(packet) < HEADER_LENGTH:
        return None
    _, tos, total, ident, flags, ttl, proto, _, src, dst = HEADER.unpack_from(packet)
    return Ipv4Header(tos, total, ident, flags, ttl, proto, src, dst, length(packet))


def emit(
    *, tos: int, payload_length: int, ident: int, flags: int, ttl: int, proto: int, src: Address, dst: Address,
    options: bytes = b"",
) -> bytes:  # fmt: skip
    """A header with its checksum. `flags` is the 16-bit flags and offset field, `options` 0 to 40 bytes, by fours."""
    size = HEADER_LENGTH + len(options)
    header = HEADER.pack(0x40 | size // 4, tos, size + payload_length, ident, flags, ttl, proto, 0, src, dst)
    return with_checksum(header + options)


def length(packet: bytes, at: int = 0) -> int:
    """Bytes of the header with its options, as it states them (IHL)."""
    return (packet[at] & 15) * 4


def total_length(packet: bytes, at: int = 0) -> int:
    """Bytes of the datagram, as its header states them."""
    return packet[at + TOTAL_LENGTH] << 8 | packet[at + TOTAL_LENGTH + 1]


def flags(packet: bytes) -> int:
    """The 16 bits of flags and fragment offset."""
    return packet[FLAGS] << 8 | packet[FLAGS + 1]


def with_checksum(header: bytes) -> bytes:
    """The same header (options included) with its checksum computed."""
    clear = header[:CHECKSUM] + b"\0\0" + header[CHECKSUM + 2 :]
    return clear[:CHECKSUM] + internet_checksum(clear).to_bytes(2) + clear[CHECKSUM + 2 :]


def with_payload(header: bytes, proto: int, payload: bytes) -> bytes:
    """A packet of this header (options kept) around another payload: length, protocol and checksum are set."""
    total = (len(header) + len(payload)).to_bytes(2)
    header = header[:TOTAL_LENGTH] + total + header[IDENT:PROTOCOL] + bytes((proto,)) + header[CHECKSUM:]
    return with_checksum(header) + payload


def set_tos(packet: bytes, tos: int) -> bytes:
    """The packet with another TOS byte, its checksum updated, so that a wrong one stays wrong (RFC 1624 3)."""
    checksum = packet[CHECKSUM] << 8 | packet[CHECKSUM + 1]
    total = (~checksum & 0xFFFF) + (~packet[TOS] & 0xFFFF) + tos
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    head = packet[:TOS] + bytes((tos,)) + packet[TOTAL_LENGTH:CHECKSUM]
    return head + (~total & 0xFFFF).to_bytes(2) + packet[CHECKSUM + 2 :]
