"""ESP's header and trailer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.wire import esp


def test_the_header_is_spi_and_the_low_half_big_endian():
    assert esp.emit(0x12345678, 0x9ABCDEF0) == bytes.fromhex("123456789abcdef0")
    assert esp.parse(b"..." + bytes.fromhex("123456789abcdef0"), 3) == (0x12345678, 0x9ABCDEF0)


@pytest.mark.parametrize(
    ("length", "aligned", "trailer"),
    [
        (0, 4, "01020204"),
        (1, 4, "010104"),
        (2, 4, "0004"),
        (3, 4, "0102030304"),
        (4, 4, "01020204"),
        (14, 16, "0004"),
        (15, 16, "0102030405060708090a0b0c0d0e0f0f04"),
        (16, 16, "0102030405060708090a0b0c0d0e0e04"),
    ],
)
def test_the_trailer_pads_1_2_3_to_the_smallest_multiple(length, aligned, trailer):
    assert esp.emit_trailer(length, 4, aligned).hex() == trailer


@given(st.binary(min_size=1, max_size=70), st.integers(0, 255), st.sampled_from([4, 8, 16]))
def test_what_is_padded_is_split_again(payload, next_header, aligned):
    plaintext = payload + esp.emit_trailer(len(payload), next_header, aligned)
    assert len(plaintext) % aligned == 0
    assert len(plaintext) - len(payload) < aligned + 2
    assert esp.parse_trailer(plaintext) == (len(payload), next_header)


@pytest.mark.parametrize(
    ("plaintext", "split"),
    [
        (b"", None),
        (b"\0", None),
        (b"\0\4", None),  # nothing inside
        (b"x\0\4", (1, 4)),
        (b"x\1\4", None),  # all of it is padding
        (b"xy\1\4", (1, 4)),
        (b"xy\2\4", None),
        (b"xy\xff\4", None),
        (b"x" + bytes(255) + b"\xff\4", (1, 4)),  # padding's bytes are not looked at
        (bytes(255) + b"\xff\4", None),
    ],
)
def test_a_pad_length_must_leave_a_payload(plaintext, split):
    assert esp.parse_trailer(plaintext) == split


@pytest.mark.parametrize(
    ("plaintext", "odd"),
    [
        (b"xy\0\4", False),
        (b"xy\1\1\4", False),
        (b"xy\1\2\3\3\4", False),
        (b"xy" + bytes(range(1, 256)) + b"\xff\4", False),
        (b"xy\0\1\4", True),
        (b"xy\1\2\2\3\4", True),  # the last byte
        (b"xy\0\1\2\3\4", True),
    ],
)
def test_padding_that_is_not_1_2_3(plaintext, odd):
    assert esp.odd_padding(plaintext, 2) is odd
