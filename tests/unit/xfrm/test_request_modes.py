"""RX in BEET mode, and with a next header or an AGGFRAG payload that the line asks for."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.answers import Answer
from espsim.xfrm.requests import run_requests

ENDS = "src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000"
GCM = "aead=rfc4106(gcm(aes)) icv=128"
RX = "RX dst=10.7.1.1 spi=0x1000 seq=1"


def ask(*lines: str) -> list[Answer]:
    return list(run_requests(Netns("linux-7.3"), lines))


@pytest.mark.parametrize(("nh", "counter"), [(144, "XfrmInStateModeError"), (59, "XfrmInStateProtoError")])
def test_the_next_header_is_what_the_line_says(nh: int, counter: str) -> None:
    tunnel = "POLICY add dir in src 10.8.0.1 dst 10.7.1.1 tmpl src 10.7.0.1 dst 10.7.1.1 proto esp mode tunnel"
    given = ask(f"NEWSA {ENDS} mode=tunnel {GCM}", tunnel, f"{RX} nh={nh}", RX.replace("seq=1", "seq=2"))
    assert given[2]["counters"] == {counter: 1}
    assert given[3]["result"] == "delivered"


@pytest.mark.parametrize("sel", ["{src:10.9.0.1/32,dst:10.9.0.2/32}", "{src:2001:db8::1/128,dst:2001:db8::2/128}"])
def test_a_packet_in_beet_mode_has_the_selectors_addresses_inside(sel: str) -> None:
    src, dst = sel[1:-1].replace("src:", "").replace("dst:", "").split(",")
    policy = f"POLICY add dir in src {src} dst {dst} tmpl src 10.7.0.1 dst 10.7.1.1 proto esp mode beet"
    given = ask(f"NEWSA {ENDS} mode=beet {GCM} sel={sel}", RX, policy, f"{RX[:-1]}2")
    assert [answer["result"] for answer in given[1::2]] == ["dropped", "delivered"]


def test_an_aggfrag_payload_of_wrong_flags_counts_a_wrong_header() -> None:
    given = ask(f"NEWSA {ENDS} mode=iptfs dir=in {GCM}", f"{RX} iptfs={{sub:0,flags:1,off:0}}")
    assert given[1]["counters"] == {"XfrmInHdrError": 1}


IPTFS = [
    f"NEWSA {ENDS} mode=iptfs dir=in {GCM}",
    "POLICY add dir in src 10.7.0.1 dst 10.7.1.1 tmpl src 10.7.0.1 dst 10.7.1.1 proto esp mode 5",
]


def test_packets_of_one_payload_are_delivered_together_and_a_gap_is_waited_for() -> None:
    given = ask(*IPTFS, f"{RX} blocks=3", f"{RX[:-1]}3", f"{RX[:-1]}2", f"{RX[:-1]}5 wait=2", f"{RX[:-1]}8",
                "ADVANCE seconds=2")[2:]  # fmt: skip
    assert [answer["result"] for answer in given] == ["delivered", "dropped", "delivered", "delivered", "dropped", "OK"]
    assert [answer.get("delivered") for answer in given] == [3, None, 2, None, None, None]
    assert [answer.get("late") for answer in given] == [None, None, None, 1, None, 1]


V6_IN = "POLICY add dir in src 2001:db8::1 dst 2001:db8::2 tmpl src 10.7.0.1 dst 10.7.1.1 proto esp mode 5"
START = "45000064000040004011ffff0a0700010a070101"  # of a packet of 100 bytes


@pytest.mark.parametrize(
    ("blocks", "delivered", "counters"),
    [  # what 7.3.4 counts
        ("v4:5,v6:9,v4:0", 3, {}), ("v4:5,pad:40", 1, {}), ("v4:5,hex:70000000", 0, {"XfrmInBufferError": 1}),
        ("v4:5,hex:4500001300000000", 0, {"XfrmInHdrError": 1}), ("pad:0", 0, {}), (f"v4:5,hex:{START}", 1, {}),
    ],
)  # fmt: skip
def test_blocks_of_several_kinds_share_a_payload(blocks: str, delivered: int, counters: dict[str, int]) -> None:
    given = ask(*IPTFS, V6_IN, f"{RX} blocks={blocks}")[-1]
    assert given.get("delivered", int(given["result"] == "delivered")) == delivered
    assert given["counters"] == counters


def test_a_packet_whose_middle_is_missing_is_lost_and_what_follows_it_is_not() -> None:
    rest = f"{RX[:-1]}2 iptfs={{off:80}} blocks=pad:80,v4:5"
    first = f"{RX} blocks=hex:{START}"
    assert ask(*IPTFS, first, rest)[-1]["delivered"] == 2
    short = ask(*IPTFS, first, rest.replace("80", "40"))[-1]
    assert (short["result"], short["counters"]) == ("delivered", {"XfrmInIptfsError": 1})


@pytest.mark.parametrize(
    ("text", "what"), [("v5:1", "unknown kind 'v5'"), ("v4:", "is not a number"), ("hex:0", "hex")]
)
def test_blocks_that_are_none_are_refused(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        ask(f"{RX} blocks={text}")


def test_a_policy_judges_each_packet_of_a_payload() -> None:
    given = ask(IPTFS[0], f"{RX} blocks=2")
    assert (given[1]["result"], given[1]["counters"]) == ("dropped", {"XfrmInNoPols": 2})


def test_a_kernel_without_the_mode_takes_no_packet_of_it() -> None:
    given = list(run_requests(Netns("linux-7.3", options=["no-iptfs"]), [*IPTFS, RX, f"{RX[:-1]}5 wait=2"]))
    assert [answer["result"] for answer in given[2:]] == ["dropped", "dropped"]
    assert given[2]["counters"] == given[3]["counters"] == {"XfrmInStateModeError": 1}


def test_a_sender_cuts_what_is_larger_than_its_packets_and_a_delay_joins() -> None:
    sa = f"NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x1001 mode=iptfs dir=out {GCM}"
    policy = "POLICY add dir out src 10.7.1.1 dst 10.7.0.1 tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode 5"
    tx = "TX src=10.7.1.1 dst=10.7.0.1 payload=500"
    cut = ask(f"{sa} pkt_size=300", policy, tx)[-1]
    assert cut["out"] == [f"10.7.1.1>10.7.0.1 ESP spi 0x1001 seq 0x{n}" for n in (1, 2, 3)]
    joined = ask(f"{sa} init_delay=5000", policy, tx, tx, "ADVANCE seconds=1")
    assert [answer["out"] for answer in joined[2:]] == [[], [], ["10.7.1.1>10.7.0.1 ESP spi 0x1001 seq 0x1"]]


def test_a_sender_hears_nothing_of_what_the_queue_drops() -> None:
    sa = f"NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x1001 mode=iptfs dir=out {GCM}"
    policy = "POLICY add dir out src 10.7.1.1 dst 10.7.0.1 tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode 5"
    tx = "TX src=10.7.1.1 dst=10.7.0.1 payload=500"
    full = ask(f"{sa} init_delay=5000 max_qsize=700", policy, tx, tx)[-1]
    assert (full["result"], full["out"], full["counters"]) == ("sent", [], {"XfrmOutNoQueueSpace": 1})
    large = ask(f"{sa} pkt_size=300 dont_frag", policy, tx)[-1]
    assert (large["result"], large["out"]) == ("sent", [])


def test_too_much_for_one_packet_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InputError, match="blocks hold more than 60000 bytes"):
        ask(f"{RX} payload=1000 blocks=61")
    with pytest.raises(InputError, match="sub and flags take 0 to 255"):
        ask(f"{RX} iptfs={{sub:256}}")
