"""Numbers in network order in an arena, the Internet checksum's fold, and arithmetic modulo 2^32 and 2^64.

Constants beside a uint64 are `np.uint64` names, because a bare literal would make the result signed or a float. All
works with NUMBA_DISABLE_JIT=1 as well, where a wrapping product would warn: hence `mul64`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from espsim.core.arrays import U8, Int
from espsim.jit import words
from espsim.jit.compiling import JIT, helper, inlined

_1, _8, _16, _24, _32 = (np.uint64(n) for n in (1, 8, 16, 24, 32))
_LOW = np.uint64(0xFFFFFFFF)


# What the words of jit/words.py do, for NUMBA_DISABLE_JIT=1.


def _be16(arena: U8, at: Int) -> int:
    return np.int64(arena[at]) << 8 | np.int64(arena[at + 1])


def _be32(arena: U8, at: Int) -> np.uint64:
    return (
        np.uint64(arena[at]) << _24 | np.uint64(arena[at + 1]) << _16
        | np.uint64(arena[at + 2]) << _8 | np.uint64(arena[at + 3])
    )  # fmt: skip


def _be64(arena: U8, at: Int) -> np.uint64:
    return _be32(arena, at) << _32 | _be32(arena, at + 4)


def _le16(arena: U8, at: Int) -> int:
    return np.int64(arena[at]) | np.int64(arena[at + 1]) << 8


def _le32(arena: U8, at: Int) -> int:
    return _le16(arena, at) | _le16(arena, at + 2) << 16


def _put16(arena: U8, at: Int, value: Int) -> None:
    arena[at], arena[at + 1] = value >> 8 & 0xFF, value & 0xFF


def _put32(arena: U8, at: Int, value: Int) -> None:
    _put16(arena, at, value >> 16)
    _put16(arena, at + 2, value)


def _put64(arena: U8, at: Int, value: Int) -> None:
    _put32(arena, at, value >> 32)
    _put32(arena, at + 4, value)


def _put32_le(arena: U8, at: Int, value: Int) -> None:
    arena[at], arena[at + 1] = value & 0xFF, value >> 8 & 0xFF
    arena[at + 2], arena[at + 3] = value >> 16 & 0xFF, value >> 24 & 0xFF


_Load = Callable[[U8, Int], int]
_LoadUnsigned = Callable[[U8, Int], np.uint64]
_Store = Callable[[U8, Int, Int], None]

be16: _Load = words.loader(2, big=True, result=words.SIGNED) if JIT else _be16
"""16 bits, signed arithmetic."""
be32: _LoadUnsigned = words.loader(4, big=True, result=words.UNSIGNED) if JIT else _be32
"""32 bits."""
be64: _LoadUnsigned = words.loader(8, big=True, result=words.UNSIGNED) if JIT else _be64
"""64 bits."""
le16: _Load = words.loader(2, big=False, result=words.SIGNED) if JIT else _le16
"""16 bits in little-endian order, signed arithmetic."""
le32: _Load = words.loader(4, big=False, result=words.SIGNED) if JIT else _le32
"""32 bits in little-endian order, signed arithmetic."""
put16: _Store = words.storer(2, big=True) if JIT else _put16
"""The low 16 bits of a value."""
put32: _Store = words.storer(4, big=True) if JIT else _put32
"""The low 32 bits of a value."""
put64: _Store = words.storer(8, big=True) if JIT else _put64
"""64 bits of a value."""
put32_le: _Store = words.storer(4, big=False) if JIT else _put32_le
"""The low 32 bits of a value in little-endian order."""


@inlined
def copy(out: U8, to: Int, arena: U8, at: Int, size: Int) -> None:
    """`size` bytes from `at` in `arena` to `to` in `out`; the two must not overlap.

    Unsigned, because LLVM copies in large steps only where no index can be negative. For packets this is as fast as
    memcpy or faster (64 bytes 4.7 ns against 6.7).
    """
    here, there = np.uint64(at), np.uint64(to)
    for n in range(np.uint64(size)):
        out[there + n] = arena[here + n]


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
