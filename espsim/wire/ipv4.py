"""IPv4 (RFC 791), as much of it as ESP needs.

 0                   1                   2                   3
|Version|  IHL  |Type of Service|          Total Length         |   0
|         Identification        |Flags|      Fragment Offset    |   4
|  Time to Live |    Protocol   |         Header Checksum       |   8
|                       Source Address                          |  12
|                    Destination Address                        |  16
|                    Options, if IHL > 5                        |  20
"""

from __future__ import annotations

import struct

from espsim.core.address import Address
from espsim.wire.checksum import internet_checksum

HEADER_LENGTH = 20
LONGEST = 0xFFFF
DF = 0x4000
MF = 0x2000
FRAGMENT_MASK = 0x3FFF  # more-fragments and the offset: non-zero in every fragment

TOTAL_LENGTH = 2
FLAGS = 6
PROTOCOL = 9
CHECKSUM = 10

_HEADER = struct.Struct("!BBHHHBBH4s4s")


def emit(
    *, tos: int, payload_length: int, ident: int, flags: int, ttl: int, proto: int, src: Address, dst: Address,
    options: bytes = b"",
) -> bytes:  # fmt: skip
    """A header with its checksum. `flags` is the 16-bit flags and offset field, `options` 0 to 40 bytes, by fours."""
    size = HEADER_LENGTH + len(options)
    header = _HEADER.pack(0x40 | size // 4, tos, size + payload_length, ident, flags, ttl, proto, 0, src, dst)
    return with_checksum(header + options)


def with_checksum(header: bytes) -> bytes:
    """The same header (options included) with its checksum computed."""
    clear = header[:CHECKSUM] + b"\0\0" + header[CHECKSUM + 2 :]
    return clear[:CHECKSUM] + internet_checksum(clear).to_bytes(2) + clear[CHECKSUM + 2 :]


def with_payload(header: bytes, proto: int, payload: bytes) -> bytes:
    """A packet of this header (options kept) around another payload: length, protocol and checksum are set."""
    length = (len(header) + len(payload)).to_bytes(2)
    header = header[:TOTAL_LENGTH] + length + header[4:PROTOCOL] + bytes((proto,)) + header[CHECKSUM:]
    return with_checksum(header) + payload


def set_tos(packet: bytes, tos: int) -> bytes:
    """The packet with another TOS byte, its checksum updated, so that a wrong one stays wrong (RFC 1624 3)."""
    checksum = packet[CHECKSUM] << 8 | packet[CHECKSUM + 1]
    total = (~checksum & 0xFFFF) + (~packet[1] & 0xFFFF) + tos
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:1] + bytes((tos,)) + packet[2:CHECKSUM] + (~total & 0xFFFF).to_bytes(2) + packet[CHECKSUM + 2 :]
