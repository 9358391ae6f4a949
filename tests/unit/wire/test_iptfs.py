"""AGGFRAG headers and data blocks, by the bytes of RFC 9347 6.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.wire import iptfs


@pytest.mark.parametrize(("data", "header"), [
    (bytes.fromhex("00000045") + b"x", (0, 0, 69, 4)),
    (bytes.fromhex("010301d4") + bytes(20), (1, 3, 468, 24)),
    (bytes.fromhex("02000000"), (2, 0, 0, 4)),
    (bytes.fromhex("010001d4") + bytes(19), None),
    (bytes.fromhex("000000"), None),
    (b"", None),
])  # fmt: skip
def test_parse(data, header):
    assert iptfs.parse(data) == header


@given(st.integers(0, 0xFFFF))
def test_what_is_emitted_is_parsed(offset):
    assert iptfs.parse(iptfs.emit(offset)) == (0, 0, offset, 4)


def test_an_offset_past_sixteen_bits_is_past_every_payload():
    assert iptfs.emit(65536 + 3) == bytes.fromhex("0000ffff")


@pytest.mark.parametrize(("block", "kind", "length"), [
    ("45000149", 4, 0x149), ("450001", 4, None), ("60000000010c", 6, 40 + 0x10C), ("600000000", 6, None),
])  # fmt: skip
def test_blocks(block, kind, length):
    data = b"\xff" + bytes.fromhex(block[: len(block) // 2 * 2])
    assert iptfs.block_kind(data, 1) == kind
    assert iptfs.block_length(data, 1) == length


def test_a_block_of_another_kind_has_no_length():
    with pytest.raises(ValueError, match="no inner packet"):
        iptfs.block_length(b"\x00\x01\x02\x03", 0)


@pytest.mark.parametrize(("block", "size", "wrong"), [
    ("45000013", 19, True), ("45000014", 20, False), ("46000014", 20, True), ("44000020", 32, True),
    ("600000000000", 40, False),
])  # fmt: skip
def test_too_short_for_its_own_header(block, size, wrong):
    assert iptfs.block_too_short(bytes.fromhex(block), 0, size) is wrong
