"""Words of an arena: loads, stores and copies of several bytes at once, each one instruction.

    load(arena, at)            `width` bytes as a number, in network or in little-endian order
    store(arena, at, value)    the low bytes of a number

numba's `arena[at]` tests the sign of `at`, and that keeps LLVM from merging four neighbouring loads into one. These
functions test nothing: the caller makes sure that `at` is not negative, that all bytes lie in the array, and that the
array is contiguous. With NUMBA_DISABLE_JIT=1 the plain functions in jit/bytes.py run; they say what each one does.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from numba.core import cgutils, types
from numba.extending import intrinsic

# Its type hints know less than half of what is used here.
codegen: Any = cgutils
_intrinsic = cast(Any, intrinsic)
ir: Any = codegen.ir  # llvmlite's, by way of numba, so that there is one version of it

SIGNED, UNSIGNED = types.int64, types.uint64
"""Types of a loaded word."""

_HOST_IS_BIG = sys.byteorder == "big"


def _is_contiguous(*arrays: Any) -> bool:
    """Whether these are contiguous arrays of bytes."""
    return all(array.dtype == types.uint8 and array.ndim == 1 and array.layout == "C" for array in arrays)


def _place(context: Any, builder: Any, kinds: Any, args: Any) -> Any:
    """The address of a byte: `args` are an array and the byte's place, `kinds` their types."""
    view = context.make_array(kinds[0])(context, builder, args[0])
    return builder.gep(view.data, [context.cast(builder, args[1], kinds[1], types.intp)])


def loader(width: int, *, big: bool, result: Any) -> Any:
    """load(arena, at) of `width` bytes, as numba's type `result`."""

    def load(_typing: Any, arena: Any, at: Any) -> Any:
        if not _is_contiguous(arena):
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(8 * width)
            place = _place(context, builder, signature.args, args)
            value = builder.load(builder.bitcast(place, word.as_pointer()), align=1)
            if big != _HOST_IS_BIG:
                value = builder.bswap(value)
            return value if width == 8 else builder.zext(value, ir.IntType(64))

        return result(arena, at), generate

    return _intrinsic(load)


def storer(width: int, *, big: bool) -> Any:
    """store(arena, at, value) of `width` bytes."""

    def store(_typing: Any, arena: Any, at: Any, value: Any) -> Any:
        if not _is_contiguous(arena):
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(8 * width)
            place = _place(context, builder, signature.args, args)
            number = context.cast(builder, args[2], signature.args[2], types.int64)
            number = number if width == 8 else builder.trunc(number, word)
            if big != _HOST_IS_BIG:
                number = builder.bswap(number)
            builder.store(number, builder.bitcast(place, word.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(arena, at, value), generate

    return _intrinsic(store)
