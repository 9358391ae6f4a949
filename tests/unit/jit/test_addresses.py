"""`differ`, by which native engines compare every ICV, over every size and place; and stores of several words."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from espsim.jit import addresses
from espsim.jit.compiling import JIT, helper

pytestmark = pytest.mark.skipif(not JIT, reason="there is no compiled function without a compiler")


@pytest.fixture(scope="module")
def differ():
    """differ(one, other, size) of two byte strings, each at an odd address of its own."""

    @helper
    def compiled(one, other, size):
        return addresses.differ(addresses.address(one), addresses.address(other), size)

    def called(one, other, size):
        ours, theirs = (np.frombuffer(bytes(1) + data, np.uint8)[1:] for data in (one, other))
        return compiled(ours, theirs, size)

    return called


SIZES = [*range(70), 255, 256, 257]


@pytest.mark.parametrize("size", SIZES)
def test_equal_bytes_do_not_differ_and_what_is_past_them_is_not_looked_at(differ, size):
    data = random.Random(size).randbytes(size)
    assert differ(data + b"one", data + b"two", size) == 0


@pytest.mark.parametrize("size", SIZES)
def test_every_bit_of_every_byte_counts(differ, size):
    data = random.Random(size).randbytes(size)
    for at in range(size):
        for bit in range(8) if size < 40 else (at % 8,):
            other = data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]
            assert differ(data + b"x", other + b"x", size) != 0, (at, bit)
            assert differ(other + b"x", data + b"x", size) != 0, (at, bit)


def test_differences_do_not_cancel(differ):
    """The same difference at two places, and one that is the other's negative."""
    rng = random.Random(2)
    for size in (8, 12, 16, 20, 33, 64):
        for _ in range(200):
            data, change = rng.randbytes(size), rng.randrange(1, 256)
            one, two = rng.sample(range(size), 2)
            for second in (change, 256 - change):
                other = bytearray(data)
                other[one] ^= change
                other[two] = (other[two] + second) % 256
                assert differ(data, bytes(other), size) != 0
                other[two] = data[two] ^ change
                assert differ(data, bytes(other), size) != 0


def test_bytes_that_share_nothing_differ(differ):
    for size in range(1, 70):
        assert differ(bytes(size), b"\xff" * size, size) != 0
        assert differ(b"\x80" * size, bytes(size), size) != 0


def test_words_are_stored_in_their_order_and_nothing_beside_them():
    @helper
    def compiled(room, words):
        at = addresses.address(room) + 1
        addresses.store_words(at, (words[0], addresses.network32(words[1]), words[2], 0))
        addresses.store32_be(at + 17, words[1])

    room = np.full(24, 0xAA, np.uint8)
    compiled(room, np.array([0x1122334455667788, 0x1F1E2D3C4B, -1], np.int64))
    low = (0x55667788).to_bytes(4, sys.byteorder)
    big = bytes.fromhex("1e2d3c4b")
    assert room.tobytes() == b"\xaa" + low + big + b"\xff" * 4 + bytes(4) + b"\xaa" + big + b"\xaa" * 2
