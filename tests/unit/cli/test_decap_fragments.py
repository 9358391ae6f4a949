"""decap and window of captures with outer fragments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.io.capture import CaptureCut, open_capture
from tests.fragments import fragments
from tests.support import Peer, gcm_sa, ipv4, udp, write_raw_capture

CASES = Path(__file__).parents[2] / "vectors" / "cases"
WAYS = [(), ("--reference",), ("--workers", "2")]
IDS = ["batches", "reference", "workers"]
SAD = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel aead rfc4106(gcm(aes)) 0x{} 128\n"


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def decap(*args):
    result = run("decap", *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def folder(tmp_path):
    """Seven frames: a whole packet, one in three fragments in disorder, IKE in two, and one whose rest is lost."""
    peer, inner = Peer(gcm_sa()), [ipv4(udp(bytes([n]) * 300)) for n in range(3)]
    one, two, three = (peer.packet(n + 1, inner[n]) for n in range(3))
    a, b, c = fragments(two, [64, 128])
    frames = [
        one,
        c,
        a,
        b,
        *fragments(ipv4(udp(bytes(300), 500, 500)), [64], ident=8),
        fragments(three, [64], ident=9)[1],
    ]
    write_raw_capture(tmp_path / "in", frames)
    (tmp_path / "sad").write_text(SAD.format("07" * 20))
    (tmp_path / "inner").write_bytes(b"".join(inner[:2]))
    return tmp_path


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_datagrams_are_packets(folder, way):
    report = decap(folder / "in", "--sad", folder / "sad", "-o", folder / "out", *way)
    assert (report["packets"], report["delivered"]) == (3, 2)
    assert report["verdicts"] == {"DELIVERED": 2, "FRAGMENT": 1}
    assert report["fragments"] == {"seen": 4, "datagrams": 1, "incomplete": 1}
    assert (report["ignored"], report["ignored_by"]) == (2, {"ike": 2})
    assert report["linux_counters"] == {}
    with open_capture(str(folder / "out")) as reader:
        frames = list(reader)
    assert b"".join(frame.ip or b"" for frame in frames) == (folder / "inner").read_bytes()
    assert [frame.time_ns for frame in frames] == [1_700_000_000_000_000_000, 1_700_000_003_000_015_000]


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_no_reassemble(folder, way):
    """RFC 4303 3.4.1: a packet that is a fragment is discarded."""
    report = decap(folder / "in", "--sad", folder / "sad", "--no-reassemble", *way)
    assert report["verdicts"] == {"DELIVERED": 1, "FRAGMENT": 4}
    assert (report["packets"], report["ignored_by"]) == (5, {"ike": 1, "udp": 1})
    assert report["fragments"] == {"seen": 4, "datagrams": 0, "incomplete": 0}


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_a_case_of_linux_users(way):
    report = decap(CASES / "l11-frags.pcap", "--sad", CASES / "link.sad", *way)
    assert report["delivered"] == 2
    assert report["fragments"] == {"seen": 2, "datagrams": 1, "incomplete": 0}


def test_a_capture_without_fragments_says_so_too(tmp_path):
    write_raw_capture(tmp_path / "in", [Peer(gcm_sa()).packet(1, ipv4(bytes(40)))])
    (tmp_path / "sad").write_text(SAD.format("07" * 20))
    report = decap(tmp_path / "in", "--sad", tmp_path / "sad")
    assert report["fragments"] == {"seen": 0, "datagrams": 0, "incomplete": 0}
    assert "fragments" not in run("decap", tmp_path / "in", "--sad", tmp_path / "sad").stdout


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_a_cut_capture_ends_what_is_not_complete(folder, way):
    data = (folder / "in").read_bytes()
    (folder / "in").write_bytes(data[: data.index(fragments(ipv4(udp(bytes(300), 500, 500)), [64], ident=8)[0]) - 20])
    words = ("decap", folder / "in", "--sad", folder / "sad", "--json", *way)
    result = CliRunner().invoke(main, list(map(str, words)))
    assert isinstance(result.exception, CaptureCut)
    report = json.loads(result.stdout)
    assert report["verdicts"] == {"DELIVERED": 1, "FRAGMENT": 1}
    assert report["fragments"] == {"seen": 2, "datagrams": 0, "incomplete": 1}


def test_the_summary(folder):
    said = run("decap", folder / "in", "--sad", folder / "sad").stdout
    assert "4 outer fragments: 1 datagram, 1 incomplete" in said


def test_window_sees_the_datagrams(folder):
    result = run("window", folder / "in", "--json")
    (stream,) = json.loads(result.stdout)["streams"]
    assert stream["packets"] == 2


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_every_frame_has_its_line(folder, way):
    """The frame that completes a datagram has its verdict; the others say which frame that is, or that none was."""
    decap(folder / "in", "--sad", folder / "sad", "--verdicts", folder / "lines", *way)
    lines = [json.loads(line) for line in (folder / "lines").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(1, 8))
    found = [(line["verdict"], line.get("datagram", "-"), line.get("kind"), line["cause"]) for line in lines]
    assert found == [
        ("DELIVERED", "-", None, None), ("FRAGMENT", 4, None, None), ("FRAGMENT", 4, None, None),
        ("DELIVERED", "-", None, None), ("ignored", "-", "ike", None), ("ignored", "-", "ike", None),
        ("FRAGMENT", None, None, "fragment"),
    ]  # fmt: skip
    assert {(line["src"], line["dst"]) for line in lines} == {("192.0.2.1", "192.0.2.2"), ("10.1.0.1", "10.2.0.1")}
    assert all(line["linux_counter"] is None for line in lines)
