"""Fragments of a host's own packets: cut as Linux cuts its own, and reassembled."""

from __future__ import annotations

import json
import struct

import pytest

from espsim.wire.split import split4, split6
from tests.support import VECTORS, ethernet_frames, extension, fragment_header, ipv4, ipv6, udp

FOLDER = VECTORS / "fragments"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())["captures"]
BODY = bytes(range(256)) * 9


def whole(frames: list[bytes]) -> bytes:
    """What fragments that came in order were, put together by hand."""
    first = frames[0]
    if first[0] >> 4 == 4:
        body = b"".join(frame[20 : struct.unpack_from("!H", frame, 2)[0]] for frame in frames)
        head = first[:2] + struct.pack("!H", 20 + len(body)) + first[4:6] + bytes(2) + first[8:10] + bytes(2)
        return head + first[12:20] + body
    body = b"".join(frame[48 : 40 + struct.unpack_from("!H", frame, 4)[0]] for frame in frames)
    return first[:4] + struct.pack("!HB", len(body), first[40]) + first[7:40] + body


@pytest.mark.parametrize("capture", MANIFEST, ids=lambda capture: capture["name"])
def test_linuxs_own_fragments(capture):
    """Debian's 7.3.4, MTU 1500. A local sender gives IPv4 its datagram in parts of what fits inside, 1458 bytes, and it
    leaves in these; what ESP adds at its end goes with the last one.
    """
    frames = ethernet_frames(FOLDER / capture["file"])
    cut = 0
    for packet in capture["packets"]:
        pieces = [frames[number - 1] for number in packet["frames"]]
        if len(pieces) == 1:
            continue
        datagram = whole(pieces)
        if datagram[0] >> 4 == 4:
            parts = split4(datagram, 1458)[: len(pieces) - 1]
            assert split4(datagram, 1500) == pieces or parts == pieces[:-1]
        else:
            assert split6(datagram, 1500, struct.unpack_from("!I", pieces[0], 44)[0]) == pieces
        cut += 1
    assert cut >= 4


@pytest.mark.parametrize("mtu", [68, 69, 75, 576, 1499])
def test_no_fragment_is_longer_and_none_is_needless(mtu):
    packet = ipv4(BODY, proto=50)
    pieces = split4(packet, mtu)
    assert all(len(piece) <= mtu for piece in pieces)
    assert len(pieces) == -(-len(BODY) // ((mtu - 20) & ~7))
    assert b"".join(piece[20:] for piece in pieces) == BODY
    assert [struct.unpack_from("!H", piece, 6)[0] >> 13 for piece in pieces] == [1] * (len(pieces) - 1) + [0]


def test_what_fits_stays_as_it_is():
    v4, v6 = ipv4(BODY), ipv6(BODY)
    assert split4(v4, len(v4)) == [v4]
    assert split6(v6, len(v6), 7) == [v6]
    assert len(split4(v4, len(v4) - 1)) == len(split6(v6, len(v6) - 1, 7)) == 2


def test_options_that_are_not_copied_are_no_ops_later():
    options = bytes([0x82, 3, 9, 7, 4, 1, 2, 1])  # copied; record route, not copied; a no-op
    pieces = split4(ipv4(BODY, options=options), 576)
    assert pieces[0][20:28] == options
    assert {piece[20:28] for piece in pieces[1:]} == {bytes([0x82, 3, 9, 1, 1, 1, 1, 1])}


@pytest.mark.parametrize("options", [bytes([7, 0, 0, 0]), bytes([7, 9, 0, 0]), bytes([0, 7, 4, 0]), bytes([7])[:1] * 4])
def test_options_that_lie_are_left_as_they_are(options):
    assert {piece[20:24] for piece in split4(ipv4(BODY, options=options), 576)} == {options}


def test_ipv6_headers_that_every_fragment_has():
    packet = ipv6(extension(43) + extension(60) + extension(17) + BODY, next_header=0)
    pieces = split6(packet, 1280, 0xABCDEF01)
    assert all(piece[:4] == packet[:4] and piece[6] == 0 and piece[48] == 44 for piece in pieces)
    assert pieces[0][56:64] == bytes([60, 0, 0, 1, 0xAB, 0xCD, 0xEF, 1])
    assert b"".join(piece[64:] for piece in pieces) == extension(17) + BODY


def test_what_cannot_be_cut():
    assert split4(ipv4(BODY, options=bytes([1]) * 40), 60) == []
    assert split6(ipv6(fragment_header(17, 3, more=False) + BODY, next_header=44), 1280, 1) == []
    assert split6(ipv6(udp(BODY)), 55, 1) == []
    assert split6(ipv6(udp(BODY)), 56, 1)[0][48:] == udp(BODY)[:8]
