"""BEET mode: what Linux 7.3.4 sent and delivered, and packets made by hand."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.reference.trace import OUTBOUND_SILENT, OutboundTrace
from espsim.sad.association import Encap, Mode, SecurityAssociation, Selector
from espsim.text.parse import parse_sa_line
from tests.examples import examples
from tests.support import (
    VECTORS,
    Peer,
    ethernet_frames,
    extension,
    fragment_header,
    gcm_sa,
    ipv4,
    ipv6,
    new_sad,
    udp,
)

CAPTURES = VECTORS / "captures_new"
SUITES = json.loads((CAPTURES / "beet.json").read_text())["suites"]
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
INNER = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd00:1::1", "fd00:2::1")}
BITS = {4: 32, 6: 128}
DATA = udp(b"what is inside")


def selector(family: int) -> Selector:
    src, dst = map(parse_address, INNER[family])
    return Selector(src, BITS[family], dst, BITS[family])


def beet(outer: int, inner: int, **options: Any) -> SecurityAssociation:
    src, dst = ENDS[outer]
    return gcm_sa(src, dst, **{"mode": Mode.BEET, "selector": selector(inner), **options})


def packet(family: int, payload: bytes = DATA, **fields: Any) -> bytes:
    src, dst = INNER[family]
    return ipv4(payload, src=src, dst=dst, **fields) if family == 4 else ipv6(payload, src=src, dst=dst, **fields)


def opened(sa: SecurityAssociation, *packets: bytes) -> list[Any]:
    inbound = Inbound(new_sad(sa))
    return [inbound.receive(each) for each in packets]


def sealed(sa: SecurityAssociation, clear: bytes, trace: OutboundTrace = OUTBOUND_SILENT) -> Any:
    return Outbound(new_sad(sa), bytes, trace=trace).send(clear)


class Kept(OutboundTrace):
    """What goes inside, and its next header."""

    def __init__(self) -> None:
        self.inside: list[tuple[bytes, int]] = []

    def padded(self, _entry: Any, payload: bytes, next_header: int, _plaintext: bytes) -> None:
        self.inside.append((payload, next_header))


# -- what Linux did ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s["name"])
def test_the_captures_are_rebuilt_and_made_again(suite):
    """Decap gives what the receiving kernel delivered; sealed again under the same IV it is the captured packet."""
    sas = [parse_sa_line(f"ip xfrm state add {item['ip_xfrm_state']}") for item in suite["sas"][:2]]
    frames = ethernet_frames(CAPTURES / suite["file"])
    inbound, sad = Inbound(new_sad(*sas)), new_sad(*sas)
    outbound, entries = Outbound(sad, bytes), {e.sa.spi: e for e in sad}
    assert len(suite["packets"]) == len(frames)
    for item in suite["packets"]:
        frame = frames[item["frames"][0] - 1]
        received: Any = inbound.receive(frame)
        assert received.verdict is Verdict.DELIVERED
        assert received.inner.hex() == item["inner_hex"]
        sent: Any = outbound.send_with(entries[item["spi"]], received.inner, iv=bytes.fromhex(item["iv"]))
        assert (sent.seq64, sent.packet) == (item["seq"], frame[: len(sent.packet)])


# -- headers by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("natt", [False, True], ids=["plain", "natt"])
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", [4, 6])
def test_every_pair_of_families_goes_round(outer, inner, natt):
    encap = Encap("espinudp", 4500, 4500, bytes(4 if outer == 4 else 16)) if natt else None
    sa = beet(outer, inner, encap=encap)
    four: dict[str, Any] = {"tos": 0xBB, "ident": 0, "flags": 0x4000, "ttl": 7}
    clear = packet(inner, **four) if inner == 4 else packet(inner, traffic_class=0xBB, hops=7)
    sent = sealed(sa, clear)
    assert sent.verdict is OutboundVerdict.SEALED
    (received,) = opened(sa, sent.packet)
    assert (received.verdict, received.inner) == (Verdict.DELIVERED, clear)
    entry = received.entry
    assert entry.bytes == len(DATA)
    headers, proto = sent.packet[: 20 if outer == 4 else 40], 17 if natt else 50
    src, dst = ENDS[outer]
    size = len(sent.packet) - len(headers)
    if outer == 4:
        assert headers == ipv4(bytes(size), src=src, dst=dst, proto=proto, **four)[:20]
    else:
        assert headers == ipv6(bytes(size), src=src, dst=dst, traffic_class=0xBB, hops=7, next_header=proto)[:40]


def test_what_the_same_family_carries():
    """Id, flags and flow label; of IPv4 in IPv6 they come out as 0 with DF, of IPv6 in IPv4 as 0."""
    four = packet(4, ident=0x1234, flags=0, ttl=9, tos=3)
    six = packet(6, flow=0xABCDE, hops=9, traffic_class=3)
    for outer, clear, family, lost in ((4, four, 4, False), (6, six, 6, False), (6, four, 4, True), (4, six, 6, True)):
        sa = beet(outer, family)
        sent = sealed(sa, clear).packet
        (received,) = opened(sa, sent)
        want = clear
        if lost:
            four_again = packet(4, tos=3, ttl=9, ident=0, flags=0x4000)
            want = four_again if family == 4 else packet(6, hops=9, traffic_class=3)
        assert received.inner == want
        if (outer, family) == (4, 4):
            assert sent[4:8] == struct.pack("!HH", 0x1234, 0)
        if (outer, family) == (6, 6):
            assert int.from_bytes(sent[:4]) & 0xFFFFF == 0xABCDE


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("size", range(4, 44, 4))
def test_options_go_inside_behind_a_pseudo_header(outer, size):
    """Section 9: next header 94; 4 octets, padlen of NOP (4 or 0), the options; the outer header has none."""
    options = bytes(range(0x80, 0x80 + size))
    clear = packet(4, options=options, ident=0, flags=0x4000)
    sa, kept = beet(outer, 4), Kept()
    sent = sealed(sa, clear, kept)
    padding = 4 if size % 8 == 0 else 0
    reserved = 1  # the last byte of either inner address, where Linux lays its pseudo header over the inner header
    assert kept.inside == [(bytes((17, size // 8, padding, reserved)) + b"\1" * padding + options + DATA, 94)]
    assert sent.packet[0] >> 4 == outer
    assert outer == 6 or sent.packet[0] == 0x45
    (received,) = opened(sa, sent.packet)
    assert (received.verdict, received.inner) == (Verdict.DELIVERED, clear)


@pytest.mark.parametrize(("size", "reserved"), [(8, 7), (4, 9)])
def test_the_reserved_byte_is_what_linux_leaves_there(size, reserved):
    ends = Selector(parse_address("10.1.0.7"), 32, parse_address("10.2.0.9"), 32)
    clear = ipv4(DATA, src="10.1.0.7", dst="10.2.0.9", options=b"\1" * size)
    kept = Kept()
    sealed(beet(4, 4, selector=ends), clear, kept)
    assert kept.inside[0][0][3] == reserved


def test_extension_headers_stay_inside_and_outer_ones_are_dropped():
    clear = packet(6, extension(60) + extension(17) + DATA, next_header=0)
    sa = beet(6, 6)
    sent = sealed(sa, clear).packet
    assert sent[6] == 50
    (received,) = opened(sa, sent)
    assert received.inner == clear
    src, dst = ENDS[6]
    longer = ipv6(extension(50) + sent[40:], src=src, dst=dst, next_header=0)
    assert opened(sa, longer)[0].inner == clear
    four = beet(4, 4)
    with_options = Peer(four).packet(1, DATA, 17, options=b"\1" * 8, ident=0, flags=0x4000, ttl=63)
    assert opened(four, with_options)[0].inner == packet(4, ident=0, flags=0x4000, ttl=63)


def test_congestion_is_carried_whatever_the_flags_say():
    sa = beet(4, 4, flags=frozenset({"noecn", "decap-dscp"}))
    (received,) = opened(sa, Peer(sa).packet(1, DATA, 17, tos=0x03))
    assert received.inner[1] == 3


# -- what does not fit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"\x11\x01\x04",  # no room for the pseudo header
        b"\x11\x00\x08\x00" + bytes(40),  # padding that is more than there is
        b"\x11\x01\x05\x00" + bytes(40),  # options that are not words
        b"\x11\x20\x00\x00" + bytes(300),  # 260 bytes of options
        b"\x11\x01\x04\x00\1\1",  # the padding is cut
        b"\x11\x05\x00\x00" + bytes(60),  # 44 bytes: more than an IPv4 header has room for
        b"\x11\x01\x00\x00" + bytes(11),  # the options are cut
    ],
)
def test_a_pseudo_header_that_lies_is_no_packet(payload):
    sa = beet(4, 4)
    (received,) = opened(sa, Peer(sa).packet(1, payload, 94))
    assert (received.verdict, received.counter, received.inner) == (Verdict.MODE, "XfrmInStateModeError", None)
    assert received.entry.packets == 1  # the window has moved, and Linux takes nothing back


def test_in_ipv6_next_header_94_is_a_protocol_like_any():
    sa = beet(4, 6)
    (received,) = opened(sa, Peer(sa).packet(1, b"\xff" * 9, 94))
    assert (received.verdict, received.inner[6], received.inner[40:]) == (Verdict.DELIVERED, 94, b"\xff" * 9)


def test_an_sa_without_a_selector_has_zeros_inside():
    sa = beet(4, 4, selector=Selector())
    (received,) = opened(sa, Peer(sa).packet(1, DATA, 17))
    assert received.inner[12:20] == bytes(8)
    (received,) = opened(replace(sa, flags=frozenset({"af-unspec"})), Peer(sa).packet(1, DATA, 17))
    assert received.verdict is Verdict.MODE
    wide = beet(4, 4, selector=Selector(parse_address("10.1.0.0"), 24, parse_address("10.2.0.0"), 24))
    (received,) = opened(wide, Peer(wide).packet(1, DATA, 17))
    assert received.inner[12:20] == bytes((10, 1, 0, 0, 10, 2, 0, 0))


def test_the_selector_is_asked_for_the_rest():
    sa = beet(4, 4, selector=replace(selector(4), proto=6))
    (received,) = opened(sa, Peer(sa).packet(1, DATA, 17))
    assert received.verdict is Verdict.POLICY


@pytest.mark.parametrize(
    "clear",
    [
        packet(4, flags=0x2000), packet(4, flags=1), packet(6, fragment_header(17) + DATA, next_header=44),
        packet(6, extension(44) + fragment_header(17, 8) + DATA, next_header=0), b"\x4f" + packet(4)[1:40],
    ],
)  # fmt: skip
def test_fragments_and_broken_headers_are_not_sealed(clear):
    sad = new_sad(beet(4, 4), beet(6, 6, spi=0x1002))
    entry = list(sad)[0 if clear[0] >> 4 == 4 else 1]
    sent = Outbound(sad, bytes).send_with(entry, clear)
    assert (sent.verdict, sent.counter, entry.oseq) == (OutboundVerdict.FRAGMENT, "XfrmOutStateModeError", 0)


def test_without_a_selector_it_takes_its_own_family_only():
    assert sealed(beet(4, 4, selector=Selector()), packet(6)).verdict is OutboundVerdict.NO_SA
    assert sealed(beet(4, 4, selector=Selector()), packet(4)).verdict is OutboundVerdict.SEALED
    unspecified = beet(4, 4, selector=Selector(), flags=frozenset({"af-unspec"}))
    assert sealed(unspecified, packet(4)).verdict is OutboundVerdict.NO_SA


def test_an_inner_packet_that_would_be_too_long_is_none():
    """65535 bytes are the most that IPv4 has; around them IPv6 has more room."""
    algorithms = Algorithm("enc", "ecb(cipher_null)", b""), Algorithm("auth", "digest_null", b"", 0)
    src, dst = map(parse_address, ENDS[6])
    sa = SecurityAssociation(src, dst, 1, mode=Mode.BEET, algorithms=algorithms, window=32, selector=selector(4))
    body = bytes(65516)
    plaintext = body + bytes((0, 17))
    (received,) = opened(sa, Peer(sa).packet(1, b"", 17, plaintext=plaintext))
    assert received.verdict is Verdict.MODE
    (received,) = opened(sa, Peer(sa).packet(1, b"", 17, plaintext=plaintext[1:]))
    assert received.verdict is Verdict.DELIVERED


@settings(deadline=None, max_examples=examples(60))
@given(st.binary(min_size=1, max_size=80), st.integers(0, 255), st.sampled_from([(4, 4), (4, 6), (6, 4), (6, 6)]))
def test_any_payload_gets_a_verdict(payload, following, families):
    sa = beet(*families)
    (received,) = opened(sa, Peer(sa).packet(1, payload, following))
    assert received.verdict in (Verdict.DELIVERED, Verdict.MODE, Verdict.TRAILER)
    if received.inner is not None:
        (again,) = opened(sa, Peer(sa).packet(1, *_split(received.inner)))
        assert again.verdict is Verdict.DELIVERED


def _split(inner: bytes) -> tuple[bytes, int]:
    if inner[0] >> 4 == 6:
        return inner[40:], inner[6]
    return inner[20:], inner[9]
