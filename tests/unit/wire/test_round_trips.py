"""What `emit` writes, `parse` reads: every field, and where there is no header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.wire import beet, ipv4, ipv6, ipv6_fragment, tcp

U8, U16, U32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)


@given(U8, st.integers(0, 1400), U16, U16, U8, U8, st.binary(min_size=8, max_size=8), st.integers(0, 10))
def test_ipv4(tos, payload_length, ident, flags, ttl, proto, ends, words):
    options = bytes((1,)) * 4 * words
    packet = ipv4.emit(tos=tos, payload_length=payload_length, ident=ident, flags=flags, ttl=ttl, proto=proto,
                       src=ends[:4], dst=ends[4:], options=options)  # fmt: skip
    total = 20 + len(options) + payload_length
    assert ipv4.parse(packet) == (tos, total, ident, flags, ttl, proto, ends[:4], ends[4:], 20 + len(options))
    assert (packet[ipv4.SRC], packet[ipv4.DST], packet[ipv4.TTL]) == (ends[:4], ends[4:], ttl)
    assert (ipv4.flags(packet), ipv4.total_length(b"\xff" + packet, 1)) == (flags, total)


@pytest.mark.parametrize("packet", [b"", bytes((0x45,)) + bytes(18), bytes((0x44,)) + bytes(19)])
def test_no_ipv4_header(packet):
    assert ipv4.parse(packet) is None


@given(U8, st.integers(0, 0xFFFFF), U16, U8, U8, st.binary(min_size=32, max_size=32))
def test_ipv6(traffic_class, flow, payload_length, next_header, hops, ends):
    packet = ipv6.emit(traffic_class=traffic_class, flow=flow, payload_length=payload_length, next_header=next_header,
                       hops=hops, src=ends[:16], dst=ends[16:])  # fmt: skip
    assert ipv6.parse(packet) == (traffic_class, flow, payload_length, next_header, hops, ends[:16], ends[16:])
    assert ipv6.parse(packet[:-1]) is None
    assert (packet[ipv6.SRC], packet[ipv6.DST], packet[ipv6.HOP_LIMIT]) == (ends[:16], ends[16:], hops)
    assert (ipv6.flow_label(packet), ipv6.total_length(b"\xff" + packet, 1)) == (flow, 40 + payload_length)


@given(U8, st.integers(0, 0x1FFF), st.booleans(), U32)
def test_ipv6_fragment(next_header, units, more, ident):
    header = ipv6_fragment.emit(next_header, units * 8, more=more, ident=ident)
    assert ipv6_fragment.parse(b"..." + header, 3) == (next_header, units * 8, more, ident)
    assert header[ipv6_fragment.IDENT :] == ident.to_bytes(4)


def test_ipv6_fragment_s_reserved_bits_are_nothing():
    assert ipv6_fragment.parse(bytes.fromhex("32ff0006 00000007")) == (50, 0, False, 7)


@given(U16, U16, U32, U32, U8, U16)
def test_tcp(sport, dport, seq, ack, flags, window):
    header = tcp.emit(sport, dport, seq=seq, ack=ack, flags=flags, window=window)
    assert tcp.parse(b"." + header, 1) == (sport, dport, seq, ack, flags, 20)
    assert header[14:] == window.to_bytes(2) + bytes(4)


@given(U8, st.integers(1, 10), U8)
def test_beet(next_header, words, reserved):
    options = bytes(range(4 * words))
    payload = beet.emit(next_header, options, reserved)
    at = beet.length(payload)
    assert beet.parse(payload + b"after it") == (next_header, at, len(options))
    assert payload[at:] == options
    assert len(payload) % 8 == 0
    assert payload[3] == reserved
