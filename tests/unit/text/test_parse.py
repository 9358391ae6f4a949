"""Every form that a SAD file may have, with what must come out. The dumps are in the words of ip/ipxfrm.c."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.errors import InputError
from espsim.sad.association import (
    Direction,
    Encap,
    Lifetime,
    Limits,
    Mark,
    Mode,
    Offload,
    ReplayState,
    SecurityAssociation,
    Selector,
)
from espsim.text.parse import Ignored, parse_sa_line, parse_sad, parse_sad_text, read_sad, read_sad_file
from tests.support import CAPTURES

SIDES = ("ip_xfrm_state", "ip_xfrm_state_receiver")
DUMPS = Path(__file__).parent / "dumps"
KEY = "0x" + "ab" * 20
GCM = (Algorithm("aead", "rfc4106(gcm(aes))", bytes.fromhex("ab" * 20), 128),)
A, B = parse_address("192.0.2.1"), parse_address("192.0.2.2")
PLAIN = SecurityAssociation(A, B, 0x10, 50, Mode.TUNNEL, GCM, reqid=1, window=32)
BARE = (
    "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x10 reqid 1 mode tunnel replay-window 32"
    f" aead rfc4106(gcm(aes)) {KEY} 128"
)

STATS = (DUMPS / "with-everything.txt").read_text()


def test_a_dump_with_everything():
    (parsed,) = parse_sad_text(STATS)
    assert (parsed.line, parsed.verb) == (1, "dump")
    # top is 0x43 = 67, at bit (67-1)%64 = 2; bits 0, 2, 3 and 32 of the ring are 65, 67, 68-64=4 and 33 -> top-i.
    assert parsed.sa == SecurityAssociation(
        A, B, 4096, 50, Mode.TUNNEL,
        (Algorithm("auth-trunc", "hmac(sha256)", b"\xcd" * 16, 128), Algorithm("enc", "ecb(cipher_null)", b"")),
        reqid=16385, seq=7, window=64, flags=frozenset({"noecn", "esn"}), extra_flags=frozenset({"oseq-may-wrap"}),
        mark=Mark(1, 0xFF), output_mark=Mark(3, 0xFFFFFFFF), if_id=4, tfcpad=100, dir=Direction.IN, pcpu=3,
        encap=Encap("espinudp", 4500, 4501, bytes(4)), offload=Offload("eth0", Direction.IN, packet=True),
        selector=Selector(parse_address("10.0.0.0"), 8, proto=17, sport=5, sport_mask=0xFFFF, dev="eth1"),
        limits=Limits(hard_bytes=5_000_000_000, soft_packets=7, hard_add=3600, soft_use=60),
        replay=ReplayState(0x43, 1, 7, 0, bitmap=1 | 1 << 2 | 1 << 63 | 1 << 34, stated=True),
        current=Lifetime(840, 10), label="system_u:object_r:ipsec_spd_t:s0",
    )  # fmt: skip


def test_the_legacy_bitmap():
    sa = parse_sa_line(
        "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x10 reqid 1 mode tunnel\n\treplay-window 32 flag af-unspec\n"
        f"\taead rfc4106(gcm(aes)) {KEY} 128\n\tanti-replay context: seq 0x9, oseq 0x2, bitmap 0x000001f1\n"
    )
    assert sa.replay == ReplayState(9, oseq=2, bitmap=0x1F1, stated=True)
    assert (sa.window, sa.flags, sa.esn) == (32, frozenset({"af-unspec"}), False)


# iproute2 5.x: `0x` for an empty key, a decimal mark, no mode of offload.
OLD = (DUMPS / "old.txt").read_text()


def test_an_old_dump():
    sa = parse_sa_line(OLD.replace("flag 20", "flag af-unspec"))
    assert sa.mark == Mark(0xFFFFFFFF, 0xFFFFFFFF)
    assert sa.algorithms[1] == Algorithm("enc", "ecb(cipher_null)", b"")
    assert sa.coa == parse_address("192.0.2.9")
    assert sa.offload == Offload("eth0", Direction.OUT)
    assert sa.selector == Selector()
    assert parse_sa_line(OLD) == sa  # flag 20: a bit that the printing iproute2 had no name for


def test_contexts_beside_a_direction():
    """The form of iproute2 patches for 6.11, which leave out the other direction's half."""
    head = "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x10 reqid 1 mode tunnel dir {}\n\tflag esn\n"
    algorithm = f"\taead rfc4106(gcm(aes)) {KEY} 128\n"
    inbound = parse_sa_line(
        head.format("in")
        + algorithm
        + "\tseq-hi 0x2, seq 0x3\n\treplay-window 36, bitmap-length 2\n\t 00000000 00000005 \n"
    )
    assert (inbound.dir, inbound.window) == (Direction.IN, 36)
    assert inbound.replay == ReplayState(3, 2, bitmap=0b101, stated=True)
    outbound = parse_sa_line(
        head.format("out") + algorithm + "\toseq-hi 0x1, oseq 0x8\n\tsel src 0.0.0.0/0 dst ::/0"[:22]
    )
    assert (outbound.dir, outbound.window, outbound.replay) == (
        Direction.OUT, 0, ReplayState(oseq=8, oseq_hi=1, stated=True))  # fmt: skip


def test_larval_states_and_other_protocols():
    text = (
        "src 10.0.0.1 dst 10.0.0.2\n\tproto esp spi 0x00000000 reqid 0 mode transport\n\treplay-window 0 \n"
        "\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n\tsel src 10.0.0.1/32 dst 10.0.0.2/32 \n"
        "src 10.0.0.1 dst 10.0.0.2\n\tproto comp spi 0x00009658 reqid 0 mode tunnel\n\treplay-window 0 \n"
        "\tcomp deflate \n"
        "src 10.0.0.1 dst 10.0.0.2\n\tproto 4 spi 0x0a000001 reqid 0 mode tunnel\n\treplay-window 0 \n"
        "src ::1 dst ::2\n\tproto route2 reqid 0 mode ro\n\treplay-window 0 \n\tcoa ::3\n"
        f"src 10.0.0.1 dst 10.0.0.2\n\tproto ah spi 0x7 reqid 0 mode transport\n\tauth-trunc hmac(sha1) {KEY} 96\n"
    )
    found = parse_sad(text)
    larval, comp, ah = (p.sa for p in found.sas)
    assert (larval.algorithms, larval.keys, larval.spi) == ((), None, 0)
    assert (comp.proto, comp.algorithms) == (108, (Algorithm("comp", "deflate", b""),))
    assert (ah.proto, ah.keys, ah.algorithms[0].bits) == (51, None, 96)
    assert found.ignored == [Ignored(4, 10), Ignored(43, 13)]
    assert str(found.ignored[1]) == "line 13: a state of protocol 43, ignored"
    with pytest.raises(InputError, match=r"^f: no SA in it \(1 state of other protocols ignored\); give"):
        parse_sad("src ::1 dst ::2\n\tproto hao reqid 0 mode ro", "f")


@pytest.mark.parametrize(
    "command",
    [
        "ip xfrm state add",
        "ip x s a",
        "ip -6 -s xfrm sa add",
        "ip -n blue xfrm state add",
        "ip -netns blue --family inet xfrm state ad",
        "xfrm state add",
        "sudo ip xfrm state add",
        "   ip xfrm state add",
    ],
)
def test_commands(command: str):
    (parsed,) = parse_sad_text(f"{command} {BARE}")
    assert (parsed.sa, parsed.verb) == (PLAIN, "add")


@pytest.mark.parametrize(
    "text",
    [
        BARE,
        BARE.replace("spi 0x10", "spi 16").replace("reqid 1", "reqid 01").replace("tunnel", "tun"),
        BARE.replace("rfc4106(gcm(aes))", "'rfc4106(gcm(aes))'").replace(KEY, f'"{KEY}"'),
        BARE.replace("rfc4106(gcm(aes))", r"rfc4106\(gcm\(aes\)\)"),
        BARE.replace(" ", "\t") + "   # the key is AES's",
        "# first\n\n" + BARE.replace(" proto", " \\\n    proto").replace(" aead", "\\\n aead"),
        BARE.replace("\n", "\r\n") + "\r\n",
        "\ufeff" + BARE,
        BARE.replace(KEY, KEY.upper().replace("X", "x")),
        BARE.replace(" aead", "\n   aead"),
        BARE.replace("src 192.0.2.1 dst 192.0.2.2", "dst 192.0.2.2/32 src 192.0.2.1"),
        BARE.replace("mode tunnel", "mode transport mode tunnel"),
    ],
)
def test_one_sa_in_many_spellings(text: str):
    (parsed,) = parse_sad_text(text)
    assert parsed.sa == PLAIN
    assert parsed.line == text[: text.index("192")].count("\n") + 1


def test_forms_may_be_mixed():
    text = (
        f"{BARE}\nip xfrm state update {BARE.replace('0x10', '0x11')}\n{STATS}ip x s a {BARE.replace('0x10', '0x12')}\n"
    )
    parsed = parse_sad_text(text)
    assert [(p.sa.spi, p.line, p.verb) for p in parsed] == [
        (0x10, 1, "add"), (0x11, 2, "update"), (4096, 3, "dump"), (0x12, 32, "add")]  # fmt: skip


def test_every_word_of_add():
    sa = parse_sa_line(
        f"{BARE} seq 9 replay-window 128 replay-seq 0x10 replay-seq-hi 1 replay-oseq 2 replay-oseq-hi 3"
        " flag decap-dscp esn extra-flag dont-encap-dscp oseq-may-wrap limit time-soft 1 limit time-hard 2 limit"
        " time-use-soft 3 limit time-use-hard 4 limit byte-soft 5 limit byte-hard 18446744073709551615"
        " limit packet-soft 7 limit packet-hard 0 encap espinudp-nonike 4500 4501 192.0.2.9 coa 192.0.2.7"
        " ctx a:b output-mark 1 if_id 2 tfcpad 3 offload packet dev eth0 dir out dir out pcpu-num 4 mark 5 mask 7"
        " sel src 2001:db8::/32 dst ::/0 proto ipv6-icmp type 128 code 0 dev eth1"
    )
    assert sa == SecurityAssociation(
        A, B, 0x10, 50, Mode.TUNNEL, GCM, reqid=1, seq=9, window=128, flags=frozenset({"decap-dscp", "esn"}),
        extra_flags=frozenset({"dont-encap-dscp", "oseq-may-wrap"}),
        limits=Limits(5, None, 7, 0, 1, 2, 3, 4), replay=ReplayState(0x10, 1, 2, 3, stated=True),
        encap=Encap("espinudp-nonike", 4500, 4501, parse_address("192.0.2.9")), coa=parse_address("192.0.2.7"),
        label="a:b", output_mark=Mark(1, 0xFFFFFFFF), if_id=2, tfcpad=3, dir=Direction.OUT, pcpu=4, mark=Mark(5, 7),
        offload=Offload("eth0", Direction.OUT, packet=True),
        selector=Selector(parse_address("2001:db8::"), 32, proto=58, sport=128, sport_mask=0xFFFF, dport_mask=0xFFFF,
                          dev="eth1"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("flag 0x81", {"flags": frozenset({"noecn", "esn"})}),
        ("extra-flag 0x2", {"extra_flags": frozenset({"oseq-may-wrap"})}),
        ("mark 1", {"mark": Mark(1, 0xFFFFFFFF)}),
        ("mark 1 mask 0", {"mark": Mark()}),
        ("encap espinudp 4500 4500 ::", {"encap": Encap("espinudp", 4500, 4500, bytes(4))}),
        ("sel proto gre key 1.2.3.4", {"selector": Selector(
            proto=47, sport=0x102, sport_mask=65535, dport=0x304, dport_mask=65535)}),
        ("sel proto tcp sport 0 dport 80", {"selector": Selector(proto=6, dport=80, dport_mask=65535)}),
        ("sel src 0.0.0.0/0", {"selector": Selector()}),
        ("sel src ::/0 dst ::/0", {"selector": Selector(bytes(16), 0, bytes(16), 0)}),
        ("sel dev none", {"selector": Selector()}),
    ],
)  # fmt: skip
def test_words(words: str, expected: dict[str, object]):
    sa = parse_sa_line(f"{BARE} {words}")
    assert {name: getattr(sa, name) for name in expected} == expected


def test_keys_given_as_strings_and_empty_keys():
    sa = parse_sa_line(
        "src ::1 dst ::2 proto esp spi 1 enc cbc(aes) 'sixteen letters!' auth-trunc hmac(sha1) geheim\u00e4 96"
    )
    assert [a.key for a in sa.algorithms] == [b"sixteen letters!", "geheim\u00e4".encode()]
    for empty in ("''", '""', "0x"):
        sa = parse_sa_line(f"src ::1 dst ::2 proto esp spi 1 enc ecb(cipher_null) {empty} auth hmac(sha1) {KEY}")
        assert sa.algorithms[0].key == b""


def test_a_file(tmp_path: Path):
    path = tmp_path / "sad"
    path.write_text(f"{BARE}\n")
    assert [p.sa for p in read_sad_file(str(path))] == [PLAIN]
    assert read_sad(str(path)).ignored == []


def test_the_lines_of_the_captures():
    """Sender's and receiver's lines: each is an SA, and those of one side make a file together."""
    captures = json.loads((CAPTURES / "manifest.json").read_text())["captures"]
    lines = {side: [sa[side] for c in captures for sa in c["sas"] if side in sa] for side in SIDES}
    assert len(lines["ip_xfrm_state"]) >= 8
    for side in SIDES:
        parsed = parse_sad_text("\n".join(lines[side]))
        assert [p.sa for p in parsed] == [parse_sa_line(line) for line in lines[side]]
        assert all(p.sa.keys is not None for p in parsed)


def test_marks_tell_equal_triples_apart():
    text = f"{BARE} mark 1 mask 0xff\n{BARE} mark 2 mask 0xff\n{BARE}\n"
    assert [p.sa.mark for p in parse_sad_text(text)] == [Mark(1, 0xFF), Mark(2, 0xFF), Mark()]


def test_a_line_inside_another_file():
    with pytest.raises(InputError, match=r"^s\.toml:7: one SA is wanted here, not 2$"):
        parse_sa_line(f"{BARE}\n{BARE.replace('0x10', '0x11')}", where="s.toml", line=7)
    with pytest.raises(InputError, match=r"^s\.toml:8: a line that starts with an unknown word 'nonsense'$"):
        parse_sa_line(f"{BARE}\n nonsense", where="s.toml", line=7)
