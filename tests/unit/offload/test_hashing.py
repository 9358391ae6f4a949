"""The hashes of modelled devices: published values, and each written a second time."""

from __future__ import annotations

import pytest

from espsim.offload.hashing import crc32c, mix64, vendor_hash

GOLDEN, M64 = 0x9E3779B97F4A7C15, (1 << 64) - 1
KEYS = [[], [0], [1], [M64], [1 << 63, 5], [7, 7, 7], [0x0123456789ABCDEF, 1 << 32]]


def test_splitmix64():
    """The first numbers of the generator from seed 0 (Vigna's splitmix64.c), and two by hand."""
    assert [mix64(GOLDEN * n & M64) for n in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix64(0) == 0
    assert len({mix64(1 << bit) for bit in range(64)}) == 64
    assert all(0 <= mix64(1 << bit) <= M64 for bit in range(64))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("seed", "way"), [(0, 0), (0, 1), (5, 0), (5, 3), (M64, 2)])
def test_a_key_is_mixed_in_word_by_word(key, seed, way):
    h = mix64((seed * GOLDEN + way + 1) & M64)
    for word in key:
        h = mix64(h ^ word)
    assert vendor_hash(key, seed, way) == h
    assert vendor_hash([word + (1 << 64) for word in key], seed, way) == h


def crc_of(data: bytes) -> int:
    """CRC-32C a byte at a time, from the other end: the polynomial is not reflected, the bits are."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= int(f"{byte:08b}"[::-1], 2) << 24
        for _ in range(8):
            register = register << 1 ^ (0x11EDC6F41 if register >> 31 else 0)
    return int(f"{register ^ 0xFFFFFFFF:032b}"[::-1], 2)


def test_the_second_crc_is_castagnolis():
    """RFC 3720 B.4: 32 zeros, 32 ones, 0 to 31."""
    assert crc_of(bytes(32)) == 0x8A9136AA
    assert crc_of(b"\xff" * 32) == 0x62A8AB43
    assert crc_of(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("seed", "way"), [(0, 0), (0, 1), (5, 0), (5, 3), (0xFFFFFFFF, 2)])
def test_crc32c_of_words_in_network_order(key, seed, way):
    data = ((seed + way) % 2**32).to_bytes(4) + b"".join(word.to_bytes(8) for word in key)
    assert crc32c(key, seed, way) == crc_of(data)
