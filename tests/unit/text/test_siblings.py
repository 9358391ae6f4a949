"""Commands of one kind: what siblings.py says of them is what the parser says, whatever varies between two lines."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.sad.association import Selector
from espsim.text import reader
from espsim.text.parse import parse_sad
from espsim.text.siblings import Siblings

GCM = "aead rfc4106(gcm(aes)) 0x{:040x} 128"
CBC = "auth-trunc hmac(sha256) 0x{0:064x} 128 enc cbc(aes) 0x{0:032x}"
FIRST = f"src 10.0.0.1 dst 10.0.0.2 proto esp spi 0x00000100 reqid 1 {GCM.format(5)}"
SELECTOR = " sel src 10.9.0.0/16 dst 10.8.0.0/16"
SELECTORS = [
    " sel src 10.9.1.0/16 dst 10.8.2.3/16", " sel src 10.9.1.0/16 dst 10.8.2.3/24", " sel src 10.9.0.0/16",
    " sel dst 10.7.0.0/32", " sel src 10.9.0.0/16 dst ::1/128", " sel src ::1/16 dst ::2/16",
    " sel src 10.9.0.0/16 dst ::1/16",
    " sel src 10.9.0/16 dst 10.8.0.0/16", " sel src 10.9.0.0/16 src 10.9.9.0/16 dst 10.8.0.0/16",
    " sel src 0.0.0.0/0 dst 10.1.0.0/16", " sel src 10.9.0.0/016 dst 10.8.0.0/16",
    " sel src 10.9.0.0/00 dst 10.8.0.0/16", " sel src 10.9.0.0/-16 dst 10.8.0.0/16", " sel src /16 dst 10.8.0.0/16",
    " sel dst 10.8.0.0/16 proto udp dport 53", " sel dst 10.8.9.0/16 proto udp dport 53",
]  # fmt: skip

plain = st.builds(
    "src 10.0.0.{} dst 10.0.0.{} proto esp spi 0x{:08x}{} {}".format,
    st.integers(1, 5), st.integers(1, 5), st.integers(0, 600), st.sampled_from(["", " reqid 0", " reqid 7"]),
    st.builds(str.format, st.sampled_from([GCM, CBC]), st.integers(0, 2**100)),
)  # fmt: skip
odd = st.sampled_from([
    FIRST.replace("10.0.0.2", "2001:db8::2"), FIRST.replace("10.0.0.2", "host"), FIRST.replace("10.0.0.2", "10.2"),
    FIRST.replace("0.0.1 ", "0.0.1.9 "), FIRST.replace("0x00000100", "256"), FIRST.replace("0x00000100", "0X100"),
    FIRST.replace("10.0.0.", "2001:db8::"),
    FIRST.replace("0x00000100", "0x1000000000"), FIRST.replace("0x00000100", "x"), FIRST.replace("0x00000100", "0xF00"),
    FIRST.replace("reqid 1", "reqid 0x7"), FIRST.replace("reqid 1", "reqid 4294967295"), FIRST[:-5] + " 128",
    FIRST.replace("reqid 1", "reqid -1"), FIRST.replace("05 128", "0g 128"), FIRST.replace("05 128", "0505 128"),
    FIRST.replace("05 128", "0A 128"), FIRST.replace("0x0000000", "0X0000000"), FIRST.replace("05 128", "05 96"),
])  # fmt: skip
tails = st.sampled_from([
    "", " replay-window 32", SELECTOR, *SELECTORS, " sel src 1.1.1.1 dst 2.2.2.2", " mark 1",
    " replay-window 32 flag esn", " encap espinudp 4500 4500 0.0.0.0", " offload dev eth0 dir in",
    " limit packet-hard 5", "; ip xfrm state flush", " # a remark", " dir in",
])  # fmt: skip


@st.composite
def texts(draw: Any) -> str:
    """Lines of a few kinds, so that most have siblings; most of them right, so that few texts end in an error."""
    kinds = draw(st.lists(tails, min_size=1, max_size=2))
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        what = draw(odd if draw(st.integers(0, 19)) == 0 else plain)
        verb = draw(st.sampled_from(["add", "add", "update"]))
        lines.append(f"ip xfrm state {verb} {what}{draw(st.sampled_from(kinds))}\n")
    return "".join(lines)


def what_is_said(text: str) -> Any:
    try:
        found = parse_sad(text, "f")
    except InputError as error:
        return str(error)
    return found.sas, found.hidden, found.unmodelled, found.ignored, list(found.notes.lines())


def said_by_the_parser(text: str) -> Any:
    with mock.patch.object(Siblings, "find", return_value=None):
        return what_is_said(text)


@given(texts())
def test_a_sibling_is_what_the_parser_says(text):
    assert what_is_said(text) == said_by_the_parser(text)


@pytest.mark.parametrize("first", SELECTORS)
def test_selectors_of_siblings(first):
    for second in SELECTORS:
        lines = (f"ip xfrm state add {FIRST}{first}", f"ip xfrm state add {FIRST.replace('100', '101', 1)}{second}")
        text = "\n".join(lines)
        assert what_is_said(text) == said_by_the_parser(text)


@given(odd)
def test_so_is_what_is_not_plain(second):
    tail = " sel src 10.9.0.0 dst 10.8.0.0"
    text = (
        f"ip xfrm state add {FIRST}{tail}\nip xfrm state add {second.replace('dst 10.0.0.2', 'dst 10.0.0.7')}{tail}\n"
    )
    assert what_is_said(text) == said_by_the_parser(text)


def test_the_words_of_a_thousand_siblings_are_read_once():
    text = "".join(
        f"ip xfrm state add src 10.0.0.1 dst 10.0.{n >> 8}.{n & 255} proto esp spi 0x{n + 256:x} reqid {n} mode tunnel"
        f" aead 'rfc4106(gcm(aes))' 0x{n:040x} 128 sel src 0.0.0.0/0 dst 10.8.{n >> 8}.{n & 255}/32\n"
        for n in range(1000)
    )
    with mock.patch("espsim.text.reader.judge", wraps=reader.judge) as judge:
        found = parse_sad(text).sas
    assert judge.call_count == 1
    assert [p.sa.selector for p in found] == [
        Selector(dst=bytes((10, 8, *n.to_bytes(2))), dst_prefix=32) for n in range(1000)
    ]
    assert [(p.sa.spi, p.sa.reqid, p.sa.algorithms[0].key[-2:], p.line) for p in found] == [
        (n + 256, n, n.to_bytes(2), n + 1) for n in range(1000)
    ]


@pytest.mark.parametrize("quoted", ["'rfc4106(gcm(aes))'", '"rfc4106(gcm(aes))"', "rfc4106\\(gcm\\(aes\\)\\)"])
def test_quotes_as_a_shell_has_them(quoted):
    text = f"ip xfrm state add {FIRST.replace('rfc4106(gcm(aes))', quoted)} # 'open\n"
    assert parse_sad(text).sas[0].sa.algorithms[0].name == "rfc4106(gcm(aes))"
