"""The types of columns: numpy arrays by what an element is. Kernels, stages and engines use these names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

Int = int | np.int64
"""A number inside a kernel: to numba the two are one type."""
Array = Any
"""An array, or one of its elements, where what numba makes of it has no name that a type checker knows."""


def address_words(addresses: Iterable[bytes]) -> U64:
    """uint64 (n, 2): packed addresses as numbers, high and low words; IPv4 lies in the low one."""
    packed = list(addresses)
    whole = b"".join(packed)
    if len(whole) == 4 * len(packed):  # all are IPv4
        words = np.zeros((len(packed), 2), np.uint64)
        words[:, 1] = np.frombuffer(whole, ">u4")
        return words
    if len(whole) < 16 * len(packed):
        whole = b"".join([address.rjust(16, b"\0") for address in packed])
    return np.frombuffer(whole, ">u8").astype(np.uint64).reshape(-1, 2)
