"""A fragment's headers, field by field: its datagram, its bytes, and what is not a fragment."""

from __future__ import annotations

import pytest

from espsim.wire.fragments import Fragment, parse, together_ecn
from tests.support import extension, fragment_header, ipv4, ipv6

DATA = bytes(range(100, 124))
MF, DF = 0x2000, 0x4000
NOT_ECT, ECT1, ECT0, CE = (1 << bits for bits in range(4))


def v4(field: int, data: bytes = DATA, **options) -> bytes:
    return ipv4(data, **{"proto": 50, "flags": field, "ident": 0x1234, **options})


def v6(kind: int, offset: int, data: bytes = DATA, *, more: bool, before: bytes = b"", **options) -> bytes:
    first = 0 if before else 44
    return ipv6(before + fragment_header(kind, offset, more=more) + data, next_header=first, **options)


def of_v4(packet: bytes, start: int, end: int, *, more: bool, size: int, **changes) -> Fragment:
    key = b"\x12\x34" + packet[9:10] + packet[12:20]
    return Fragment(key, start, end, more, packet[:20], DATA[: end - start], NOT_ECT, False, size)._replace(**changes)


@pytest.mark.parametrize("proto", [50, 17])
def test_ipv4(proto):
    first, last = v4(MF, proto=proto), v4(3, proto=proto)
    assert parse(first) == of_v4(first, 0, 24, more=True, size=44)
    assert parse(last) == of_v4(last, 24, 48, more=False, size=44)
    assert parse(last + b"padding of a short frame") == parse(last)
    assert parse(last[:-1]) == of_v4(last, 24, 48, more=False, size=44, data=None)  # the capture cut it
    dont = v4(DF | MF | 1, proto=proto)
    assert parse(dont) == of_v4(dont, 8, 32, more=True, size=44, dont=True)


@pytest.mark.parametrize("odd", [1, 2, 4, 7])
def test_ipv4_that_goes_on_has_a_multiple_of_eight(odd):
    packet = v4(MF | 2, DATA[: 16 + odd])
    assert parse(packet) == of_v4(packet, 16, 32, more=True, size=36)
    packet = v4(2, DATA[: 16 + odd])
    assert parse(packet) == of_v4(packet, 16, 32 + odd, more=False, size=36 + odd)


def test_ipv4_with_options():
    packet = v4(MF, options=bytes(4))
    assert parse(packet) == of_v4(packet, 0, 24, more=True, size=48, header=packet[:24])


@pytest.mark.parametrize("tos", range(4))
def test_ecn_is_one_bit_for_each_of_its_values(tos):
    found = parse(v4(MF, tos=0xFC | tos)), parse(v6(50, 0, more=True, traffic_class=0xFC | tos))
    assert [fragment and fragment.ecn for fragment in found] == [1 << tos] * 2


def test_of_one_datagram_are_those_of_one_number_protocol_and_pair():
    one = v4(MF)
    others = [v4(MF, ident=0x1235), v4(MF, ident=0x1334), v4(MF, proto=17), v4(MF, src="10.1.0.2"),
              v4(MF, src="11.1.0.1"), v4(MF, dst="10.2.0.2"), v4(MF, dst="11.2.0.1")]  # fmt: skip
    keys = [fragment.key for fragment in map(parse, [one, *others]) if fragment is not None]
    assert len(set(keys)) == 8
    assert [fragment and fragment.key for fragment in (parse(v4(3, ttl=9)), parse(v4(MF, tos=8)))] == keys[:1] * 2


@pytest.mark.parametrize(
    "packet",
    [
        b"", v4(0), v4(DF), v4(0x8000), v4(MF, proto=6), v4(MF, proto=51),
        v4(MF)[:19], bytes((0x44,)) + v4(MF)[1:], v4(MF, total=19), v4(MF, options=bytes(4), total=23),
        bytes((0x55,)) + v4(MF)[1:],
        v6(50, 0, more=False),  # all of it is here
        v6(6, 0, more=True), ipv6(DATA, next_header=50), v6(50, 0, more=True, length=0), v6(50, 0, more=True)[:47],
        v6(50, 0, more=True)[:39], v6(50, 0, more=True, length=7),
        v6(50, 0, more=False)[:43] + b"\6" + v6(50, 0, more=False)[44:],  # the two reserved bits
        ipv6(bytes((44, *bytes(7))) + fragment_header(50, more=True) + DATA, next_header=50),  # after ESP
    ],
)  # fmt: skip
def test_what_is_no_fragment_that_may_hold_esp(packet):
    assert parse(packet) is None


def test_ipv4_whose_length_is_its_header_s_has_nothing_in_it():
    packet = v4(MF, total=20)
    assert parse(packet) == of_v4(packet, 0, 0, more=True, size=20)


def of_v6(packet: bytes, kind: int, start: int, *, more: bool, **changes) -> Fragment:
    header, key = packet[:6] + bytes((kind,)) + packet[7:40], packet[8:40] + b"\0\0\x12\x34"
    return Fragment(key, start, start + 24, more, header, DATA, NOT_ECT, False, 0)._replace(**changes)


@pytest.mark.parametrize("kind", [50, 17])
def test_ipv6(kind):
    first, last = v6(kind, 0, more=True), v6(kind, 3, more=False)
    assert parse(first) == of_v6(first, kind, 0, more=True)
    assert parse(last) == of_v6(last, kind, 24, more=False)
    assert parse(last + b"padding of a short frame") == parse(last)
    assert parse(last[:-1]) == of_v6(last, kind, 24, more=False, data=None)


def test_ipv6_with_nothing_after_the_fragment_header():
    packet = v6(50, 3, b"", more=False)
    assert parse(packet) == of_v6(packet, 50, 24, more=False, end=24, data=b"")


def test_ipv6_with_a_header_before_the_fragment_s():
    packet = v6(50, 3, more=False, before=extension(44, 16))
    header = packet[:40] + bytes((50,)) + packet[41:56]
    assert parse(packet) == of_v6(packet, 50, 24, more=False, header=header)


@pytest.mark.parametrize("size", [17, 18, 20])
def test_ipv6_that_goes_on_and_is_no_multiple_of_eight_is_refused(size):
    odd = v6(50, 0, DATA[:size], more=True)
    assert parse(odd) == of_v6(odd, 50, 0, more=True, end=size, data=None)


def test_ipv6_refuses_what_rfc_8200_does():
    far = v6(50, 0x1FFF, more=False)
    assert parse(far) == of_v6(far, 50, 0xFFF8, more=False, data=None)
    short = v6(60, 0, bytes((50, 2)) + DATA[:22], more=True)  # the first one has to have all headers
    found = parse(short)
    assert found is not None
    assert found.data is None
    later = v6(60, 3, bytes((50, 2)) + DATA[:22], more=True)
    found = parse(later)
    assert found is not None
    assert found.data == bytes((50, 2)) + DATA[:22]


@pytest.mark.parametrize(
    ("bits", "want"),
    [
        (NOT_ECT, 0), (ECT0, 0), (ECT1, 0), (ECT0 | ECT1, 0), (CE, 0), (CE | ECT0, 3), (CE | ECT1, 3),
        (CE | ECT0 | ECT1, 3), (NOT_ECT | ECT0, None), (NOT_ECT | ECT1, None), (NOT_ECT | CE, None),
        (NOT_ECT | CE | ECT0, None),
    ],
)  # fmt: skip
def test_ecn_of_the_whole(bits, want):
    assert together_ecn(bits) == want
