"""The fragment header of IPv6 (RFC 8200 4.5). It follows the headers that every fragment of a datagram has.

|  Next Header  |   Reserved    |      Fragment Offset    |Res|M|   0
|                         Identification                        |   4

>>> emit(50, 1448, more=True, ident=7).hex(" ", 4)
'320005a9 00000007'
>>> parse(bytes.fromhex("320005a9 00000007"))
FragmentHeader(next_header=50, offset=1448, more=True, ident=7)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER_LENGTH = 8
IDENT = 4

_HEADER = struct.Struct("!BBHI")
_OFFSET_MASK, _MORE = 0xFFF8, 1


class FragmentHeader(NamedTuple):
    """The header. `offset`: bytes before this fragment's in the datagram, a multiple of 8; `more`: others follow it."""

    next_header: int
    offset: int
    more: bool
    ident: int


def parse(data: bytes, at: int = 0) -> FragmentHeader:
    """The header at an offset; at least 8 bytes must be there."""
    next_header, _reserved, field, ident = _HEADER.unpack_from(data, at)
    return FragmentHeader(next_header, field & _OFFSET_MASK, bool(field & _MORE), ident)


def emit(next_header: int, offset: int, *, more: bool, ident: int) -> bytes:
    """The 8-byte header; `offset` is a multiple of 8."""
    return _HEADER.pack(next_header, 0, offset | more, ident)


def length(_data: bytes, _at: int = 0) -> int:
    """Always 8 bytes."""
    return HEADER_LENGTH
