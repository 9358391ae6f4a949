"""Lines that are not requests: one clear sentence with the line's number, without keys; the model is not asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.requests import WORDS_OF, run_requests

TUPLE = "src=10.0.0.1 dst=10.0.0.2 proto=esp"
ALLOC = f"ALLOCSPI {TUPLE} min=1 max=1"
NULL = "crypt=ecb(cipher_null) auth=digest_null"


def refusal(text: str, netns: Netns | None = None) -> str:
    with pytest.raises(InputError) as caught:
        list(run_requests(netns or Netns(), text.split("\n"), "f"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("EXPLODE dst=10.0.0.1", "unknown request EXPLODE; known: ALLOCSPI,"),
        ("allocspi dst=10.0.0.1", "unknown request 'allocspi'"),
        ("\x7fELF\x02\x01", "unknown request of 6 characters"),
        ("ALLOCSPI " + "x" * 10_000_000, "a line of 10000009 characters; 65536 is the limit"),
        ("ALLOCSPI \0", "a NUL byte: this is not text"),
        ("ALLOCSPI dst=10.0.0.2 proto=esp min=1 max=1", "src= is missing"),
        (f"{ALLOC} colour=red", "unknown word 'colour'"),
        (f"{ALLOC} min=2", "min is given twice"),
        (f"ALLOCSPI {TUPLE} min=one max=1", "the value of min is not a number (decimal or 0x)"),
        (f"ALLOCSPI {TUPLE} min=-1 max=1", "the value of min is not a number"),
        (f"ALLOCSPI {TUPLE} min=1 max=0x100000000", "max is not in 0 to 4294967295"),
        (f"ALLOCSPI {TUPLE} min=１ max=1", "the value of min is not a number"),
        ("ALLOCSPI src=10.0.0.1 dst=::1 proto=esp min=1 max=1", "src and dst are of different families"),
        ("ALLOCSPI src=10.0.0 dst=10.0.0.2 proto=esp min=1 max=1", "src '10.0.0' is not an IP address"),
        ("ALLOCSPI src=10.0.0.1 dst=10.0.0.2 proto=esq min=1 max=1", "unknown proto 'esq'; known: esp, ah, comp,"),
        (f"{ALLOC} mode=sideways", "unknown mode 'sideways'"),
        (f"{ALLOC} mode=256", "mode is not in 0 to 255"),
        (f"{ALLOC} dir=up", "unknown dir 'up'; known: in, out, or a number"),
        (f"{ALLOC} mark=1/x", "the value of mark is not a number"),
        (f"{ALLOC} cap=yes", "cap takes only no"),
        (f"NEWSA {TUPLE} spi=1 {NULL} flags=glowing", "unknown flags 'glowing'; known: noecn,"),
        (f"NEWSA {TUPLE} spi=1 {NULL} extra_flags=4", "extra_flags is not in 0 to 3"),
        (f"NEWSA {TUPLE} spi=1 {NULL} replay_val=1,2", "replay_val takes 3 numbers, not 2"),
        (f"NEWSA {TUPLE} spi=1 {NULL} replay_window=256", "replay_window is not in 0 to 255"),
        (f"NEWSA {TUPLE} spi=1 {NULL} esn=bmp_len:1", "esn takes {name:number,...}"),
        (f"NEWSA {TUPLE} spi=1 {NULL} esn={{bmp:1}}", "esn: unknown name 'bmp'"),
        (f"NEWSA {TUPLE} spi=1 {NULL} esn={{seq:1,seq:2}}", "esn: seq is given twice"),
        (f"NEWSA {TUPLE} spi=1 {NULL} esn={{seq}}", "the value of seq of esn is not a number"),
        (f"NEWSA {TUPLE} spi=1 {NULL} limits={{soft:1}}", "limits: unknown name 'soft'"),
        (f"NEWSA {TUPLE} spi=1 {NULL} encap=2,4500", "encap takes TYPE,SPORT,DPORT"),
        (f"NEWSA {TUPLE} spi=1 {NULL} encap=tcp,1,2", "the value of the type of encap is not a number"),
        (f"NEWSA {TUPLE} spi=1 {NULL} offload=eth0,in", "offload takes DEV,in|out,crypto|packet"),
        (f"NEWSA {TUPLE} spi=1 crypt_key=00", "crypt_key without crypt"),
        (f"NEWSA {TUPLE} spi=1 trunc=96 crypt=cbc(aes)", "trunc without auth"),
        ("GETAE spi=1", "dst= is missing"),
        ("EXPIRE src=10.0.0.1 dst=10.0.0.2 proto=esp spi=1", "hard= is missing"),
        ("EXPIRE src=::1 dst=10.0.0.2 proto=esp spi=1 hard=1", "src and dst are of different families"),
        ("GETACQ proto=esp", "src= is missing"),
        ("SYSCTL net.core.xfrm_acq_expires", "SYSCTL takes NAME=VALUE"),
        ("SYSCTL net.core.xfrm_acq_expires=soon", "the value of the sysctl is not a number"),
        ("LISTEN", "LISTEN takes on or off"),
        ("ADVANCE", "seconds= is missing"),
        ("ADVANCE seconds=-1", "the value of seconds is not a number of seconds"),
        ("ADVANCE seconds=nan", "the value of seconds is not a number of seconds"),
        ("POLICY add dst 10.0.0.1", "DIR is required"),
        ("POLICY explode", 'Command "explode" is unknown'),
        ("RX spi=1 seq=1", "dst= is missing"),
        ("RX dst=10.0.0.1 seq=1", "spi= is missing"),
        ("RX dst=10.0.0.1 spi=1 seq=1 src=::1", "src and dst are of different families"),
        ("RX dst=10.0.0.1 spi=1 seq=1 proto=comp", "unknown proto 'comp'; known: esp, ah, udp"),
        ("RX dst=10.0.0.1 spi=1 seq=1 icv=good", "icv takes only bad"),
        ("RX dst=10.0.0.1 spi=1 seq=1 payload=60001", "payload is not in 0 to 60000"),
        ("RX dst=10.0.0.1 spi=1 seq=1 encap=4500", "encap takes 2 numbers, not 1"),
        ("NEWSA src=10.0.0.1 dst=10.0.0.2 proto=esp spi=1 attr=41", "attr takes attributes above 41"),
        ("RX dst=10.0.0.1 spi=1 seq=1 as=7", "as takes SPI@DADDR"),
        ("TX src=10.0.0.1", "dst= is missing"),
    ],
)
def test_one_sentence_with_the_line(line: str, what: str) -> None:
    netns = Netns()
    text = refusal(f"# a comment\n\n{line}", netns)
    assert text.startswith(f"f:3: {what}") or (text.startswith("f:3: ") and what in text)
    assert "\n" not in text
    assert len(text) < 400
    assert not netns.dump()


def test_a_key_never_shows() -> None:
    secret = "c0ffee" * 7 + "g"
    for word in (f"crypt_key={secret}", f"{secret}=1", f"auth={secret}={secret} key={secret}"):
        text = refusal(f"NEWSA {TUPLE} spi=1 crypt=cbc(aes) auth=hmac(sha1) {word}")
        assert "c0ffee" not in text


def test_what_was_said_before_the_bad_line_is_answered() -> None:
    answers = run_requests(Netns(), ["", f"{ALLOC}  # one", "DUMP", "NONSENSE"], "f")
    assert next(answers)["result"] == "OK"
    assert next(answers)["count"] == 1
    with pytest.raises(InputError, match=r"^f:4: unknown request NONSENSE"):
        next(answers)


def test_a_sysctl_nobody_has_is_the_kernels_to_refuse() -> None:
    [answer] = run_requests(Netns(), ["SYSCTL net.core.somaxconn=1"])
    assert answer == {"errno": 2, "result": "ENOENT", "extack": None}


NUMBERS = st.one_of(
    st.integers(0, 300), st.sampled_from([0xFFFF, 0x10000, 2**31, 2**32 - 1, 2**32, 2**64 - 1]).map(hex)
).map(str)
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "0.0.0.0", "::", "2001:db8::1"])  # noqa: S104
VALUES = {
    "src": ADDRESSES, "dst": ADDRESSES, "srcaddr": ADDRESSES, "coa": ADDRESSES,
    "proto": st.sampled_from(["esp", "ah", "comp", "route2", "any", "0", "17", "udp"]),
    "mode": st.sampled_from(["transport", "tunnel", "beet", "9"]), "dir": st.sampled_from(["in", "out", "0", "3"]),
    "mark": st.sampled_from(["5", "0x5/0xff", "6/5"]), "family": st.sampled_from(["0", "2", "7", "10", "65535"]),
    "flags": st.sampled_from(["esn", "esn,align4", "3", "decap_dscp", "nopmtudisc"]),
    "extra_flags": st.sampled_from(["2", "dont_encap_dscp"]),
    "replay_val": st.sampled_from(["1,2,3", "0,0xffffffff,0xffffffff"]),
    "esn": st.sampled_from(
        ["{}", "{bmp_len:1,replay_window:32}", "{bmp_len:128,replay_window:4096,seq:7,seq_hi:1}", "{bmp_len:129}",
         "{replay_window:5000,bmp_len:200}", "{oseq:1,oseq_hi:0xffffffff}"]
    ),
    "encap": st.sampled_from(["2,4500,4500", "7,1,2", "99,0,0", "espinudp,1,65535", "none"]),
    "offload": st.sampled_from(["eth0,in,crypto", "eth0,out,packet"]),
    "aead": st.sampled_from(["rfc4106(gcm(aes))", "rfc4543(gcm(aes))", "nosuch(aead)"]),
    "crypt": st.sampled_from(["cbc(aes)", "ecb(cipher_null)", "nosuch"]),
    "auth": st.sampled_from(["hmac(sha1)", "digest_null", "nosuch"]), "comp": st.sampled_from(["deflate", "nosuch"]),
    "key": st.sampled_from(["", "00", "11" * 20, "0x" + "22" * 36]), "icv": st.sampled_from(["64", "128", "7"]),
    "crypt_key": st.sampled_from(["", "00", "33" * 16]), "auth_key": st.sampled_from(["", "44" * 20]),
    "limits": st.sampled_from(["{}", "{soft_packets:0,hard_packets:0}", "{hard_bytes:20,soft_add:1,hard_add:0}"]),
    "as": st.just("1@10.0.0.1"), "output_mark": st.just("1/1"),
}  # fmt: skip
ESSENTIAL = {
    "ALLOCSPI": f"{TUPLE} min=1 max=2", "NEWSA": f"{TUPLE} spi=1 {NULL}", "UPDSA": f"{TUPLE} spi=1 {NULL}",
    "GETSA": "dst=10.0.0.2 proto=esp spi=1", "DELSA": "dst=10.0.0.2 proto=esp spi=1", "FLUSHSA": "", "DUMP": "",
    "GETAE": "dst=10.0.0.2 spi=1", "NEWAE": "dst=10.0.0.2 spi=1", "EXPIRE": "dst=10.0.0.2 proto=esp spi=1 hard=1",
    "GETACQ": "seq=1", "DELACQ": "src=10.0.0.1 dst=10.0.0.2", "RX": "dst=10.0.0.2 spi=1 seq=1", "TX": "dst=10.0.0.2",
    "ADVANCE": "seconds=1.5", "EVENTS": "", "STAT": "",
}  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A request that is whole, with some of its words said otherwise or more besides."""
    verb = draw(st.sampled_from(list(ESSENTIAL)))
    words = dict(word.split("=", 1) for word in ESSENTIAL[verb].split())
    keys = sorted(WORDS_OF[verb] - {"cap", "length"})
    for key in draw(st.lists(st.sampled_from(keys), max_size=4)) if keys else ():
        words[key] = "bad" if (verb, key) == ("RX", "icv") else draw(VALUES.get(key, NUMBERS))
    return " ".join([verb, *(f"{key}={value}" for key, value in words.items())])


def answer_or_refusal(netns: Netns, line: str) -> dict[str, Any] | str:
    try:
        return next(run_requests(netns, [line], "f"), {})
    except InputError as error:
        return str(error)


@given(st.lists(lines(), max_size=8), st.sampled_from(["linux-6.1", "linux-6.1.192", "linux-6.12", "split", "freebsd"]))
def test_every_line_is_answered_or_refused(script: list[str], kernel: str) -> None:
    netns = Netns(kernel, options=["acquire-uapi"])
    for line in ["LISTEN on", "POLICY add dir out dst 10.0.0.2 tmpl proto esp", *script]:
        answer = answer_or_refusal(netns, line)
        if isinstance(answer, str):
            assert answer.startswith("f:1: ")
        else:
            assert {"errno", "result", "extack"} <= set(answer)
            json.dumps(answer)


@given(st.text(max_size=200))
def test_any_text_is_answered_or_refused(text: str) -> None:
    for line in text.split("\n"):
        assert "\n" not in str(answer_or_refusal(Netns(), line))
