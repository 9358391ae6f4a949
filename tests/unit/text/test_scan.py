"""The quick reader of large dumps gives what the parser gives, refuses what it refuses, and notices a cut."""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.core.errors import InputError
from espsim.core.inputs import read_pieces
from espsim.sad.association import Direction, Encap, Mark, Mode, SecurityAssociation, Selector
from espsim.text import pieces, scan
from espsim.text.algorithms import Hidden, stand_ins
from espsim.text.found import ParsedSa, Unmodelled, crypto_of
from espsim.text.parse import parse_sad
from espsim.text.show import format_dump
from tests.examples import examples
from tests.support import gcm_sa
from tests.unit.text.sa_strategies import associations

DUMPS = Path(__file__).parent / "dumps"
HIDDEN = (
    "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x00001001 reqid 1 mode tunnel\n\treplay-window 32 flag af-unspec\n"
    "\taead rfc4106(gcm(aes)) <<Keys hidden>>{} 128\n\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n"
)
Facts = tuple[object, ...]


def facts_of(parsed: ParsedSa | Unmodelled, names: tuple[str, ...] | None = None) -> Facts:
    sa = parsed.sa
    reason = (parsed.what, parsed.mode) if isinstance(parsed, Unmodelled) else parsed.hidden
    algorithms = [(a.kind, a.name, len(a.key), a.bits) for a in sa.algorithms] if sa.proto == 50 else []
    encap = (sa.encap.kind, sa.encap.sport, sa.encap.dport) if sa.encap else None
    return (
        parsed.line, sa.src, sa.dst, sa.spi, sa.proto, sa.mode, sa.reqid, sa.mark, sa.dir, sa.window, sa.esn, encap,
        sa.offload, algorithms, crypto_of(parsed).names if names is None else names, reason, parsed.verb,
    )  # fmt: skip


def surveyed(path: Path) -> list[Facts]:
    survey = scan.survey_file(str(path))
    found = []
    for i in range(len(survey)):
        template = survey.templates[survey.template[i]]
        sa, line = survey.maker(template.sa)(i), survey.line[i]
        if template.unmodelled:
            unmodelled = Unmodelled(sa, template.mode, template.unmodelled, line, template.verb, survey.crypto(i))
            found.append(facts_of(unmodelled))
        else:
            found.append(facts_of(ParsedSa(sa, line, template.verb, template.hidden), survey.crypto(i).names))
    return found


def parsed(text: str) -> list[Facts]:
    found = parse_sad(text)
    every: list[ParsedSa | Unmodelled] = [*found.sas, *found.hidden, *found.unmodelled]
    return [facts_of(p) for p in sorted(every, key=lambda p: p.line)]


def in_two_modes(sa: SecurityAssociation) -> SecurityAssociation:
    return sa if sa.mode in (Mode.TRANSPORT, Mode.TUNNEL) else replace(sa, mode=Mode.TRANSPORT, selector=Selector())


SAS = associations(running=True).map(in_two_modes) | associations().map(in_two_modes)


@given(st.lists(st.tuples(SAS, st.booleans(), st.booleans()), min_size=1, max_size=6), st.randoms())
@settings(max_examples=examples(40), deadline=None)
def test_any_dump_is_read_as_the_parser_reads_it(tmp_path_factory, items, rng):
    text = "".join(format_dump(sa, stats=stats, nokeys=nokeys) for sa, stats, nokeys in items)
    # Twice, with other numbers of the same form: the second time it is read by its form.
    text += "".join(
        format_dump(replace(sa, spi=rng.getrandbits(16), reqid=rng.getrandbits(32)), stats=stats, nokeys=nokeys)
        for sa, stats, nokeys in items
    )
    text += format_dump(gcm_sa(spi=3), stats=True) + "\tsecurity context a\n"  # nothing that a cut could be
    path = tmp_path_factory.mktemp("dump") / "d"
    path.write_text(text)
    try:
        found = surveyed(path)
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(error.what)):
            parsed(text)
        return
    assert found == parsed(text)


def many(count: int, *, stats: bool = False, nokeys: bool = False) -> str:
    """SAs of a few forms, with everything in them that varies on real hosts."""
    rng = random.Random(count)
    rows = []
    for i in range(count):
        sa = gcm_sa(f"10.0.{i >> 8}.{i & 255}", f"192.0.2.{rng.randrange(9)}", 0xC0000000 + i * 7, key_byte=i & 255)
        sa = replace(sa, reqid=rng.getrandbits(14), dir=rng.choice([None, *Direction]))
        if i % 3 == 1:
            sa = replace(sa, encap=Encap("espinudp", 4500, rng.randrange(65536), bytes(4)), if_id=i)
        if i % 4 == 1:
            sa = replace(sa, mark=Mark(i, 0xFFFF), window=32)
        if i % 5 == 1:
            sa = replace(sa, mode=Mode.TRANSPORT, selector=Selector(sa.src, 32, sa.dst, 32))
        if i % 7 == 1:
            address = parse_address(f"2001:db8::{i:x}")
            sa = replace(sa, src=address, dst=address, encap=None, selector=Selector(), mode=Mode.TUNNEL)
        rows.append(format_dump(sa, stats=stats, nokeys=nokeys))
    return "".join(rows)


@pytest.mark.parametrize("nokeys", [False, True])
@pytest.mark.parametrize("stats", [False, True])
def test_plain_dumps_are_read_by_their_forms_alone(tmp_path, monkeypatch, stats, nokeys):
    text = many(300, stats=stats, nokeys=nokeys)
    path = tmp_path / "d"
    path.write_text(text)
    expected = parsed(text)

    def never(*args: object, **options: object) -> None:
        raise AssertionError("the parser was asked")

    monkeypatch.setattr(scan._Scan, "_parse", never)
    assert surveyed(path) == expected


def test_pieces_do_not_matter(tmp_path, monkeypatch):
    path = tmp_path / "d"
    path.write_text("# a comment\n\n" + many(40) + "\n# one more\n")
    whole = surveyed(path)
    for size in (1, 7, 100, 4096):
        monkeypatch.setattr(pieces, "read_pieces", lambda path, size=size: read_pieces(path, size))
        assert surveyed(path) == whole


def test_one_line_a_state_and_carriage_returns(tmp_path):
    text = many(20)
    lines = text.split("\n")
    starts = [n for n, line in enumerate(lines) if line.startswith("src")] + [len(lines) - 1]
    oneline = "".join("\\".join([*lines[a:b], ""]) + "\n" for a, b in itertools.pairwise(starts))
    path = tmp_path / "d"
    path.write_text(oneline)
    assert surveyed(path) == parsed(oneline)
    assert [f[1:] for f in surveyed(path)] == [f[1:] for f in parsed(text)]
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert surveyed(path) == parsed(text)


def test_commands_and_continued_lines(tmp_path):
    text = (
        "ip xfrm state add proto esp spi 7 mode tunnel \\\nsrc 1.1.1.1 dst 2.2.2.2 \\\n"
        f"  aead 'rfc4106(gcm(aes))' 0x{'ab' * 20} 128\n"
    )
    text += f"src 1.1.1.1 dst 2.2.2.3 proto esp spi 8 enc cbc(aes) 0x{'ab' * 16} \\\nauth sha1 0x{'cd' * 20}\n"
    path = tmp_path / "d"
    path.write_text(text)
    assert [f[3] for f in surveyed(path)] == [7, 8]
    assert surveyed(path) == parsed(text)


LASTS = {
    "everything": (DUMPS / "with-everything.txt").read_text(),
    "plain": many(1),
    "wide": format_dump(gcm_sa(spi=5, window=128)),
    "no selector": format_dump(replace(gcm_sa(spi=6), window=32, flags=frozenset({"af-unspec"}))),
    "stats": format_dump(gcm_sa(spi=9), stats=True),
}


@pytest.mark.parametrize("last", LASTS.values(), ids=LASTS)
def test_a_dump_cut_anywhere_says_the_same_or_that_it_is_cut(tmp_path, last):
    """The SAs above are whole in any case. Of the last one no fact is wrong: it is unmodelled, or not there."""
    path = tmp_path / "d"
    front = "".join(format_dump(gcm_sa(spi=0x100 + i, window=128), stats="stats:" in last) for i in range(3))
    path.write_text(front + last)
    whole = surveyed(path)
    noticed = 0
    for end in range(1, len(last)):
        if end % 7 and last[end - 1] != "\n":
            continue
        path.write_text(front + last[:end])
        try:
            found = surveyed(path)
        except InputError as error:
            assert "odd hex length" in error.what  # noqa: PT017
            assert (error.line or 0) > front.count("\n")  # noqa: PT017
            noticed += 1
            continue
        assert found == parsed(front + last[:end])
        assert found[:3] == whole[:3]
        if found[3:] != whole[3:]:
            survey = scan.survey_file(str(path))
            assert len(survey) == 3 or survey.templates[survey.template[3]].unmodelled, last[:end]
            assert len(survey) == 4 or len(survey.notes) or survey.ignored
            noticed += 1
    assert noticed > 10


def test_a_cut_is_noticed_in_a_dump_of_one_sa_too(tmp_path):
    path = tmp_path / "d"
    for lines, why in (
        (2, "nothing follows its first lines"),
        (3, "nothing follows"),
        (5, "its window"),
        (6, "its window"),
    ):
        path.write_text("\n".join(LASTS["wide"].split("\n")[:lines]) + "\n")
        (template,) = scan.survey_file(str(path)).templates[-1:]
        assert f"the text ends in the middle of this SA: {why}" in template.unmodelled


def test_hidden_keys_leave_names_and_lengths(tmp_path):
    path = tmp_path / "d"
    path.write_text(HIDDEN.format(""))
    (template,) = scan.survey_file(str(path)).templates
    assert template.hidden == (Hidden("aead", "rfc4106(gcm(aes))", 128, None),)
    assert (template.sa.keys, template.sa.algorithms) == (None, ())
    assert [8 * len(a[0].key) for a in stand_ins(template.hidden)] == [160, 224, 288]
    path.write_text(HIDDEN.format(" (288 bits)"))
    (template,) = scan.survey_file(str(path)).templates
    assert [8 * len(a[0].key) for a in stand_ins(template.hidden)] == [288]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (many(5) + many(5).replace("03" * 20, "ff" * 20), r":\d+: 0xc0000015@.* is on line \d+ already, with another"),
        ("\n\n", ": no SA in it"),
        ("src 1.1.1.1 dst 2.2.2.2\n\tproto 4 spi 0x1 reqid 0 mode tunnel\n\treplay-window 0\n", r"1 state of other"),
        ("hello\n", r"no SA in it \(line 1: a line that is not part of an SA"),
        (many(2).replace("01" * 20, "1" + "01" * 19), r":\d+: aead .*: a key of odd hex length"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, what):
    path = tmp_path / "d"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as caught:
        scan.survey_file(str(path))
    assert caught.value.where == str(path)


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "d"
    path.write_bytes(many(3).encode() + b"src 1.1.1.1\0")
    with pytest.raises(InputError, match=rf":{many(3).count(chr(10)) + 1}: a NUL byte"):
        scan.survey_file(str(path))
    path.write_bytes(b"# caf\xe9\n" + many(3).encode() + b"\xff\n")
    assert len(scan.survey_file(str(path))) == 3
    with pytest.raises(InputError, match="cannot be read"):
        scan.survey_file(str(tmp_path))
    long = tmp_path / "long"
    long.write_text("x" * (3 << 20))
    with pytest.raises(InputError, match="a line of more than a megabyte"):
        scan.survey_file(str(long))
