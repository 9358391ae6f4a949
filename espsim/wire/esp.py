"""ESP (RFC 4303 section 2).

 0                   1                   2                   3
|               Security Parameters Index (SPI)                 |   0
|                      Sequence Number                          |   4
|                    IV (0, 8 or 16 bytes)                      |   8
|                    Payload Data (encrypted)                   |
|            TFC padding (tunnel mode only)                     |
|            Padding 1, 2, 3 ...            | Pad Len | Next Hdr|
|                 Integrity Check Value (ICV)                   |

>>> emit(0x1000, 42).hex(" ", 4)
'00001000 0000002a'
>>> parse(bytes.fromhex("00001000 0000002a"))
(4096, 42)
>>> emit_trailer(5, next_header=4, aligned=4).hex()
'010104'

What this does not do: seal or open (aead/), infer the high half of a sequence number (sad/window.py), or know which IV
and ICV an SA has (aead/suites.py).
"""

from __future__ import annotations

import struct

HEADER_LENGTH = 8
TRAILER_LENGTH = 2
"""Pad length and next header, after the padding."""

_HEADER = struct.Struct("!II")
_MONOTONIC = bytes(range(1, 256))


def parse(data: bytes, at: int = 0) -> tuple[int, int]:
    """(SPI, sequence number) of the header at an offset; at least 8 bytes must be there."""
    found: tuple[int, int] = _HEADER.unpack_from(data, at)
    return found


def emit(spi: int, seq: int) -> bytes:
    """The 8-byte header; `seq` is the low half of the sequence number."""
    return _HEADER.pack(spi, seq)


def length(_data: bytes, _at: int = 0) -> int:
    """Always 8 bytes; the IV after them depends on the SA."""
    return HEADER_LENGTH


def emit_trailer(payload_length: int, next_header: int, aligned: int) -> bytes:
    """Padding 1, 2, 3 ..., pad length and next header, so that payload and trailer are a multiple of `aligned`."""
    pad = -(payload_length + TRAILER_LENGTH) % aligned
    return _MONOTONIC[:pad] + bytes((pad, next_header))


def parse_trailer(plaintext: bytes) -> tuple[int, int] | None:
    """(payload length, next header) of an opened packet, or None where the pad length leaves no payload.

    As esp_remove_trailer (net/ipv4/esp4.c): the padding's bytes are not looked at, an empty payload is refused.
    """
    size = len(plaintext)
    if size < TRAILER_LENGTH:
        return None
    payload_length = size - TRAILER_LENGTH - plaintext[-2]
    return (payload_length, plaintext[-1]) if payload_length > 0 else None


def odd_padding(plaintext: bytes, payload_length: int) -> bool:
    """Whether the padding of an opened packet is not 1, 2, 3 ..., as RFC 4303 2.4 says that it must be."""
    return not _MONOTONIC.startswith(plaintext[payload_length:-TRAILER_LENGTH])
