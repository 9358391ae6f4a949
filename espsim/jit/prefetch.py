"""Prefetch: start the fetch of a cache line, and don't wait for it.

    prefetch(table, row)    the line at table[row], of a C-contiguous array of any dimension
    prefetch_at(address)    the line at an address; any will do, also one that isn't mapped

With NUMBA_DISABLE_JIT=1 `prefetch` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba.core import cgutils, types
from numba.extending import intrinsic

from espsim.jit.compiling import JIT

# Its type hints know less than half of what is used here.
codegen: Any = cgutils
ir: Any = codegen.ir  # llvmlite's, by way of numba, so that there is one version of it


def _emit(builder: Any, pointer: Any) -> None:
    """LLVM's instruction of that name."""
    bytes_at, i32 = codegen.voidptr_t, codegen.int32_t
    kind = ir.FunctionType(ir.VoidType(), [bytes_at, i32, i32, i32])
    function = codegen.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    # rw 0: for reading; locality 3: keep it in every level; cache type 1: data
    builder.call(function, [pointer, i32(0), i32(3), i32(1)])


def _row(_typing: Any, table: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = signature.args[0]
        view = context.make_array(array)(context, builder, args[0])
        first = context.cast(builder, args[1], signature.args[1], types.intp)
        at = [first] + [context.get_constant(types.intp, 0)] * (array.ndim - 1)
        pointer = codegen.get_item_pointer(context, builder, array, view, at, wraparound=False)
        _emit(builder, builder.bitcast(pointer, codegen.voidptr_t))
        return context.get_dummy_value()

    return types.void(table, row), generate


def _address(_typing: Any, _at: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _emit(builder, builder.inttoptr(args[0], codegen.voidptr_t))
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _nothing(_table: Any, _row: Any) -> None:
    """Plain Python has nothing to prefetch."""


prefetch: Callable[[Any, Any], None] = cast(Any, intrinsic)(_row) if JIT else _nothing
"""Start the fetch of the cache line at table[row]."""
prefetch_at: Callable[[int], None] = cast(Any, intrinsic)(_address)
"""Start the fetch of the cache line at an address."""
