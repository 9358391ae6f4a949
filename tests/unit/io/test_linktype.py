"""Where the IP packet starts, link type by link type."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.io.linktype import ip_packet

V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")
V6 = bytes.fromhex("6000000000003b40") + bytes(32)
MACS = bytes(range(12))
SLL = bytes.fromhex("0000000100060011223344550000")  # 14 bytes, the protocol follows
SLL2 = bytes.fromhex("0000000000020001000600112233445500 00")  # 18 bytes behind the protocol


@pytest.mark.parametrize(
    ("linktype", "frame", "packet"),
    [
        (1, MACS + b"\x08\x00" + V4 + bytes(26), V4 + bytes(26)),
        (1, MACS + b"\x86\xdd" + V6, V6),
        (1, MACS + bytes.fromhex("8100 0064 0800") + V4, V4),
        (1, MACS + bytes.fromhex("88a8 0064 8100 0065 86dd") + V6, V6),
        (1, MACS + bytes.fromhex("9100 0001 9100 0002 8100 0003 0800") + V4, V4),
        (1, MACS + b"\x08\x06" + V4, None),
        (1, MACS + b"\x88\x47" + V4, None),
        (1, MACS + bytes.fromhex("001c aaaa03000000 0800") + V4, None),  # 802.2 SNAP
        (1, MACS + bytes.fromhex("8100 0064 001c") + V4, None),
        (1, MACS + b"\x08\x00" + V6, None),  # the version is not the promised one
        (1, MACS + b"\x86\xdd" + V4, None),
        (1, MACS + b"\x08\x00", None),
        (1, MACS, None),
        (1, MACS + bytes.fromhex("8100 0064"), None),
        (101, V4, V4),
        (101, V6, V6),
        (12, V4, V4),
        (14, V6, V6),
        (101, b"\x50" + V4, None),
        (101, b"", None),
        (228, V4, V4),
        (228, V6, None),
        (229, V6, V6),
        (229, V4, None),
        (113, SLL + b"\x08\x00" + V4, V4),
        (113, SLL + b"\x86\xdd" + V6, V6),
        (113, SLL + bytes.fromhex("8100 0064 0800") + V4, V4),
        (113, SLL + b"\x08\x06" + V4, None),
        (113, SLL + b"\x00\x04" + V4, None),
        (113, SLL, None),
        (276, b"\x08\x00" + SLL2 + V4, V4),
        (276, b"\x86\xdd" + SLL2 + V6, V6),
        (276, b"\x81\x00" + SLL2 + bytes.fromhex("0064 86dd") + V6, V6),
        (276, b"\x08\x06" + SLL2 + V4, None),
        (276, b"\x08\x00" + SLL2, None),
        *[(0, struct.pack(order + "I", 2) + V4, V4) for order in "<>"],
        *[(0, struct.pack(order + "I", af) + V6, V6) for order in "<>" for af in (10, 24, 28, 30)],
        (0, struct.pack("<I", 7) + V4, None),
        (0, struct.pack("<I", 2) + V6, None),
        (0, b"\x02\x00", None),
        (0, struct.pack("<I", 2), None),
        (108, struct.pack(">I", 2) + V4, V4),
        (108, struct.pack(">I", 24) + V6, V6),
        (108, struct.pack("<I", 2) + V4, None),
    ],
)
def test_frames(linktype, frame, packet):
    assert ip_packet(linktype, frame) == packet


@given(st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276]), st.binary(max_size=60))
def test_any_frame_gives_its_own_tail_or_none(linktype, frame):
    packet = ip_packet(linktype, frame)
    assert packet is None or (packet and frame.endswith(packet) and packet[0] >> 4 in (4, 6))
