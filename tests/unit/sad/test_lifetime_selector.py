"""Lifetimes and selectors, at their edges."""

from __future__ import annotations

import pytest

from espsim.core.address import parse_address
from espsim.sad.association import Limits, Selector
from espsim.sad.lifetime import hard_limit_reached, hard_time_passed
from tests.support import gcm_sa

A = parse_address


@pytest.mark.parametrize(
    ("limits", "packets", "size", "reached"),
    [
        (Limits(hard_packets=3), 2, 10**9, False),
        (Limits(hard_packets=3), 3, 0, True),
        (Limits(hard_bytes=40), 10**9, 39, False),
        (Limits(hard_bytes=40), 0, 40, True),
        (Limits(hard_packets=3, hard_bytes=40), 0, 41, True),
        (Limits(hard_packets=0), 0, 0, True),
        (Limits(), 10**12, 10**15, False),
        (Limits(soft_packets=1, soft_bytes=1), 100, 100, False),
    ],
)
def test_a_hard_limit_stops_the_packet_after_it(limits, packets, size, reached):
    assert hard_limit_reached(limits, packets, size) is reached


@pytest.mark.parametrize(
    ("limits", "now", "used", "over"),
    [
        (Limits(hard_add=10), 109.9, None, False),
        (Limits(hard_add=10), 110, None, True),
        (Limits(hard_use=5), 1000, None, False),
        (Limits(hard_use=5), 1004.9, 1000, False),
        (Limits(hard_use=5), 1005, 1000, True),
        (Limits(hard_use=5, hard_add=10), 110, 109, True),
        (Limits(soft_add=1, soft_use=1), 1000, 100, False),
    ],
)
def test_time_counts_from_adding_and_from_first_use(limits, now, used, over):
    assert hard_time_passed(limits, now, 100.0, used) is over


V4 = (A("10.1.2.3"), A("10.9.0.1"), 17, 1000, 53)


@pytest.mark.parametrize(
    ("selector", "takes"),
    [
        (Selector(), True),
        (Selector(A("10.1.0.0"), 16, A("10.9.0.0"), 24), True),
        (Selector(A("10.1.2.3"), 32, A("10.9.0.1"), 32), True),
        (Selector(A("10.1.2.2"), 31), True),
        (Selector(A("10.1.2.2"), 32), False),
        (Selector(A("10.1.0.0"), 24), False),
        (Selector(dst=A("10.9.0.0"), dst_prefix=32), False),
        (Selector(A("128.0.0.0"), 1), False),
        (Selector(bytes(4), 1), True),
        (Selector(proto=17), True),
        (Selector(proto=6), False),
        (Selector(sport=1000, sport_mask=0xFFFF), True),
        (Selector(sport=1001, sport_mask=0xFFFF), False),
        (Selector(sport=1001, sport_mask=0xFFF0), True),
        (Selector(dport=53, dport_mask=0xFFFF), True),
        (Selector(dport=54, dport_mask=0xFFFF), False),
        (Selector(dport=54), True),  # no mask: the port is not looked at
        (Selector(A("2001:db8::"), 32), False),  # another family never matches a prefix
    ],
)
def test_a_selector_takes_what_prefix_protocol_and_masked_ports_allow(selector, takes):
    assert selector.matches(*V4) is takes


def test_ipv6_prefixes_of_any_length():
    inside, outside = A("2001:db8:0:8000::1"), A("2001:db8:0:7fff::1")
    for length, same in ((48, True), (49, False), (128, False)):
        selector = Selector(dst=inside, dst_prefix=length)
        assert selector.matches(inside, inside, 6, 1, 2)
        assert selector.matches(outside, outside, 6, 1, 2) is same


def test_which_selectors_take_everything():
    assert Selector().is_any
    assert Selector(bytes(4), 0, bytes(4), 0, sport=7).is_any
    for one in (Selector(src_prefix=1), Selector(dst_prefix=1), Selector(proto=6), Selector(sport_mask=1),
                Selector(dport_mask=1)):  # fmt: skip
        assert not one.is_any


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 4097}, "4097 is not in 0 to 4096"),
        ({"window": -1}, "-1 is not in 0 to 4096"),
        ({"window": 0, "flags": frozenset({"esn"})}, "ESN replay window must be > 0"),
        ({"dst": "2001:db8::1"}, "different families"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_given(options, words):
    with pytest.raises(ValueError, match=words):
        gcm_sa(**options)
