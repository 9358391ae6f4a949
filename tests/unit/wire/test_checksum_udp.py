"""The Internet checksum and UDP against packets that others made."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.wire import udp
from espsim.wire.checksum import internet_checksum, ones_complement_sum
from tests.support import checksum

# RFC 1071 section 3's example, and an IPv4 header with its checksum left out (0xb861 is right).
RFC1071 = bytes.fromhex("0001f203f4f5f6f7")
HEADER = bytes.fromhex("4500007300004000401100 00c0a80001c0a800c7".replace(" ", ""))


def test_published_examples():
    assert ones_complement_sum(RFC1071) == 0xDDF2
    assert internet_checksum(RFC1071) == 0x220D
    assert internet_checksum(HEADER) == 0xB861


@pytest.mark.parametrize(
    ("data", "total"),
    [(b"", 0), (b"\0", 0), (bytes(40), 0), (b"\xff\xff", 0xFFFF), (b"\xff\xff" * 3, 0xFFFF), (b"\1", 0x100),
     (b"\xff\xfe\0\1", 0xFFFF), (b"\xff\xff\0\1", 1)],
)  # fmt: skip
def test_the_two_zeros_and_odd_lengths(data, total):
    assert ones_complement_sum(data) == total
    assert internet_checksum(data) == 0xFFFF - total


@given(st.binary(max_size=90))
def test_as_the_word_by_word_sum(data):
    assert internet_checksum(data) == checksum(data)


@given(st.binary(min_size=2, max_size=60))
def test_a_message_with_its_checksum_sums_to_all_ones(data):
    data += b"\0" * (len(data) % 2)
    message = internet_checksum(data).to_bytes(2) + data
    assert ones_complement_sum(message) == 0xFFFF


def test_udp_over_ipv4_has_no_checksum():
    assert udp.emit(4500, 31002, b"payload") == struct.pack("!HHHH", 4500, 31002, 15, 0) + b"payload"
    assert udp.parse(b"xx" + udp.emit(4500, 31002, b"payload"), 2) == (4500, 31002, 15)


@given(st.binary(max_size=61), st.integers(0, 0xFFFF))
def test_udp_over_ipv6_has_a_right_one(payload, sport):
    src, dst = parse_address("2001:db8::1"), parse_address("fe80::2")
    datagram = udp.emit(sport, 4500, payload, (src, dst))
    assert datagram[6:8] != b"\0\0"  # 0 would mean that there is none
    pseudo = src + dst + struct.pack("!II", len(datagram), 17)
    assert checksum(pseudo + datagram) == 0


def test_a_udp_checksum_that_comes_out_as_0_is_sent_as_ffff():
    src, dst = bytes(16), bytes(16)
    # ports + payload such that everything sums to 0xffff: length 10 is counted twice, protocol 17 once
    payload = (0xFFFF - 10 - 10 - 17).to_bytes(2)
    assert udp.emit(0, 0, payload, (src, dst))[6:8] == b"\xff\xff"
