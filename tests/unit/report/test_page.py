"""`espsim explain --html`: it has every step, no key unless asked, nothing of a packet as markup; one small file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from espsim.aead.suites import Algorithm
from espsim.reference.outbound import Outbound
from espsim.text.show import format_sa_line
from tests.command import espsim, espsim_text
from tests.support import gcm_sa, ipv4, new_sad, udp

MOST = 500_000
KEY = bytes(range(0x61, 0x71))
SALT = bytes.fromhex("feedc0de")
SA = replace(gcm_sa(window=32), algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", KEY + SALT, 128),))
EVIL = b"<script>alert(1)</script></script><!--<img src=x onerror=alert(2)>"


def sealed(payload=b"hello, receiver", seq=7, sa=SA):
    sad = new_sad(sa)
    (entry,) = sad
    entry.send_next(seq)
    return Outbound(sad, bytes).send_with(entry, ipv4(udp(payload))).packet


def capture(*packets):
    """A classic pcap of raw IP packets."""
    frames = b"".join(struct.pack("<IIII", n, 0, len(p), len(p)) + p for n, p in enumerate(packets))
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101) + frames


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in.pcap").write_bytes(capture(sealed(seq=6), sealed(seq=7)))
    (tmp_path / "sad").write_text(format_sa_line(SA) + "\n")
    return tmp_path


def page_of(folder, *words, name="in.pcap"):
    out = folder / "page.html"
    status, _, err = espsim_text("explain", folder / name, "--sad", folder / "sad", "--html", out, *words)
    assert status == 0, err
    text = out.read_text()
    assert len(text.encode()) < MOST
    return text


class _Tags(HTMLParser):
    """Which tags there are, and whether each is closed."""

    VOID = ("meta", "input")
    FREE = ("th", "tr")

    def __init__(self):
        super().__init__()
        self.seen, self.open, self.ids, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID + self.FREE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.FREE:
            assert self.open.pop() == tag


def tags(text):
    parser = _Tags()
    parser.feed(text)
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    assert not [name for name in parser.attributes if name.startswith("on") or name == "style"]
    return parser


def data_of(text):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def test_every_step_is_there(folder):
    text = page_of(folder)
    shown = html.unescape(text)
    explained = json.loads(espsim("explain", folder / "in.pcap", "--sad", folder / "sad", "--json").stdout)
    for number, step in enumerate(explained["steps"], 1):
        assert f"{number}. {step['step']} <small>" in shown
        assert step["says"] in shown
    cells = re.findall(r"<i[^>]*>(..)</i>", text)
    assert "".join(cells) == explained["bytes"]
    assert tags(text).seen.count("script") == 2


def test_no_key_without_asking(folder):
    text = page_of(folder)
    shown = page_of(folder, "--show-keys")
    everything = text + base64.b64decode(data_of(text)["save"]["capture"]).hex()
    for secret in (KEY, SALT):
        assert secret.hex() not in everything.replace(" ", "")
        assert secret.hex() in shown.replace(" ", "")
    assert data_of(text)["save"]["keys"] is False
    assert (folder / "page.html").stat().st_mode & 0o077 == 0  # the one with keys


def test_what_is_saved_explains_the_same(folder):
    save = data_of(page_of(folder, "--show-keys", "--frame", "2"))["save"]
    (folder / "saved.pcap").write_bytes(base64.b64decode(save["capture"]))
    (folder / "saved.sad").write_text(save["sad"])
    words = ["--frame", "2", "--json"]
    again = espsim("explain", folder / "saved.pcap", "--sad", folder / "saved.sad", *words)
    assert again.stdout == espsim("explain", folder / "in.pcap", "--sad", folder / "sad", *words).stdout


def test_nothing_is_fetched_and_nothing_else_runs(folder):
    text = page_of(folder)
    assert not re.search(r"https?:|//[a-z]|src=|@import|url\(", re.sub(r"(?m)^ *// .*$", "", text))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';")
    for kind in ("style", "script"):
        body = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert len(body) == 1
        digest = base64.b64encode(hashlib.sha256(body[0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_hostile_bytes_and_names(folder):
    evil = folder / "a<script>alert(3)<"
    evil.mkdir()
    (evil / "script>&quot;.pcap").write_bytes(capture(sealed(EVIL), EVIL))
    text = page_of(folder, "--show-keys", name="a<script>alert(3)</script>&quot;.pcap")
    assert tags(text).seen.count("script") == 2
    assert "img" not in tags(text).seen
    assert "<script>alert" not in text
    assert "script>&quot;" not in text


@pytest.mark.parametrize("frame", [b"<script>" * 8, b"\0" * 60, bytes(range(256)), b"\x60" + b"\0" * 200])
def test_any_bytes_of_a_sealed_packet(folder, frame):
    (folder / "in.pcap").write_bytes(capture(sealed(frame)))
    assert tags(page_of(folder)).seen.count("script") == 2


@pytest.mark.long
def test_the_size_is_bounded(folder):
    extension = bytes([60, 0]) + bytes(6)
    many = struct.pack(">IHBB", 0x60000000, 8000 * 8 + 40, 60, 64) + bytes(32) + extension * 7999 + bytes([50, 0])
    big = many + bytes(6) + sealed()[20:]
    (folder / "in.pcap").write_bytes(capture(*[sealed(b"x" * 1400)] * 300, big, sealed(b"x" * 60000)))
    text = page_of(folder, "--frame", "301")
    assert "steps are left out here" in text
    assert "Nothing was run" in text
    text = page_of(folder, "--frame", "302")
    assert "bytes more are in the capture" in text
    assert "earlier frames are not in the capture" in text


def test_the_four_questions_are_answered_by_runs(folder):
    asked = data_of(page_of(folder))["questions"]
    flip = asked["flip"]
    length = len(sealed())
    kinds = [kind for kind, count in flip["runs"] for _ in range(count)]
    assert len(kinds) == 8 * length
    at = lambda byte, bit: flip["kinds"][kinds[8 * byte + 7 - bit]]  # noqa: E731
    assert at(length - 1, 0)["verdict"] == "INTEGRITY"
    assert at(length - 1, 0)["counter"] == "XfrmInStateProtoError"
    assert at(20, 0)["verdict"] == "NO_SA"  # the SPI
    assert at(8, 3)["check"] == "no check"  # TTL
    twice = {(case["name"], case["esn"]): case["arrivals"][-1]["verdict"] for case in asked["twice"]["cases"]}
    assert asked["twice"]["seq"] == 6
    assert asked["twice"]["size"] == 32
    assert twice["twice", False] == twice["twice", True] == "REPLAY_DUPLICATE"
    assert twice["late", False] == twice["late", True] == "DELIVERED"
    assert twice["very late", False] == "REPLAY_TOO_OLD"
    assert twice["very late", True] == "INTEGRITY"
    first, *_, last = asked["mask"]["runs"]
    assert [sa["outcome"] for sa in first["sas"]] == ["HIT", "WRONG_SA", *["SA_MISMATCH"] * 4]
    assert [sa["outcome"] for sa in last["sas"]] == ["HIT", "WRONG_SA", *["HIT"] * 4]


def test_a_flip_changes_nothing(folder):
    """What was explained is the same with the page and without."""
    words = ["explain", folder / "in.pcap", "--sad", folder / "sad", "--frame", "2", "--json"]
    assert espsim(*words, "--html", folder / "page.html").stdout == espsim(*words).stdout


@pytest.mark.parametrize(
    ("packets", "words", "verdict"),
    [
        ([sealed(), sealed()], ["--frame", "2"], "REPLAY_DUPLICATE"),
        ([sealed()[:-1] + b"\0"], [], "INTEGRITY"),
        ([sealed(sa=gcm_sa(spi=0x77))], [], "NO_SA"),
        ([sealed()[:30]], [], "TRUNCATED"),
        ([sealed()[:24]], [], "HEADER"),
        ([ipv4(udp(b"clear"))], ["--seal"], "SEALED"),
    ],
)
def test_any_verdict(folder, packets, words, verdict):
    (folder / "in.pcap").write_bytes(capture(*packets))
    text = page_of(folder, *words)
    assert f">{verdict}</span></h1>" in text
    tags(text)


def test_standard_output_and_refusals(folder):
    ended = espsim("explain", folder / "in.pcap", "--sad", folder / "sad", "--html", "-")
    assert ended.stdout.startswith(b"<!doctype html>")
    assert b"ESP header" in ended.stderr
    status, _, err = espsim_text("explain", folder / "sad", "--html", folder / "x.html")
    assert status == 2
    assert "--html needs a packet" in err
    status, _, err = espsim_text("explain", folder / "in.pcap", "--sad", folder / "sad", "--html", folder / "in.pcap")
    assert status == 2
    assert not (folder / "x.html").exists()
