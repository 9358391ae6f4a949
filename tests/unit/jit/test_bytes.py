"""Words of an arena: compiled code loads, stores and copies in one instruction what the plain functions do."""

from typing import Literal

import numpy as np
import pytest

from espsim.jit import bytes as words
from espsim.jit.compiling import kernel

DATA = np.random.default_rng(7).integers(0, 256, 64).astype(np.uint8)
DATA[20:28] = 0xFF


@kernel
def load(arena, at, which):
    if which == 0:
        return np.uint64(words.be16(arena, at))
    if which == 1:
        return np.uint64(words.be32(arena, at))
    if which == 2:
        return np.uint64(words.be64(arena, at))
    if which == 3:
        return np.uint64(words.le16(arena, at))
    return np.uint64(words.le32(arena, at))


@kernel
def store(arena, at, value, which):
    if which == 0:
        words.put16(arena, at, value)
    elif which == 1:
        words.put32(arena, at, value)
    elif which == 2:
        words.put64(arena, at, value)
    else:
        words.put32_le(arena, at, value)


@kernel
def move(out, to, arena, at, size):
    words.copy(out, to, arena, at, size)


LOADS: dict[int, tuple[int, Literal["big", "little"]]] = {
    0: (2, "big"),
    1: (4, "big"),
    2: (8, "big"),
    3: (2, "little"),
    4: (4, "little"),
}
STORES: dict[int, tuple[int, Literal["big", "little"]]] = {
    0: (2, "big"),
    1: (4, "big"),
    2: (8, "big"),
    3: (4, "little"),
}


@pytest.mark.parametrize("which", LOADS)
def test_a_word_is_its_bytes_at_any_place(which):
    width, order = LOADS[which]
    for at in range(len(DATA) - width + 1):
        assert int(load(DATA, at, which)) == int.from_bytes(DATA[at : at + width].tobytes(), order)


@pytest.mark.parametrize("which", STORES)
def test_a_store_writes_its_low_bytes_and_no_other(which):
    width, order = STORES[which]
    for value in (0, 1, 0x0102030405060708, -1, -2):
        for at in range(len(DATA) - width + 1):
            arena = DATA.copy()
            store(arena, at, value, which)
            wanted = bytearray(DATA.tobytes())
            wanted[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, order)
            assert arena.tobytes() == wanted


@pytest.mark.parametrize("size", [0, 1, 7, 8, 31, 64])
def test_a_copy_writes_its_bytes_and_no_other(size):
    for to in range(64 - size + 1):
        out, at = np.zeros(64, np.uint8), 64 - size - to
        move(out, to, DATA, at, size)
        assert out.tobytes() == bytes(to) + DATA[at : at + size].tobytes() + bytes(64 - to - size)


@pytest.mark.parametrize("pair", ["be16", "be32", "be64", "le16", "le32"])
def test_the_plain_functions_say_the_same(pair):
    plain = getattr(words, f"_{pair}")
    which = ["be16", "be32", "be64", "le16", "le32"].index(pair)
    assert [int(plain(DATA, at)) for at in range(50)] == [int(load(DATA, at, which)) for at in range(50)]
