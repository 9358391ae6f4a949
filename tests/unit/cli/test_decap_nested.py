"""ESP in ESP through the commands: what decap writes, counts and says, and explain tells."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from tests.support import Peer, gcm_sa, ipv4, read_raw_capture, udp, write_raw_capture

WAYS = [("--reference",), ("--batch",), ("--batch", "--workers", "2")]
IDS = ["reference", "batch", "workers"]
LINE = (
    "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x{0:x} mode tunnel replay-window 64 aead rfc4106(gcm(aes)) 0x{1} 128\n"
)
OUTER, INNER, LAST = (gcm_sa(spi=n, key_byte=n) for n in (1, 2, 3))
CLEAR = [ipv4(udp(bytes([n]) * 9)) for n in range(20)]


def run(*args):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path):
    """Plain and nested packets of one SA in turn, then one of three layers, a forged one and a repeated one inside."""
    packets = []
    for n in range(1, 6):
        packets += [
            Peer(INNER).packet(2 * n, CLEAR[n]),
            Peer(OUTER).packet(n, Peer(INNER).packet(2 * n + 1, CLEAR[-n])),
        ]
    deep = Peer(OUTER).packet(6, Peer(INNER).packet(20, Peer(LAST).packet(1, CLEAR[0])))
    forged = Peer(OUTER).packet(7, Peer(INNER).packet(21, CLEAR[0])[:-1] + b"\0")
    repeated = Peer(OUTER).packet(8, Peer(INNER).packet(2, CLEAR[1]))
    write_raw_capture(tmp_path / "in", [*packets, deep, forged, repeated])
    (tmp_path / "sad").write_text("".join(LINE.format(n, f"{n:02x}" * 20) for n in (1, 2, 3)))
    return tmp_path


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_what_decap_writes_counts_and_says(folder, way):
    lines = folder / "lines"
    args = (folder / "in", "--sad", folder / "sad", "-o", folder / "out", "--verdicts", lines, "--json")
    report = json.loads(run("decap", *args, *way))
    want = [clear for n in range(1, 6) for clear in (CLEAR[n], CLEAR[-n])]
    assert [packet for _, packet in read_raw_capture(folder / "out")] == [*want, CLEAR[0]]
    assert report["verdicts"] == {"DELIVERED": 11, "INTEGRITY": 1, "REPLAY_DUPLICATE": 1}
    assert report["linux_counters"] == {"XfrmInStateProtoError": 1, "XfrmInStateSeqError": 1}
    assert report["nested"] == {"2": 7, "3": 1}
    assert [(one["spi"], one["delivered"], one["dropped"]) for one in report["by_sa"]] == [
        (2, 11, {"INTEGRITY": 1, "REPLAY_DUPLICATE": 1}), (1, 8, {}), (3, 1, {}),
    ]  # fmt: skip
    assert [(one["verdict"], one["cause"]) for one in report["why"]] == [
        ("INTEGRITY", "damaged"), ("REPLAY_DUPLICATE", "duplicate"),
    ]  # fmt: skip
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line.get("depth", 1) for line in told] == [1, 2] * 5 + [3, 2, 2]
    assert [line["spi"] for line in told[-3:]] == [3, 2, 2]


def test_the_report_for_people(folder):
    said = run("decap", folder / "in", "--sad", folder / "sad")
    assert "ESP in ESP: 7 with 2 layers, 1 with 3 layers" in said


def test_explain_tells_every_layer(folder):
    told = json.loads(run("explain", folder / "in", "--sad", folder / "sad", "--frame", 11, "--json"))
    steps = [step["step"] for step in told["steps"]]
    assert steps.count("decryption") == 3
    assert [step["says"][-7:] for step in told["steps"] if step["step"] == "received again"] == ["layer 2", "layer 3"]
    assert (told["depth"], told["verdict"], told["inner"]) == (3, "DELIVERED", CLEAR[0].hex())
    again = steps.index("received again")
    assert all(field["offset"] is None for step in told["steps"][again:] for field in step["fields"])
    page = folder / "page.html"
    run("explain", folder / "in", "--sad", folder / "sad", "--frame", 11, "--html", page)
    assert "received again" in page.read_text()


@pytest.mark.parametrize("way", WAYS[:2], ids=IDS[:2])
def test_policies_ask_for_both_templates(folder, way):
    tunnel = " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel"
    base = "ip xfrm policy add dir in src 10.1.0.0/16 dst 10.2.0.0/16"
    (folder / "spd").write_text(f"{base}{tunnel}{tunnel}\n")
    args = (folder / "in", "--sad", folder / "sad", "--spd", folder / "spd", "--json", *way)
    report = json.loads(run("decap", *args))
    # A packet of one layer lacks a template's SA, one of three has a tunnel that no template names.
    assert report["verdicts"] == {"DELIVERED": 5, "TEMPLATE": 6, "INTEGRITY": 1, "REPLAY_DUPLICATE": 1}


def test_encap_twice_and_decap_once(folder):
    """A bundle: transport mode between two hosts, inside a tunnel between their gateways."""
    first = LINE.format(1, "01" * 20).replace("tunnel", "transport").replace("192.0.2.1", "10.1.0.1")
    first = first.replace("192.0.2.2", "10.2.0.1")
    (folder / "one").write_text(first)
    (folder / "two").write_text(LINE.format(2, "02" * 20))
    (folder / "both").write_text(first + LINE.format(2, "02" * 20))
    write_raw_capture(folder / "clear", CLEAR)
    run("encap", folder / "clear", "--sad", folder / "one", "-o", folder / "a")
    run("encap", folder / "a", "--sad", folder / "two", "-o", folder / "b")
    report = json.loads(run("decap", folder / "b", "--sad", folder / "both", "-o", folder / "c", "--json"))
    assert report["nested"] == {"2": 20}
    assert [packet for _, packet in read_raw_capture(folder / "c")] == CLEAR
