"""What kernels share: types of columns, and the few things that plain numba code can't say.

`espsim.jit.compiling` compiles them. Constants beside a uint64 are `np.uint64` names, because a bare literal would make
the result signed or a float. All works with NUMBA_DISABLE_JIT=1 as well, where a wrapping product would warn: hence
`mul64`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

from espsim.jit.compiling import JIT, OPTIONS, compiled, compiler, helper, inlined, kernel

__all__ = [
    "I32", "I64", "JIT", "OPTIONS", "U8", "U16", "U32", "U64", "Int",
    "compiled", "compiler", "helper", "inlined", "kernel", "mul64", "prefetch",
]  # fmt: skip

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Int = int | np.int64

# Its type hints know less than half of what is used here.
codegen: Any = cgutils


def _emit_prefetch(_typing: Any, table: Any, row: Any) -> Any:
    """The code of `prefetch`: LLVM's instruction of that name."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = signature.args[0]
        view = context.make_array(array)(context, builder, args[0])
        first = context.cast(builder, args[1], signature.args[1], types.intp)
        at = [first] + [context.get_constant(types.intp, 0)] * (array.ndim - 1)
        pointer = codegen.get_item_pointer(context, builder, array, view, at, wraparound=False)
        bytes_at, i32 = codegen.voidptr_t, codegen.int32_t
        kind = codegen.ir.FunctionType(codegen.ir.VoidType(), [bytes_at, i32, i32, i32])
        hint = codegen.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # rw 0: for reading; locality 3: keep it in every level; cache type 1: data
        builder.call(hint, [builder.bitcast(pointer, bytes_at), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(table, row), generate


def _multiply(a: np.uint64, b: np.uint64) -> np.uint64:
    return a * b


def _multiply_unjitted(a: np.uint64, b: np.uint64) -> np.uint64:
    return np.uint64(int(a) * int(b) & 0xFFFFFFFFFFFFFFFF)


def _nothing(_table: Any, _row: Any) -> None:
    """Unjitted there is no cache to talk to."""


mul64: Callable[[np.uint64, np.uint64], np.uint64] = helper(_multiply) if JIT else _multiply_unjitted
"""a * b modulo 2^64."""

prefetch: Callable[[Any, Any], None] = cast(Any, intrinsic)(_emit_prefetch) if JIT else _nothing
"""Ask for the cache line at table[row] (a C-contiguous array of any dimension), and don't wait for it."""
