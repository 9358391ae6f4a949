"""SAs of one CPU beyond the rows of pcpu_out: which larval state holds packets up, and who is not asked."""

from __future__ import annotations

from typing import Any

from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

SA = "NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp reqid=1 dir=out crypt=ecb(cipher_null) auth=hmac(sha1) spi="
TEMPLATE = "tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode transport reqid 1"
POLICY = f"POLICY add dir out src 10.7.1.1 dst 10.7.0.1 {TEMPLATE}"
ASKING = f"POLICY add dir out src 10.7.1.1 dst 10.7.0.1 flag 4 {TEMPLATE}"
TX = "TX src=10.7.1.1 dst=10.7.0.1 cpu="


def ask(*lines: str, kernel: str = "linux-7.3") -> list[Any]:
    return list(run_requests(Netns(kernel), lines))


def test_a_newer_sa_for_every_cpu_lets_other_cpus_send_and_not_the_one_that_asks() -> None:
    given = ask("LISTEN on", ASKING, f"{SA}1", f"{TX}0", f"{SA}2", f"{TX}0", f"{TX}1", "EVENTS")
    assert [bool(answer["out"]) for answer in (given[3], given[5], given[6])] == [True, False, True]
    asked = [event["pcpu"] for event in given[7]["events"] if event["event"] == "ACQUIRE"]
    assert asked == [0, 1]


def test_where_no_one_listens_a_cpu_without_its_own_sa_sends_nothing() -> None:
    given = ask(ASKING, f"{SA}1", f"{SA}2 pcpu=1", f"{TX}0", f"{TX}1")
    assert [bool(answer["out"]) for answer in given[3:]] == [False, True]
    assert given[3]["counters"] == {"XfrmOutNoStates": 1}


def test_a_dying_sa_of_its_own_cpu_still_comes_first() -> None:
    own = f"{SA}2 pcpu=0 limits={{soft_packets:0}}"
    given = ask(POLICY, own, f"{TX}0", f"{SA}1", f"{TX}0")
    assert given[4]["out"] == ["10.7.1.1>10.7.0.1 ESP spi 0x2 seq 0x2"]


def test_6_1_knows_neither_the_attribute_nor_the_flag() -> None:
    given = ask("LISTEN on", ASKING, f"{SA}1 pcpu=1", f"{TX}0", "EVENTS", "DUMP", kernel="linux-6.1")
    assert given[3]["out"] == ["10.7.1.1>10.7.0.1 ESP spi 0x1 seq 0x1"]
    assert [event["event"] for event in given[4]["events"]] == ["NEWPOLICY", "NEWSA"]
    assert "pcpu" not in given[5]["states"][0]
