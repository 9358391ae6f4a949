"""Memory for tables that are read at random: whole cache lines, and large pages where the system gives them.

numpy's own allocation starts 16 bytes into a page, so a 64-byte bucket would lie in two cache lines; and with pages of
4 KiB every random read of a large table misses the TLB as well.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from typing import TypeVar

import numpy as np
import numpy.typing as npt

LINE = 64
"""Bytes of a cache line."""

_T = TypeVar("_T", bound=np.generic)
_HUGE = 2 << 20


def zeros(shape: tuple[int, ...], dtype: type[_T], *, huge: bool = True) -> npt.NDArray[_T]:
    """A zeroed array that starts at a cache line; from 2 MiB on in transparent huge pages, unless `huge` is False."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    step = _HUGE if size >= _HUGE else LINE
    if size < _HUGE:
        raw = np.zeros(size + step, np.uint8)
    else:
        pages = mmap.mmap(-1, size + step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a hint: a kernel built without huge pages refuses it (EINVAL)
                pages.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        raw = np.frombuffer(pages, np.uint8)
    start = -raw.ctypes.data % step
    return raw[start : start + size].view(kind).reshape(shape)
