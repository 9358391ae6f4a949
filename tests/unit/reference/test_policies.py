"""The policies after decapsulation: which one is asked, bundles, marks, interfaces, clear packets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from espsim.core.address import parse_address
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.policies import Policies, judge
from espsim.sad.association import Mark, Mode
from espsim.xfrm.policy_file import policies_of
from tests.support import Peer, gcm_sa, ipv4, new_sad, udp

INNER = ipv4(udp(b"inner"), src="10.1.0.1", dst="10.2.0.1")
A, B = gcm_sa("192.0.2.1", "192.0.2.2", 0x1, reqid=1), gcm_sa("10.0.0.1", "10.0.0.2", 0x2, reqid=2)
TRANSPORT = gcm_sa(spi=0x3, reqid=3, mode=Mode.TRANSPORT)
TMPL_A = " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel"
TMPL_B = " tmpl src 10.0.0.1 dst 10.0.0.2 proto esp reqid 2 mode tunnel"
TMPL_T = " tmpl proto esp reqid 3 mode transport"
USE = " level use"
OK, NONE, WRONG, FULL = Verdict.DELIVERED, Verdict.NO_POLICY, Verdict.TEMPLATE, Verdict.TEMPLATES
LINUX = {NONE: "XfrmInNoPols", WRONG: "XfrmInTmplMismatch", FULL: "XfrmInBufferError"}
"""The counters of __xfrm_policy_check (net/xfrm/xfrm_policy.c)."""


def policies(*words: str, **options) -> Policies:
    return Policies(policies_of("".join(f"ip xfrm policy {one}\n" for one in words)).spd, **options)


@pytest.mark.parametrize(
    ("templates", "path", "verdict"),
    [
        (TMPL_A, (A,), OK),
        (TMPL_A, (), WRONG),
        (TMPL_A, (B,), WRONG),
        ("", (), OK),
        ("", (TRANSPORT,), OK),
        ("", (A,), WRONG),
        # The last template is the outermost SA, which was opened first.
        (TMPL_B + TMPL_A, (A, B), OK),
        (TMPL_A + TMPL_B, (A, B), WRONG),
        (TMPL_B, (A, B), WRONG),
        (TMPL_A, (A, B), WRONG),
        (TMPL_B + TMPL_A, (A,), WRONG),
        # Transport SAs that no template names are passed over, tunnels are not.
        (TMPL_A, (TRANSPORT, A), OK),
        (TMPL_A, (A, TRANSPORT), OK),
        (TMPL_T + TMPL_A, (A, TRANSPORT), OK),
        (TMPL_T, (A, TRANSPORT), WRONG),
        # Optional ones.
        (TMPL_A + USE, (), OK),
        (TMPL_A + USE, (A,), OK),
        (TMPL_A + USE, (B,), WRONG),
        (TMPL_B + TMPL_A + USE, (B,), OK),
        (TMPL_B + TMPL_A + USE, (A, B), OK),
        (TMPL_T + USE, (), OK),
        (TMPL_T + USE, (TRANSPORT,), OK),
        # Of the addresses the source alone is compared, and in tunnel mode alone.
        (TMPL_A.replace("dst 192.0.2.2", "dst 192.0.2.77"), (A,), OK),
        (TMPL_A.replace("src 192.0.2.1", "src 192.0.2.77"), (A,), WRONG),
        (TMPL_A.replace("src 192.0.2.1 dst 192.0.2.2", ""), (A,), OK),
        (" tmpl src 192.0.2.77 dst 192.0.2.2 proto esp mode transport", (TRANSPORT,), OK),
        (" tmpl proto esp spi 1 mode tunnel", (A,), OK),
        (" tmpl proto esp spi 2 mode tunnel", (A,), WRONG),
        (" tmpl proto esp mode tunnel", (A,), OK),
        (" tmpl proto esp reqid 7 mode tunnel", (A,), WRONG),
        (5 * (TMPL_T + USE), (), OK),
        (6 * (TMPL_T + USE), (), FULL),
    ],
)
def test_templates(templates, path, verdict):
    found = policies(f"add dir in{templates}").judge(INNER, path, 0)
    assert found.verdict is verdict
    assert found.counter == LINUX.get(verdict)


def test_the_lowest_priority_wins_and_then_the_oldest():
    words = ["add dir in priority 9 action block", f"add dst 10.2.0.0/16 dir in priority 3{TMPL_A}"]
    assert policies(*words).judge(INNER, (A,), 0).verdict is OK
    assert policies(words[1], words[0]).judge(INNER, (A,), 0).verdict is OK
    same = words[0].replace("9", "3")
    blocked = policies(same, words[1]).judge(INNER, (A,), 0)
    assert (blocked.verdict, blocked.counter) == (Verdict.BLOCKED, "XfrmInPolBlock")
    assert policies(words[1], same).judge(INNER, (A,), 0).verdict is OK


def test_without_a_policy_a_tunnel_ends_and_the_default_decides_of_the_rest():
    none = policies("add src 10.9.0.0/16 dir in")
    assert none.judge(INNER, (A,), 0).verdict is NONE
    assert none.judge(INNER, (TRANSPORT,), 0).verdict is OK
    assert policies("setdefault in block").judge(INNER, (TRANSPORT,), 0).verdict is NONE
    assert policies("setdefault fwd block").judge(INNER, (TRANSPORT,), 0).verdict is OK


def test_what_is_no_ip_packet_has_no_policy():
    assert policies("add dir in").judge(b"\x45", (), 0).verdict is NONE


class TestDirections:
    FWD = f"add dir fwd{TMPL_A}"
    IN = "add dir in action block"

    def test_in_then_fwd(self):
        assert policies(self.FWD).judge(INNER, (A,), 0).direction == "fwd"
        assert policies(self.FWD).judge(INNER, (A,), 0).verdict is OK
        assert policies(self.FWD, self.IN).judge(INNER, (A,), 0).verdict is Verdict.BLOCKED
        assert policies(f"add dir out{TMPL_A}").judge(INNER, (A,), 0).verdict is NONE

    def test_local_decides(self):
        own = [(parse_address("10.2.0.0"), 24)]
        assert policies(self.FWD, self.IN, local=own).judge(INNER, (A,), 0).verdict is Verdict.BLOCKED
        other = [(parse_address("10.3.0.0"), 24)]
        assert policies(self.FWD, self.IN, local=other).judge(INNER, (A,), 0).verdict is OK
        assert policies(self.FWD, local=own).judge(INNER, (A,), 0).verdict is NONE


def test_marks():
    marked = policies(f"add dir in mark 5 mask 7{TMPL_A}")
    assert [marked.judge(INNER, (A,), mark).verdict for mark in (5, 0xD, 4, None)] == [OK, OK, NONE, OK]
    out = replace(A, output_mark=Mark(5, 0xF))  # the SA marks the packet inside
    assert marked.judge(INNER, (out,), 0).verdict is OK
    assert marked.judge(INNER, (replace(A, output_mark=Mark(4, 0xF)),), 5).verdict is NONE


def test_interfaces():
    of_two = policies(f"add dir in if_id 2{TMPL_A}")
    assert of_two.judge(INNER, (A,), 0).verdict is NONE
    assert of_two.judge(INNER, (replace(A, if_id=2),), 0).verdict is OK
    assert of_two.judge(INNER, (replace(A, if_id=3),), 0).verdict is NONE
    assert policies(f"add dir in{TMPL_A}").judge(INNER, (replace(A, if_id=2),), 0).verdict is NONE


def test_sub_policies_come_first_and_their_templates_with_the_main_ones():
    sub, main = f"add dir in ptype sub{TMPL_A}", f"add dir in priority 0 ptype main{TMPL_B}"
    assert policies(main, sub).judge(INNER, (B, A), 0).verdict is OK
    assert policies(main, sub).judge(INNER, (B,), 0).verdict is WRONG
    assert policies(sub).judge(INNER, (A,), 0).verdict is OK
    assert policies(sub, "add dir in ptype main action block").judge(INNER, (A,), 0).verdict is Verdict.BLOCKED


def test_an_sa_of_which_no_one_said_the_mode_has_the_packets():
    anyone = replace(A, mode=Mode.ANY)
    asked = policies(f"add dir in{TMPL_A}")
    assert asked.judge(INNER, (asked.as_opened(anyone, 4),), 0).verdict is OK
    assert asked.judge(INNER, (asked.as_opened(anyone, 17),), 0).verdict is WRONG
    assert asked.as_opened(anyone, 4) is asked.as_opened(anyone, 4)
    assert asked.as_opened(A, 17) is A


class TestThroughInbound:
    def receive(self, packet: bytes, asked: Policies, *sas, outgoing: bool = False):
        inbound = Inbound(new_sad(*sas), own_traffic=True, policies=asked)
        return inbound, inbound.receive(packet, outgoing=outgoing)

    def test_a_refused_packet_leaves_nothing_and_was_counted(self):
        inbound, received = self.receive(Peer(A).packet(9, INNER), policies("add src 10.9.0.0/16 dir in"), A)
        assert received is not None
        assert (received.verdict, received.counter, received.inner) == (NONE, "XfrmInNoPols", None)
        (entry,) = inbound.sad
        assert (entry.packets, entry.window.top) == (1, 9)

    def test_what_this_host_sent_is_not_asked(self):
        sa = replace(A, dir=None)
        received = self.receive(Peer(sa).packet(1, INNER), policies("setdefault in block"), sa, outgoing=True)[1]
        assert received is not None
        assert received.verdict is Verdict.SENT

    @pytest.mark.parametrize(
        ("words", "verdict"),
        [(f"add dir in{TMPL_A}", WRONG), ("add dir in action block", Verdict.BLOCKED), ("setdefault in block", NONE)],
    )
    def test_clear_packets_are_asked_with_clear_alone(self, words, verdict):
        received = self.receive(INNER, policies(words, clear=True))[1]
        assert received is not None
        assert (received.verdict, received.counter, received.spi, received.entry) == (
            verdict, verdict.counter, None, None,
        )  # fmt: skip
        assert self.receive(INNER, policies(words))[1] is None
        assert self.receive(INNER, policies(words, clear=True), outgoing=True)[1] is None

    def test_ike_keepalives_and_what_may_pass_stay_as_they_are(self):
        blocked = policies("add dir in action block", clear=True)
        ike = ipv4(udp(b"ike", 500, 500))
        keepalive = ipv4(udp(b"\xff", 4500, 4500))
        ah = ipv4(bytes(24), proto=51)
        assert [self.receive(packet, blocked)[1] for packet in (ike, keepalive, ah)] == [None] * 3
        assert self.receive(INNER, policies("add dir in", clear=True))[1] is None

    def test_a_copy_of_an_opened_packet_is_known_once(self):
        asked = policies(f"add dir in{TMPL_A}", clear=True)
        inbound, received = self.receive(Peer(A).packet(1, INNER), asked, A)
        assert received is not None
        assert received.verdict is OK
        assert inbound.receive(INNER) is None
        again = inbound.receive(INNER)
        assert again is not None
        assert again.verdict is WRONG


def test_no_policy_and_no_path_is_the_defaults_alone():
    spd = policies_of("ip xfrm policy setdefault in block fwd accept").spd
    assert judge(spd, "in", None, ()).verdict is NONE
    assert judge(spd, "fwd", None, ()).verdict is OK


def test_a_mode_that_the_packet_shows_makes_no_new_sa():
    """ESN without a window is refused if a mode is stated, and accepted without one."""
    anyone = gcm_sa(mode=Mode.ANY, window=0, flags=frozenset({"esn"}))
    assert policies("add dir in").as_opened(anyone, 4).mode is Mode.TUNNEL


class TestBundles:
    """Packets with several layers, as the SAs that opened them say (nested.py)."""

    OUTER, INNER_SA = gcm_sa(spi=0x51, reqid=1), gcm_sa(spi=0x52, key_byte=9, reqid=2)
    T_OUTER, T_INNER = TMPL_A, TMPL_A.replace("reqid 1", "reqid 2")

    def verdict(self, templates: str) -> Verdict:
        inbound = Inbound(new_sad(self.OUTER, self.INNER_SA), policies=policies(f"add dir in{templates}"))
        inside = Peer(self.INNER_SA).packet(1, INNER)
        received = inbound.receive(Peer(self.OUTER).packet(1, inside))
        assert received is not None
        assert received.depth == 2
        return received.verdict

    def test_the_last_template_is_the_outermost_layer(self):
        assert self.verdict(self.T_INNER + self.T_OUTER) is OK
        assert self.verdict(self.T_OUTER + self.T_INNER) is WRONG

    def test_every_tunnel_needs_its_template(self):
        assert self.verdict(self.T_OUTER) is WRONG
        assert self.verdict(self.T_INNER) is WRONG
        assert self.verdict(self.T_INNER + self.T_OUTER + USE) is OK
