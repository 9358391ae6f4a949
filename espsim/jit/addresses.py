"""Memory and C functions by address, for the native engines' kernels: loads and stores, calls, copies, comparison.

Function addresses are arguments of the kernels and not part of their code, so the compiled code can be kept on disk.
Everything is int64, addresses too: user space ends below 2^47, and int64 mixes with plain literals without surprises.
Only numbers are passed between compiled functions: an array costs two atomic counts of references a call.
A call assumes that integers and pointers travel alike in 64-bit registers, as they do on x86-64 and aarch64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from espsim.core.arrays import Array
from espsim.jit.compiling import helper

ir: Any = cast(Any, cgutils).ir  # llvmlite's, by way of numba, so that there is one version of it

_WORD = ir.IntType(64)
_LITTLE = sys.byteorder == "little"


def _intrinsic(function: Callable[..., Any]) -> Any:
    """numba's `intrinsic`, which to a type checker is what it becomes in compiled code: any function."""
    return intrinsic(function)


@_intrinsic
def call(typingctx: Any, function: Any, arguments: Any) -> Any:
    """call(address, (a, b, ...)): a C function of integers and pointers; its int result (nonsense where it is void)."""
    kinds: list[Any] = list(cast(Any, arguments)) if isinstance(arguments, types.BaseTuple) else []
    if not kinds or not all(isinstance(kind, types.Integer) for kind in kinds):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [
            context.cast(builder, builder.extract_value(args[1], n), kind, types.int64) for n, kind in enumerate(kinds)
        ]
        function_type = ir.FunctionType(ir.IntType(32), [_WORD] * len(values))
        answer = builder.call(builder.inttoptr(args[0], function_type.as_pointer()), values)
        return builder.sext(answer, _WORD)

    return types.int64(types.int64, arguments), codegen


def _loader(bits: int) -> Any:
    kind = ir.IntType(bits)

    @_intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[0], kind.as_pointer()), align=1)
            return value if bits == 64 else builder.zext(value, _WORD)

        return types.int64(types.int64), codegen

    return load


def _storer(bits: int) -> Any:
    kind = ir.IntType(bits)

    @_intrinsic
    def store(typingctx: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = args[1] if bits == 64 else builder.trunc(args[1], kind)
            builder.store(value, builder.inttoptr(args[0], kind.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


# loadN(address): N bits, zero-extended; storeN(address, value). The address need not be aligned.
load8, load32, load64 = _loader(8), _loader(32), _loader(64)
store8, store32, store64 = _storer(8), _storer(32), _storer(64)


@_intrinsic
def store_words(typingctx: Any, address: Any, words: Any) -> Any:
    """store_words(address, (a, b, c, d)): the low 32 bits of each, 16 bytes by one store.

    A longer load that comes soon after finds them in the store buffer. After several stores it would wait until all
    of them are in the cache (10 ns).
    """
    if not isinstance(words, types.BaseTuple) or len(cast(Any, words)) != 4:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        value = ir.Constant(ir.VectorType(word, 4), ir.Undefined)
        for n, kind in enumerate(signature.args[1]):
            whole = context.cast(builder, builder.extract_value(args[1], n), kind, types.int64)
            value = builder.insert_element(value, builder.trunc(whole, word), word(n))
        builder.store(value, builder.inttoptr(args[0], value.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, words), codegen


@helper
def address(array: Array) -> Any:
    """Where an array's first byte lies."""
    return np.int64(array.ctypes.data)


@helper
def copy_words(target: int, source: int, size: int) -> None:
    """`size` bytes, a multiple of 8."""
    for at in range(0, size, 8):
        store64(target + at, load64(source + at))


@helper
def move(target: int, source: int, size: int) -> None:
    """`size` bytes to where they do not overlap; nothing where they lie already."""
    if target != source:
        whole = size & ~7
        copy_words(target, source, whole)
        copy_bytes(target + whole, source + whole, size - whole)


@helper
def copy_bytes(target: int, source: int, size: int) -> None:
    """`size` bytes; few."""
    for at in range(size):
        store8(target + at, load8(source + at))


@helper
def differ(one: int, other: int, size: int) -> int:
    """0 where `size` bytes are equal; takes the same time wherever they differ."""
    found = 0
    at = 0
    while at + 8 <= size:
        found |= load64(one + at) ^ load64(other + at)
        at += 8
    if at + 4 <= size:
        found |= load32(one + at) ^ load32(other + at)
        at += 4
    while at < size:
        found |= load8(one + at) ^ load8(other + at)
        at += 1
    return found


@helper
def network32(value: int) -> int:
    """The low 32 bits of `value` as a word that lies in memory in network order."""
    if not _LITTLE:
        return value & 0xFFFFFFFF
    return (value & 0xFF) << 24 | (value & 0xFF00) << 8 | value >> 8 & 0xFF00 | value >> 24 & 0xFF


@helper
def store32_be(address: int, value: int) -> None:
    """Store the low 32 bits of `value` in network order."""
    store32(address, network32(value))
