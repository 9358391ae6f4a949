"""BEET SAs through the commands: decap both paths and workers, encap, explain, audit, esp_sa rows."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from tests.support import VECTORS, Peer, read_raw_capture, write_raw_capture
from tests.unit.reference.test_beet import beet, packet

CAPTURES = VECTORS / "captures_new"
SUITES = json.loads((CAPTURES / "beet.json").read_text())["suites"]
WAYS = [("--reference",), ("--batch",), ("--batch", "--workers", "2")]
NULL = (
    "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode beet replay-window 32 enc ecb(cipher_null) 0x"
    " auth-trunc digest_null 0x 0 sel src fd00:1::1/128 dst fd00:2::1/128\n"
)


def run(*args):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def sad(tmp_path):
    lines = [f"ip xfrm state add {sa['ip_xfrm_state_receiver']}\n" for suite in SUITES for sa in suite["sas"][:2]]
    (tmp_path / "sad").write_text("".join(lines))
    return tmp_path / "sad"


@pytest.mark.parametrize("way", WAYS, ids=["reference", "batch", "workers"])
@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s["name"])
def test_decap_writes_what_linux_delivered(suite, way, sad, tmp_path):
    report = json.loads(run("decap", CAPTURES / suite["file"], "--sad", sad, "-o", tmp_path / "out", "--json", *way))
    assert report["verdicts"] == {"DELIVERED": len(suite["packets"])}
    assert [packet.hex() for _, packet in read_raw_capture(tmp_path / "out")] == [
        packet["inner_hex"] for packet in suite["packets"]
    ]


@pytest.mark.parametrize("way", WAYS[:2], ids=["reference", "batch"])
@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s["name"])
def test_encap_and_decap_go_round(suite, way, sad, tmp_path):
    inner = [bytes.fromhex(packet["inner_hex"]) for packet in suite["packets"]]
    write_raw_capture(tmp_path / "clear", inner)
    run("encap", tmp_path / "clear", "--sad", sad, "-o", tmp_path / "esp", *way)
    run("decap", tmp_path / "esp", "--sad", sad, "-o", tmp_path / "back", *way)
    assert [packet for _, packet in read_raw_capture(tmp_path / "back")] == inner


@pytest.mark.parametrize("way", WAYS, ids=["reference", "batch", "workers"])
def test_an_ipv6_header_where_nothing_made_room_for_it(way, tmp_path):
    """NULL without an ICV: ten bytes more come out than went in, and the neighbours in the arena stay as they are."""
    inner = [packet(6, bytes([n]) * (n % 5 + 1), next_header=99) for n in range(40)]
    (tmp_path / "sad").write_text(NULL)
    write_raw_capture(tmp_path / "clear", inner)
    run("encap", tmp_path / "clear", "--sad", tmp_path / "sad", "-o", tmp_path / "esp", "--insecure", "null")
    assert min(len(sealed) for _, sealed in read_raw_capture(tmp_path / "esp")) < 41
    run("decap", tmp_path / "esp", "--sad", tmp_path / "sad", "-o", tmp_path / "back", *way)
    assert [back for _, back in read_raw_capture(tmp_path / "back")] == inner


def test_explain_tells_both_headers(sad, tmp_path):
    suite = SUITES[0]
    told = json.loads(run("explain", CAPTURES / suite["file"], "--sad", sad, "--json"))
    (inner,) = [step for step in told["steps"] if step["step"] == "inner packet"]
    assert "beet mode" in inner["says"]
    assert "the selector's addresses" in inner["says"]
    assert told["inner"] == suite["packets"][0]["inner_hex"]
    clear = bytes.fromhex(told["inner"])
    options = b"\x46" + clear[1:2] + (len(clear) + 4).to_bytes(2) + clear[4:20] + b"\1" * 4 + clear[20:]
    write_raw_capture(tmp_path / "clear", [options])
    told = json.loads(run("explain", "--seal", tmp_path / "clear", "--sad", sad, "--json"))
    says = " ".join(step["says"] for step in told["steps"])
    assert "a pseudo header, the IPv4 options, and what follows" in says
    assert told["verdict"] == "SEALED"


def test_a_damaged_pseudo_header_is_explained(tmp_path):
    key = "07" * 20
    line = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode beet aead rfc4106(gcm(aes)) 0x{key} 128"
    (tmp_path / "sad").write_text(f"{line} sel src 10.1.0.1/32 dst 10.2.0.1/32\n")
    write_raw_capture(tmp_path / "in", [Peer(beet(4, 4)).packet(1, b"\x11\x00\x09\x00" + bytes(20), 94)])
    found = [json.loads(run("decap", tmp_path / "in", "--sad", tmp_path / "sad", "--json", *way)) for way in WAYS]
    for report in found:
        assert report["linux_counters"] == {"XfrmInStateModeError": 1}
        assert [(why["cause"], why["detail"]) for why in report["why"]] == [
            (
                "mode",
                "0x00001001@192.0.2.2 is in beet mode, and what is inside is not a whole payload: set the peer's mode",
            )
        ]
    (tmp_path / "sad").write_text(f"{line} flag af-unspec\n")
    report = json.loads(run("decap", tmp_path / "in", "--sad", tmp_path / "sad", "--json"))
    assert "has no selector" in report["why"][0]["detail"]


def test_a_selector_that_is_no_pair_is_warned_of(sad, tmp_path):
    text = sad.read_text()
    capture = CAPTURES / SUITES[0]["file"]
    assert "mode beet wants" not in CliRunner().invoke(main, ["decap", str(capture), "--sad", str(sad)]).stderr
    sad.write_text(text.replace(" sel src 10.1.0.1/32 dst 10.2.0.1/32", "").replace("fd00:1::1/128", "fd00:1::/64"))
    result = CliRunner().invoke(main, ["decap", str(capture), "--sad", str(sad)])
    assert "mode beet wants `sel src A dst B`" in result.stderr
    assert "0x20000010@192.0.2.2, 0x20000020@2001:db8::2" in result.stderr


def test_audit_counts_it_as_modelled(sad):
    report = json.loads(run("audit", sad, "--model", "nvidia-mlx5-linux-packet", "--json"))
    assert report["sas"] == 4
    refused = report["models"][0]["refused"]
    assert refused
    assert all("mode beet is not offloaded" in each["why"] for each in refused)


def test_rows_of_esp_sa_keep_mode_and_inner_addresses(sad, tmp_path):
    suite = SUITES[0]
    write_raw_capture(tmp_path / "clear", [bytes.fromhex(suite["packets"][0]["inner_hex"])])
    run("encap", tmp_path / "clear", "--sad", sad, "-o", tmp_path / "esp", "--esp-sa", tmp_path / "rows")
    run("decap", tmp_path / "esp", "--sad", tmp_path / "rows", "-o", tmp_path / "back")
    assert read_raw_capture(tmp_path / "back")[0][1].hex() == suite["packets"][0]["inner_hex"]
