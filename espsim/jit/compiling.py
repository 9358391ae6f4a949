"""How functions are compiled, in one place.

    @kernel   an entry point: kept on disk, the GIL released, no bounds checks, numpy's error model
    @helper   called by kernels alone, with numbers
    @inlined  called by kernels alone, with arrays

Kernels allocate nothing and hold no references (`_nrt`): an array that is passed to a helper would have its references
counted, two atomic operations a row. With NUMBA_DISABLE_JIT=1 each function stays the Python function that is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numba
from numba.core import event

from espsim.jit.cache import KernelCache

_F = TypeVar("_F", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {"_nrt": False, "nogil": True, "boundscheck": False, "error_model": "numpy"}
"""The options of numba's `njit`."""

# numba's type hints know less than half of what is used here.
compiler: Any = numba

JIT = not compiler.config.DISABLE_JIT
"""False with NUMBA_DISABLE_JIT=1."""


def kernel(function: _F) -> _F:
    """Compile at the first call, for the dtypes of that call; keep the machine code on disk where there is room."""
    compiled_one = compiler.njit(**OPTIONS)(function)
    if JIT:
        # What numba's own `cache=True` does, with a cache that knows all that a kernel is made of.
        compiled_one._cache = KernelCache(function)
    return cast(_F, compiled_one)


def helper(function: _F) -> _F:
    """Compile as part of the kernels that call it."""
    return cast(_F, compiler.njit(**OPTIONS)(function))


def inlined(function: _F) -> _F:
    """As `helper`, pasted into its callers by numba, so that LLVM sees one function whatever its size."""
    return cast(_F, compiler.njit(inline="always", **OPTIONS)(function))


def is_kept(function: Callable[..., Any]) -> bool:
    """Whether a kernel need not be compiled: its machine code is on disk (for some types), or it is plain Python."""
    cache = getattr(function, "_cache", None)
    return not isinstance(cache, KernelCache) or cache.kept


@contextlib.contextmanager
def compile_seconds() -> Iterator[list[float]]:
    """The list gets the seconds that numba's compiler took, one item for each kernel that was in no cache."""
    spent: list[float] = []
    with event.install_timer("numba:compile", spent.append):
        yield spent
