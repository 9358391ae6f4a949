"""Commands of one kind: siblings.py reads them as the parser does, whatever varies between two lines."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.aead.suites import resolve
from espsim.core.errors import InputError
from espsim.sad.association import Selector
from espsim.text import lexer, reader, siblings
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
    st.integers(1, 5), st.integers(1, 5), st.integers(0, 600),
    st.sampled_from(["", " reqid 0", " reqid 7", " reqid 0x7", " reqid 8 reqid 8"]),
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
    " limit packet-hard 5", " if_id 7", " if_id 0x8", " if_id 010", " if_id 8 if_id 8",
    "; ip xfrm state flush", " # a remark", " dir in",
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
    with mock.patch.multiple(Siblings, find=lambda *_: None, read=lambda *_: None):
        return what_is_said(text)


shapes = st.sampled_from([
    "ip xfrm state {}{}\n", "ip xfrm state {}{}\n", "ip  xfrm\tstate {}{} \n", "ip xfrm st {}{}\n\n",
    "xfrm state {}{}\n", "ip xfrm state \\\n  {}{}\n", "ip xfrm state {}{} \\\n\n", "ip xfrm state {}{}\n# a remark\n",
    "ip xfrm state {}{}\n# ip xfrm state flush\n", "ip xfrm state {}{}\n  junk beside it\n",
    "sudo ip xfrm state {}{}\n", "sudo ip netns exec blue ip xfrm state {}{}\n", "ip xfrm state {}{} # new\n",
    "ip xfrm state {}{}; ip xfrm policy flush\n", "root@gate:~# ip xfrm state {}{}\n", "# ip xfrm state {}{}\n",
    "$ ip xfrm state {}{}\n", "> ip xfrm state {}{}\n", "ip xfrm state {}{}\n$ ip xfrm state add {first}\n",
    "ip xfrm state {}{}\nsrc 10.0.0.1 dst 10.0.0.9\n\tproto esp spi 0x5 reqid 1\n",
])  # fmt: skip
quotes = st.sampled_from(["{}", "'{}'", '"{}"', "'{}"])


@st.composite
def pasted(draw: Any) -> str:
    """The same lines as people write them: with prompts, continued, quoted, with lines of other kinds between them."""
    written = draw(st.lists(shapes, min_size=1, max_size=2))
    quoted = draw(quotes).format("rfc4106(gcm(aes))")
    tail = draw(tails).replace(" dst ", draw(st.sampled_from([" dst ", " \\\n dst "])))
    lines = []
    for _ in range(draw(st.integers(2, 6))):
        what = (
            draw(plain)
            .replace("rfc4106(gcm(aes))", quoted)
            .replace(" reqid", draw(st.sampled_from([" ", "  "])) + "reqid")
        )
        lines.append(draw(st.sampled_from(written)).format("add ", what + tail, first=FIRST))
    return "".join(lines)


@given(pasted())
def test_however_it_is_written(text):
    assert what_is_said(text) == said_by_the_parser(text)


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
    judges = mock.patch("espsim.text.reader.judge", wraps=reader.judge)
    words = mock.patch("espsim.text.lexer.words_of", wraps=lexer.words_of)
    with judges as judge, words as words_of:
        found = parse_sad(text).sas
    assert judge.call_count == words_of.call_count == 1
    assert [p.sa.selector for p in found] == [
        Selector(dst=bytes((10, 8, *n.to_bytes(2))), dst_prefix=32) for n in range(1000)
    ]
    assert [(p.sa.spi, p.sa.reqid, p.sa.algorithms[0].key[-2:], p.line) for p in found] == [
        (n + 256, n, n.to_bytes(2), n + 1) for n in range(1000)
    ]


def test_of_a_line_that_is_continued_its_commands_first_word_counts():
    lines = [
        f"sudo ip \\\n  xfrm state add src 10.0.0.1 dst 10.0.0.{n} \\\n  proto esp spi 0x{n:x} {GCM.format(n)}\n# {n}\n"
        for n in range(1, 10)
    ]
    with mock.patch("espsim.text.reader.judge", wraps=reader.judge) as judge:
        found = parse_sad("".join(lines)).sas
    assert judge.call_count == 1
    assert [(p.sa.spi, p.line) for p in found] == [(n, 4 * n - 2) for n in range(1, 10)]


def test_what_the_copies_share_and_what_they_do_not():
    """Of a hundred thousand SAs each has objects of its own for what differs, and no others."""
    text = "".join(
        f"ip xfrm state add src 10.0.0.1 dst 10.0.0.{n} proto esp spi 0x{n:x} mode tunnel replay-window 64 flag esn"
        f" {GCM.format(n)} sel src 10.9.0.0/16 dst 10.8.0.{n}/32\n"
        for n in range(2, 5)
    )
    first, second, third = (p.sa for p in parse_sad(text).sas)
    assert first.src is second.src is third.src
    assert (first.flags, first.limits, first.replay) == (third.flags, third.limits, third.replay)
    assert all(getattr(first, name) is getattr(third, name) for name in ("flags", "limits", "replay", "current"))
    assert first.selector.src is third.selector.src
    assert first.selector.dst != third.selector.dst
    assert third.keys == resolve(third.algorithms)
    assert third.keys.secret is third.algorithms[0].key
    assert (third.esn, third.selective) == (True, True)


def lines_of(*written: str) -> str:
    """A line of the first form, then what is written of it."""
    return "".join(f"ip xfrm state add {FIRST}\n{text}\n" for text in written)


CUT = "src 10.0.0.1 dst 10.0.0.9\n\tproto esp spi 0x00000500 reqid 1 mode tunnel\n"
OTHER = FIRST.replace("0x00000100", "0x00000200")


@pytest.mark.parametrize(
    "text",
    [
        # `# ip` is a comment where another command has no prompt, whichever way that one was read.
        lines_of(f"ip xfrm state add {OTHER}", f"# ip xfrm state add {OTHER.replace('200', '300')}"),
        # Of a block with two commands the second has a line of its own.
        lines_of(f"$ ip xfrm state add {FIRST}", f"ip xfrm state add {OTHER}"),
        # A backslash at the end of the text continues nothing; before another line it does.
        f"ip xfrm state add {FIRST}\\\n\nip xfrm state add {OTHER}\\\n mark 5\n",
        # Of a number that is given twice the last one counts.
        f"ip xfrm state add {FIRST} reqid 1\nip xfrm state add {OTHER.replace('reqid 1', 'reqid 2')} reqid 1\n",
        # What a shell ends a command with.
        lines_of(f"ip xfrm state add {OTHER}; ip xfrm state flush", f"ip xfrm state add {OTHER}; ip xfrm state flush"),
        # A dump that ends in the middle, and one that is followed by commands.
        f"{CUT}{lines_of('', '')}",
        f"{lines_of('')}{CUT}ip xfrm state add {OTHER}\n",
        f"{lines_of('')}{CUT}",
    ],
)
def test_what_comes_beside_a_known_form(text):
    assert what_is_said(text) == said_by_the_parser(text)


def test_a_text_in_which_no_two_lines_are_written_alike():
    """Each would cost a pattern of its own: after some the words are read again."""
    text = "".join(f"ip{' ' * (n + 1)}xfrm state add {FIRST.replace('100', hex(n + 1)[2:], 1)}\n" for n in range(200))
    with mock.patch("espsim.text.siblings._form_of", wraps=siblings._form_of) as form_of:
        assert [p.sa.spi for p in parse_sad(text).sas] == list(range(1, 201))
    assert form_of.call_count == 64


@pytest.mark.parametrize("quoted", ["'rfc4106(gcm(aes))'", '"rfc4106(gcm(aes))"', "rfc4106\\(gcm\\(aes\\)\\)"])
def test_quotes_as_a_shell_has_them(quoted):
    text = f"ip xfrm state add {FIRST.replace('rfc4106(gcm(aes))', quoted)} # 'open\n"
    assert parse_sad(text).sas[0].sa.algorithms[0].name == "rfc4106(gcm(aes))"
