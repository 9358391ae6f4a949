"""What is written is read back: lines, commands and dumps of generated SAs; and any text at all is answered."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.netlink.view import view_of
from espsim.sad.association import Lifetime, ReplayState, SecurityAssociation
from espsim.sad.entry import SaStats
from espsim.sad.sad import Sad
from espsim.text.bitmap import from_circular, to_circular
from espsim.text.parse import parse_sa_line, parse_sad, parse_sad_text
from espsim.text.show import format_dump, format_sa_line
from espsim.xfrm.state_text import format_view
from tests.examples import examples
from tests.unit.text.sa_strategies import associations

ORDER = ("auth", "auth-trunc", "aead", "enc", "comp")


def in_dump_order(sa: SecurityAssociation) -> SecurityAssociation:
    return replace(sa, algorithms=tuple(sorted(sa.algorithms, key=lambda a: ORDER.index(a.kind))))


@given(associations())
@settings(deadline=None)
def test_a_line_is_read_back(sa: SecurityAssociation):
    assert parse_sa_line(format_sa_line(sa)) == sa
    (parsed,) = parse_sad_text(format_sa_line(sa, verb="update"))
    assert (parsed.sa, parsed.line, parsed.verb) == (sa, 1, "update")


@given(associations(running=True))
@settings(deadline=None)
def test_a_dump_is_read_back(sa: SecurityAssociation):
    assert parse_sa_line(format_dump(sa, stats=True)) == in_dump_order(sa)


@given(associations(running=True))
@settings(deadline=None)
def test_a_dump_on_one_line_is_read_back(sa: SecurityAssociation):
    oneline = format_dump(sa, stats=True).replace("\n", "\\")
    parsed = parse_sad_text(f"{oneline}\n{format_sa_line(replace(sa, spi=0))}\n")
    assert parsed[0].sa == in_dump_order(sa)
    assert [p.line for p in parsed] == [1, 2]


@given(associations(running=True), st.text(st.sampled_from(" \t\r"), max_size=3))
@settings(deadline=None)
def test_indentation_does_not_matter(sa: SecurityAssociation, indent: str):
    lines = [indent + line.lstrip("\t") for line in format_dump(sa, stats=True).split("\n")]
    assert parse_sa_line("\n\n".join(lines)) == in_dump_order(sa)


@given(st.integers(1, 4096), st.integers(0, 2**32 - 1), st.data())
def test_circular_bitmap(window: int, seq: int, data: st.DataObject):
    """xfrm_replay_check_esn: number top-i stands at (pos - i) mod window, pos being that of top."""
    bitmap = data.draw(st.integers(0, (1 << window) - 1))
    circular = to_circular(bitmap, seq, window)
    assert from_circular(circular, seq, window) == bitmap
    pos = ((seq - 1) & 0xFFFFFFFF) % window
    i = data.draw(st.integers(0, window - 1))
    bit = pos - i if pos >= i else window - (i - pos)
    assert circular >> bit & 1 == bitmap >> i & 1


def test_a_running_entry_prints_its_window():
    line = (
        "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x10 mode tunnel replay-window 64 flag esn aead rfc4106(gcm(aes)) "
    )
    sad = Sad()
    entry = sad.newsa(parse_sa_line(line + "0x" + "ab" * 20 + " 128"))
    for seq in (1, 2, 5):
        entry.window.advance(seq)
    entry.bytes, entry.packets, entry.stats = 300, 3, SaStats(replay=2)
    text = format_view(view_of(entry), stats=True)
    assert "\t seq-hi 0x0, seq 0x5, oseq-hi 0x0, oseq 0x0\n\t replay_window 64, bitmap-length 2\n" in text
    assert "\t 00000000 00000013 \n" in text
    assert "\t  300(bytes), 3(packets)\n" in text
    assert "\t  replay-window 0 replay 2 failed 0\n" in text
    running = replace(entry.sa, replay=ReplayState(5, bitmap=0b11001, stated=True), current=Lifetime(300, 3))
    assert parse_sa_line(text) == running


def test_nokeys_hides_every_key():
    sa = parse_sa_line(
        "src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 replay-window 32 enc cbc(aes) 0x"
        + "ab" * 16 + " auth-trunc hmac(sha256) 0x" + "cd" * 32 + " 128"
    )  # fmt: skip
    text = format_dump(sa, nokeys=True, stats=True)
    assert "abab" not in text
    assert "cdcd" not in text
    assert text.count("<<Keys hidden>>") == 2


TEXT = """src 10.0.0.1 dst 10.0.0.2 ::1 proto esp ah comp route2 4 spi 0x10 mode tunnel transport beet reqid 7 flag esn
0xff replay-window 64 5000 aead rfc4106(gcm(aes)) 0xababababababababababababababababababab 128 enc ecb(cipher_null) ''
auth-trunc hmac(sha1) limit byte-hard limit: soft (INF)(bytes), hard 5(bytes) expire add: 0(sec), lifetime current:
config: stats: replay failed anti-replay context: esn seq 0x1, oseq bitmap 0x00000000 seq-hi oseq-hi replay_window
bitmap-length 2 00000001 sel src 10.0.0.0/8 uid sport type key dev lo encap espinudp type dport addr 4500 coa ctx label
security context lastused - 2026-01-01 10:00:00 mark 1/0xff mask output-mark if_id tfcpad offload crypto parameters: dir
in pcpu-num ip -s xfrm state add update # ' " <<Keys hidden>> (ERROR truncated) (160 bits) extra_flag (0x00000000)"""
WORDS = [*TEXT.split(), "\n", "\\\n", "\\", "\n\t", " "]


def refusal_of(text: str) -> str | None:
    """The error's text, None where there is none."""
    try:
        found = parse_sad(text, "any")
        assert found.sas or found.hidden or found.unmodelled
    except InputError as error:
        return str(error)
    return None


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=200))
@example("src")
@example("\ufeff")
@example("src 1.1.1.1 dst 2.2.2.2\n\tproto esp spi 1\n\tbitmap-length 128")
@settings(max_examples=examples(150), deadline=None)
def test_any_text_is_read_or_refused(text: str):
    refusal = refusal_of(text)
    assert refusal is None or (refusal.startswith("any") and "\n" not in refusal)


@given(associations(running=True), st.integers(0, 2**16), st.sampled_from(WORDS))
@settings(max_examples=examples(50), deadline=None)
def test_a_broken_dump_is_read_or_refused_without_a_key(sa: SecurityAssociation, at: int, word: str):
    words = format_dump(sa, stats=True).replace("\n", " \n ").split(" ")
    words[at % len(words)] = word
    refusal = refusal_of(" ".join(words)) or ""
    for algorithm in sa.algorithms:
        assert not algorithm.key or algorithm.key.hex() not in refusal
