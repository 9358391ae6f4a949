"""Numbers in network order in an arena, the Internet checksum's fold, and arithmetic modulo 2^32 and 2^64.

Constants beside a uint64 are `np.uint64` names, because a bare literal would make the result signed or a float. All
works with NUMBA_DISABLE_JIT=1 as well, where a wrapping product would warn: hence `mul64`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from espsim.core.arrays import U8, Int
from espsim.jit.compiling import JIT, helper, inlined

_1, _8, _16, _24, _32 = (np.uint64(n) for n in (1, 8, 16, 24, 32))
_LOW = np.uint64(0xFFFFFFFF)


@inlined
def be16(arena: U8, at: Int) -> int:
    """16 bits, signed arithmetic."""
    return np.int64(arena[at]) << 8 | np.int64(arena[at + 1])


@inlined
def be32(arena: U8, at: Int) -> np.uint64:
    """32 bits."""
    return (
        np.uint64(arena[at]) << _24 | np.uint64(arena[at + 1]) << _16
        | np.uint64(arena[at + 2]) << _8 | np.uint64(arena[at + 3])
    )  # fmt: skip


@inlined
def be64(arena: U8, at: Int) -> np.uint64:
    """64 bits."""
    return be32(arena, at) << _32 | be32(arena, at + 4)


@inlined
def put16(arena: U8, at: Int, value: Int) -> None:
    """The low 16 bits of `value`."""
    arena[at], arena[at + 1] = value >> 8 & 0xFF, value & 0xFF


@inlined
def put32(arena: U8, at: Int, value: Int) -> None:
    """The low 32 bits of `value`."""
    put16(arena, at, value >> 16)
    put16(arena, at + 2, value)


@inlined
def put64(arena: U8, at: Int, value: Int) -> None:
    """64 bits of `value`."""
    put32(arena, at, value >> 32)
    put32(arena, at + 4, value)


@inlined
def fold(total: int) -> int:
    """A sum of 16-bit words in ones' complement (RFC 1071 2)."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@inlined
def plus_one32(value: np.uint64) -> np.uint64:
    """value + 1 modulo 2^32, of a value below 2^32."""
    return (value + _1) & _LOW


@inlined
def minus_one32(value: np.uint64) -> np.uint64:
    """value - 1 modulo 2^32, of a value below 2^32. 2^32 - 1 is added, because 0 - 1 would be 2^64 - 1."""
    return (value + _LOW) & _LOW


@inlined
def into_range(hashed: np.uint64, size: np.uint64) -> np.uint64:
    """A 64-bit hash as a number below `size` (below 2^32): the high half times `size`, over 2^32. No division."""
    return (hashed >> _32) * size >> _32


def _multiply(a: np.uint64, b: np.uint64) -> np.uint64:
    return a * b


def _multiply_unjitted(a: np.uint64, b: np.uint64) -> np.uint64:
    return np.uint64(int(a) * int(b) & 0xFFFFFFFFFFFFFFFF)


mul64: Callable[[np.uint64, np.uint64], np.uint64] = helper(_multiply) if JIT else _multiply_unjitted
"""a * b modulo 2^64."""
