"""A plain random gather: what the memory gives to a program that does nothing but read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from espsim.jit.compiling import kernel


@kernel
def gather(table: npt.NDArray[np.uint64], rows: npt.NDArray[np.uint32], found: npt.NDArray[np.uint64]) -> None:
    """The first word of each of these rows of a table; a row is a cache line."""
    for i in range(len(rows)):
        found[i] = table[np.uint64(rows[i]), 0]
