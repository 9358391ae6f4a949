"""The Internet checksum (RFC 1071).

>>> f"{ones_complement_sum(bytes.fromhex('0001f203f4f5f6f7')):04x}"
'ddf2'
"""

from __future__ import annotations


def ones_complement_sum(data: bytes) -> int:
    """The 16-bit one's complement sum of `data`, padded with a zero byte where its length is odd."""
    if len(data) & 1:
        data += b"\0"
    # Summing 16-bit words modulo 2^16-1 is reading the bytes as one big number modulo 2^16-1 (RFC 1071 2).
    total = int.from_bytes(data) % 0xFFFF
    return total if total or not any(data) else 0xFFFF


def internet_checksum(data: bytes) -> int:
    """The checksum to write into a header whose checksum field is zero in `data`."""
    return ~ones_complement_sum(data) & 0xFFFF
