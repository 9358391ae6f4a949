"""What people paste: hidden keys, prompts, junk, two dumps, commands that take SAs away. Both readers, together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.sad.association import Direction, SecurityAssociation
from espsim.text import parse, scan
from espsim.text.found import ParsedSa, SadText, Unmodelled
from espsim.text.pieces import text_pieces
from espsim.text.scan import survey_pieces
from espsim.text.show import format_dump, format_sa_line
from tests import dumps
from tests.examples import examples
from tests.support import gcm_sa
from tests.unit.text.sa_strategies import associations

USABLE = {
    "c04-iptfs.txt": 2, "c14-mixed-3des.txt": 3, "c13-natt-many.txt": 40, "c22-cilium-nodes.txt": 10,
    "c25-key-hash.txt": 0, "d02-ims-md5.sad": 1, "c19-packet-on-crypto-only.txt": 1,
}  # fmt: skip
"""SAs of a case that decap can use; 2 in the others."""

CASES = Path(__file__).parents[2] / "vectors" / "cases"
KEY = "000102030405060708090a0b0c0d0e0f10111213"
SA = (
    "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x00001001 reqid 1 mode tunnel\n\treplay-window 32 flag af-unspec\n"
    f"\taead rfc4106(gcm(aes)) 0x{KEY} 128\n\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n"
)
OTHER = SA.replace("192.0.2.2", "192.0.2.3").replace("1001", "1002").replace("0x0001", "0x4041")
ADD = (
    f"ip xfrm state add src 192.0.2.9 dst 192.0.2.2 proto esp spi 0x99 mode tunnel aead 'rfc4106(gcm(aes))' 0x{KEY} 128"
)


def parse_sad(text: str) -> SadText:
    """The parser's answer; the survey's is held equal to it first."""
    try:
        found = parse.parse_sad(text, "f")
    except InputError as error:
        with pytest.raises(InputError, match=f"^{re.escape(str(error))}$"):
            survey_pieces(text_pieces(text, "f"), "f")
        raise
    survey = survey_pieces(text_pieces(text, "f"), "f")
    every: list[ParsedSa | Unmodelled] = [*found.sas, *found.hidden, *found.unmodelled]
    rows = sorted(every, key=lambda item: item.line)
    assert [(survey.name(i), survey.line[i]) for i in range(len(survey))] == [(r.sa.name, r.line) for r in rows]
    for index, row in enumerate(rows):
        sa, made = row.sa, survey.maker(survey.templates[survey.template[index]].sa)(index)
        for name in ("src", "dst", "spi", "proto", "reqid", "mark", "dir", "window", "esn", "offload", "mode"):
            assert getattr(made, name) == getattr(sa, name), name
        assert survey.ports(index) == ((sa.encap.sport, sa.encap.dport) if sa.encap else None)
    whats = [survey.templates[number].unmodelled for number in survey.template]
    assert whats == [getattr(row, "what", "") for row in rows]
    assert [survey.templates[n].hidden for n in survey.template] == [getattr(row, "hidden", ()) for row in rows]
    assert survey.notes.lines() == found.notes.lines()
    assert survey.ignored.total() == len(found.ignored)
    return found


def names(found: SadText) -> list[str]:
    return [parsed.sa.name for parsed in found.sas]


# -- what is not modelled ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("mode tunnel", "mode 6", "mode 6"),
        ("mode tunnel", "mode ro", "mode ro"),
        ("mode tunnel", "mode 3", "mode in_trigger"),
        ("rfc4106(gcm(aes))", "rfc4106(gcm(sm4))", "aead rfc4106(gcm(sm4))"),
        ("aead rfc4106(gcm(aes))", "enc cbc(cast5)", "enc cbc(cast5)"),
        (" 128\n", " 17\n", "rfc4106(gcm(aes)) takes an ICV of 64 or 96 or 128 bits, not 17"),
        ("replay-window 32", "replay-window 4097", "a replay window of 4097 is not in 0 to 4096"),
        ("replay-window 32", "replay-window many", "the value of replay-window is not a number"),
    ],
)
def test_what_is_not_modelled_is_one_sa(old: str, new: str, what: str):
    found = parse_sad(SA.replace(old, new) + OTHER)
    assert names(found) == ["0x00001002@192.0.2.3"]
    (unmodelled,) = found.unmodelled
    assert (unmodelled.name, unmodelled.line, unmodelled.what) == ("0x00001001@192.0.2.2", 1, what)
    assert [(u.name, u.line) for u in found.unused()] == [("0x00001001@192.0.2.2", 1)]


def test_a_stand_in_has_what_an_audit_asks():
    text = SA.replace("mode tunnel", "mode ro") + "\tcrypto offload parameters: dev eth2 dir in mode packet\n"
    sa = parse_sad(text).unmodelled[0].sa
    assert (sa.reqid, sa.window, sa.direction, sa.offload and sa.offload.dev) == (1, 32, Direction.IN, "eth2")


def test_other_protocols_are_counted():
    other = "src 192.0.2.1 dst 192.0.2.2\n\tproto {} spi 0x0a000001 reqid 0 mode tunnel\n\treplay-window 0 \n"
    found = parse_sad(other.format("4") + SA + other.format("wesp"))
    assert [(i.proto, i.line) for i in found.ignored] == [(4, 1), ("wesp", 9)]


def test_a_line_of_a_newer_iproute2_is_noted():
    found = parse_sad(SA + "\tnewer-opts drop-time 3 reorder-window 3\n" + OTHER + "\tnewer-opts drop-time 3\n")
    assert len(found.sas) == 2
    what = "line 6: a line that starts with an unknown word 'newer-opts', passed over (2 times, the last on line 12)"
    assert found.notes.lines() == [what]


@pytest.mark.parametrize(("printed", "names"), [
    ("20", {"af-unspec"}), ("noecn 80", {"noecn", "esn"}), ("a0", {"af-unspec", "esn"}), ("0x20", {"af-unspec"}),
    ("100", set()), ("af-unspec (0x00100000)", {"af-unspec"}),
    ("noecn esn extra_flag dont-encap-dscp", {"noecn", "esn"}),
])  # fmt: skip
def test_flags_as_numbers(printed: str, names: set[str]):
    found = parse_sad(
        SA.replace("flag af-unspec", f"flag {printed}").replace("anti-replay", "extra_flag 2\n\tanti-replay")
    )
    sa = found.sas[0].sa
    assert (set(sa.flags), "oseq-may-wrap" in sa.extra_flags, sa.esn) == (names, True, "esn" in names)
    assert len(found.notes) == (printed == "100")


@pytest.mark.parametrize("flags", ["af-unspec", "af-unspec extra_flag dont-encap-dscp", "af-unspecextra_flag 0x2"])
def test_the_last_sa_is_whole_without_a_selector_where_its_flag_allows_none(flags: str):
    """With af-unspec a selector of zeros is not printed, and `ip -s` prints the extra flags with no space before."""
    last = re.sub(r"(replay-window \d+).*", rf"\1 seq 0x00000000 flag {flags}", OTHER)
    assert len(parse_sad(SA + "\tsel src 0.0.0.0/0 dst 0.0.0.0/0 \n" + last).sas) == 2


# -- keys -------------------------------------------------------------------------------------------------------------

ALREADY = "@192.0.2.2 is on line 1 already, with"
HIDDEN = [
    "<<Keys hidden>>", "[hash:" + "1f" * 32 + "]", "0x" + "X" * 40, "0xXXXX", "[redacted]", "***", "0x7c1e...4b20",
    "0x7c1e\u20264b20", "<key>", "[key removed by me]", "(hidden)", "0x****", "REDACTED", "0xdead", "(160 bits)", "{}",
]  # fmt: skip


@pytest.mark.parametrize("key", HIDDEN)
def test_hidden_keys(key: str):
    found = parse_sad(SA.replace(f"0x{KEY}", key) + OTHER)
    (hidden,) = found.hidden
    assert (hidden.sa.name, hidden.sa.algorithms, hidden.sa.keys) == ("0x00001001@192.0.2.2", (), None)
    (algorithm,) = hidden.hidden
    assert (algorithm.kind, algorithm.name, algorithm.bits) == ("aead", "rfc4106(gcm(aes))", 128)
    assert algorithm.key_bits == (160 if key == "(160 bits)" else None)
    assert names(found) == ["0x00001002@192.0.2.3"]


@pytest.mark.parametrize("key", ["$KEY", "0x$KEY", "'***'", "'<your key>'", "xxxx", "REDACTED", "0x7c1e...4b20"])
def test_hidden_keys_in_commands(key: str):
    found = parse_sad(ADD.replace(f"0x{KEY}", key) + f"\n{SA}")
    assert [h.sa.spi for h in found.hidden] == [0x99]
    assert [p.sa.spi for p in found.sas] == [0x1001]


def test_an_sa_with_one_key_hidden_has_none():
    text = SA.replace(
        f"\taead rfc4106(gcm(aes)) 0x{KEY} 128", f"\tauth-trunc hmac(sha1) 0x{KEY} 96\n\tenc cbc(aes) [x]"
    )
    (hidden,) = parse_sad(text).hidden
    assert [h.key_bits for h in hidden.hidden] == [160, None]


def test_empty_keys_of_macs_are_keys():
    text = SA.replace(f"\taead rfc4106(gcm(aes)) 0x{KEY} 128", f"\tauth-trunc {{}}\n\tenc cbc(aes) 0x{KEY[:32]}")
    for auth, bits in (("hmac(sha256)  128", 128), ("hmac(sha256) 0x 128", 128), ("digest_null  0", 0)):
        (parsed,) = parse_sad(text.format(auth)).sas
        assert parsed.sa.keys is not None
        assert (parsed.sa.keys.auth_key, parsed.sa.keys.icv_length) == (b"", bits // 8)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (SA.replace(KEY, KEY[:-1]), "f:4: aead rfc4106(gcm(aes)): a key of odd hex length (39 digits); copy"),
        (SA + OTHER + SA.replace("0x0001", "0x0002"), f"f:11: 0x00001001{ALREADY} another key"),
        (SA + SA.replace("rfc4106(gcm(aes))", "rfc4543(gcm(aes))"), f"f:6: 0x00001001{ALREADY} other algorithms"),
        (f"{ADD}\n{ADD.replace('0x0001', '0x0002')}", f"f:2: 0x00000099{ALREADY} another key"),
        (f"{SA}{ADD} colour blue\n", "f:6: unknown word 'colour'"),
        (f"{SA}{ADD[:-4]}\n", "f:6: aead rfc4106(gcm(aes)) needs an ICV length in bits after its key"),
        (f"{ADD.replace(KEY, KEY[2:])}\n", "f:1: rfc4106(gcm(aes)) takes a key of 128 or 192 or 256 bits"),
        ("", "f: no SA in it; give"),
        ("hello\n", "f: no SA in it (line 1: a line that is not part of an SA, passed over); give"),
        ("ip xfrm policy flush\n", "f: no SA in it (line 1: a policy, passed over"),
        (SA + "ip xfrm state flush\n", "f: no SA in it (1 SA removed again by the commands in it); give"),
    ],
)  # fmt: skip
def test_what_stops(text: str, error: str):
    with pytest.raises(InputError, match=re.escape(error)):
        parse_sad(text)


# -- one SA twice -----------------------------------------------------------------------------------------------------


def test_prose_about_commands_is_junk():
    found = parse_sad(f"Then I ran ip xfrm state add and it failed.\n# run `ip xfrm state add` first\n{SA}")
    assert (len(found.sas), len(found.notes)) == (1, 1)


def test_two_dumps_in_one_file():
    later = SA.replace("seq 0x0, oseq 0x0", "seq 0x9, oseq 0x0")
    found = parse_sad(SA + OTHER + later + OTHER)
    assert [(p.line, p.sa.replay.seq) for p in found.sas] == [(11, 9), (16, 0)]
    what = "line 11: an SA that is in the text before; the later one counts (2 times, the last on line 16)"
    assert found.notes.lines() == [what]


@pytest.mark.parametrize("order", [0, 1])
def test_the_one_with_keys_counts(order: int):
    both = [SA, SA.replace(f"0x{KEY}", "<<Keys hidden>>")]
    found = parse_sad("".join(both[::-1] if order else both))
    assert (len(found.sas), len(found.hidden)) == (1, 0)


def test_an_add_that_the_kernel_would_refuse():
    found = parse_sad(f"{ADD}\n{ADD} mark 3\n{ADD} mark 3 mask 0\n")
    assert [p.line for p in found.sas] == [1]
    assert [(note.first, note.last, note.count) for note in found.notes] == [(2, 3, 2)]


def test_marks_tell_sas_apart():
    marked = [SA.replace("\taead", f"\tmark 0x{n}00/0xff00 \n\taead") for n in (1, 2)]
    assert len(parse_sad("".join(marked)).sas) == 2


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "$ {}", "# {}", "root@host:~# {}", "[user@host ~]$ sudo {}", "[root@east ~]# {}", "bash-5.1# {}",
        "generic_x86:/ # {}",
        "user@vyos:~$ sudo {}", "(venv) me@box:/tmp$ {}", "> {}", "+ {}", "127|generic_x86:/ # {}", "  {}",
        "sudo -n {}",
        "ssh root@gw '{}'", "ip netns exec blue {}", "docker exec -ti gw {}",
        "kubectl -n kube-system exec cilium-1 -- {}",
        "{} || true", "{} > /dev/null 2>&1", "{}; ip xfrm policy", "{} && echo done", "{} # comment", "/sbin/{}",
        "set -e; {}",
        "\x1b[01;32mroot@gw\x1b[00m:\x1b[01;34m~\x1b[00m# {}", "\u279c  ~ {}",
    ],
)  # fmt: skip
def test_prompts_and_wrappers(line: str):
    command = ADD.replace("'", '"') if "'{}'" in line else ADD
    (parsed,) = parse_sad(line.format(command) + "\n").sas
    assert (parsed.sa.spi, parsed.verb) == (0x99, "add")


@pytest.mark.parametrize(
    "command", ["ip -n blue xfrm state add", "ip -6 x s a", "xfrm state add", "ip -netns b xfrm sa add"]
)
def test_options_of_ip(command: str):
    (parsed,) = parse_sad(ADD.replace("ip xfrm state add", command)).sas
    assert parsed.sa.spi == 0x99


def test_a_lone_hash_is_roots_prompt_or_a_comment():
    """Alone it is a prompt; in a script it is a comment, wherever the other commands are."""
    flush = "ip xfrm state flush"
    assert [p.sa.spi for p in parse_sad(f"# {ADD}\n# ip xfrm state\n").sas] == [0x99]
    other = ADD.replace("0x99", "0x98")
    for text in (
        f"# {ADD}\n{other}\n",
        f"{other}\n# {ADD}\n",
        f"#!/bin/sh\n# {flush}\n{other}\n# {ADD}\n",
        f"#{ADD}\n{other}",
    ):
        assert [p.sa.spi for p in parse_sad(text).sas] == [0x98], text
    assert [p.sa.spi for p in parse_sad(f"{SA}# {flush}\n# {ADD}\n").sas] == [0x99]
    assert len(parse_sad(f"{SA}# {flush}\n{other}\n").sas) == 2


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("ip xfrm state flush", []),
        ("ip xfrm state flush proto esp", []),
        ("ip xfrm state flush proto ah", [0x1001, 0x1002]),
        ("sudo ip x s f", []),
        ("ip xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001", [0x1002]),
        ("ip xfrm state delete dst 192.0.2.2 proto esp spi 0x1001 mark 3 mask 0xff", [0x1002]),
        ("ip xfrm state delete dst 192.0.2.4 proto esp spi 0x1001", [0x1001, 0x1002]),
        ("ip xfrm state deleteall dst 192.0.2.3", [0x1001]),
        ("ip xfrm state deleteall src 192.0.2.0/24 mode tunnel", []),
        ("ip xfrm state deleteall reqid 2", [0x1001, 0x1002]),
        ("ip xfrm state deleteall", []),
        ("ip xfrm state delete of them all", [0x1001, 0x1002]),
        ("flush;", []),
        ("flush ah;", [0x1001, 0x1002]),
        ("delete 192.0.2.1 192.0.2.3 esp 0x1002;", [0x1001]),
        ("deleteall 192.0.2.1 192.0.2.2 esp ;", [0x1002]),
    ],
)
def test_commands_take_away_what_is_above(command: str, left: list[int]):
    text = f"{SA}{OTHER}{command}\n{SA.replace('1001', '1003')}"
    assert [p.sa.spi for p in parse_sad(text).sas] == [*left, 0x1003]


def test_policies_and_other_commands_are_notes():
    policies = "src 10.0.0.0/24 dst 10.1.0.0/24 \n\tdir out priority 1 ptype main\n\ttmpl src 192.0.2.1 dst 192.0.2.2\n"
    policies += "\t\tproto esp spi 0x00001001 reqid 1 mode tunnel\n"
    found = parse_sad(
        f"{policies * 50}{SA}{policies * 50}root@gw:~# ip addr\n    inet 192.0.2.1/24 scope global\n{OTHER}"
    )
    assert len(found.sas) == 2
    assert found.notes.lines()[0] == (
        "line 1: a policy, passed over: only SAs are read here (100 times, the last on line 402)"
    )
    assert len(found.notes) == 3


# -- what mailers, terminals and editors do to a text -----------------------------------------------------------------

TWO = SA + OTHER


@pytest.mark.parametrize(
    "text",
    [
        TWO.replace("\n", "\r\n"), TWO.replace("\n", "\r"), TWO.replace("\t", ""), TWO.replace("\t", "    "),
        TWO.rstrip("\n"),
        "".join(f"> {line}\n" for line in TWO.split("\n")), TWO.replace("\n", "\n\n"),
        TWO.replace("\t", "\u00a0\u00a0"),
        TWO.replace("\n\t", " "), TWO.replace("\n", " "), f"```\n{TWO}```\n", TWO.replace("\n\t", "\\\t"),
        "\ufeff" + TWO,
        TWO.replace("bitmap ", "bitmap\n"), TWO.replace(" 0x0001", "\n0x0001").replace(" 0x4041", "\n    0x4041"),
        f"Hello,\n\nthis is what it prints:\n\n{SA}\nand then\n\n{OTHER}\nRegards -- don't ask\n",
    ],
)  # fmt: skip
def test_forms_of_one_text(text: str):
    found, plain = parse_sad(text), parse_sad(TWO)
    assert [p.sa for p in found.sas] == [p.sa for p in plain.sas]


def test_utf16(tmp_path: Path):
    """A redirection of PowerShell writes UTF-16."""
    path = tmp_path / "sad"
    path.write_bytes(TWO.encode("utf-16"))
    assert len(parse.read_sad(str(path)).sas) == 2


JUNK = st.lists(
    st.sampled_from([
        "", "   ", "# a comment", "Hello, it's me", "root@gw:~# ", "[me@host ~]$ uptime", "```", "--More--", "~",
        "src port unreachable",
        "src 10.0.0.0/8 dst 10.1.0.0/16 \n\tdir in priority 5 \n\ttmpl src 0.0.0.0 dst 0.0.0.0\n\t\tproto esp reqid 0",
        "\tnew-attribute 7", "ip xfrm policy flush", "0xdeadbeef", "-" * 40,
        "[Mon Jan  1 00:00:00 2024] eth0: link up", "spdflush;", "{\"json\": 1}", "10.0.0.1 gateway", "$ ip xfrm state",
    ]),
    max_size=3,
)  # fmt: skip


def written(sa: SecurityAssociation, form: str) -> str:
    if form == "line":
        return format_sa_line(sa) + "\n"
    if form == "command":
        return format_sa_line(sa, verb="update") + "\n"
    text = format_dump(sa, stats=form == "stats")
    return text.replace("\n", "\\") + "\n" if form == "oneline" else text


@given(
    st.lists(
        st.tuples(associations(running=True), JUNK, st.sampled_from(["dump", "stats", "oneline", "line", "command"])),
        min_size=1, max_size=5, unique_by=lambda item: item[0].spi,
    ),
    st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_junk_between_changes_no_sa(items: list[tuple[SecurityAssociation, list[str], str]], end: str):
    text = "".join(written(sa, form) + "".join(f"{junk}\n" for junk in between) for sa, between, form in items)
    found = parse_sad(text.replace("\n", end))
    alone = [parse.parse_sad_text(written(sa, form))[0].sa for sa, _, form in items]
    assert [parsed.sa for parsed in found.sas] == alone


# -- a model of flush, delete and add ---------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.sampled_from(["add", "dump", "delete", "flush"]), st.integers(1, 4)), max_size=12)


@given(STEPS)
@settings(max_examples=examples(40), deadline=None)
def test_steps_leave_what_a_dictionary_has(steps: list[tuple[str, int]]):
    text = ""
    there: dict[int, bool] = {}
    for do, n in steps:
        sa = replace(gcm_sa(spi=0x100 + n, key_byte=n), window=32)
        if do == "flush":
            text, there = text + "ip xfrm state flush\n", {}
        elif do == "delete":
            text += f"ip xfrm state delete dst 192.0.2.2 proto esp spi {sa.spi}\n"
            there.pop(sa.spi, None)
        else:
            text += format_dump(sa) if do == "dump" else f"{format_sa_line(sa, verb='add')}\n"
            there[sa.spi] = True
    if there:
        assert {p.sa.spi for p in parse_sad(text).sas} == set(there)
    else:
        with pytest.raises(InputError, match="no SA in it"):
            parse_sad(text)


# -- whole hosts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", dumps.DUMPS)
def test_dumps_of_hosts(kind: str):
    dump = dumps.DUMPS[kind]()
    found = parse_sad(dump.text)
    assert (len(found.hidden), len(found.unmodelled)) == (dump.hidden, dump.unmodelled)
    assert len(found.sas) + len(found.hidden) + len(found.unmodelled) == dumps.SAS
    assert len(found.notes.lines()) <= 4


@pytest.mark.parametrize(
    "path", sorted(CASES.glob("[cd]*.txt")) + sorted(CASES.glob("d*.sad")), ids=lambda path: path.name
)
def test_cases_are_read_by_both(path: Path):
    assert len(parse_sad(path.read_text()).sas) == USABLE.get(path.name, 2)


@pytest.mark.parametrize("indent", ["\t", "", "        "])
@pytest.mark.parametrize("kind", dumps.DUMPS)
def test_dumps_of_hosts_are_read_by_their_forms(monkeypatch: pytest.MonkeyPatch, kind: str, indent: str):
    """The parser gets what is not an SA, and an SA with a prompt below it; else a million SAs would take minutes."""
    blocks = []
    parse_block = scan._Scan._parse

    def counted(self: scan._Scan, text: str) -> None:
        blocks.append(text)
        parse_block(self, text)

    monkeypatch.setattr(scan._Scan, "_parse", counted)
    text = dumps.DUMPS[kind]().text.replace("\t", indent)
    assert len(scan.survey_pieces([text], "f")) == dumps.SAS
    assert len([block for block in blocks if "\n\tdir out priority" not in block]) <= 8, blocks


def test_many_notes_are_few_lines():
    found = parse_sad(SA + "".join(f"\tattribute-{n} 1\n" for n in range(5000)))
    lines = found.notes.lines()
    assert len(lines) == 21
    assert lines[-1] == "and 4980 more notes of other kinds"
