"""Policies as people paste them."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.policy import apply_policy
from espsim.xfrm.policy_file import policies_of, read_policies
from espsim.xfrm.policy_text import format_policy
from espsim.xfrm.policy_words import parse_policy_words

ADDS = [
    "src 10.1.0.0/24 dst 10.2.0.0/24 dir in priority 371327 tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1"
    " mode tunnel",
    "src 10.1.0.0/24 dst 10.2.0.0/24 proto udp sport 53 dport 7 dir fwd mark 5 mask 0xff if_id 0x2 tmpl src 192.0.2.1"
    " dst 192.0.2.2 proto esp spi 0x77 reqid 1 mode tunnel level use tmpl proto comp mode transport",
    "src 2001:db8::/64 dst ::/0 dir out action block flag localok icmp",
    "src 0.0.0.0/0 dst 0.0.0.0/0 proto icmp type 8 code 0 dir in ptype sub priority 3",
    "dir fwd limit packet-hard 9 limit time-hard 5 dev eth0",
]


def netns_of(adds: list[str]) -> Netns:
    netns = Netns()
    for words in adds:
        apply_policy(netns, parse_policy_words(["add", *words.split()]))
    return netns


def known(policies):
    """What is asked of a policy."""
    return [
        (p.dir, p.selector, p.af, p.action, p.priority, p.templates, p.mark, p.if_id, p.ptype) for p in policies
    ]  # fmt: skip


@pytest.mark.parametrize("stats", [False, True])
def test_what_a_kernel_lists_is_read_back(stats):
    netns = netns_of(ADDS)
    listed = "".join(format_policy(p, stats=stats) for p in reversed(list(netns.spd)))
    text = policies_of(f"root@gw:~# ip -s xfrm policy\n{listed}root@gw:~#\n")
    assert known(text.spd) == known(netns.spd)
    assert text.policies == len(ADDS)


def test_commands_and_defaults():
    text = policies_of(
        "$ sudo ip xfrm policy add dir in action block\n"
        "ip x p add src 10.0.0.0/8 dir in\n"
        "ip -6 xfrm policy update dir in action block priority 9\n"
        "ip xfrm policy delete src 10.0.0.0/8 dir in\n"
        "Default policies:\n in:  block\n fwd: accept\n out: accept\n"
        "ip xfrm policy setdefault fwd block\n"
    )
    assert [(p.af, p.priority) for p in text.spd] == [(2, 0), (10, 9)]
    assert text.spd.defaults == {"in": "block", "fwd": "block", "out": "accept"}
    assert not text.notes.lines()


def test_what_is_passed_over_is_said():
    text = policies_of(
        "Linux gw 6.12\n"
        "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x1 reqid 1 mode tunnel\n\treplay-window 0\n"
        "src 0.0.0.0/0 dst 0.0.0.0/0 \n\tsocket in priority 0 ptype main \n"
        "src 10.0.0.0/8 dst 0.0.0.0/0 \n\tdir in priority 0 ptype main \n"
        "# ip xfrm policy add dir fwd\n"
    )
    assert [p.dir for p in text.spd] == ["in", "fwd"]
    assert text.notes.lines() == [
        "line 1: not a line of `ip xfrm policy`, passed over",
        "line 2: a state, passed over",
        "line 9: after a #: taken for root's prompt, so the command counts",
        "line 5: a policy of a socket, passed over",
    ]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\nip xfrm policy add src 10.0.0.0/8\n", 2, "DIR is required"),
        ("ip xfrm policy add dir sideways\n", 1, "DIR value is invalid"),
        ("ip xfrm policy add dir in\nip xfrm policy add dir in\n", 2, "EEXIST"),
        ("src 10.0.0.0/8 dst 0.0.0.0/0\n\tdir in priority x ptype main\n", 1, "PRIORITY value is invalid"),
        ("hello\n", None, "no policy in it"),
        ("", None, "no policy in it"),
    ],
)
def test_bad_input_is_one_line(tmp_path, text, line, said):
    path = tmp_path / "spd"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_policies(str(path))
    assert said in str(error.value)
    assert (error.value.where, error.value.line) == (str(path), line)
