"""UDP (RFC 768), as RFC 3948 carries ESP in it.

 0                   1                   2                   3
|          Source Port          |       Destination Port        |   0
|            Length             |           Checksum            |   4
|     SPI of ESP, or four zero bytes: the non-ESP marker        |   8

>>> emit(4500, 31002, b"payload").hex(" ", -4)
'1194791a 000f0000 7061796c 6f6164'
>>> parse(bytes.fromhex("1194791a 000f0000"))
(4500, 31002, 15)

What this does not do: say which ports carry ESP (reference/outer.py).
"""

from __future__ import annotations

import struct

from espsim.core.address import Address
from espsim.core.numbers import PROTO_UDP
from espsim.wire.checksum import internet_checksum, ones_complement_sum

HEADER_LENGTH = 8
KEEPALIVE = b"\xff"
"""All that a NAT keepalive holds (RFC 3948 2.3)."""
NON_ESP_MARKER = b"\0\0\0\0"
"""Before IKE, where ESP has its SPI (RFC 3948 2.2)."""
PORT_NAT_T = 4500

LENGTH, CHECKSUM = 4, 6

_HEADER = struct.Struct("!HHHH")


def parse(data: bytes, at: int = 0) -> tuple[int, int, int]:
    """(source port, destination port, length) of the header at an offset; at least 8 bytes must be there."""
    sport, dport, size, _checksum = _HEADER.unpack_from(data, at)
    return sport, dport, size


def emit(sport: int, dport: int, payload: bytes, addresses: tuple[Address, Address] | None = None) -> bytes:
    """A header and its payload. The checksum is 0 without `addresses` (IPv4, RFC 3948 2.1), else IPv6's."""
    size = HEADER_LENGTH + len(payload)
    if addresses is None:
        return _HEADER.pack(sport, dport, size, 0) + payload
    datagram = _HEADER.pack(sport, dport, size, 0) + payload
    # A checksum of 0 would say that there is none; 0xffff is the same number in one's complement (RFC 768).
    checksum = internet_checksum(_pseudo_header(addresses, size) + datagram) or 0xFFFF
    return _HEADER.pack(sport, dport, size, checksum) + payload


def length(_data: bytes, _at: int = 0) -> int:
    """Always 8 bytes."""
    return HEADER_LENGTH


def checksum_is_wrong(packet: bytes, at: int, addresses: tuple[Address, Address]) -> bool:
    """Whether the datagram at an offset has a checksum (it is not zero) that is not right; it must be there whole."""
    _sport, _dport, size, checksum = _HEADER.unpack_from(packet, at)
    if checksum == 0:
        return False
    return ones_complement_sum(_pseudo_header(addresses, size) + packet[at : at + size]) != 0xFFFF


def _pseudo_header(addresses: tuple[Address, Address], size: int) -> bytes:
    """What the checksum covers before the datagram: IPv6's form (RFC 8200 8.1), which sums to IPv4's (RFC 768)."""
    return addresses[0] + addresses[1] + struct.pack("!II", size, PROTO_UDP)
