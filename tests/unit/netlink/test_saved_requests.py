"""Requests and packets, the namespace saved and loaded in their midst, against the same without: every answer is equal.

Windows are of every kind (legacy, bitmap, ring, ESN), and numbers lie near 0, 2^32 and 2^64.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.fuzz.draw import a_command, a_request
from tests.examples import examples
from tests.unit.netlink.saved_namespaces import LINES, QUESTIONS, REQUESTS, answers, asked, reloaded, told, whole

LOW = 0xFFFFFFFF
NEAR = st.sampled_from([0, 0, 0, 1000, LOW - 20, LOW, (1 << 64) - 30, (1 << 64) - 1])
STEP = st.one_of(st.integers(0, 4), st.integers(-110, 110))
DST = st.sampled_from(["10.7.1.1", "10.7.1.2"])
SUITE = st.sampled_from([
    "aead=rfc4106(gcm(aes))", "crypt=cbc(aes) auth=hmac(sha1)", "crypt=ecb(cipher_null) auth=hmac(sha1)",
])  # fmt: skip


@st.composite
def windows(draw: st.DrawFn, near: int) -> str:
    """The words of a replay window that starts near a number."""
    if draw(st.booleans()):
        size = draw(st.sampled_from([20, 33, 40, 64, 100]))
        esn = draw(st.booleans())
        flags = "flags=esn " if esn else ""
        seq = f"seq:{near & LOW}" + (f",seq_hi:{near >> 32}" if esn else "")
        return f"{flags}esn={{bmp_len:{-(-size // 32)},replay_window:{size},{seq}}}"
    return f"replay_window={draw(st.sampled_from([0, 7, 32]))} replay_val=0,{near & LOW},0"


@st.composite
def lines(draw: st.DrawFn, near: int) -> str:
    """One request."""
    dst, spi = draw(DST), draw(st.integers(0x1000, 0x1002))
    kind = draw(st.sampled_from(["new"] * 3 + ["rx"] * 10 + ["tx"] * 3 + ["upd", "del", "alloc", "ae", "wait", "out"]))
    number = max(near + draw(STEP), 0)
    if kind in ("new", "upd"):
        verb = {"new": "NEWSA", "upd": "UPDSA"}[kind]
        more = draw(st.sampled_from(["", "", " limits={hard_packets:4,soft_packets:2}", " limits={hard_add:9}"]))
        return f"{verb} src=10.7.0.1 dst={dst} proto=esp spi={spi} {draw(SUITE)} {draw(windows(near))}{more}"
    if kind == "rx":
        bad = draw(st.sampled_from([""] * 6 + [" icv=bad"]))
        return f"RX src=10.7.0.1 dst={dst} spi={spi} seq={number & LOW} seq_hi={number >> 32 & LOW}{bad}"
    if kind == "tx":
        return "TX src=10.7.1.1 dst=10.7.0.1"
    if kind == "del":
        return f"DELSA dst={dst} proto=esp spi={spi}"
    if kind == "alloc":
        return f"ALLOCSPI src=10.7.0.1 dst={dst} proto=esp min=0x1000 max=0x1fff reqid={draw(st.integers(0, 2))}"
    if kind == "ae":
        return f"NEWAE dst={dst} spi={spi} replace=1 esn={{bmp_len:2,replay_window:33,seq:{number & LOW}}}"
    if kind == "wait":
        return f"ADVANCE seconds={draw(st.sampled_from(['0.5', '3', '31']))}"
    return draw(st.sampled_from([
        "NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x2000 aead=rfc4106(gcm(aes)) flags=esn"
        f" esn={{bmp_len:1,replay_window:32,oseq:{near & LOW},oseq_hi:{near >> 32}}}",
        "NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x2001 crypt=cbc(aes) auth=hmac(sha1)",
        "POLICY add dir out src 10.7.1.1/32 dst 10.7.0.1/32 tmpl proto esp mode transport",
        "LISTEN on",
    ]))  # fmt: skip


RUNS = NEAR.flatmap(lambda near: st.lists(lines(near), min_size=4, max_size=40))
RING = "NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 aead=rfc4106(gcm(aes)) esn={bmp_len:2,replay_window:33}"
EDGE = RING.replace("33}", f"33,seq:{LOW - 1}}}") + " flags=esn"
RX = "RX src=10.7.0.1 dst=10.7.1.1 spi=0x1000 seq=40"
END = [
    "DUMP",
    "EVENTS",
    "STAT",
    "TX src=10.7.1.1 dst=10.7.0.1",
    "ALLOCSPI src=10.7.0.1 dst=10.7.1.9 proto=esp min=1 max=99",
]


def in_parts(netns: Netns, script: list[str], cuts: list[int]) -> list[Any]:
    """The answers of a script on a namespace that is saved and loaded at each cut."""
    given: list[Any] = []
    start = 0
    for cut in [*cuts, len(script)]:
        given += asked(netns, script[start:cut])
        netns, start = reloaded(netns), cut
    return given


@given(RUNS, st.sets(st.integers(1, 40), max_size=4), st.sampled_from(["linux-6.1", "linux-6.12", "split"]),
       st.sampled_from([(), (), ("strict-windows",), ("ring-windows",)]))  # fmt: skip
@settings(max_examples=examples(40), deadline=None)
@example([RING, *[RX] * 3], {1, 2, 3}, "linux-6.12", ())
@example(
    [EDGE, *[f"{RX} seq_hi=1".replace("=40", f"={n}") for n in (2, 2, 0)], RX.replace("=40", f"={LOW}")],
    {1},
    "linux-6.12",
    (),
)
def test_answers_are_equal_however_often_it_is_reloaded(run, cuts, kernel, options):
    script, at = [], []
    for n, line in enumerate(run):
        if n in cuts:  # messages that were not read are not kept, so they are read before each cut
            script.append("EVENTS")
            at.append(len(script))
        script.append(line)
    script += END
    kept, loaded = (Netns(kernel, options=options, seed=3) for _ in range(2))
    assert in_parts(loaded, script, at) == asked(kept, script)


def test_the_whole_namespace_goes_on():
    assert answers(reloaded(whole())) == answers(whole())
    assert answers(reloaded(reloaded(whole()))) == answers(whole())


@pytest.mark.parametrize("cut", range(1, len(QUESTIONS), 3))
def test_it_goes_on_from_the_midst_of_its_questions(cut):
    script = [*QUESTIONS[:cut], "EVENTS", *QUESTIONS[cut:]]
    assert in_parts(whole(), script, [cut + 1]) == asked(whole(), script)


def test_an_iv_is_not_drawn_again_after_a_reload():
    """CBC's are random: drawn from where the saved namespace was, not from the start."""
    netns = whole()
    seen = set()
    for _ in range(4):
        (answer,) = asked(netns, ["TX src=10.7.1.1 dst=10.7.0.1"])
        packet = bytes.fromhex(answer["packet"])
        seen.add(packet[28:44])
        netns = reloaded(netns)
    assert len(seen) == 4


class TestOptionsInThePlaceOfTheSaved:
    def results(self, netns: Netns, numbers: list[int]) -> list[str]:
        return [a["result"] for a in asked(netns, [RX.replace("40", str(n)) for n in numbers])]

    def test_a_ring_becomes_strict_and_keeps_what_it_says(self):
        netns = Netns()
        asked(netns, [RING, RX])
        strict = reloaded(netns, options=["strict-windows"])
        assert self.results(strict, [40, 40, 11, 39, 39]) == ["delivered", "dropped", "dropped", "delivered", "dropped"]
        assert self.results(reloaded(strict), [40, 39]) == ["dropped", "dropped"]

    def test_no_options_at_all_are_options_too(self):
        netns = Netns(options=["strict-windows", "acquire-uapi"])
        asked(netns, [RING, RX])
        assert reloaded(netns, options=[]).options == frozenset()
        assert reloaded(netns).options == {"strict-windows", "acquire-uapi"}


def test_every_request_of_the_whole_was_carried_out():
    netns = Netns("linux-6.12", options=("acquire-uapi",), seed=5)
    failed = [(line, a["result"]) for line, a in zip(REQUESTS, asked(netns, REQUESTS), strict=True) if a["errno"]]
    assert [result for _, result in failed] == ["ENOENT"]  # the ALLOCSPI of an SPI that is taken


KERNELS = ("linux-6.1", "linux-6.1.192", "linux-6.12", "rfc2401", "split", "freebsd", "openbsd", "sa-dir", "full-4301")


@pytest.mark.parametrize("seed", range(27))
def test_random_namespaces(seed):
    """Whatever is asked of a namespace, in either language: it can be saved, and goes on as if it had not been."""
    rng = random.Random(seed)
    kept, loaded = (Netns(KERNELS[seed % len(KERNELS)], seed=1) for _ in range(2))
    for _ in range(4):
        requests = [a_request(rng) for _ in range(rng.randint(1, 12))]
        assert asked(loaded, [*requests, "EVENTS"]) == asked(kept, [*requests, "EVENTS"])
        loaded = reloaded(loaded)
        commands = [a_command(rng) for _ in range(rng.randint(1, 12))]
        assert told(loaded, [*commands, "xfrm monitor"]) == told(kept, [*commands, "xfrm monitor"])
        loaded = reloaded(loaded)
    last = ["DUMP", "STAT", "GETDEFAULT", "ADVANCE seconds=40", "EVENTS", "DUMP"]
    assert asked(loaded, last) == asked(kept, last)
    assert told(loaded, LINES) == told(kept, LINES)


def test_a_time_that_no_saved_state_could_hold_is_refused_by_name():
    netns = Netns()
    netns.advance((1 << 53) - 1)
    assert reloaded(netns).now == netns.now
    for seconds in (1, 1e300, float("inf"), float("nan")):
        with pytest.raises(InputError, match="seconds: the namespace's clock ends"):
            netns.advance(seconds)
