"""IPv4 and IPv6 headers: they are written as the RFCs draw them, and a change affects its field alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.wire import ipv4, ipv6
from tests.support import checksum, extension, fragment_header
from tests.support import ipv4 as packet4
from tests.support import ipv6 as packet6

A = parse_address
ROUTING = bytes((17, 0, 4, 0)) + bytes(4)


def test_ipv4_as_a_capture_shows_it():
    # A header that Linux sent (a ping's): 192.168.0.1 > 192.168.0.199, UDP, DF, checksum 0xb861.
    known = bytes.fromhex("4500007300004000 4011b861c0a80001c0a800c7".replace(" ", ""))
    header = ipv4.emit(
        tos=0, payload_length=0x73 - 20, ident=0, flags=ipv4.DF, ttl=64, proto=17, src=known[12:16], dst=known[16:20]
    )
    assert header == known
    assert ipv4.with_checksum(known[:10] + b"\x12\x34" + known[12:]) == known


@given(
    st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 255), st.integers(0, 255),
    st.binary(max_size=30),
)  # fmt: skip
def test_ipv4_emit_against_the_hand_made_packet(tos, ident, flags, ttl, proto, payload):
    src, dst = A("10.1.0.1"), A("10.2.0.1")
    ours = ipv4.emit(
        tos=tos, payload_length=len(payload), ident=ident, flags=flags, ttl=ttl, proto=proto, src=src, dst=dst
    )
    assert ours + payload == packet4(payload, tos=tos, ident=ident, flags=flags, ttl=ttl, proto=proto)


@pytest.mark.parametrize("options", [b"", b"\1\1\1\0", b"\x94\4\0\0" * 10], ids=["none", "nops", "forty"])
def test_ipv4_with_payload_keeps_everything_else(options):
    before = packet4(b"abc", options=options, tos=0xB8, flags=ipv4.DF, ident=99, ttl=3)
    headers = before[: 20 + len(options)]
    after = ipv4.with_payload(headers, 50, b"longer payload")
    assert after == packet4(b"longer payload", options=options, tos=0xB8, flags=ipv4.DF, ident=99, ttl=3, proto=50)
    assert checksum(after[: len(headers)]) == 0


@given(st.integers(0, 255), st.integers(0, 255), st.sampled_from([b"", b"\1\1\1\0"]))
def test_ipv4_set_tos(old, new, options):
    assert ipv4.set_tos(packet4(b"abc", tos=old, options=options), new) == packet4(b"abc", tos=new, options=options)


@given(st.integers(0, 255), st.integers(0, 0xFFFFF), st.integers(0, 255), st.integers(0, 255))
def test_ipv6_emit_and_traffic_class(traffic_class, flow, next_header, hops):
    src, dst = A("2001:db8:1::1"), A("2001:db8:2::1")
    ours = ipv6.emit(traffic_class=traffic_class, flow=flow, payload_length=3, next_header=next_header, hops=hops,
                     src=src, dst=dst)  # fmt: skip
    by_hand = packet6(b"abc", traffic_class=traffic_class, flow=flow, next_header=next_header, hops=hops)
    assert ours + b"abc" == by_hand
    assert ipv6.traffic_class(by_hand) == traffic_class
    for value in (0, 0xB8, 0x03, 0xFF):
        changed = packet6(b"abc", traffic_class=value, flow=flow, next_header=next_header, hops=hops)
        assert ipv6.set_traffic_class(by_hand, value) == changed


def test_ipv6_with_payload_names_what_follows_in_the_last_header():
    plain = packet6(b"abc", next_header=17)
    assert ipv6.with_payload(plain[:40], 6, 50, b"sealed") == packet6(b"sealed", next_header=50)
    chain = packet6(extension(17) + b"abc", next_header=0)
    assert ipv6.with_payload(chain[:48], 40, 50, b"sealed") == packet6(extension(50) + b"sealed", next_header=0)


HBH, DST, UDP, RTG, FRAG = 0, 60, 17, 43, 44


def chain(*kinds: int) -> bytes:
    """A packet with these headers in a row, UDP after them."""
    parts = []
    for kind, following in zip(kinds, (*kinds[1:], UDP), strict=False):
        parts.append(bytes((following,)) + (ROUTING[1:] if kind == RTG else extension(0)[1:]))
    return packet6(b"".join(parts) + b"datagram", next_header=kinds[0] if kinds else UDP)


@pytest.mark.parametrize(
    ("kinds", "place"),
    [
        ((), (40, 6)),
        ((HBH,), (48, 40)),
        ((RTG,), (48, 40)),
        ((HBH, RTG), (56, 48)),
        ((DST, RTG), (56, 48)),  # options for the hops of a routing header stay outside
        ((HBH, DST, RTG), (64, 56)),
        ((HBH, RTG, DST), (56, 48)),  # and those for the final destination go inside
        ((RTG, DST), (48, 40)),
    ],
)
def test_where_esp_goes_in_transport_mode(kinds, place):
    assert ipv6.transport_insertion(chain(*kinds)) == place


@pytest.mark.parametrize(("kinds", "place"), [((DST,), (48, 40)), ((HBH, DST), (56, 48)), ((DST, DST), (56, 48))])
def test_destination_options_without_a_routing_header_stay_outside_in_linux(kinds, place):
    assert ipv6.transport_insertion(chain(*kinds)) == place


@pytest.mark.parametrize("size", [8, 16, 264, 2048])
def test_the_length_of_an_extension_header_is_counted_in_eights_beyond_the_first(size):
    packet = packet6(extension(UDP, size) + b"datagram", next_header=HBH)
    assert ipv6.transport_insertion(packet) == (40 + size, 40)


def test_fragments_and_headers_that_are_cut_have_no_place():
    assert ipv6.transport_insertion(packet6(fragment_header(UDP, more=True) + bytes(8), next_header=FRAG)) is None
    assert ipv6.transport_insertion(packet6(extension(FRAG) + fragment_header(UDP, 1), next_header=HBH)) is None
    for cut in range(40, 48):
        assert ipv6.transport_insertion(chain(HBH)[:cut]) is None
    assert ipv6.transport_insertion(packet6(extension(UDP, 64)[:32], next_header=HBH)) is None
    assert ipv6.transport_insertion(packet6(b"", next_header=UDP)) == (40, 6)


@given(st.binary(min_size=40, max_size=200), st.sampled_from([HBH, DST, RTG, FRAG, UDP, 59]))
def test_any_bytes_have_a_place_inside_the_packet_or_none(data, first):
    packet = data[:6] + bytes((first,)) + data[7:]
    place = ipv6.transport_insertion(packet)
    assert place is None or (40 <= place[0] <= len(packet) and (place[1] == 6 or 40 <= place[1] < place[0]))
