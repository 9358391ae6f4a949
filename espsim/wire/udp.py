"""UDP (RFC 768), as RFC 3948 carries ESP in it.

 0                   1                   2                   3
|          Source Port          |       Destination Port        |   0
|            Length             |           Checksum            |   4
|     SPI of ESP, or four zero bytes: the non-ESP marker        |   8
"""

from __future__ import annotations

import struct

from espsim.core.address import Address
from espsim.core.numbers import PROTO_UDP
from espsim.wire.checksum import internet_checksum, ones_complement_sum

HEADER_LENGTH = 8
KEEPALIVE = b"\xff"
"""All that a NAT keepalive holds (RFC 3948 2.3)."""
PORT_NAT_T = 4500

_HEADER = struct.Struct("!HHHH")


def parse(data: bytes, at: int) -> tuple[int, int, int]:
    """(source port, destination port, length) of the header at an offset; at least 8 bytes must be there."""
    sport, dport, length, _checksum = _HEADER.unpack_from(data, at)
    return sport, dport, length


def checksum_is_wrong(packet: bytes, at: int, addresses: tuple[Address, Address]) -> bool:
    """Whether the datagram at an offset has a checksum (it is not zero) that is not right; it must be there whole."""
    length = packet[at + 4] << 8 | packet[at + 5]
    if packet[at + 6 : at + 8] == b"\0\0":
        return False
    pseudo = addresses[0] + addresses[1] + struct.pack("!II", length, PROTO_UDP)
    return ones_complement_sum(pseudo + packet[at : at + length]) != 0xFFFF


def emit(sport: int, dport: int, payload: bytes, addresses: tuple[Address, Address] | None = None) -> bytes:
    """A header and its payload. The checksum is 0 without `addresses` (IPv4, RFC 3948 2.1), else IPv6's."""
    length = HEADER_LENGTH + len(payload)
    if addresses is None:
        return _HEADER.pack(sport, dport, length, 0) + payload
    pseudo = addresses[0] + addresses[1] + struct.pack("!II", length, PROTO_UDP)
    checksum = internet_checksum(pseudo + _HEADER.pack(sport, dport, length, 0) + payload) or 0xFFFF
    return _HEADER.pack(sport, dport, length, checksum) + payload
