"""ESP (RFC 4303 section 2).

 0                   1                   2                   3
|               Security Parameters Index (SPI)                 |   0
|                      Sequence Number                          |   4
|                    IV (0, 8 or 16 bytes)                      |   8
|                    Payload Data (encrypted)                   |
|            TFC padding (tunnel mode only)                     |
|            Padding 1, 2, 3 ...            | Pad Len | Next Hdr|
|                 Integrity Check Value (ICV)                   |
"""

from __future__ import annotations

import struct

HEADER_LENGTH = 8

_HEADER = struct.Struct("!II")
_MONOTONIC = bytes(range(1, 256))


def parse(data: bytes, at: int) -> tuple[int, int]:
    """(SPI, sequence number) of the header at an offset; at least 8 bytes must be there."""
    spi, seq = _HEADER.unpack_from(data, at)
    return spi, seq


def emit(spi: int, seq: int) -> bytes:
    """The 8-byte header; `seq` is the low half of the sequence number."""
    return _HEADER.pack(spi, seq)


def trailer(payload_length: int, next_header: int, aligned: int) -> bytes:
    """Padding 1, 2, 3 ..., pad length and next header, so that payload and trailer are a multiple of `aligned`."""
    pad = -(payload_length + 2) % aligned
    return _MONOTONIC[:pad] + bytes((pad, next_header))


def split_trailer(plaintext: bytes) -> tuple[int, int] | None:
    """(payload length, next header) of an opened packet, or None where the pad length leaves no payload.

    As esp_remove_trailer (net/ipv4/esp4.c): the padding's bytes are not looked at, an empty payload is refused.
    """
    if len(plaintext) < 2:
        return None
    payload_length = len(plaintext) - 2 - plaintext[-2]
    return (payload_length, plaintext[-1]) if payload_length > 0 else None


def odd_padding(plaintext: bytes, payload_length: int) -> bool:
    """Whether the padding of an opened packet is not 1, 2, 3 ..., as RFC 4303 2.4 says that it must be."""
    padding = plaintext[payload_length:-2]
    return padding != _MONOTONIC[: len(padding)]
