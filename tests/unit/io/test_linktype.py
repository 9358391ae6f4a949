"""Where the IP packet starts, link type by link type."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.layers import Layer
from espsim.io.linktype import ip_packet, link_layer, outgoing

V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")
V6 = bytes.fromhex("6000000000003b40") + bytes(32)
MACS = bytes(range(12))
SLL = bytes.fromhex("0000000100060011223344550000")  # 14 bytes, the protocol follows
SLL2 = bytes.fromhex("0000000000020001000600112233445500 00")  # 18 bytes after the protocol


def tlv(kind: int, value: bytes, order: str = "<") -> bytes:
    """One field of NFLOG."""
    return struct.pack(order + "HH", 4 + len(value), kind) + value


@pytest.mark.parametrize(
    ("linktype", "frame", "packet"),
    [
        (1, MACS + b"\x08\x00" + V4 + bytes(26), V4 + bytes(26)),
        (1, MACS + b"\x86\xdd" + V6, V6),
        (1, MACS + bytes.fromhex("8100 0064 0800") + V4, V4),
        (1, MACS + bytes.fromhex("88a8 0064 8100 0065 86dd") + V6, V6),
        (1, MACS + bytes.fromhex("9100 0001 9100 0002 8100 0003 0800") + V4, V4),
        (1, MACS + b"\x08\x06" + V4, None),
        (1, MACS + b"\x88\x47" + V4, None),  # no label has the bottom bit
        (1, MACS + bytes.fromhex("8847 00064140") + V4, V4),
        (1, MACS + bytes.fromhex("8100 0064 8848 00064040 00000140") + V6, V6),
        (1, MACS + bytes.fromhex("8847 00064140 00000000") + V4, None),  # a pseudowire's control word
        (1, MACS + bytes.fromhex("8847 000640"), None),
        (1, MACS + bytes.fromhex("8864 11000001 0016 0021") + V4, V4),
        (1, MACS + bytes.fromhex("8100 0064 8864 11000001 002a 0057") + V6 + bytes(4), V6 + bytes(4)),
        (1, MACS + bytes.fromhex("8864 11000001 001a 0281 00000140") + V4, V4),
        (1, MACS + bytes.fromhex("8864 11000001 0016 c021") + V4, None),  # LCP
        (1, MACS + bytes.fromhex("8863 11090000 0016 0021") + V4, None),  # discovery
        (1, MACS + bytes.fromhex("8864 12000001 0016 0021") + V4, None),
        (1, MACS + bytes.fromhex("8864 11000001"), None),
        (9, bytes.fromhex("ff03 0021") + V4, V4),
        (9, bytes.fromhex("0057") + V6, V6),
        (9, bytes.fromhex("21") + V4, V4),
        (9, bytes.fromhex("ff03 57") + V4, None),
        (9, bytes.fromhex("ff03 8021") + V4, None),  # IPCP
        (9, b"\xff\x03", None),
        (9, b"", None),
        (50, bytes.fromhex("ff03 0021") + V4, V4),
        (50, bytes.fromhex("0f00 86dd") + V6, V6),
        (50, bytes.fromhex("8f00 8035") + V4, None),
        (51, bytes.fromhex("11000001 0016 0021") + V4, V4),
        (239, bytes.fromhex("0200 0000 0800 0100 08000100 0500 0a00 00000000") + tlv(9, V4), V4),
        (239, bytes.fromhex("0a00 0001 0008 0001 86dd0100") + tlv(9, V6, ">"), V6),
        (239, bytes.fromhex("0700 0000 0800 0100 08000100") + tlv(9, V4), V4),  # of a bridge
        (239, bytes.fromhex("0200 0000") + tlv(9, V6), None),
        (239, bytes.fromhex("0200 0000") + tlv(10, V4), None),
        (239, bytes.fromhex("0200 0000 0300 0100") + tlv(9, V4), None),  # a length below its own header's
        (239, bytes.fromhex("0200 0000 ffff 0100") + tlv(9, V4), None),
        (239, b"\2\0\0", None),
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


@pytest.mark.parametrize(
    ("linktype", "frame", "layer"),
    [
        (1, MACS + b"\x08\x06" + bytes(28), Layer.ARP),
        (1, MACS + bytes.fromhex("8100 0064 0806") + bytes(28), Layer.ARP),
        (113, SLL + b"\x08\x06" + bytes(28), Layer.ARP),
        (276, b"\x08\x06" + SLL2 + bytes(28), Layer.ARP),
        (239, bytes.fromhex("0300 0000") + tlv(9, bytes(28)), Layer.ARP),
        (239, bytes.fromhex("0700 0000 0800 0100 08060100") + tlv(9, bytes(28)), Layer.ARP),
        (1, MACS + b"\x88\xcc" + bytes(28), Layer.OTHER),  # LLDP
        (101, bytes(28), Layer.OTHER),
    ],
)
def test_frames_that_are_not_ip(linktype, frame, layer):
    assert (ip_packet(linktype, frame), link_layer(linktype, frame)) == (None, layer)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 255])
def test_cooked_frames_say_which_are_outgoing(kind):
    """PACKET_OUTGOING is 4: the first two bytes of SLL, the eleventh of SLL2."""
    assert outgoing(113, bytes((0, kind)) + SLL[2:] + b"\x08\x00" + V4) == (kind == 4)
    assert outgoing(276, b"\x08\x00" + SLL2[:8] + bytes((kind,)) + SLL2[9:] + V4) == (kind == 4)
    assert not outgoing(113, bytes((1, kind)) + SLL[2:] + b"\x08\x00" + V4)
    assert not outgoing(1, bytes((0, kind)) * 6 + b"\x08\x00" + V4)
    assert not outgoing(113, b"\0")
    assert not outgoing(276, bytes(10))


@given(st.sampled_from([0, 1, 9, 50, 51, 239, 12, 14, 101, 108, 113, 228, 229, 276]), st.binary(max_size=60))
def test_any_frame_gives_its_own_tail_or_none(linktype, frame):
    packet = ip_packet(linktype, frame)
    assert packet is None or (packet and frame.endswith(packet) and packet[0] >> 4 in (4, 6))
