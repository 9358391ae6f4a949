"""Lines at random, packets too: each has an answer or is refused with its line, and a packet never raises."""

from __future__ import annotations

import random

import pytest

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.fuzz.draw import a_request, some
from espsim.xfrm.requests import run_requests

ADDRESSES = ("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2")
MODES = ("transport", "tunnel", "beet", "iptfs dir=in", "iptfs dir=out", "tunnel dir=out")
SUITES = (
    "crypt=ecb(cipher_null) auth=hmac(sha1)",
    "aead=rfc4106(gcm(aes)) icv=128",
    "crypt=cbc(aes) auth=hmac(sha256)",
)
SELECTORS = ("{src:10.9.0.1/32,dst:10.9.0.2/32}", "{src:2001:db8::1/128,dst:2001:db8::2/128}")
CUTS = ("", "", "fragments=8", "fragments=8,16 order=1,0,2", "fragments=64 overlap", "fragments=atomic",
        "fragments=8 only=0 wait=31")  # fmt: skip
BLOCKS = (0, 1, 3, "v4:5,v6:9,pad:3", "hex:4500", "pad:80,v4:5")
REST = ("ADVANCE seconds=7", "EVENTS", "STAT", "DUMP", "LISTEN on", "LISTEN off", "SYSCTL net.ipv4.ipfrag_time=1")


def installed(rng: random.Random) -> str:
    ends = rng.choice((ADDRESSES[:2], ADDRESSES[2:]))
    words = [f"src={rng.choice(ends)}", f"dst={rng.choice(ends)}", "proto=esp", f"spi={rng.choice((4096, 4097))}"]
    words += [f"mode={rng.choice(MODES)}", rng.choice(SUITES), *some(rng, 0.3, "sel", SELECTORS)]
    words += some(rng, 0.3, "encap", ("2,4500,4500",)) + some(rng, 0.2, "nat_keepalive", (5,))
    words += some(rng, 0.2, "pcpu", (0, 1)) + some(rng, 0.2, "set_mark", ("5/7",)) + some(rng, 0.2, "flags", ("esn",))
    words += some(rng, 0.2, "esn", ("{bmp_len:2,replay_window:64}",)) + some(rng, 0.2, "limits", ("{hard_packets:3}",))
    return " ".join(["NEWSA", *words])


def policy(rng: random.Random) -> str:
    ends = f"src 10.0.0.{rng.randint(1, 2)} dst 10.0.0.{rng.randint(1, 2)}"
    more = rng.choice(("", "flag 4", "mark 5 mask 7"))
    mode = rng.choice(("transport", "tunnel", "beet", "5"))
    template = f"tmpl src 10.0.0.1 dst 10.0.0.2 proto esp mode {mode}"
    return f"POLICY add dir {rng.choice(('in', 'out'))} {ends} {more} {template}"


def arriving(rng: random.Random) -> str:
    words = [f"dst={rng.choice(ADDRESSES)}", f"spi={rng.choice((4096, 4097))}", f"seq={rng.randint(0, 40)}"]
    words += some(rng, 0.3, "payload", (0, 5, 100, 3000)) + some(rng, 0.1, "cut", (0, 4, 12, 20, 30))
    words += some(rng, 0.1, "icv", ("bad",)) + some(rng, 0.3, "encap", ("4500,4500",)) + some(rng, 0.2, "mark", (5,))
    words += some(rng, 0.2, "nh", (0, 4, 17, 41, 50, 59, 94, 144)) + some(
        rng, 0.3, "blocks", (0, 1, 3, "v4:5,v6:9,pad:3", "hex:4500", "pad:80,v4:5")
    )
    words += some(rng, 0.2, "iptfs", ("{}", "{sub:1}", "{off:5}", "{off:60000}", "{flags:3}"))
    return " ".join(["RX", *words, *some(rng, 0.3, "inner", ("1/2", "2/2")), rng.choice(CUTS)])


def a_line(rng: random.Random) -> str:
    draw = rng.choices((a_request, installed, policy, arriving, None), (30, 15, 10, 30, 15))[0]
    if draw is not None:
        return draw(rng)
    if rng.random() < 0.6:
        return f"TX src=10.0.0.1 dst=10.0.0.2 cpu={rng.randint(0, 3)} payload={rng.choice((0, 5, 2000))}"
    return rng.choice(REST)


@pytest.mark.parametrize(
    ("kernel", "options"), [("linux-6.1", ()), ("linux-6.12", ()), ("linux-7.3", ()), ("linux-7.3", ("no-iptfs",))]
)
def test_every_line_has_an_answer_or_is_refused(kernel: str, options: tuple[str, ...]) -> None:
    results, refusals = set(), []
    for seed in range(8):
        rng, netns = random.Random(seed), Netns(kernel, options=options)
        for _ in range(70):
            line = a_line(rng)
            try:
                (answer,) = run_requests(netns, [line], "f")
            except InputError as error:
                refusals.append(str(error))
                continue
            results.add(answer["result"])
            assert isinstance(answer["errno"], int), line
            assert "00000000000000000000000000000000" not in str({**answer, "packet": ""}), line  # no key is shown
    assert all(refusal.startswith("f:1: ") for refusal in refusals)
    assert {"OK", "EINVAL", "ENOENT", "delivered", "dropped", "sent"} <= results
