"""decap and window of a capture with ESP in TCP that scapy made (tests/vectors/cases/espintcp.pcap)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from tests.support import read_raw_capture

CASES = Path(__file__).parents[2] / "vectors" / "cases"
CAPTURE, SAD = CASES / "espintcp.pcap", CASES / "c07a-espintcp.txt"
WAYS = [(), ("--reference",), ("--workers", "2"), ("--no-reassemble",)]
IDS = ["batches", "reference", "workers", "no-reassemble"]


def decap(*args):
    result = CliRunner().invoke(main, ["decap", *map(str, args), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("way", WAYS, ids=IDS)
def test_every_packet_is_opened_at_the_frame_that_completes_it(tmp_path, way):
    lines = tmp_path / "lines"
    report = decap(CAPTURE, "--sad", SAD, "-o", tmp_path / "out", "--verdicts", lines, *way)
    assert (report["packets"], report["delivered"]) == (11, 11)
    assert report["ignored_by"] == {"tcp": 10}
    assert [(sa["spi"], sa["delivered"]) for sa in report["by_sa"]] == [(0x11110001, 9), (0x11110002, 2)]
    found = [(line["frame"], line["seq"]) for line in map(json.loads, lines.read_text().splitlines()) if line["seq"]]
    assert found == [(6, 1), (7, 2), (7, 3), (7, 4), (9, 5), (12, 6), (13, 1), (14, 2), (16, 7), (16, 8), (18, 9)]
    sizes = [len(packet) for _, packet in read_raw_capture(tmp_path / "out")]
    assert [size - 28 for size in sizes] == [100, 60, 80, 10, 1300, 40, 200, 30, 50, 60, 500]


@pytest.mark.parametrize("way", WAYS[:3], ids=IDS[:3])
def test_an_sa_without_that_encapsulation_refuses_it(tmp_path, way):
    text = SAD.read_text()
    for other in ("", "\tencap type espinudp sport 40000 dport 4500 addr 0.0.0.0\n"):
        kept = [line if "encap" not in line else other for line in text.splitlines(keepends=True)]
        (tmp_path / "sad").write_text("".join(kept))
        report = decap(CAPTURE, "--sad", tmp_path / "sad", *way)
        assert report["verdicts"] == {"ENCAP_MISMATCH": 11}
        assert report["linux_counters"] == {"XfrmInStateMismatch": 11}
        wants = "UDP port 4500" if other else "no TCP"
        assert f"wants {wants}, and the packet came in TCP" in report["why"][0]["detail"]
        assert [one["cause"] for one in report["why"]] == ["encap", "encap"]


def test_a_modelled_device_looks_into_no_stream():
    report = decap(CAPTURE, "--sad", SAD, "--model", "netdevsim-linux")
    assert (report["packets"], report["ignored_by"]) == (0, {"tcp": 18})


@pytest.mark.parametrize("options", [(), ("--sad", SAD)], ids=["alone", "sad"])
def test_window_sees_them(options):
    words = ["window", CAPTURE, *options, "--json"]
    result = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert [(stream["spi"], stream["packets"]) for stream in json.loads(result.stdout)["streams"]] == [
        (0x11110001, 9), (0x11110002, 2),
    ]  # fmt: skip
