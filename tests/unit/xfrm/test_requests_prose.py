"""What the experiments beside the recorded rows showed of a kernel: told in words there, asked in the language here.

`ask` takes a kernel's name and a script of lines, and gives (result, extack) or what is named after it.
"""

from __future__ import annotations

from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.requests import run_requests

ZEROS = ".".join("0000")
OLD, SPI0, NEW = "linux-6.1", "linux-6.1.192", "linux-6.12"
ALL_KERNELS = [OLD, SPI0, NEW]
LARVAL = "ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp"
SA = "src=10.7.0.1 dst=10.7.1.1 proto=esp crypt=ecb(cipher_null) auth=hmac(sha1)"
OUT_SA = "src=10.7.1.1 dst=10.7.0.1 proto=esp crypt=ecb(cipher_null) auth=hmac(sha1)"
OUT_POLICY = (
    "POLICY add dir out src 10.7.1.1 dst 10.7.0.1 tmpl src 10.7.1.1 dst 10.7.0.1 proto esp mode transport reqid 0"
)
NO_SPI = "No SPI available in the requested range"


def ask(kernel: str, script: str, **options: Any) -> list[dict[str, Any]]:
    return list(run_requests(Netns(kernel, **options), script.splitlines()))


def results(kernel: str, script: str, **options: Any) -> list[str]:
    return [answer["result"] for answer in ask(kernel, script, **options)]


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_by_seq_an_spi_that_is_there_already_is_the_answer_whatever_the_range(kernel: str) -> None:
    *_, first, again = ask(
        kernel,
        f"""{OUT_POLICY}
        LISTEN on
        TX dst=10.7.0.1
        ALLOCSPI src=10.7.1.1 dst=10.7.0.1 proto=esp min=0x1000 max=0x1000 seq=1
        ALLOCSPI src=10.7.1.1 dst=10.7.0.1 proto=esp min=0x2000 max=0x2000 seq=1""",
    )
    assert first["reply"]["spi"] == again["reply"]["spi"] == "0x00001000"


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_an_adopted_state_keeps_its_own_if_id_and_mark(kernel: str) -> None:
    *_, adopted, dump = ask(
        kernel,
        f"""{LARVAL} min=0x1000 max=0x1000
        {LARVAL} min=0x1000 max=0x1000 if_id=1
        {LARVAL} min=0x1001 max=0x1001 if_id=2
        DUMP""",
    )
    assert adopted["reply"]["if_id"] == 1
    assert dump["count"] == 2


@pytest.mark.parametrize("family", [0, 7])
def test_the_family_of_an_allocspi_is_not_checked(family: int) -> None:
    """Addresses are copied for AF_INET and AF_INET6 alone: in another family they stay zero (__find_acq_core)."""
    get = "GETSA dst={} proto=esp spi=0x1000"
    asked, zero = get.format("10.0.0.2"), get.format(ZEROS)
    made, dump, inet, own, found = ask(
        NEW,
        f"{LARVAL} min=0x1000 max=0x1000 family={family}\nDUMP\n{asked}\n"
        f"{asked} family={family}\n{zero} family={family}",
    )
    assert made["reply"]["family"] == dump["states"][0]["family"] == family
    assert (made["reply"]["src"], made["reply"]["dst"]) == (ZEROS, ZEROS)
    assert (inet["result"], own["result"], found["result"]) == ("ESRCH", "ESRCH", "OK")


@pytest.mark.parametrize("family", [0, 7])
def test_in_an_odd_family_the_same_tuple_is_another_state(family: int) -> None:
    """What was left behind has other addresses than the request, but for one that asks for zeros itself."""
    zeros = f"ALLOCSPI src={ZEROS} dst={ZEROS} proto=esp min=0x1000 max=0x1000"
    *_, before, failed, after = ask(
        NEW,
        f"""{LARVAL} min=0x1000 max=0x1000 family={family}
        {LARVAL} min=0x1000 max=0x1000 family={family}
        {LARVAL} min=0x1000 max=0x1000 family={family}
        DUMP
        {zeros} family={family}
        DUMP""",
    )
    assert before["count"] == 3
    assert (failed["result"], after["count"]) == ("ENOENT", 3)


def test_a_family_and_an_address_of_another_length() -> None:
    """A message has room for 16 bytes: an IPv4 address in AF_INET6 is followed by zeros, IPv6 in AF_INET is cut."""
    longer, shorter = ask(
        NEW,
        f"""{LARVAL} min=5 max=5 family=10
        ALLOCSPI src=2001:db8::1 dst=2001:db8::2 proto=esp min=6 max=6 family=2""",
    )
    assert longer["reply"]["dst"] == "a00:2::"
    assert shorter["reply"]["dst"] == "32.1.13.184"


def test_order_of_the_checks_of_allocspi() -> None:
    script = """
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=route2 min=5 max=4 dir=3 length=10 cap=no
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=route2 min=5 max=4 dir=3 length=10
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=route2 min=5 max=4 dir=3
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=route2 min=5 max=4
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=any min=5 max=4
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=comp min=0x20000 max=0x10000
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=5 max=4 pcpu=9999
    ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esp min=5 max=5 pcpu=9999
    DUMP"""
    *errors, dump = ask(NEW, script)
    protocol = "Invalid protocol, must be one of AH, ESP, IPCOMP"
    assert [(answer["result"], answer["extack"]) for answer in errors] == [
        ("EPERM", None),
        ("EINVAL", "Invalid header length"),
        ("ERANGE", "integer out of range"),
        ("EINVAL", protocol),
        ("EINVAL", protocol),
        ("EINVAL", "IPCOMP SPI must be <= 65535"),
        ("EINVAL", "Invalid SPI range: min > max"),
        ("EINVAL", "pCPU number too big"),
    ]
    assert dump["count"] == 0  # none of these leaves a state behind


@pytest.mark.parametrize("verb", ["GETSA", "DELSA", "GETAE", "NEWAE", "EXPIRE"])
def test_sa_dir_has_a_place_in_three_requests_only(verb: str) -> None:
    line = f"{verb} dst=10.0.0.2 proto=esp spi=1 dir=in" + (" hard=1" if verb == "EXPIRE" else "")
    [answer] = ask(NEW, line)
    assert (answer["result"], answer["extack"]) == ("EINVAL", "Invalid attribute SA_DIR")
    [answer] = ask(OLD, line)
    assert answer["result"] == {"NEWAE": "EINVAL", "EXPIRE": "ENOENT"}.get(verb, "ESRCH")


def test_6_1_192_hangs_at_the_third_zero_and_answers_nothing_after() -> None:
    given = ask(SPI0, f"{LARVAL} min=0 max=0\n{LARVAL} min=0 max=0\n{LARVAL} min=0 max=0\nDUMP")
    assert [answer["result"] for answer in given] == ["OK", "OK", "HANG", "HANG"]
    assert given[0]["reply"]["spi"] == "0x00000000"
    assert given[2] == given[3]
    assert given[2]["note"].startswith("this kernel hangs here: ")


# -- install ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_marks_specific_before_wildcard_and_the_newest_shadows(kernel: str) -> None:
    script = f"""
    NEWSA {SA} spi=0x1000 mark=1/0xff
    NEWSA {SA} spi=0x1000 mark=2/0xff
    NEWSA {SA} spi=0x1000 reqid=9
    NEWSA {SA} spi=0x1000 mark=3/0xff
    GETSA dst=10.7.1.1 proto=esp spi=0x1000 mark=1/0xff"""
    *made, late, got = ask(kernel, script)
    assert [answer["result"] for answer in made] == ["OK"] * 3
    assert late["result"] == "EEXIST"
    assert got["reply"]["reqid"] == 9  # the wildcard, not the SA whose mark was asked for


def test_the_direction_of_an_update_must_be_the_larval_states() -> None:
    larval = "ALLOCSPI src=10.7.0.1 dst=10.7.1.1 proto=esp min={0} max={0}"
    script = f"""
    {larval.format(1)} dir=in
    UPDSA {SA} spi=1 dir=out
    UPDSA {SA} spi=1 dir=in
    UPDSA {SA} spi=1
    {larval.format(2)}
    UPDSA {SA} spi=2 dir=in
    {larval.format(3)} dir=in
    UPDSA {SA} spi=3
    GETSA dst=10.7.1.1 proto=esp spi=3"""
    given = ask(NEW, script)
    assert [answer["result"] for answer in given] == ["OK", "ESRCH", "OK", "ESRCH", "OK", "ESRCH", "OK", "OK", "OK"]
    assert "dir" not in given[-1]["reply"]
    assert results(OLD, script) == ["OK", "OK", "OK", "OK", "OK", "OK", "OK", "OK", "OK"]


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_peers_behind_one_nat_have_no_port_in_the_key(kernel: str) -> None:
    script = f"""
    NEWSA {OUT_SA} spi=0x7000 encap=2,4500,4500
    NEWSA {OUT_SA} spi=0x7000 encap=2,4500,31002"""
    assert results(kernel, script) == ["OK", "EEXIST"]
    assert results(kernel, script, options=["encap-port-key"]) == ["OK", "OK"]
    marked = script.replace("4500,4500", "4500,4500 mark=1/0xff").replace("31002", "31002 mark=2/0xff")
    assert results(kernel, marked) == ["OK", "OK"]


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_a_newsa_ends_the_acquire_it_answers(kernel: str) -> None:
    given = ask(
        kernel,
        f"""{OUT_POLICY}
        LISTEN on
        TX dst=10.7.0.1
        DUMP
        NEWSA {OUT_SA} spi=0x1000
        DUMP""",
    )
    assert [state["spi"] for state in given[3]["states"]] == ["0x00000000"]
    assert [state["spi"] for state in given[5]["states"]] == ["0x00001000"]


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_a_deleted_or_flushed_spi_is_free_at_once(kernel: str) -> None:
    other = "ALLOCSPI src=10.0.0.1 dst=10.0.0.3 proto=esp min=0x1000 max=0x1000"
    for remove in ("DELSA dst=10.0.0.2 proto=esp spi=0x1000", "FLUSHSA proto=esp", "ADVANCE seconds=31"):
        first, second, third = ask(kernel, f"{LARVAL} min=0x1000 max=0x1000\n{remove}\n{other}")
        assert (first["result"], second["result"], third["result"]) == ("OK", "OK", "OK")


def test_allocspi_is_told_to_its_caller_alone_and_newsa_to_everybody() -> None:
    script = f"""
    {LARVAL} min=0x1000 max=0x1000
    NEWSA {SA} spi=0x1001
    DELSA dst=10.0.0.2 proto=esp spi=0x1000
    FLUSHSA
    FLUSHSA
    EVENTS
    EVENTS"""
    *_, told, after = ask(NEW, script)
    assert [event["event"] for event in told["events"]] == ["NEWSA", "DELSA", "FLUSHSA"]
    assert after["events"] == []


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_soft_and_hard_limits_by_time(kernel: str) -> None:
    *_, told, dump = ask(
        kernel,
        f"NEWSA {SA} spi=0x1000 limits={{soft_add:2,hard_add:4}}\nADVANCE seconds=10\nEVENTS\nDUMP",
    )
    expires = [(event["t"], event["hard"]) for event in told["events"] if event["event"] == "EXPIRE"]
    assert expires == [(2.0, 0), (4.0, 1)]
    assert dump["count"] == 0


def test_larval_states_live_for_ever_where_acq_expires_is_zero() -> None:
    script = f"SYSCTL net.core.xfrm_acq_expires=0\n{LARVAL} min=1 max=1\nADVANCE seconds=100000\nDUMP"
    assert ask(NEW, script)[-1]["count"] == 1


def test_a_larval_states_timer_is_not_started_again_by_its_spi() -> None:
    script = f"""
    {LARVAL} min=0 max=0
    ADVANCE seconds=20
    {LARVAL} min=1 max=1
    ADVANCE seconds=11
    DUMP"""
    assert ask(NEW, script)[-1]["count"] == 0


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_a_user_may_expire_a_valid_sa(kernel: str) -> None:
    script = f"""
    NEWSA {SA} spi=0x1000
    EXPIRE src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 hard=0
    GETSA dst=10.7.1.1 proto=esp spi=0x1000
    EXPIRE src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 hard=1
    GETSA dst=10.7.1.1 proto=esp spi=0x1000
    EVENTS"""
    given = ask(kernel, script)
    assert [answer["result"] for answer in given[:5]] == ["OK", "OK", "OK", "OK", "ESRCH"]
    assert [event["hard"] for event in given[5]["events"] if event["event"] == "EXPIRE"] == [0, 1]


# -- acquires and output ----------------------------------------------------------------------------------------------


def test_a_template_with_an_spi_asks_no_allocator() -> None:
    policies = "\n".join(
        f"POLICY add dir out src 10.9.0.1 dst 10.9.1.{i} tmpl src 10.9.0.1 dst 10.9.1.{i} proto esp spi 0x9000"
        for i in (1, 2)
    )
    script = f"""{policies}
    LISTEN on
    TX dst=10.9.1.1
    TX dst=10.9.1.2
    ALLOCSPI src=10.9.1.1 dst=10.9.0.1 proto=esp min=0x9000 max=0x9000
    DUMP"""
    for kernel, allocation in ((OLD, "OK"), (NEW, "ENOENT")):
        *_, asked, dump = ask(kernel, script)
        assert asked["result"] == allocation
        assert [state["spi"] for state in dump["states"]].count("0x00009000") == 2 + (allocation == "OK")


def test_a_template_whose_spi_the_destination_has_already_is_an_error_to_the_sender() -> None:
    script = """
    LISTEN on
    ALLOCSPI src=10.9.0.9 dst=10.9.1.1 proto=esp min=0x9000 max=0x9000
    POLICY add dir out src 10.9.0.1 dst 10.9.1.1 tmpl src 10.9.0.1 dst 10.9.1.1 proto esp spi 0x9000
    TX dst=10.9.1.1"""
    sent = ask(NEW, script)[-1]
    assert (sent["errno"], sent["result"], sent["counters"]) == (0, "EEXIST", {"XfrmOutPolError": 1})


def test_larval_drop_says_whether_a_packet_without_an_sa_is_counted() -> None:
    script = f"{OUT_POLICY}\nLISTEN on\nTX dst=10.7.0.1\nSYSCTL net.core.xfrm_larval_drop=0\nTX dst=10.7.0.1"
    given = ask(NEW, script)
    assert [(given[i]["result"], given[i]["counters"]) for i in (2, 4)] == [
        ("sent", {"XfrmOutNoStates": 1}),
        ("sent", {}),
    ]


def test_a_larval_outbound_state_is_an_acquire_under_way() -> None:
    script = f"""{OUT_POLICY}
    LISTEN on
    ALLOCSPI src=10.7.1.1 dst=10.7.0.1 proto=esp min=0x5000 max=0x5000
    TX dst=10.7.0.1
    UPDSA {OUT_SA} spi=0x5000
    TX dst=10.7.0.1
    EVENTS"""
    given = ask(OLD, script)
    assert given[3]["counters"] == {"XfrmOutNoStates": 1}
    assert given[5]["counters"] == {}
    assert given[5]["packet"][40:48] == "00005000"
    assert "ACQUIRE" not in [event["event"] for event in given[6]["events"]]


def test_output_takes_the_sa_that_was_added_a_second_later() -> None:
    script = f"""{OUT_POLICY}
    NEWSA {OUT_SA} spi=0x1000
    ADVANCE seconds=1
    NEWSA {OUT_SA} spi=0x1001
    TX dst=10.7.0.1"""
    assert ask(NEW, script)[-1]["packet"][40:48] == "00001001"


def test_output_stops_at_the_end_of_the_sequence_numbers_and_keeps_the_sa() -> None:
    tx = "TX dst=10.7.0.1"
    script = f"{OUT_POLICY}\nNEWSA {OUT_SA} spi=0x1000 replay_val={0xFFFFFFFD},0,0\n{tx}\n{tx}\n{tx}\n{tx}\nDUMP"
    *_, first, second, third, fourth, dump = ask(NEW, script)
    assert (first["packet"][48:56], second["packet"][48:56]) == ("fffffffe", "ffffffff")
    assert third == fourth
    assert (third["errno"], third["result"], third["counters"]) == (0, "EOVERFLOW", {"XfrmOutStateSeqError": 1})
    assert dump["states"][0]["replay"]["oseq"] == 0xFFFFFFFF


def test_output_counts_bytes_before_encryption_and_stops_at_the_hard_limit() -> None:
    tx = "TX dst=10.7.0.1"
    script = f"{OUT_POLICY}\nNEWSA {OUT_SA} spi=0x1000 limits={{hard_packets:2}}\n{tx}\n{tx}\nDUMP\n{tx}"
    *_, dump, late = ask(NEW, script)
    assert (dump["states"][0]["bytes"], dump["states"][0]["packets"]) == (26, 2)
    assert (late["result"], late["counters"]) == ("EINVAL", {"XfrmOutStateExpired": 1})


def test_output_refuses_an_inbound_sa_and_a_blocked_packet() -> None:
    sent = ask(NEW, f"{OUT_POLICY}\nNEWSA {OUT_SA} spi=0x1000 dir=in\nTX dst=10.7.0.1")[-1]
    assert (sent["result"], sent["counters"]) == ("EINVAL", {"XfrmOutPolError": 1, "XfrmOutStateDirError": 1})
    sent = ask(NEW, "POLICY add dir out dst 10.7.0.1 action block\nTX dst=10.7.0.1 src=10.7.1.1")[-1]
    assert (sent["result"], sent["counters"]) == ("EPERM", {"XfrmOutPolBlock": 1})


# -- input ------------------------------------------------------------------------------------------------------------


def rx(kernel: str, sa: str, *words: str) -> list[dict[str, Any]]:
    lines = [f"NEWSA {SA} spi=0x1000 {sa}", *(f"RX dst=10.7.1.1 spi=0x1000 {word}" for word in words)]
    return ask(kernel, "\n".join([*lines, "GETSA dst=10.7.1.1 proto=esp spi=0x1000"]))[1:]


def test_left_of_an_esn_window_is_one_of_the_next_2_32_and_fails_the_icv() -> None:
    window = "flags=esn esn={bmp_len:2,replay_window:64,seq:100}"
    late, inside, again, got = rx(NEW, window, "seq=36", "seq=37", "seq=37")
    assert (late["result"], late["counters"]) == ("dropped", {"XfrmInStateProtoError": 1})
    assert inside["result"] == "delivered"
    assert again["counters"] == {"XfrmInStateSeqError": 1}
    assert (got["reply"]["stat_replay"], got["reply"]["stat_replay_window"]) == (1, 0)
    assert got["reply"]["stat_integrity_failed"] == 1


def test_a_bitmap_window_without_esn_and_its_circular_words() -> None:
    inside, outside, got = rx(NEW, "esn={bmp_len:2,replay_window:64,seq:100}", "seq=37", "seq=36")
    assert (inside["result"], outside["counters"]) == ("delivered", {"XfrmInStateSeqError": 1})
    context = got["reply"]["replay_esn"]
    assert (context["seq"], context["replay_window"], context["bmp_len"]) == (100, 64, 2)
    assert context["bitmap"] == ["0x00000010", "0x00000000"]  # 37 is at bit 36, and the highest word comes first


def test_esn_goes_over_2_32() -> None:
    window = f"flags=esn esn={{bmp_len:1,replay_window:32,seq:{0xFFFFFFFE}}}"
    last, first, got = rx(NEW, window, "seq=0xffffffff", "seq=0 seq_hi=1")
    assert (last["result"], first["result"]) == ("delivered", "delivered")
    assert (got["reply"]["replay_esn"]["seq"], got["reply"]["replay_esn"]["seq_hi"]) == (0, 1)


@pytest.mark.parametrize("suite", ["aead=rfc4106(gcm(aes)) icv=128", "crypt=cbc(aes) auth=hmac(sha256) trunc=128"])
def test_keys_may_be_said_or_left_at_zeros(suite: str) -> None:
    addresses = "src=10.7.0.1 dst=10.7.1.1 proto=esp"
    key = f"key={'11' * 20}" if suite.startswith("aead") else f"crypt_key={'11' * 16} auth_key=0x{'22' * 32}"
    given = ask(
        NEW,
        f"""NEWSA {addresses} spi=0x1000 {suite}
        NEWSA {addresses} spi=0x1001 {suite} {key}
        RX dst=10.7.1.1 spi=0x1000 seq=1
        RX dst=10.7.1.1 spi=0x1001 seq=1
        RX dst=10.7.1.1 spi=0x1001 seq=2 as=0x1000@10.7.1.1""",
    )
    assert [answer["result"] for answer in given[2:]] == ["delivered", "delivered", "dropped"]
    assert given[4]["counters"] == {"XfrmInStateProtoError": 1}


def test_ipv6_in_both_directions() -> None:
    sa = "proto=esp crypt=ecb(cipher_null) auth=hmac(sha1)"
    given = ask(
        NEW,
        f"""NEWSA src=2001:db8::1 dst=2001:db8::2 spi=0x1000 {sa} mode=tunnel
        POLICY add dir in src 2001:db8::1 dst 2001:db8::2 tmpl src 2001:db8::1 dst 2001:db8::2 proto esp mode tunnel
        RX dst=2001:db8::2 spi=0x1000 seq=1
        GETSA dst=2001:db8::2 proto=esp spi=0x1000
        NEWSA src=2001:db8::2 dst=2001:db8::1 spi=0x1000 {sa}
        POLICY add dir out src 2001:db8::2 dst 2001:db8::1 tmpl proto esp
        TX dst=2001:db8::1 payload=9""",
    )
    assert given[2]["result"] == "delivered"
    assert given[3]["reply"]["bytes"] == 53  # 40 + 8 + 5: a tunnel counts the inner header
    assert given[6]["packet"][80:88] == "00001000"


# -- the options ------------------------------------------------------------------------------------------------------


def test_acquire_uapi_gets_and_deletes_a_state_with_spi_0() -> None:
    script = f"{LARVAL} min=0 max=0\nGETACQ src=10.0.0.1 dst=10.0.0.2\nDELACQ src=10.0.0.1 dst=10.0.0.2 proto=esp\nDUMP"
    assert results(NEW, script) == ["ENOENT", "EINVAL", "EINVAL", "OK"]
    given = ask(NEW, script, options=["acquire-uapi"])
    assert given[1]["reply"]["spi"] == "0x00000000"
    assert (given[2]["result"], given[3]["count"]) == ("OK", 0)
    acquire = f"{OUT_POLICY}\nLISTEN on\nTX dst=10.7.0.1\nDELACQ seq=1\nDELACQ seq=1"
    assert results(NEW, acquire, options=["acquire-uapi"])[3:] == ["OK", "ESRCH"]
