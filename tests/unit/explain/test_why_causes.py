"""Each cause of `why`, and where it must not be claimed, with packets of tests/foreign.py.

Every case runs on the reference path and in batches, which must say the same; tests/equivalence has workers too.
"""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

import pytest

from espsim.explain.facts import CAUSES
from tests.command import espsim_text
from tests.foreign import (
    GCM_KEY,
    OTHER_KEY,
    B,
    Sealer,
    around,
    cbc_words,
    gcm_words,
    inner_packet,
    pcap,
    sa_line,
)

GCM, CBC = gcm_words(), cbc_words()
PEER, OTHER, ESN = Sealer(), Sealer(OTHER_KEY), Sealer(hi=0)
PLAIN = sa_line(GCM)
ESN_SA = sa_line(GCM, more="replay-window 32 flag esn")
IPTFS, AGGFRAG = sa_line(GCM, mode="iptfs"), bytes(4)
WRAP = 1 << 32
ELSEWHERE = "192.0.2.77"


def flipped(packet: bytes) -> bytes:
    return packet[:-1] + bytes((packet[-1] ^ 1,))


def numbers(peer: Sealer, *wanted: int, **how: Any) -> list[bytes]:
    return [peer.packet(number, **how) for number in wanted]


class Case(NamedTuple):
    """`want`: (verdict, cause): packets, of all that failed; `said`: what a detail must have in it."""

    name: str
    sad: str
    packets: list[bytes]
    want: dict[tuple[str, str | None], int]
    said: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    snap: int = 65535
    spd: str = ""


NO_SA, INTEGRITY, TRUNCATED = "NO_SA", "INTEGRITY", "TRUNCATED"
DUPLICATE, TOO_OLD, ZERO = "REPLAY_DUPLICATE", "REPLAY_TOO_OLD", "REPLAY_ZERO"

CASES = [
    Case("snap", PLAIN, numbers(PEER, 1, 2), {(TRUNCATED, "snap"): 2}, ("captured 60 of", "tcpdump -s 0"),
         snap=60),
    Case("snap, no ESP header", PLAIN, numbers(PEER, 1), {("HEADER", "snap"): 1}, ("captured 24",), snap=24),
    Case("no snap: the packet itself is short", PLAIN, [PEER.packet(1)[:60]], {(TRUNCATED, None): 1}),
    Case("no snap: what is missing does not matter", PLAIN, numbers(Sealer(spi=7), 1), {(NO_SA, "unknown-spi"): 1},
         snap=60),
    Case("mark", sa_line(GCM, more="mark 0xd00 mask 0xf00"), numbers(PEER, 1), {(NO_SA, "mark"): 1},
         ("0xd00/0xf00", "--mark 0xd00")),
    Case("no mark: it is another SPI", sa_line(GCM, more="mark 0xd00 mask 0xf00"), numbers(Sealer(spi=7), 1),
         {(NO_SA, "unknown-spi"): 1}),
    Case("encap", sa_line(GCM, more="encap espinudp 4500 4500 0.0.0.0"), numbers(PEER, 1),
         {("ENCAP_MISMATCH", "encap"): 1}, ("without UDP",)),
    Case("encap, the other way", PLAIN, numbers(PEER, 1, port=4500), {("ENCAP_MISMATCH", "encap"): 1}, ("4500",)),
    Case("other-destination", PLAIN, numbers(Sealer(dst=ELSEWHERE), 1), {(NO_SA, "other-destination"): 1},
         (B, ELSEWHERE)),
    Case("unusable", PLAIN + sa_line(GCM.replace("gcm(aes)", "gcm(sm4)"), spi=7), numbers(Sealer(spi=7), 1),
         {(NO_SA, "unusable"): 1}, ("line 2", "sm4")),
    Case("unknown-spi", PLAIN, numbers(Sealer(spi=0xBEEF), 1) + numbers(Sealer(spi=7), 1),
         {(NO_SA, "unknown-spi"): 2}, ("0x0000beef",)),
    Case("rekeyed", PLAIN, numbers(PEER, 1, 2) + numbers(OTHER, 1, 2), {(DUPLICATE, "rekeyed"): 2}, ("number 1",)),
    Case("rekeyed, long ago", PLAIN, numbers(PEER, 500) + numbers(OTHER, 1, 2), {(TOO_OLD, "rekeyed"): 2}),
    Case("no rekeyed: of the high half before, and opened before the window came so far",
         sa_line(GCM, more="replay-window 32 flag esn replay-seq 1000"),
         [ESN.packet(1 << 31), ESN.packet(WRAP - 1), *numbers(Sealer(hi=1), 1001, 1010), ESN.packet(1001)],
         {(DUPLICATE, "duplicate"): 1}, options=("--keep-window",)),
    Case("rekeyed, with ESN", ESN_SA, numbers(Sealer(hi=0), 1) + numbers(Sealer(OTHER_KEY, hi=0), 1),
         {(DUPLICATE, "rekeyed"): 1}),
    Case("restart", PLAIN, numbers(PEER, 499, 500, 1, 2, 3), {(TOO_OLD, "restart"): 3}, ("at 1 after 500",)),
    Case("no restart: one packet", PLAIN, numbers(PEER, 500, 1), {(TOO_OLD, "too-old"): 1}),
    Case("no restart: they do not rise", PLAIN, numbers(PEER, 500, 3, 2, 1), {(TOO_OLD, "too-old"): 3}),
    Case("no restart: they begin at 65", PLAIN, numbers(PEER, 500, 65, 66), {(TOO_OLD, "too-old"): 2}),
    Case("no restart: within the window", PLAIN, numbers(PEER, *range(1, 21), 1, 2), {(DUPLICATE, "duplicate"): 2}),
    Case("duplicate", PLAIN, numbers(PEER, 1, 2, 1), {(DUPLICATE, "duplicate"): 1}, ("number 1 came before",)),
    Case("too-old", PLAIN, numbers(PEER, 500, 400), {(TOO_OLD, "too-old"): 1}, ("100 after the highest",)),
    Case("too-old and restart", PLAIN, numbers(PEER, 500, 400, 1, 2, 3), {(TOO_OLD, "too-old"): 1,
         (TOO_OLD, "restart"): 3}),
    Case("zero", PLAIN, numbers(PEER, 1, 0), {(ZERO, "too-old"): 1}),
    Case("zero of another key", PLAIN, numbers(PEER, 1) + numbers(OTHER, 0), {(ZERO, "rekeyed"): 1}),
    Case("late", ESN_SA, numbers(ESN, 1000, 500, 1001), {(INTEGRITY, "late"): 1}, ("ESN", "500")),
    Case("no late: the window waits for its first packet",
         sa_line(GCM, more="replay-window 32 flag esn replay-seq-hi 1"), numbers(ESN, 9), {(INTEGRITY, "esn-high"): 1}),
    Case("no late: damaged", ESN_SA, [*numbers(ESN, 1000), flipped(ESN.packet(500))], {(INTEGRITY, "damaged"): 1}),
    Case("esn-flag", ESN_SA, numbers(PEER, 1, 2), {(INTEGRITY, "esn-flag"): 2}, ("without ESN",)),
    Case("esn-flag, not set", PLAIN, numbers(Sealer(hi=63), 1, 2), {(INTEGRITY, "esn-flag"): 2}, ("ESN", "63")),
    Case("no esn-flag: too high", PLAIN, numbers(Sealer(hi=64), 1), {(INTEGRITY, "key"): 1}),
    Case("esn-high", ESN_SA, numbers(Sealer(hi=1023), 1, 2), {(INTEGRITY, "esn-high"): 2}, ("ESN", "1023")),
    Case("esn-high, around the dump's", sa_line(GCM, more="replay-window 32 flag esn replay-seq-hi 5000"),
         numbers(Sealer(hi=6024), 1) + numbers(Sealer(hi=3976), 1), {(INTEGRITY, "esn-high"): 2}),
    Case("no esn-high: farther than 1024", sa_line(GCM, more="replay-window 32 flag esn replay-seq-hi 5000"),
         numbers(Sealer(hi=6025), 1) + numbers(Sealer(hi=3975), 1), {(INTEGRITY, "key"): 2}),
    Case("icv-length", sa_line(CBC), numbers(Sealer(cbc=True, icv=12), 1, 2), {(INTEGRITY, "icv-length"): 2},
         ("ICV of 96 bits",)),
    Case("icv-length of GCM", PLAIN, numbers(Sealer(icv=8), 1), {(INTEGRITY, "icv-length"): 1}, ("ICV of 64 bits",)),
    Case("icv-length, no room", sa_line(cbc_words(256)), [Sealer(cbc=True, icv=12).packet(1, b"0123456789")],
         {(TRUNCATED, "icv-length"): 1}, ("ICV of 96 bits",)),
    Case("no icv-length: too short for any", PLAIN, [PEER.packet(1, b"")[:-20]], {(TRUNCATED, None): 1}),
    Case("no icv-length: another key", sa_line(cbc_words(key=bytes(32))), numbers(Sealer(cbc=True, icv=12), 1),
         {(INTEGRITY, "key"): 1}),
    Case("other-sa of the same addresses", PLAIN + sa_line(gcm_words(OTHER_KEY), spi=0x1002), numbers(OTHER, 1),
         {(INTEGRITY, "other-sa"): 1}, ("0x00001002@192.0.2.2",)),
    Case("other-sa of the same SPI", PLAIN + sa_line(gcm_words(OTHER_KEY), dst=ELSEWHERE), numbers(OTHER, 1),
         {(INTEGRITY, "other-sa"): 1}, (f"0x00001001@{ELSEWHERE}",)),
    Case("other-sa with ESN", sa_line(gcm_words(OTHER_KEY), spi=9, src="10.0.0.1", dst="10.0.0.2",
         more="replay-window 32 flag esn replay-seq-hi 7") + PLAIN, numbers(Sealer(OTHER_KEY, hi=7), 1),
         {(INTEGRITY, "other-sa"): 1}, ("0x00000009@10.0.0.2",)),
    Case("no other-sa: one without an ICV would take anything",
         PLAIN + sa_line(f"enc 'cbc(aes)' 0x{bytes(16).hex()} auth digest_null ''", spi=9), numbers(OTHER, 1),
         {(INTEGRITY, "key"): 1}),
    Case("damaged", PLAIN, [PEER.packet(1), flipped(PEER.packet(2)), PEER.packet(3)], {(INTEGRITY, "damaged"): 1}),
    Case("damaged, and the others come later", PLAIN, [flipped(PEER.packet(1)), PEER.packet(2)],
         {(INTEGRITY, "damaged"): 1}),
    Case("no damaged: none opened", PLAIN, [flipped(PEER.packet(1))], {(INTEGRITY, "key"): 1}),
    Case("key", PLAIN, numbers(OTHER, 1, 2, 3), {(INTEGRITY, "key"): 3}, ("0x00001001@192.0.2.2",)),
    Case("larval", "src 192.0.2.1 dst 192.0.2.2\n\tproto esp spi 0x00001001 reqid 1 mode tunnel\n\treplay-window 0\n"
         "\tsel src 192.0.2.1/32 dst 192.0.2.2/32\n",
         numbers(PEER, 1), {("SA_LARVAL", "larval"): 1}),
    Case("direction", sa_line(GCM, more="dir out"), numbers(Sealer(src=ELSEWHERE), 1), {("DIRECTION", "direction"): 1}),
    Case("expired, and gone", sa_line(GCM, more="limit packet-hard 1"), numbers(PEER, 1, 2, 3),
         {("EXPIRED", "expired"): 1, (NO_SA, "expired"): 1}),
    Case("mode", PLAIN, numbers(PEER, 1, next_header=17), {("MODE", "mode"): 1}, ("tunnel",)),
    Case("selector", sa_line(GCM, more="sel src 10.9.0.0/16 dst 0.0.0.0/0"), numbers(PEER, 1),
         {("POLICY", "selector"): 1}, ("10.9.0.0/16",)),
    Case("selector in transport mode", sa_line(GCM, mode="transport", more="sel src 0.0.0.0/0 dst 0.0.0.0/0 proto 6"),
         [PEER.packet(1, inner_packet()[20:], next_header=17)], {("POLICY", "selector"): 1}, ("proto 6",)),
    Case("ecn", PLAIN, [PEER.packet(1)[:1] + b"\3" + PEER.packet(1)[2:]], {("ECN", "ecn"): 1}, ("Not-ECT",),
         options=("--option", "rfc6040")),
    Case("no-policy", PLAIN, numbers(PEER, 1), {("NO_POLICY", "no-policy"): 1}, ("no in or fwd policy",),
         spd="ip xfrm policy add src 10.9.0.0/16 dir in tmpl proto esp mode tunnel\n"),
    Case("template", PLAIN, numbers(PEER, 1, 2), {("TEMPLATE", "template"): 2}, ("0x00001001@192.0.2.2, reqid",),
         spd="ip xfrm policy add dir in tmpl proto esp reqid 77 mode tunnel\n"),
    Case("template, too many", PLAIN, numbers(PEER, 1), {("TEMPLATES", "template"): 1}, ("6 templates",),
         spd=f"ip xfrm policy add dir in{6 * ' tmpl proto esp mode tunnel level use'}\n"),
    Case("blocked", PLAIN, numbers(PEER, 1), {("BLOCKED", "blocked"): 1},
         spd="ip xfrm policy add dir fwd action block\n"),
    Case("trailer", PLAIN, numbers(PEER, 1, next_header=59), {("TRAILER", "trailer"): 1}),
    Case("header", PLAIN, [around(b"\0\0\x10\x01")], {("HEADER", "header"): 1}),
    Case("iptfs, a block of no kind", IPTFS, numbers(PEER, 1, inner=AGGFRAG + b"\x90", next_header=144),
         {("IPTFS_BUFFER", "iptfs"): 1}, ("neither IPv4",)),
    Case("iptfs, flags", IPTFS, numbers(PEER, 1, inner=b"\0\1\0\0", next_header=144), {("IPTFS_HEADER", "iptfs"): 1}),
    Case("fragment-lost", sa_line(GCM, mode="iptfs", more="iptfs-opts reorder-window 0"),
         [PEER.packet(n, AGGFRAG + inner_packet()[:30], next_header=144) for n in (1, 3)],
         {("IPTFS_LOST", "fragment-lost"): 1}, ("earlier packet",)),
    Case("reordered", IPTFS, numbers(PEER, 2, 1, inner=AGGFRAG + inner_packet(), next_header=144),
         {("IPTFS_LATE", "reordered"): 1}, ("waits for 3 packets",)),
    Case("mode: no payload of IP-TFS", IPTFS, numbers(PEER, 1), {("MODE", "mode"): 1}, ("an AGGFRAG payload",)),
    Case("fragment", PLAIN, [around(PEER.esp(1), fragment=0x2000)], {("FRAGMENT", "fragment"): 1}),
    Case("depth", PLAIN, [functools.reduce(lambda inner, n: PEER.packet(n, inner), range(1, 8), inner_packet())],
         {("DEPTH", "depth"): 1}, ("7 layers of ESP",)),
    Case("the layer inside is looked at", PLAIN,
         [PEER.packet(3, PEER.packet(1)), PEER.packet(4, flipped(PEER.packet(2)))], {(INTEGRITY, "damaged"): 1}),
    Case("inside it is unknown", PLAIN, [PEER.packet(1, numbers(Sealer(spi=77), 1)[0])], {(NO_SA, "unknown-spi"): 1},
         ("0x0000004d",)),
]  # fmt: skip


def ran(case: Case, folder, way=()):
    """(JSON, lines) of one run."""
    capture = pcap(folder / "in.pcap", case.packets, snap=case.snap)
    (folder / "sad").write_text(case.sad)
    words = ("decap", capture, "--sad", folder / "sad", "--json", "--verdicts", folder / "lines")
    (folder / "spd").write_text(case.spd)
    policies = ("--spd", folder / "spd") if case.spd else ()
    status, out, err = espsim_text(*words, *policies, *case.options, *way)
    assert status == 0, err
    return json.loads(out), [json.loads(line) for line in (folder / "lines").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_causes(case, tmp_path):
    result, lines = ran(case, tmp_path)
    why = result["why"]
    assert {(one["verdict"], one["cause"]): one["packets"] for one in why} == case.want
    assert sum(one["packets"] for one in why) == result["packets"] - result["delivered"]
    for word in case.said:
        assert any(word in one["detail"] for one in why), (word, why)
    assert all(one["detail"] and one["tried"] == one["packets"] for one in why)
    failed = [(line["verdict"], line["cause"]) for line in lines if line["verdict"] not in ("DELIVERED", "ignored")]
    assert {pair: failed.count(pair) for pair in failed} == case.want
    shown = json.dumps([why, lines])
    assert GCM_KEY.hex()[:16] not in shown
    assert "for no one to see" not in shown
    again, its_lines = ran(case, tmp_path, ("--reference",))
    assert (again["why"], again["notes"], its_lines) == (why, result["notes"], lines)


def test_every_cause_has_a_case():
    assert {cause for case in CASES for _, cause in case.want if cause} == set(CAUSES)


class TestNotes:
    def notes(self, tmp_path, sad: str, packets: list[bytes]):
        result, _ = ran(Case("", sad, packets, {}), tmp_path)
        assert ran(Case("", sad, packets, {}), tmp_path, ("--reference",))[0]["notes"] == result["notes"]
        return [(one["sa"], one["note"].partition(":")[0], one["packets"]) for one in result["notes"]]

    def test_padding(self, tmp_path):
        odd = [PEER.packet(n, padding=padding) for n, padding in enumerate((b"\0\0", b"\1\2", b"\1\2\4\4\5\6"), 1)]
        found = self.notes(tmp_path, PLAIN, [*odd, PEER.packet(4), flipped(PEER.packet(5, padding=b"\0\0"))])
        assert found == [("0x00001001@192.0.2.2", "padding that is not 1, 2, 3 (RFC 4303 2.4)", 2)]

    def test_windows(self, tmp_path):
        none, ring = sa_line(GCM, more="replay-window 0"), sa_line(GCM, spi=2, more="replay-window 33")
        out = sa_line(GCM, spi=3, src=B, dst="192.0.2.1", more="replay-window 0 dir out")
        found = self.notes(tmp_path, none + ring + out, numbers(PEER, 1, 1) + numbers(Sealer(spi=2), 1))
        assert found == [
            ("0x00001001@192.0.2.2", "replay window 0", 2),
            ("0x00000002@192.0.2.2", "the replay window's size does not divide 2^32", 1),
        ]

    def test_nothing(self, tmp_path):
        assert self.notes(tmp_path, PLAIN, numbers(PEER, 1)) == []
        assert ran(Case("", PLAIN, numbers(PEER, 1), {}), tmp_path)[0]["why"] == []
