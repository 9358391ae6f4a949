"""Row indices of hash tables.

A vendor's hash that is not public is modelled by a seeded uniform mixer; skewed ways have one each. (Of Marvell's
SPI_TO_SA only the shape is known: four 11-bit indices of a 55-bit key.) `crc32c` is the Castagnoli CRC.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

_MASK64 = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15


def mix64(x: int) -> int:
    """splitmix64's finalizer (Steele, Lea, Flood: OOPSLA 2014), a bijection of 64-bit words."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK64
    return x ^ x >> 31


def vendor_hash(words: Sequence[int], seed: int, way: int) -> int:
    """64 bits of a key: h = mix64(seed * golden + way + 1), then h = mix64(h ^ word) for each 64-bit word."""
    h = _start(seed, way)
    for word in words:  # mix64 again, in line: calls for each word of 100,000 SAs cost time
        h ^= word & _MASK64
        h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9 & _MASK64
        h = (h ^ h >> 27) * 0x94D049BB133111EB & _MASK64
        h ^= h >> 31
    return h


@functools.cache
def _start(seed: int, way: int) -> int:
    return mix64((seed * _GOLDEN + way + 1) & _MASK64)


def crc32c(words: Sequence[int], seed: int, way: int) -> int:
    """CRC-32C (polynomial 0x1EDC6F41, reflected) of the words in network order; seed and way go in first."""
    crc = 0xFFFFFFFF
    for byte in struct.pack(f"!I{len(words)}Q", (seed + way) & 0xFFFFFFFF, *words):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
