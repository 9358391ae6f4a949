"""RX in fragments beyond the rows of frag_esp4: in UDP, in IPv6, by the clock, and lines that make no sense."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.answers import Answer
from espsim.xfrm.requests import run_requests

NULL = "crypt=ecb(cipher_null) auth=hmac(sha1)"
PLAIN = f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 {NULL} replay_window=32"
V6 = f"NEWSA src=2001:db8::1 dst=2001:db8::2 proto=esp spi=0x1000 {NULL}"
RX = "RX dst=10.7.1.1 spi=0x1000 seq=1 payload=100"
RX6 = "RX dst=2001:db8::2 spi=0x1000 seq=1 payload=100"


def ask(*lines: str) -> list[Answer]:
    return list(run_requests(Netns("linux-7.3"), lines, "f"))


@pytest.mark.parametrize(
    ("made", "line", "reasm"),
    [
        (f"{PLAIN} encap=2,4500,4500", f"{RX} encap=4500,4500 fragments=8", {"IpReasmReqds": 2, "IpReasmOKs": 1}),
        (V6, f"{RX6} fragments=8,64", {"Ip6ReasmReqds": 3, "Ip6ReasmOKs": 1}),
        (V6, f"{RX6} fragments=64 order=1,0", {"Ip6ReasmReqds": 2, "Ip6ReasmOKs": 1}),
        (V6, f"{RX6} fragments=atomic", {"Ip6ReasmReqds": 1, "Ip6ReasmOKs": 1}),
    ],
)
def test_in_udp_and_in_ipv6_too(made: str, line: str, reasm: dict[str, int]) -> None:
    given = ask(made, line)[-1]
    assert (given["result"], given["counters"], given["reasm"]) == ("delivered", {}, reasm)


def test_an_overlap_in_ipv6_gives_the_datagram_up() -> None:
    given = ask(V6, f"{RX6} fragments=64 overlap")[-1]
    assert (given["result"], given["reasm"]) == ("dropped", {"Ip6ReasmReqds": 2, "Ip6ReasmFails": 1})


def test_what_waits_goes_on_waiting_until_its_own_time_is_over() -> None:
    """A datagram keeps the time that held when it began; the other half completes it before, and not after."""
    half, other = f"{RX6} fragments=64 only=0", f"{RX6} fragments=64 only=1"
    assert "reasm" in ask(V6, half, other)[-1]
    slow = ask(PLAIN, f"{RX} fragments=64 only=0 wait=29", f"{RX} fragments=64 only=1 wait=2")
    assert slow[-1]["reasm"] == {"IpReasmReqds": 1, "IpReasmTimeout": 1, "IpReasmFails": 1}
    late = ask(PLAIN, "SYSCTL net.ipv4.ipfrag_time=5", f"{RX} fragments=64 only=0 wait=6")
    assert late[-1]["reasm"] == {"IpReasmReqds": 1, "IpReasmTimeout": 1, "IpReasmFails": 1}


def test_the_window_moves_only_for_a_whole_packet() -> None:
    given = ask(PLAIN, f"{RX} fragments=64 only=0", RX, RX)
    assert [answer["result"] for answer in given[1:]] == ["dropped", "delivered", "dropped"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("fragments=7", "rising multiples of 8"), ("fragments=16,8", "rising multiples of 8"),
        ("fragments=0", "rising multiples of 8"), ("order=0", "go with fragments"), ("overlap", "go with fragments"),
        ("fragments=8 order=0 only=1", "order and only"), ("inner=3/2", "inner takes N/M"),
        ("df=2", "df is not in 0 to 1"), ("fragments=8 order=a", "is not a number"),
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_refused_with_its_number(words: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(PLAIN, f"{RX} {words}")
    assert str(caught.value).startswith("f:2: ")
    assert what in str(caught.value)
