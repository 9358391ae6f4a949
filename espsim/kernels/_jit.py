"""How kernels are compiled, in one place; and the few things that plain numba code can't say.

    @kernel   an entry point: cached on disk, the GIL released, no bounds checks, numpy's error model
    @helper   called by kernels alone, with numbers
    @inlined  called by kernels alone, with arrays

Constants beside a uint64 are `np.uint64` names, because a bare literal would make the result signed or a float. The disk
cache looks at a kernel's own file alone: after an edit of this file, delete `__pycache__`. All of it works with
NUMBA_DISABLE_JIT=1 as well, where a wrapping product would warn: hence `mul64`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.extending import intrinsic

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS = {"_nrt": False, "nogil": True, "boundscheck": False, "error_model": "numpy"}

JIT = not numba.config.DISABLE_JIT
"""False: NUMBA_DISABLE_JIT=1, every kernel is the Python function that is written."""


def kernel(function: _F) -> _F:
    """Compile at the first call, for the dtypes of that call; the machine code is kept on disk where there is room."""
    try:
        return cast(_F, numba.njit(cache=True, **_OPTIONS)(function))
    except RuntimeError:  # neither beside the source nor in the user's cache folder can anything be written
        return cast(_F, numba.njit(**_OPTIONS)(function))


def helper(function: _F) -> _F:
    """Compile as part of the kernels that call it."""
    return cast(_F, numba.njit(**_OPTIONS)(function))


def inlined(function: _F) -> _F:
    """As `helper`, pasted into its callers: an array passed by a call costs two atomic counts of references a row."""
    return cast(_F, numba.njit(inline="always", **_OPTIONS)(function))


def compiled(*kernels: Callable[..., Any]) -> bool:
    """Whether each of these has run, and so has machine code; a benchmark asks before it starts its clock."""
    return not JIT or all(cast(Any, function).signatures for function in kernels)


if JIT:

    @helper
    def mul64(a: np.uint64, b: np.uint64) -> np.uint64:
        """a * b modulo 2^64."""
        return a * b

    @intrinsic  # type: ignore[untyped-decorator]
    def prefetch(typing_context: Any, table: Any, row: Any) -> Any:
        """Ask for the cache line at table[row] (a C-contiguous array of any dimension), and don't wait for it."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            array = signature.args[0]
            view = context.make_array(array)(context, builder, args[0])
            row = context.cast(builder, args[1], signature.args[1], types.intp)
            at = [row] + [context.get_constant(types.intp, 0)] * (array.ndim - 1)
            pointer = cgutils.get_item_pointer(context, builder, array, view, at, wraparound=False)
            i8p = cgutils.voidptr_t
            i32 = cgutils.int32_t
            kind = cgutils.ir.FunctionType(cgutils.ir.VoidType(), [i8p, i32, i32, i32])
            # rw 0: for reading; locality 3: keep it in every level; cache type 1: data
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(hint, [builder.bitcast(pointer, i8p), i32(0), i32(3), i32(1)])
            return context.get_dummy_value()

        return types.void(table, row), generate

else:

    def mul64(a: np.uint64, b: np.uint64) -> np.uint64:
        """a * b modulo 2^64."""
        return np.uint64(int(a) * int(b) & 0xFFFFFFFFFFFFFFFF)

    def prefetch(table: Any, row: Any) -> None:
        """Nothing: there is no cache to talk to."""
