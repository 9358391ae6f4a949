"""NAT keepalives on the model's clock: when they leave, what postpones them, and what a policy does with them."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.answers import Answer
from espsim.xfrm.requests import run_requests

NULL = "crypt=ecb(cipher_null) auth=hmac(sha1)"
OUT = f"NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x1000 dir=out {NULL}"
NAT = f"{OUT} encap=2,4500,4501 nat_keepalive=5"
ONE = "10.7.1.1>10.7.0.1 UDP 4500>4501 keepalive"


def ask(*lines: str, kernel: str = "linux-7.3") -> list[Answer]:
    return list(run_requests(Netns(kernel), lines, "f"))


def left(answer: Answer) -> object:
    return answer.get("out", [])


def test_one_leaves_whenever_the_sa_was_idle_for_the_interval() -> None:
    given = ask(NAT, "ADVANCE seconds=4", "ADVANCE seconds=1", "ADVANCE seconds=15")
    assert [left(answer) for answer in given[1:]] == [[], [ONE], [ONE] * 3]


def test_traffic_postpones_it_and_the_sas_end_ends_it() -> None:
    policy = "POLICY add dir out src 10.7.1.1 dst 10.9.0.1 tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode tunnel"
    given = ask(
        NAT + " mode=tunnel", policy, "ADVANCE seconds=3", "TX src=10.7.1.1 dst=10.9.0.1", "ADVANCE seconds=4",
        "ADVANCE seconds=1", "DELSA dst=10.7.0.1 proto=esp spi=0x1000", "ADVANCE seconds=60",
    )  # fmt: skip
    assert [left(given[n]) for n in (2, 4, 5, 7)] == [[], [], [ONE], []]


def test_a_policy_over_the_two_addresses_encrypts_it() -> None:
    policy = "POLICY add dir out src 10.7.1.1 dst 10.7.0.1 tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode transport"
    given = ask(NAT, policy, "ADVANCE seconds=5")
    assert left(given[-1]) == ["10.7.1.1>10.7.0.1 UDP 4500>4501 ESP spi 0x1000 seq 0x1"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("dir=in encap=2,4500,4500", "NAT keepalive is only supported for outbound SAs"),
        ("dir=out", "NAT keepalive is only supported for UDP encapsulation"),
        ("encap=2,4500,4500", "NAT keepalive is only supported for outbound SAs"),
    ],
)
def test_it_needs_an_outbound_sa_in_udp(words: str, text: str) -> None:
    line = f"NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x1000 nat_keepalive=5 {words} {NULL}"
    assert ask(line)[0] == {"errno": 22, "result": "EINVAL", "extack": text}
    assert ask(line, kernel="linux-6.1")[0]["result"] == "OK"  # 6.1 does not know the attribute


def test_zero_is_none_and_old_kernels_send_none() -> None:
    assert left(ask(f"{OUT} encap=2,4500,4501 nat_keepalive=0", "ADVANCE seconds=60")[-1]) == []
    assert left(ask(NAT, "ADVANCE seconds=60", kernel="linux-6.1")[-1]) == []


def test_it_leaves_in_ipv_6_too_with_a_checksum() -> None:
    made = f"NEWSA src=2001:db8::1 dst=2001:db8::2 proto=esp spi=1 dir=out encap=2,1,2 nat_keepalive=9 {NULL}"
    assert left(ask(made, "ADVANCE seconds=9")[-1]) == ["2001:db8::1>2001:db8::2 UDP 1>2 keepalive"]


def test_where_no_one_hears_them_any_time_may_pass() -> None:
    netns = Netns("linux-7.3")
    list(run_requests(netns, [NAT]))
    netns.keepalive = None  # a batch of `ip` sends nothing
    netns.advance(1_000_001)
    assert left(next(run_requests(netns, ["ADVANCE seconds=3"]))) == []
    assert left(next(run_requests(netns, ["ADVANCE seconds=1"]))) == [ONE]


def test_more_than_anyone_would_read_is_refused() -> None:
    with pytest.raises(InputError, match="smaller steps"):
        ask(NAT, "ADVANCE seconds=1000000")
