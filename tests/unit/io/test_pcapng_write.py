"""pcapng out, byte for byte: interfaces with their clock, packets with their time."""

from __future__ import annotations

import struct

import pytest

from espsim.io.pcapng import interface_block, packet_block

NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize("linktype", [1, 101])
def test_an_interface_says_its_link_type_its_snaplen_and_a_clock_that_is_not_the_usual_one(linktype):
    head = struct.pack("<HHI", linktype, 0, 262144)
    assert interface_block(linktype, nanosecond=False) == struct.pack("<II8sI", 1, 20, head, 20)
    clock = bytes.fromhex("0900 0100 09000000 0000 0000")  # if_tsresol 9, end of options
    assert interface_block(linktype, nanosecond=True) == struct.pack("<II8s12sI", 1, 32, head, clock, 32)


@pytest.mark.parametrize(
    ("time_ns", "nanosecond", "ticks"),
    [
        (NS, True, NS), (NS, False, NS // 1000), (999, False, 0), (1000, False, 1), (0, True, 0), (-5, True, 0),
        (-5_000_000, False, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("wire", "length"), [(None, 5), (99, 99), (0, 0)])
def test_a_packet_says_when_it_came_and_how_long_it_was(time_ns, nanosecond, ticks, wire, length):
    block = packet_block(b"hello", time_ns, nanosecond, interface=3, wire=wire)
    head = struct.pack("<IIIII", 3, ticks >> 32, ticks & 0xFFFFFFFF, 5, length)
    assert block == struct.pack("<II20s5s3xI", 6, 40, head, b"hello", 40)
