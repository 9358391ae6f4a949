"""Where the model once differed from Linux: one test for each kind. The answers are those of running kernels.

What needs no type of SA was asked of 6.18.44; what needs ESP, AH or IPComp of 6.12.117 (Debian), whose random requests
`espsim/xfrm/fuzz/draw.py` makes too.
"""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from espsim.netlink.netns import Netns
from espsim.xfrm.batch import Batch, LineOutcome
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.requests import run_requests

ZEROS = ".".join("0000")
TO = "src=10.0.0.1 dst=10.0.0.2"
ESP = f"NEWSA {TO} proto=esp spi=0x1000 crypt=ecb(cipher_null) auth=hmac(sha1)"
FAMILY = "Only tunnel modes can accommodate a change of family"
MOBILITY_WRONG = "Invalid attributes for DSTOPTS/ROUTING"
MOBILITY_MISSING = "Missing required COADDR attribute for DSTOPTS/ROUTING"


def asked(*lines: str, kernel: str = "linux-6.12", netns: Netns | None = None) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(answer)) for answer in run_requests(netns or Netns(kernel), lines)]


def run(*lines: str, kernel: str = "linux-6.12", netns: Netns | None = None) -> list[LineOutcome]:
    batch = Batch(netns or Netns(kernel))
    return [batch.run(line) for line in read_batch(io.BytesIO("\n".join(lines).encode()), "-")]


def printed(*lines: str) -> str:
    """What the last line prints, on either stream."""
    last = run(*lines)[-1]
    return last.stdout + last.stderr


def refusal(line: str, kernel: str = "linux-6.12") -> tuple[str, str | None]:
    [answer] = asked(line, kernel=kernel)
    return answer["result"], answer["extack"]


OK = ("OK", None)


# 0 is in test_requests_prose.py: families other than AF_INET and AF_INET6.


class TestModesOfLarvalStates:  # A
    @pytest.mark.parametrize("mode", [5, 9, 255])
    def test_the_octet_is_kept_as_it_is(self, mode: int) -> None:
        made, dump = asked(f"ALLOCSPI {TO} proto=esp min=5 max=5 mode={mode}", "DUMP")
        assert made["reply"]["mode"] == dump["states"][0]["mode"] == mode

    def test_two_modes_are_two_tuples(self) -> None:
        [*_, dump] = asked(*(f"ALLOCSPI {TO} proto=esp min=0 max=0 mode={mode}" for mode in (0, 9, 5, 9)), "DUMP")
        assert [state["mode"] for state in dump["states"]] == [5, 9, 0]

    def test_ip_prints_a_number_where_a_mode_has_no_name(self) -> None:
        netns = Netns()
        asked(f"ALLOCSPI {TO} proto=esp min=5 max=5 mode=9", netns=netns)
        assert "reqid 0 mode 9\n" in run("xfrm state list", netns=netns)[0].stdout


class TestAChangeOfFamily:  # B
    @pytest.mark.parametrize("verb", ["add", "update"])
    def test_transport_mode_takes_one_family(self, verb: str) -> None:
        line = (
            f"xfrm state {verb} src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x1000 enc ecb(cipher_null) '' "
            "auth hmac(sha1) 0x0102030405060708090a0b0c0d0e0f1011121314 sel src 2001:db8::1"
        )
        assert printed(line) == f"Error: {FAMILY}.\n"
        assert run(line)[0].result == "EPROTONOSUPPORT"
        assert "No such" in printed(f"{line} mode tunnel") if verb == "update" else run(f"{line} mode tunnel")[0].ok

    def test_beet_takes_two(self) -> None:
        line = "xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 enc ecb(cipher_null) '' mode beet"
        assert run(f"{line} sel src 2001:db8::1 dst 2001:db8::2")[0].ok


class TestMobileIpv6:  # C
    @pytest.mark.parametrize("proto", ["route2", "hao", "43", "60"])
    def test_what_it_must_have_and_must_not(self, proto: str) -> None:
        new = f"NEWSA {TO} proto={proto} spi=5"
        assert refusal(new) == ("EINVAL", MOBILITY_MISSING)
        for more in ("auth=hmac(sha1)", "crypt=ecb(cipher_null)", "comp=deflate", "encap=2,1,1", "tfcpad=1"):
            assert refusal(f"{new} {more}") == ("EINVAL", MOBILITY_WRONG)
            assert refusal(f"{new} {more} coa=10.0.0.3") == ("EINVAL", MOBILITY_WRONG)

    @pytest.mark.parametrize("proto", ["route2", "hao"])
    def test_its_type(self, proto: str) -> None:
        """It is there in IPv6 alone, has no SPI, and one mode."""
        assert refusal(f"NEWSA {TO} proto={proto} spi=0 coa=10.0.0.3") == (
            "EPROTONOSUPPORT", "Requested type not found",
        )  # fmt: skip
        new = f"NEWSA src=2001:db8::1 dst=2001:db8::2 proto={proto} coa=2001:db8::3"
        assert refusal(f"{new} spi=5 mode=ro") == ("EINVAL", "SPI must be 0")
        assert refusal(f"{new} spi=0") == ("EINVAL", "XFRM mode must be XFRM_MODE_ROUTEOPTIMIZATION")
        assert refusal(f"{new} spi=0 mode=ro") == OK

    def test_its_states_are_found_by_their_two_addresses(self) -> None:
        new = "src=2001:db8::1 dst=2001:db8::2 proto=route2 spi=0 mode=ro coa=2001:db8::3"
        get = "dst=2001:db8::2 proto=route2 spi=0"
        first, again, none, found, updated, gone, after = asked(
            f"NEWSA {new}", f"NEWSA {new}", f"GETSA {get}", f"GETSA {get} srcaddr=2001:db8::1", f"UPDSA {new}",
            f"DELSA {get} srcaddr=2001:db8::1", "DUMP",
        )  # fmt: skip
        assert [a["result"] for a in (first, again, none, found, updated, gone)] == [
            "OK", "EEXIST", "EINVAL", "OK", "OK", "OK",
        ]  # fmt: skip
        assert (found["reply"]["proto"], after["count"]) == (43, 0)


class TestPolicyKeys:
    def test_an_address_of_prefix_length_0_is_in_the_key(self) -> None:  # D
        text = printed("xfrm policy add dst 10.0.0.1/0 dir fwd", "xfrm policy list")
        assert text.startswith("src 0.0.0.0/0 dst 10.0.0.1/0 \n")
        two = [f"xfrm policy add src 10.0.0.{n}/0 dir fwd" for n in (1, 3)]
        *added, listed = run(*two, "xfrm policy list src 10.0.0.1")
        assert [outcome.result for outcome in added] == ["OK", "OK"]
        assert listed.stdout.startswith("src 10.0.0.1/0 dst 0.0.0.0/0 \n")
        assert listed.stdout.count("dir fwd") == 1

    def test_such_an_address_takes_every_packet(self) -> None:
        netns = Netns()
        block = "xfrm policy add src 10.9.9.9/0 dst 10.9.9.9/0 dir out action block"
        assert run(block, netns=netns)[0].ok
        assert asked("TX src=10.0.0.1 dst=10.0.0.2", netns=netns)[0]["result"] == "EPERM"

    def test_flags_are_bits_with_names_and_without(self) -> None:  # E
        add, shown = "xfrm policy add dir fwd flag ", "-s xfrm policy list"
        assert "share any flag icmp (0x00000010)\n" in printed(add + "icmp", shown)
        assert "share any flag localok (0x00000001)\n" in printed(add + "localok", shown)
        assert "share any flag localok icmp (0x00000011)\n" in printed(add + "icmp localok", shown)
        assert "share any flag icmp 14 (0x00010110)\n" in printed(add + "0x16", shown)
        assert printed(add + "0x4", "xfrm policy list flag 0x4") != ""
        assert printed(add + "0x4", "xfrm policy list flag 0x0") == ""

    def test_a_mark_is_stored_under_its_mask(self) -> None:  # F
        add = "xfrm policy add src 10.0.0.1 dir in mark 0x105 mask 0xff"
        get = "xfrm policy get src 10.0.0.1 dir in mark {} mask 0xff"
        assert "\tmark 0x5/0xff " in printed(add, "xfrm policy list")
        assert [outcome.result for outcome in run(add, get.format("0x105"), get.format("5"))] == ["OK", "ENOENT", "OK"]
        assert run(add, "xfrm policy add src 10.0.0.1 dir in mark 5 mask 0xff")[-1].result == "EEXIST"

    def test_a_larval_states_mark_is_not(self) -> None:  # F: __find_acq_core, beside __xfrm_state_insert
        larval, sa = asked(f"ALLOCSPI {TO} proto=esp min=5 max=5 mark=0x105/0xff", f"{ESP} mark=0x105/0xff")
        assert larval["reply"]["mark"] == "0x105/0xff"
        netns = Netns()
        [sa, dump] = asked(f"{ESP} mark=0x105/0xff", "DUMP", netns=netns)
        assert (sa["result"], dump["states"][0]["mark"]) == ("OK", "0x5/0xff")

    def test_an_index_that_is_taken_gives_way_to_the_generator(self) -> None:  # G
        lines = [f"xfrm policy add src 10.0.0.{n} dir in index 8" for n in (1, 2, 3)]
        text = run(*lines, "-s xfrm policy list")[-1].stdout
        assert [int(word.split()[0]) for word in text.split("index ")[1:]] == [24, 16, 8]

    def test_an_update_keeps_the_index(self) -> None:
        add = "xfrm policy add src 10.0.0.1 dir in"
        text = run(add, "xfrm policy update src 10.0.0.1 dir in index 32", "-s xfrm policy list")[-1].stdout
        assert "index 8 " in text


class TestHashTables:
    def test_states_double_their_buckets_when_they_meet(self) -> None:  # H
        def buckets(reqids: range) -> str:
            lines = [
                f"xfrm state allocspi src 10.0.0.1 dst 10.0.0.2 proto esp min {n + 1} max {n + 1} reqid {n}"
                for n in reqids
            ]
            return run(*lines, "-s xfrm state count")[-1].stdout

        assert buckets(range(8)) == "\t SAD count 8 (buckets count 8 Max 1048576)\n"
        assert buckets(range(9)) == "\t SAD count 9 (buckets count 16 Max 1048576)\n"

    @pytest.mark.parametrize(("others", "found"), [(0, "2"), (7, "2"), (8, "1"), (20, "2"), (40, "1")])
    def test_a_resize_turns_the_order_of_a_chain_round(self, others: int, found: str) -> None:
        """Which of two acquires a third request adopts: as 6.18.44 did, with time for each resize."""
        to = f"ALLOCSPI {TO} proto=esp"
        lines = [f"{to} min=0 max=0 mark={mark}/{mark}" for mark in (1, 2)]
        lines += [f"{to} min={n + 10} max={n + 10} reqid={n + 1}" for n in range(others)]
        netns = Netns()
        *_, adopted = asked(*lines, f"{to} min=5 max=5 mark=3/3", netns=netns)
        assert adopted["reply"]["mark"] == f"0x{found}/0x{found}"

    def test_policies_double_theirs_as_they_come(self) -> None:  # I
        def buckets(count: int) -> str:
            lines = [f"xfrm policy add src 10.0.0.{n} dir out" for n in range(count)]
            return run(*lines, "-s -s xfrm policy count")[-1].stdout.splitlines()[1]

        expected = {0: 7, 7: 7, 8: 15, 15: 15, 16: 31, 32: 63, 40: 63}
        assert {n: buckets(n) for n in expected} == {
            n: f"\t SPD buckets: count {mask} Max 1048576" for n, mask in expected.items()
        }


class TestDefaults:  # J
    def test_what_is_printed(self) -> None:
        accept = "Default policies:\n in:  accept\n fwd: accept\n out: accept\n"
        block = "Default policies:\n in:  block\n fwd: accept\n out: block\n"
        get, change, after, heard = run(
            "xfrm policy getdefault", "xfrm policy setdefault in block out block", "-o xfrm policy getdefault",
            "xfrm monitor policy",
        )  # fmt: skip
        assert (get.stdout, change.stdout, change.stderr, after.stdout, heard.stdout) == (accept, "", "", block, block)

    def test_thresholds(self) -> None:
        text = printed("xfrm policy set hthresh4 24 32 hthresh6 64 0", "-s -s xfrm policy count")
        assert text.endswith("\t SPD IPv4 thresholds: local 24 remote 32\n\t SPD IPv6 thresholds: local 64 remote 0\n")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("set hthresh4 33 1", 'Error: argument "33" is wrong: hthresh4 LBITS value is invalid\n'),
            ("set hthresh6 1 129", 'Error: argument "129" is wrong: hthresh6 RBITS value is invalid\n'),
            ("set hthresh4 1 2 hthresh4 1 2", 'Error: duplicate "hthresh4": "hthresh4" is the second value.\n'),
            ("set hthresh4 1", 'Command line is not complete. Try option "help"\n'),
            ("set foo", 'Error: argument "foo" is wrong: unknown\n'),
            ("setdefault in allow", 'Error: argument "allow" is wrong: in policy value is invalid\n'),
            ("setdefault foo block", 'Error: argument "foo" is wrong: unknown direction\n'),
            ("setdefault in block in block", 'Error: duplicate "in": "in" is the second value.\n'),
            ("setdefault", ""), ("set", ""), ("se hthresh4 1 1", ""), ("setd in block", ""),
        ],
    )  # fmt: skip
    def test_words(self, words: str, said: str) -> None:
        assert printed(f"xfrm policy {words}") == said

    def test_packets_without_a_policy(self) -> None:
        netns = Netns()
        run("xfrm policy setdefault in block out block", netns=netns)
        plain, sent, made, esp, stat = asked(
            "RX src=10.0.0.1 dst=10.0.0.2 proto=udp", "TX src=10.0.0.2 dst=10.0.0.1", ESP,
            "RX dst=10.0.0.2 spi=0x1000 seq=1", "STAT", netns=netns,
        )  # fmt: skip
        assert (plain["result"], plain["counters"]) == ("dropped", {"XfrmInNoPols": 1})
        assert (sent["result"], sent["counters"]) == ("EPERM", {})
        assert (made["result"], esp["result"], esp["counters"]) == ("OK", "dropped", {"XfrmInNoPols": 1})
        assert stat["nonzero"] == {"XfrmInNoPols": 2}


class TestWhatNewsaIsRefusedFor:
    def test_a_cipher_alone_is_enough(self) -> None:  # K
        null, cbc, delivered = asked(
            f"NEWSA {TO} proto=esp spi=5 crypt=ecb(cipher_null)", f"NEWSA {TO} proto=esp spi=6 crypt=cbc(aes)",
            "RX dst=10.0.0.2 spi=5 seq=1",
        )  # fmt: skip
        assert (null["result"], cbc["result"], delivered["result"]) == ("OK", "OK", "delivered")

    def test_a_mac_alone_is_not(self) -> None:  # L
        new = f"NEWSA {TO} proto=esp spi=5 auth=hmac(sha1)"
        assert refusal(new) == ("EINVAL", "ESP: AEAD or CRYPT must be provided")

    @pytest.mark.parametrize("encap", ["1,4500,4500", "3,1,1", "7,1,1", "0,1,1"])
    def test_encapsulation_that_esp_does_not_know(self, encap: str) -> None:  # N
        assert refusal(f"{ESP} encap={encap}") == ("EINVAL", "Unsupported encapsulation type for ESP")
        assert refusal(f"{ESP} encap=2,4500,4500") == OK
        before = ("OK", None) if encap.startswith("1,") else ("EINVAL", "Unsupported encapsulation type for ESP")
        assert refusal(f"{ESP} encap={encap}", "linux-6.1") == before

    def test_encapsulation_of_ah_and_ipcomp(self) -> None:  # N
        ah, comp = f"NEWSA {TO} proto=ah spi=5 auth=hmac(sha1)", f"NEWSA {TO} proto=comp spi=5 comp=deflate"
        assert refusal(f"{ah} encap=2,1,1") == ("EINVAL", "AH is not compatible with encapsulation")
        assert refusal(f"{comp} encap=2,1,1") == ("EINVAL", "IPComp is not compatible with encapsulation")
        assert (refusal(ah), refusal(comp)) == (OK, OK)

    def test_ipcomp_in_beet_mode(self) -> None:  # O
        new = f"NEWSA {TO} proto=comp spi=5 comp=deflate mode=beet"
        assert refusal(new) == ("EINVAL", "Unsupported XFRM mode for IPcomp")

    def test_nat_keepalives_before_the_window(self) -> None:  # Q
        """6.12.117 says so: __xfrm_init_state, where keepalives are judged last, comes before xfrm_init_replay."""
        wrong = "flags=esn esn={bmp_len:1,replay_window:33}"
        outbound = "NAT keepalive is only supported for outbound SAs"
        assert refusal(f"{ESP} dir=in nat_keepalive=20 {wrong}") == ("EINVAL", outbound)
        assert refusal(f"{ESP} dir=in {wrong}") == (
            "EINVAL", "ESN replay window is too large for the chosen bitmap size",
        )  # fmt: skip
        # What the type of the SA refuses comes before keepalives.
        assert refusal(f"{ESP} dir=in nat_keepalive=20 encap=3,1,1") == (
            "EINVAL", "Unsupported encapsulation type for ESP",
        )  # fmt: skip

    def test_keys_and_lengths(self) -> None:
        esp = f"NEWSA {TO} proto=esp spi=5 "
        unable = ("EINVAL", "Kernel was unable to initialize cryptographic operations")
        assert refusal(esp + "crypt=cbc(aes) crypt_key=00") == ("EINVAL", None)
        assert refusal(esp + "aead=rfc4106(gcm(aes)) key=00") == unable
        assert refusal(esp + "aead=rfc4106(gcm(aes)) icv=100") == ("ENOSYS", "Requested AEAD algorithm not found")
        assert refusal(esp + "crypt=cbc(aes) auth=hmac(sha1) trunc=161") == (
            "EINVAL", "Invalid length requested for truncated ICV",
        )  # fmt: skip
        assert refusal(esp + "crypt=cbc(aes) auth=hmac(sha1) trunc=24") == OK
        assert refusal(esp + "crypt=cbc(aes) auth=hmac(sha1) trunc=1") == unable


class TestUpdatesOfASaThatHasCarriedPackets:  # M
    def carried(self, limits: str) -> list[dict[str, Any]]:
        netns = Netns()
        packets = [f"RX dst=10.0.0.2 spi=0x1000 seq={n}" for n in (1, 2, 3)]
        asked(ESP, *packets, netns=netns)
        netns.events()
        return asked(f"{ESP.replace('NEWSA', 'UPDSA')} limits={{{limits}}}", "EVENTS", "DUMP", netns=netns)

    def test_a_soft_limit_is_told_of_at_once(self) -> None:
        update, events, dump = self.carried("soft_packets:2")
        assert (update["result"], dump["count"]) == ("OK", 1)
        assert [(e["event"], e.get("hard")) for e in events["events"]] == [("EXPIRE", 0), ("UPDSA", None)]

    def test_at_a_hard_one_it_is_gone(self) -> None:
        update, events, dump = self.carried("hard_packets:3")
        assert (update["result"], dump["count"]) == ("OK", 0)
        assert [(e["event"], e.get("hard")) for e in events["events"]] == [("EXPIRE", 1), ("UPDSA", None)]

    def test_one_that_has_carried_none_waits_for_its_packet(self) -> None:
        netns = Netns()
        update, events = asked(ESP, f"{ESP.replace('NEWSA', 'UPDSA')} limits={{hard_packets:0}}", netns=netns)
        assert (update["result"], events["result"]) == ("OK", "OK")
        assert asked("DUMP", netns=netns)[0]["count"] == 1

    def test_a_limit_by_time_that_has_passed_is_met_a_second_later(self) -> None:
        netns = Netns()
        asked(ESP, "ADVANCE seconds=10", f"{ESP.replace('NEWSA', 'UPDSA')} limits={{hard_add:5}}", netns=netns)
        netns.events()
        before, events = asked("DUMP", "ADVANCE seconds=2", "EVENTS", netns=netns)[::2]
        assert before["count"] == 1
        assert [(e["event"], e["t"]) for e in events["events"]] == [("EXPIRE", 11.0)]

    def test_the_message_shows_what_the_request_said(self) -> None:
        """km_state_notify() is given the new state, which is thrown away, and not the one that was renewed."""
        netns = Netns()
        update = f"{ESP.replace('NEWSA', 'UPDSA')} reqid=9 mode=tunnel"
        *_, events, got = asked(ESP, "EVENTS", update, "EVENTS", "GETSA dst=10.0.0.2 proto=esp spi=0x1000", netns=netns)
        [told] = events["events"]
        assert (told["event"], told["sa"]["reqid"], told["sa"]["mode"]) == ("UPDSA", 9, 1)
        assert (got["reply"]["reqid"], got["reply"]["mode"]) == (0, 0)


class TestPoliciesWithLifetimes:
    def test_what_is_told(self) -> None:
        add = "xfrm policy add src 10.0.0.1 dir in limit time-soft 1 limit time-hard 40"
        outcomes = run(
            add, "xfrm monitor", "sleep 1.5", "xfrm monitor", "sleep 30", "xfrm monitor", "sleep 9", "xfrm monitor"
        )
        shown = "Expired src 10.0.0.1/32 dst 0.0.0.0/0 \n\tdir in priority 0 ptype main \n\thard {}\n"
        assert [o.stdout for o in outcomes[3::2]] == [shown.format(0), shown.format(0), shown.format(1)]


class TestIpcompInTunnelMode:  # P
    NEW = f"NEWSA {TO} proto=comp spi=5 comp=deflate mode=tunnel reqid=3 if_id=4"

    def test_a_second_state_is_there(self) -> None:
        made, dump, got, other, flushed, after = asked(
            self.NEW, "DUMP", "GETSA dst=10.0.0.2 proto=4 spi=0 srcaddr=10.0.0.1",
            "DELSA dst=10.0.0.2 proto=4 spi=0 srcaddr=10.0.0.1", "FLUSHSA", "DUMP",
        )  # fmt: skip
        own, beside = dump["states"]
        assert (made["result"], own["proto"], own["spi"]) == ("OK", 108, "0x00000005")
        assert (beside["proto"], beside["spi"], beside["mode"], beside["reqid"]) == (4, "0x0a000001", 1, 0)
        assert (beside["if_id"], got["reply"]) == (4, beside)
        assert (other["result"], other["extack"]) == ("EPERM", "SA is in use by tunnels")
        assert (flushed["result"], after["count"]) == ("OK", 0)

    def test_it_is_shared_and_goes_with_the_last(self) -> None:
        second = self.NEW.replace("spi=5", "spi=6")
        one, two, first_gone, still, gone = (
            a.get("count", a["result"])
            for a in asked(
                self.NEW, second, "DELSA dst=10.0.0.2 proto=comp spi=5", "DUMP", "DELSA dst=10.0.0.2 proto=comp spi=6"
            )
        )
        assert (one, two, first_gone, still, gone) == ("OK", "OK", "OK", 2, "OK")

    def test_in_ipv6_its_spi_is_counted(self) -> None:
        ends = "src=2001:db8::{} dst=2001:db8::2 proto=comp spi={} comp=deflate mode=tunnel"
        *_, dump = asked(*(f"NEWSA {ends.format(src, spi)}" for src, spi in ((1, 5), (3, 6), (1, 7))), "DUMP")
        beside = [(s["src"], s["proto"], s["spi"]) for s in dump["states"] if s["proto"] != 108]
        assert beside == [("2001:db8::3", 41, "0x00000002"), ("2001:db8::1", 41, "0x00000001")]

    def test_a_refused_one_leaves_nothing(self) -> None:
        *_, refused, dump = asked(self.NEW, self.NEW, "DUMP")
        assert (refused["result"], dump["count"]) == ("EEXIST", 2)

    def test_ip_prints_its_protocol_as_a_number(self) -> None:
        text = run("xfrm state add src 10.0.0.1 dst 10.0.0.2 proto comp spi 5 comp deflate mode tunnel", "xfrm state")
        assert "\tproto 4 spi 0x0a000001 reqid 0 mode tunnel\n" in text[-1].stdout


class TestKernelsByName:
    ENCAP, OUTPUT = "can only be set on ENCAP states", "should not be set on output SA"

    @pytest.mark.parametrize("kernel", ["linux-6.12", "linux-6.18", "linux-7.3"])
    def test_texts_about_the_mapping_timer(self, kernel: str) -> None:
        newest = kernel == "linux-7.3"
        without = "MTIMER_THRESH requires encapsulation" if newest else f"MTIMER_THRESH attribute {self.ENCAP}"
        out = f"MTIMER_THRESH {'' if newest else 'attribute '}{self.OUTPUT}"
        assert refusal(f"{ESP} mtimer=5", kernel) == ("EINVAL", without)
        assert refusal(f"{ESP} mtimer=5 encap=2,1,1 dir=out", kernel) == ("EINVAL", out)

    def test_much_tfc_padding(self) -> None:
        padded = f"{ESP} mode=tunnel tfcpad={{}}"
        assert refusal(padded.format(65536)) == refusal(padded.format(65535), "linux-7.3") == OK
        assert refusal(padded.format(65536), "linux-7.3") == ("EINVAL", "Excessive TFC padding")

    def test_mode_5(self) -> None:
        new = f"{ESP} mode=iptfs"
        assert refusal(f"{new} dir=in") == ("EINVAL", "Unsupported mode")
        assert refusal(new, "linux-6.18") == ("EINVAL", "IP-TFS mode requires in or out direction attribute")

    def test_spis_as_6_12_gives_them(self) -> None:
        lines = [f"ALLOCSPI src=10.0.0.1 dst=10.0.0.{n} proto=esp min=5 max=5" for n in (2, 3)]
        for kernel in ("linux-6.18", "linux-7.3"):
            assert asked(*lines, kernel=kernel) == asked(*lines)


class TestWhatIpKnowsAndTheModelDoesNot:
    @pytest.mark.parametrize(
        "line",
        [
            "ip link show",
            "ip -n ns0 xfrm state list",
            "ip -netns x xfrm state",
            "xfrm policy add dir in offload packet dev eth2",
        ],
    )
    def test_it_is_said_in_espsims_name(self, line: str) -> None:
        text = printed(line)
        assert text.startswith("espsim does not model ")
        assert "unknown" not in text

    @pytest.mark.parametrize("mode", ["iptfs", "5"])
    def test_modes_that_ip_itself_refuses(self, mode: str) -> None:
        line = f"ip xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 5 mode {mode}"
        assert printed(line) == f'Error: argument "{mode}" is wrong: MODE value is invalid\n'
