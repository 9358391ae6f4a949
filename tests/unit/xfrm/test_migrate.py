"""MIGRATE_STATE and MIGRATE beyond the rows that are here: occupied tuples, fields, marks, what goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espsim.core.address import format_address
from espsim.core.errors import InputError, XfrmError
from espsim.netlink.migrate_state import migrate_state
from espsim.netlink.netns import Netns
from espsim.netlink.request import MigrateStateRequest
from espsim.sad.linux import KernelHang
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
    other_family = f"{MOVE} new_sel={{src:10.7.0.1/32,dst:10.7.1.2/32,family:10}}"
    again = MOVE.replace("dst=10.7.1.1", "dst=10.7.1.2", 1) + " migrate_flags=2"
    assert last(f"{SA} mode=tunnel", other_family, again)["result"] == "EINVAL"
    assert last(f"{SA} mode=tunnel", other_family.replace(",family:10", ""), again)["result"] == "OK"


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
    [  # "new" is what 6.18.44 answered, "old" what xfrm_migrate_selector_match of 6.1 compares
        ("dst 10.8.0.0/16", "ENOENT", "OK"), ("dst 10.8.0.1", "OK", "OK"), ("dst 10.8.0.2", "ENOENT", "ENOENT"),
        ("dst 10.8.0.1 mark 5 mask 0xf", "OK", "ENOENT"), ("dst 10.8.0.1 if_id 3", "OK", "ENOENT"),
        ("dst 10.8.0.1 proto udp", "ENOENT", "ENOENT"),
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


def moved(policy: str, *entries: str, kernel: str = "linux-7.3", words: str = "") -> tuple[Any, Any, list[str]]:
    """(result, text, the policy's templates as SRC>DST) of a MIGRATE of TO_HOST's policy."""
    netns = Netns(kernel)
    line = f"MIGRATE dir=out sel={{src:10.7.1.1/32,dst:10.8.0.1/32}} {' '.join(entries)} {words}"
    answers = run_requests(netns, [f"POLICY add dir out src 10.7.1.1 dst 10.8.0.1 {policy}", line])
    assert next(answers)["result"] == "OK"
    answer = next(answers)
    templates = [template for held in netns.spd for template in held.templates]
    ends = [f"{format_address(template.src)}>{format_address(template.dst)}" for template in templates]
    return answer["result"], answer["extack"], ends


@pytest.mark.parametrize(
    ("mode", "result", "ends"),
    [
        ("tunnel", "OK", "10.7.1.2>10.7.0.2"), ("beet", "OK", "10.7.1.2>10.7.0.2"),
        ("iptfs", "OK", "10.7.1.2>10.7.0.2"), ("transport", "OK", "10.7.1.1>10.7.0.1"),
        ("ro", "ENODATA", "10.7.1.1>10.7.0.1"),
    ],
)  # fmt: skip
def test_templates_move_in_the_modes_that_have_addresses_of_their_own(mode: str, result: str, ends: str) -> None:
    template = TEMPLATE.replace("tunnel", "5" if mode == "iptfs" else mode)
    assert moved(template, f"{{10.7.1.1,10.7.0.1,10.7.1.2,10.7.0.2,esp,{mode},1}}") == (result, None, [ends])
    other = moved(template, f"{{10.9.1.1,10.9.0.1,10.7.1.2,10.7.0.2,esp,{mode},1}}")
    assert other == ("OK" if mode == "transport" else "ENODATA", None, ["10.7.1.1>10.7.0.1"])  # not between these


def test_a_migration_has_one_to_six_entries_that_differ_and_no_null_address() -> None:
    six = [f"{{10.7.1.1,10.7.0.1,10.7.1.2,10.7.0.{n},esp,tunnel,{n}}}" for n in range(1, 7)]
    assert moved(TEMPLATE, *six) == ("OK", None, ["10.7.1.2>10.7.0.1"])
    text = "Addresses in the MIGRATE attribute's list cannot be null"
    for ends in ("0.0.0.0,10.7.0.2", "10.7.1.2,0.0.0.0"):
        refused = moved(TEMPLATE, f"{{10.7.1.1,10.7.0.1,{ends},esp,tunnel,1}}")
        assert refused == ("EINVAL", text, ["10.7.1.1>10.7.0.1"])


def test_the_policy_is_of_the_direction_and_the_type_that_are_asked_for() -> None:
    entry = "{10.7.1.1,10.7.0.1,10.7.1.2,10.7.0.2,esp,tunnel,1}"
    assert last(f"POLICY add dir in src 10.7.1.1 dst 10.8.0.1 {TEMPLATE}", TO_HOST)["result"] == "ENOENT"
    sub = f"ptype sub {TEMPLATE}"
    assert moved(sub, entry) == ("ENOENT", "Target policy not found", ["10.7.1.1>10.7.0.1"])
    assert moved(sub, entry, words="ptype=sub") == ("OK", None, ["10.7.1.2>10.7.0.2"])


def test_a_policy_is_found_without_a_mark_and_before_6_12_with_any_interface_if_none_is_asked_for() -> None:
    assert moved(f"mark 1 mask 1 {TEMPLATE}", TO_FAR)[0] == "ENOENT"
    assert moved(f"mark 0 mask 1 {TEMPLATE}", TO_FAR)[0] == "OK"
    for asked, result in (("", "OK"), ("if_id=3", "OK"), ("if_id=4", "ENOENT")):
        assert moved(f"if_id 3 {TEMPLATE}", TO_FAR, kernel="linux-6.1", words=asked)[0] == result, asked


TO_FAR = "{10.7.1.1,10.7.0.1,10.7.1.1,10.7.0.2,esp,tunnel,1}"
TUNNEL = f"proto=esp mode=tunnel {NULL}"
OUTER = "src=10.7.1.1 dst=10.7.0.1"


def destinations(*lines: str, kernel: str = "linux-7.3") -> list[str]:
    """Where the SAs go after a MIGRATE that is granted, newest first."""
    given = ask(f"POLICY add dir out src 10.7.1.1 dst 10.8.0.1 {TEMPLATE}", *lines, "DUMP", kernel=kernel)
    assert given[-2]["result"] == "OK"
    return [state["dst"] for state in given[-1]["states"]]


@pytest.mark.parametrize(
    ("sa", "goes"),
    [
        (f"NEWSA {OUTER} spi=16 reqid=1 {TUNNEL}", True), (f"NEWSA {OUTER} spi=16 reqid=1 if_id=3 {TUNNEL}", True),
        (f"NEWSA src=10.7.1.2 dst=10.7.0.1 spi=16 reqid=1 {TUNNEL}", False),
        (f"NEWSA {OUTER} spi=16 reqid=2 {TUNNEL}", False), (f"NEWSA {OUTER} spi=16 reqid=1 proto=esp {NULL}", False),
    ],
)  # fmt: skip
def test_an_sa_moves_if_addresses_mode_and_reqid_are_those_of_the_entry(sa: str, goes: bool) -> None:
    assert destinations(sa, TO_HOST) == ["10.7.0.2" if goes else "10.7.0.1"]


def test_a_request_of_an_interface_moves_the_sas_of_that_interface() -> None:
    sas = [f"NEWSA {OUTER} spi={spi} reqid=1 if_id={if_id} {TUNNEL}" for spi, if_id in ((16, 3), (17, 4))]
    policy = f"POLICY add dir out src 10.7.1.1 dst 10.8.0.1 if_id 3 {TEMPLATE}"
    states = ask(policy, *sas, f"{TO_HOST} if_id=3", "DUMP")[-1]["states"]
    assert [(state["if_id"], state["dst"]) for state in states] == [(3, "10.7.0.2"), (4, "10.7.0.1")]


def test_an_sa_that_two_entries_fit_is_moved_by_the_first() -> None:
    third = "{10.7.1.1,10.7.0.1,10.7.1.1,10.7.0.3,esp,tunnel,0}"
    other = "{10.7.1.1,10.7.0.9,10.7.1.1,10.7.0.8,esp,tunnel,0}"
    sas = [f"NEWSA src=10.7.1.1 dst={dst} spi=16 reqid=1 {TUNNEL}" for dst in ("10.7.0.1", "10.7.0.9")]
    assert destinations(sas[0], f"{TO_HOST} {third}") == ["10.7.0.2"]
    assert destinations(*sas, f"{TO_HOST} {other}") == ["10.7.0.8", "10.7.0.2"]


def test_an_sa_keeps_its_encapsulation_unless_the_message_has_one() -> None:
    sa = f"NEWSA {OUTER} spi=16 reqid=1 encap=2,4500,4501 {TUNNEL}"
    for said, encap in (("", "2,4500,4501"), ("encap=2,4600,4600", "2,4600,4600")):
        lines = f"POLICY add dir out src 10.7.1.1 dst 10.8.0.1 {TEMPLATE}", sa, f"{TO_HOST} {said}", "DUMP"
        assert [state["encap"] for state in ask(*lines, kernel="linux-6.18")[-1]["states"]] == [encap]


NO_CHANGE = "Only tunnel modes can accommodate a change of family"
TO_IPV6 = TO_HOST.replace("10.7.1.1,10.7.0.2,esp", "2001:db8::1,2001:db8::2,esp")


def to_ipv6(sa: str, mode: str, kernel: str) -> tuple[str, str | None, list[str]]:
    """(result, text, where the SA goes) of a MIGRATE of an SA and its policy to IPv6 addresses."""
    template = TEMPLATE.replace("tunnel", "5" if mode == "iptfs" else mode)
    policy = f"POLICY add dir out src 10.7.1.1 dst 10.8.0.1 {template}"
    new = f"NEWSA {OUTER} proto=esp spi=16 reqid=1 mode={mode} {NULL} {sa}"
    given = ask(policy, new, TO_IPV6.replace("tunnel", mode), "DUMP", kernel=kernel)
    return given[2]["result"], given[2]["extack"], [state["dst"] for state in given[3]["states"]]


def test_a_copy_of_another_family_that_cannot_be_made_is_enodata_and_nothing_moves() -> None:
    for kernel, text in (("linux-6.18", None), ("linux-7.3", NO_CHANGE)):
        assert to_ipv6("", "transport", kernel) == ("ENODATA", text, ["10.7.0.1"])
        assert to_ipv6("flags=af-unspec", "transport", kernel) == ("OK", None, ["2001:db8::2"])
        assert to_ipv6("", "tunnel", kernel) == ("OK", None, ["2001:db8::2"])
        for size, result, dst in ((52, "ENODATA", "10.7.0.1"), (53, "OK", "2001:db8::2")):  # 40 + ESP 8 + AGGFRAG 4
            assert to_ipv6(f"dir=out pkt_size={size}", "iptfs", kernel) == (result, None, [dst])


def test_a_copy_is_checked_for_the_family_of_its_selector() -> None:
    """A selector of IPv6 has route optimisation; the copy in IPv4 would be a change of family (__xfrm_init_state)."""
    sa = "NEWSA src=2001:db8::1 dst=2001:db8::2 proto=hao spi=0 mode=ro coa=2001:db8::3"
    policy = "POLICY add dir out src 2001:db8::1 dst 2001:db8::9 tmpl proto hao mode ro"
    entry = "{2001:db8::1,2001:db8::2,10.7.1.1,10.7.0.2,hao,ro,0}"
    asked = f"MIGRATE dir=out sel={{src:2001:db8::1/128,dst:2001:db8::9/128}} {entry}"
    assert last(sa, policy, asked) == {"errno": 61, "result": "ENODATA", "extack": NO_CHANGE}
    esp = f"NEWSA src=2001:db8::1 dst=2001:db8::2 proto=esp spi=0x1000 mode=ro {NULL}"
    move = "MIGRATE_STATE dst=2001:db8::2 proto=esp spi=0x1000 new_dst=10.7.1.2 new_src=10.7.0.1 new_reqid=0"
    assert last(esp, f"{move} new_sel={{src:2001:db8::/64,dst:}}")["extack"] == NO_CHANGE


def test_the_new_selector_is_checked_against_its_own_family_unless_it_is_not_looked_at() -> None:
    whole = f"{SA} mode=tunnel sel={{src:10.7.0.1/32,dst:10.7.1.1/32}}"
    text = "Invalid prefix length in selector (must be <= {} for {})"
    for most, family, name in ((32, "10.0.0.0", "IPv4"), (128, "2001:db8::", "IPv6")):
        for src, dst in ((most, most), (most + 1, 0), (0, most + 1)):
            selector = f"new_sel={{src:{family}/{src},dst:{family}/{dst}}}"
            refused = None if src == dst else text.format(most, name)
            for flags in (0, 1):
                assert last(whole, f"{MOVE} {selector} migrate_flags={flags}")["extack"] == refused
            assert last(whole, f"{MOVE} {selector} migrate_flags=2")["result"] == "OK"
    for flags, side in ((0, "10.0.0.0/8"), (1, "10.0.0.0/8"), (2, "10.7.0.1/32")):
        asked = f"{MOVE} new_sel={{src:10.0.0.0/8,dst:10.7.1.2/32}} migrate_flags={flags}"
        assert last(whole, asked, "DUMP")["states"][0]["sel"] == f"{side} 10.7.1.2/32"


def test_a_selector_without_a_family_takes_every_packet() -> None:
    given = last(SA, f"{MOVE} new_sel={{dst:0.0.0.0/33,family:0}}", "RX dst=10.7.1.2 spi=0x1000 seq=1")
    assert given["result"] == "delivered"


def test_a_prefix_longer_than_the_address_is_the_whole_address() -> None:
    for side, counter in (("dst:10.7.1.2/33", "XfrmInNoPols"), ("dst:10.7.1.3/128", "XfrmInStateMismatch")):
        asked = f"{MOVE} new_sel={{{side},family:10}}"
        given = last(f"{SA} mode=tunnel", asked, "RX dst=10.7.1.2 spi=0x1000 seq=1")
        assert given["counters"] == {counter: 1}, side


def test_the_options_of_an_encapsulation_need_the_one_that_the_sa_will_have() -> None:
    mapped = SA + " encap=2,4500,4500"
    timer, keepalive = "MTIMER_THRESH requires encapsulation", "NAT_KEEPALIVE_INTERVAL requires encapsulation"
    for sa, encap, needed in (
        (SA, "", True),
        (SA, "encap=2,1,1", False),
        (mapped, "", False),
        (mapped, "encap=0,0,0", True),
    ):
        assert last(sa, f"{MOVE} {encap} mtimer=5")["extack"] == (timer if needed else None)
        assert last(f"{sa} dir=out", f"{MOVE} {encap} nat_keepalive=5")["extack"] == (keepalive if needed else None)
        assert last(sa, f"{MOVE} {encap} nat_keepalive=0")["extack"] is None


def test_an_offload_goes_along_unless_the_request_clears_it_or_has_one() -> None:
    whole = f"{SA} sel={{src:10.7.0.1/32,dst:10.7.1.1/32}} offload=3,0"
    cases = [
        ("", "if3"), ("migrate_flags=2", "if3"), ("migrate_flags=1", None), ("offload=4,0", "if4"),
        ("offload=4,0 migrate_flags=1", "if4"),
    ]  # fmt: skip
    for words, device in cases:
        netns = Netns("linux-7.3")
        assert list(run_requests(netns, [whole, f"{MOVE} {words}"]))[-1]["result"] == "OK"
        (state,) = netns.dump()
        assert (state.sa.offload and state.sa.offload.dev) == device


def test_a_move_that_leaves_no_room_in_iptfs_packets_is_refused() -> None:
    far = "MIGRATE_STATE dst=10.7.1.1 proto=esp spi=0x1000 new_dst=2001:db8::2 new_src=2001:db8::1 new_reqid=5"
    for size, text in ((52, "State migration clone failed"), (53, None)):  # IPv6 40, ESP 8, AGGFRAG 4
        assert last(f"{SA} mode=iptfs dir=out pkt_size={size}", far)["extack"] == text


@pytest.mark.parametrize("line", [TO_HOST, MOVE])
def test_a_kernel_that_hangs_moves_nothing(line: str) -> None:
    netns = Netns("linux-7.3")
    lines = [f"POLICY add dir out src 10.7.1.1 dst 10.8.0.1 {TEMPLATE}", SA]
    assert [answer["result"] for answer in run_requests(netns, lines)] == ["OK", "OK"]
    before = list(netns.spd), netns.dump()
    netns.hung = KernelHang("soft lockup")
    assert [answer["result"] for answer in run_requests(netns, [line])] == ["HANG"]
    netns.hung = None
    assert (list(netns.spd), netns.dump()) == before


def test_a_policy_without_templates_has_nothing_to_move() -> None:
    blocks = "POLICY add dir out src 10.7.1.1 dst 10.8.0.1 action block"
    assert last(blocks, TO_HOST) == {"errno": 61, "result": "ENODATA", "extack": None}


def test_a_kernel_without_the_message_does_not_ask_who_sends_it() -> None:
    asked = MigrateStateRequest(bytes([10, 7, 1, 1]), 50, 0x1000, bytes(4), bytes([10, 7, 1, 2]), 0, 2)
    for kernel in ("linux-6.1", "linux-6.12", "linux-6.18"):
        netns = Netns(kernel)
        list(run_requests(netns, [SA]))
        with pytest.raises(XfrmError) as caught:
            migrate_state(netns, asked)
        assert (caught.value.errno, caught.value.extack) == (22, None)
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
