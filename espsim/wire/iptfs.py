"""AGGFRAG payloads of IP-TFS (RFC 9347 6.1): what ESP of next header 144 holds.

Sub-type 0, 4 bytes                                                 Sub-type 1, congestion control, 24 bytes
|  Sub-type (0) |   Reserved    |          Block Offset         |   0   |  Sub-type (1) | Res |P|E|  Block Offset |
|                    Data blocks, back to back                  |   4   |  LossEventRate                        |
                                                                    8   |  RTT, Echo Delay, Transmit Delay (8)  |
                                                                   16   |  TVal                                 |
                                                                   20   |  TEcho                                |
A data block is an inner packet, or a part of one. Its first four bits say which kind (6.1.3):

4   IPv4; its length is at byte 2          6   IPv6; its payload length is at byte 4          0   padding to the end

Block Offset counts the bytes from the data blocks' start to the first block that begins in this payload. It is larger
than the payload where an inner packet that began before goes on past its end.

>>> emit(468).hex()
'000001d4'
>>> parse(bytes.fromhex("000001d4"))
IptfsHeader(sub_type=0, flags=0, block_offset=468, length=4)

What this does not do: put inner packets together (reference/iptfs_assembly.py) or read the fields of congestion
control.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from espsim.wire import ipv4, ipv6

HEADER_LENGTH = 4
CONGESTION_LENGTH = 24
BASIC, CONGESTION = 0, 1
"""Sub-types."""
MOST_OFFSET = 0xFFFF
PADDING, IPV4, IPV6 = 0, 4, 6
"""Kinds of a data block: its first four bits."""
BLOCK_LENGTH_END = 6
"""A data block of either kind states its length within so many bytes."""

_HEADER = struct.Struct("!BBH")
_V4_LENGTH_END = 4


class IptfsHeader(NamedTuple):
    """The header. `length`: its bytes. `flags`: the byte after the sub-type, of which RFC 9347 defines P and E."""

    sub_type: int
    flags: int
    block_offset: int
    length: int


def parse(payload: bytes) -> IptfsHeader | None:
    """The header of a payload; None: it is cut short. A header of an unknown sub-type has 4 bytes."""
    if len(payload) < HEADER_LENGTH:
        return None
    sub_type, flags, block_offset = _HEADER.unpack_from(payload)
    size = length(payload)
    return IptfsHeader(sub_type, flags, block_offset, size) if len(payload) >= size else None


def emit(block_offset: int, sub_type: int = BASIC, flags: int = 0) -> bytes:
    """The header; of sub-type 1 the rest is zeros.

    An offset that 16 bits can't hold becomes 65535: both lie past the end of any payload.
    """
    header = _HEADER.pack(sub_type, flags, min(block_offset, MOST_OFFSET))
    return header + bytes(CONGESTION_LENGTH - HEADER_LENGTH) if sub_type == CONGESTION else header


def length(payload: bytes, at: int = 0) -> int:
    """Bytes of the header, by its sub-type."""
    return CONGESTION_LENGTH if payload[at] == CONGESTION else HEADER_LENGTH


def block_kind(data: bytes, at: int) -> int:
    """The kind of the data block at an offset: PADDING, IPV4, IPV6, or another number."""
    return data[at] >> 4


def block_length(data: bytes, at: int) -> int | None:
    """Bytes of the inner packet whose block begins at an offset; None: the bytes that state it are not there.

    A block of neither IPv4 nor IPv6 has no length; ValueError.
    """
    left = len(data) - at
    match block_kind(data, at):
        case 4:
            return ipv4.total_length(data, at) if left >= _V4_LENGTH_END else None
        case 6:
            return ipv6.total_length(data, at) if left >= BLOCK_LENGTH_END else None
    raise ValueError("this data block is of no inner packet")


def block_too_short(data: bytes, at: int, size: int) -> bool:
    """Whether an inner packet of `size` bytes at an offset is shorter than its own IPv4 header."""
    return block_kind(data, at) == IPV4 and not ipv4.HEADER_LENGTH <= ipv4.length(data, at) <= size
