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


def test_too_much_for_one_packet_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InputError, match="blocks of 1000 bytes are more than 60000 bytes"):
        ask(f"{RX} payload=1000 blocks=61")
    with pytest.raises(InputError, match="sub and flags are octets"):
        ask(f"{RX} iptfs={{sub:256}}")
