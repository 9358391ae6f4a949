"""MIGRATE_STATE and MIGRATE beyond the rows that are here: occupied tuples, fields, marks, what goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

NULL = "crypt=ecb(cipher_null) auth=hmac(sha1)"
SA = f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 {NULL}"
MOVE = "MIGRATE_STATE dst=10.7.1.1 proto=esp spi=0x1000 new_dst=10.7.1.2 new_src=10.7.0.1 new_reqid=5"
STAY = "MIGRATE_STATE dst=10.7.1.1 proto=esp spi=0x1000 new_dst=10.7.1.1 new_src=10.7.0.1 new_reqid=5"


def ask(*lines: str, kernel: str = "linux-7.3") -> list[dict[str, Any]]:
    return [json.loads(json.dumps(answer)) for answer in run_requests(Netns(kernel), lines)]


def last(*lines: str, kernel: str = "linux-7.3") -> dict[str, Any]:
    return ask("LISTEN on", *lines, kernel=kernel)[-1]


@pytest.mark.parametrize(
    "holder",
    [
        f"NEWSA src=10.7.0.9 dst=10.7.1.2 proto=esp spi=0x1000 {NULL}",
        "ALLOCSPI src=10.7.0.9 dst=10.7.1.2 proto=esp min=0x1000 max=0x1000 mark=0/1",
    ],
)
def test_an_occupied_tuple_refuses_and_both_stay(holder: str) -> None:
    before = last(holder, SA, "DUMP")
    given = ask(holder, SA, MOVE, "DUMP")
    assert (given[-2]["result"], given[-2]["extack"]) == ("EEXIST", "New SA tuple already occupied")
    assert given[-1] == before
    assert before["count"] == 2


def test_the_mark_is_the_attributes_else_what_it_was_looked_up_with() -> None:
    marked = SA + " mark=5/0xff"
    cases = [
        (SA, f"{MOVE} old_mark=5/0xff", "5/0xff"), (marked, f"{MOVE} old_mark=0x105/0xffffffff", "105/0xffffffff"),
        (marked, f"{MOVE} old_mark=5/0xff mark=0/0", None), (marked, f"{MOVE} old_mark=5/0xff mark=7/7", "7/0x7"),
    ]  # fmt: skip
    for made, moved, mark in cases:
        state = last(made, moved, "DUMP")["states"][0]
        assert state.get("mark") == (mark and f"0x{mark}"), moved


def test_an_unchanged_destination_asks_no_one() -> None:
    other = f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 mark=2/0xff {NULL}"
    given = last(SA + " mark=1/0xff", other, f"{STAY} old_mark=1/0xff mark=2/0xff", "DUMP")
    assert [state["mark"] for state in given["states"]] == ["0x2/0xff", "0x2/0xff"]


def test_zeros_are_taken_as_they_stand() -> None:
    full = f"{SA} sel={{src:10.0.0.0/8,dst:10.7.1.1/32}} reqid=9 if_id=4 dir=in"
    state = last(full, "MIGRATE_STATE dst=10.7.1.1 proto=esp spi=0x1000 new_dst=10.7.1.2 new_src=0.0.0.0 new_reqid=0",
                 "DUMP")["states"][0]  # fmt: skip
    assert {*state["src"]} == {"0", "."}
    assert (state["reqid"], state["if_id"], state["dir"]) == (0, 4, "in")
    assert "sel" not in state


def test_the_host_to_host_selector_goes_along_only_if_it_is_one() -> None:
    whole = f"{SA} sel={{src:10.7.0.1/32,dst:10.7.1.1/32}}"
    assert last(whole, f"{MOVE} migrate_flags=2", "DUMP")["states"][0]["sel"] == "10.7.0.1/32 10.7.1.2/32"
    for selector in ("sel={src:10.7.0.0/24,dst:10.7.1.1/32}", "sel={src:10.7.0.3/32,dst:10.7.1.1/32}", ""):
        refused = last(f"{SA} {selector}", f"{MOVE} migrate_flags=2")
        assert refused["extack"] == "SA selector is not a single-host match for SA addresses", selector


def test_what_no_attribute_says_is_inherited_and_goes_with_the_encapsulation() -> None:
    out = f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 dir=out encap=2,4500,4500 nat_keepalive=7 {NULL}"
    kept = last(f"{out} set_mark=1/3", MOVE, "DUMP")["states"][0]
    assert (kept["encap"], kept["nat_keepalive"], kept["set_mark"]) == ("2,4500,4500", 7, "0x1/0x3")
    bare = last(f"{out} set_mark=1/3", f"{MOVE} encap=0,0,0 set_mark=0", "DUMP")["states"][0]
    assert "encap" not in bare
    assert "nat_keepalive" not in bare
    assert bare["set_mark"] == "0x0/0xffffffff"


def test_lifetimes_numbers_and_the_window_go_on() -> None:
    limited = f"{SA} replay_window=32 limits={{soft_packets:2,hard_packets:5,hard_add:10}}"
    packets = [f"RX dst=10.7.1.1 spi=0x1000 seq={n}" for n in (1, 2, 3)]
    here = "RX dst=10.7.1.2 spi=0x1000 seq="
    given = ask("LISTEN on", limited, *packets, "ADVANCE seconds=4", MOVE, "EVENTS", here + "3", here + "4", "EVENTS",
                here + "5", here + "6", "DUMP")  # fmt: skip
    assert [event["event"] for event in given[7]["events"]] == ["NEWSA", "EXPIRE", "MIGRATE_STATE"]
    assert [given[n]["result"] for n in (8, 9, 11, 12)] == ["dropped", "delivered", "delivered", "dropped"]
    assert [event["event"] for event in given[10]["events"]] == ["EXPIRE"]  # the soft limit is told of again
    assert given[12]["counters"] == {"XfrmInStateExpired": 1}
    late = ask(limited, "ADVANCE seconds=4", MOVE, "ADVANCE seconds=6.5", "DUMP")
    assert late[-1]["count"] == 0  # hard_add counts from the first install


def test_an_outbound_sa_goes_on_with_the_next_number_and_never_repeats_an_iv() -> None:
    gcm = "aead=rfc4106(gcm(aes)) icv=128"
    policy = "POLICY add dir out src 10.7.1.1 dst {} tmpl src 10.7.1.1 dst {} proto esp mode transport reqid 5"
    given = ask(
        f"NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x1000 reqid=5 {gcm}", policy.format("10.7.0.1", "10.7.0.1"),
        policy.format("10.7.0.2", "10.7.0.2"), "TX src=10.7.1.1 dst=10.7.0.1",
        "MIGRATE_STATE dst=10.7.0.1 proto=esp spi=0x1000 new_dst=10.7.0.2 new_src=10.7.1.1 new_reqid=5",
        "TX src=10.7.1.1 dst=10.7.0.2", "TX src=10.7.1.1 dst=10.7.0.1",
    )  # fmt: skip
    assert given[5]["out"] == ["10.7.1.1>10.7.0.2 ESP spi 0x1000 seq 0x2"]
    ivs = [int(given[n]["packet"][56:72], 16) for n in (3, 5)]
    assert ivs[0] ^ ivs[1] == 1 ^ 2  # one mask: the IVs are the numbers under it
    assert given[6]["counters"] == {"XfrmOutNoStates": 1}


def test_a_side_of_a_selector_that_says_nothing_is_any() -> None:
    made = f"{SA} sel={{src:,dst:10.7.1.1/32}}"
    assert last(made, "DUMP")["states"][0]["sel"] == "0.0.0.0/0 10.7.1.1/32"
    assert "sel" not in last(made, f"{MOVE} new_sel={{src:,dst:}}", "DUMP")["states"][0]


def test_a_moved_sa_answers_the_acquire_of_its_new_address() -> None:
    policy = (
        "POLICY add dir out src 10.7.1.1 dst 10.7.0.2 tmpl src 10.7.1.1 dst 10.7.0.2 proto esp mode transport reqid 5"
    )
    made = f"NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x1000 reqid=1 {NULL}"
    move = "MIGRATE_STATE dst=10.7.0.1 proto=esp spi=0x1000 new_src=10.7.1.1 new_reqid=5 new_dst=10.7.0."
    waiting = ["LISTEN on", policy, made, "TX src=10.7.1.1 dst=10.7.0.2"]
    assert ask(*waiting, "DUMP")[-1]["count"] == 2
    assert ask(*waiting, f"{move}2", "DUMP")[-1]["count"] == 1
    assert ask(*waiting, f"{move}1", "DUMP")[-1]["count"] == 2


def test_of_two_sas_the_policys_migration_moves_the_newest() -> None:
    policy = "POLICY add dir in src 10.8.0.1 dst 10.7.1.1 tmpl src 10.7.0.1 dst 10.7.1.1 proto esp mode tunnel reqid 1"
    tunnel = f"mode=tunnel reqid=1 {NULL}"
    move = "MIGRATE dir=in sel={src:10.8.0.1/32,dst:10.7.1.1/32} {10.7.0.1,10.7.1.1,10.7.0.1,10.7.1.2,esp,tunnel,0}"
    given = last(policy, *(f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi={spi} {tunnel}" for spi in (16, 17)), move,
                 "DUMP")  # fmt: skip
    assert [(state["spi"], state["dst"]) for state in given["states"]] == [
        ("0x00000011", "10.7.1.2"), ("0x00000010", "10.7.1.1"),
    ]  # fmt: skip


TEMPLATE = "tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode tunnel reqid 1"
TO_HOST = "MIGRATE dir=out sel={src:10.7.1.1/32,dst:10.8.0.1/32} {10.7.1.1,10.7.0.1,10.7.1.1,10.7.0.2,esp,tunnel,1}"


@pytest.mark.parametrize(
    ("policy", "old", "new"),
    [  # "new" is what 6.18.44 answered
        ("dst 10.8.0.0/16", "ENOENT", "OK"), ("dst 10.8.0.1", "OK", "OK"), ("dst 10.8.0.2", "ENOENT", "ENOENT"),
        ("dst 10.8.0.1 mark 5 mask 0xf", "OK", "ENOENT"), ("dst 10.8.0.1 if_id 3", "OK", "ENOENT"),
        ("dst 10.8.0.1 proto udp", "OK", "ENOENT"),
    ],
)  # fmt: skip
def test_the_policy_is_found_as_a_packet_finds_it_since_6_12_and_octet_by_octet_before(
    policy: str, old: str, new: str
) -> None:
    for kernel, result in (("linux-6.1", old), ("linux-6.18", new), ("linux-7.3", new)):
        given = last(f"POLICY add dir out src 10.7.1.1 {policy} {TEMPLATE}", TO_HOST, kernel=kernel)
        assert given["result"] == result, kernel
    if "if_id" in policy:
        asked = f"{TO_HOST} if_id=3"
        assert last(f"POLICY add dir out src 10.7.1.1 {policy} {TEMPLATE}", asked)["result"] == "OK"


def test_of_two_policies_the_lowest_priority_is_moved_and_of_its_templates_those_that_fit() -> None:
    wide, narrow = (f"POLICY add dir out src 10.7.1.1 dst {dst}" for dst in ("10.8.0.0/16", "10.8.0.1"))
    netns = Netns("linux-7.3")
    lines = [
        f"{narrow} priority 5 {TEMPLATE}",
        f"{wide} priority 3 {TEMPLATE} {TEMPLATE.replace('0.1', '0.9')}",
        TO_HOST,
    ]
    assert list(run_requests(netns, lines))[-1]["result"] == "OK"
    assert [[str(template.dst[-1]) for template in policy.templates] for policy in netns.spd] == [["1"], ["2", "9"]]


def test_a_policy_without_templates_has_nothing_to_move() -> None:
    blocks = "POLICY add dir out src 10.7.1.1 dst 10.8.0.1 action block"
    assert last(blocks, TO_HOST) == {"errno": 61, "result": "ENODATA", "extack": None}


def test_a_kernel_without_the_message_does_not_ask_who_sends_it() -> None:
    for kernel in ("linux-6.1", "linux-6.12", "linux-6.18"):
        assert last(SA, f"{MOVE} cap=no", kernel=kernel) == {"errno": 22, "result": "EINVAL", "extack": None}
        assert last("MIGRATE_STATE", kernel=kernel)["extack"] is None
    assert last(SA, f"{MOVE} cap=no")["result"] == "EPERM"
    assert last("MIGRATE_STATE")["extack"] == "Invalid SPI 0x0"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("MIGRATE dir=out sel={} {1,2}", "an entry of MIGRATE takes"),
        ("MIGRATE dir=out sel={} {10.0.0.1,::1,10.0.0.1,10.0.0.2,esp,tunnel,1}", "different families"),
        ("MIGRATE_STATE dst=10.0.0.1 proto=esp spi=1 new_src=10.0.0.2 new_reqid=1", "new_dst= is missing"),
        (f"{MOVE} new_sel={{source:10.0.0.1/32}}", "unknown name 'source'; known: src, dst, family"),
    ],
)
def test_what_is_no_such_request_is_said_with_its_line(line: str, what: str) -> None:
    with pytest.raises(InputError, match="f:1") as caught:
        list(run_requests(Netns(), [line], "f"))
    assert what in str(caught.value)
