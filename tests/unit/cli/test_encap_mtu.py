"""`encap --mtu` and `explain --seal --mtu` as a user runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espsim.io.pcap import file_header, frame_header
from tests.command import espsim_text
from tests.support import ipv4, ipv6, udp

SA = "src {} dst {} proto esp spi {} mode tunnel replay-window 64 aead rfc4106(gcm(aes)) 0x{} 128 sel {}\n"
SAD = SA.format("192.0.2.1", "192.0.2.2", "0x1001", "07" * 20, "src 10.1.0.0/16") + SA.format(
    "192.0.2.1", "192.0.2.2", "0x1002", "08" * 20, "src 2001:db8:1::/48"
)
DF = 0x4000
PACKETS = [
    ipv4(udp(bytes(100)), flags=DF), ipv4(udp(bytes(2000)), flags=DF), ipv4(udp(bytes(2000))), ipv6(udp(bytes(3000))),
    ipv6(bytes(2000), next_header=6), ipv4(udp(b"last"), flags=DF),
]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    rows = [frame_header(n * 10**6, len(packet), True) + packet for n, packet in enumerate(PACKETS)]
    (tmp_path / "in.pcap").write_bytes(file_header(101, True) + b"".join(rows))
    (tmp_path / "sad").write_text(SAD)
    return tmp_path


def encap(files, *options: object) -> tuple[dict[str, Any], bytes]:
    words = ("encap", files / "in.pcap", "-o", files / "out.pcap", "--sad", files / "sad", "--json", *options)
    status, out, err = espsim_text(*words)
    assert status == 0, err
    return json.loads(out), (files / "out.pcap").read_bytes()


@pytest.mark.parametrize("way", [("--reference",), ("--batch",), ("--workers", 2)])
def test_what_fits_is_said_and_the_rest_opens_again(files, way):
    result, _ = encap(files, "--mtu", 1400, *way)
    assert result["verdicts"] == {"PMTU": 1, "PMTU_SENDER": 1, "SEALED": 4}
    assert result["linux_counters"] == {"XfrmOutStateModeError": 1}
    assert result["mtu"] == {
        "mtu": 1400, "cut_inside": 1, "fragmented": 1,
        "fits": [{"sa": "0x00001001@192.0.2.2", "refused": 1, "inner": 1346},
                 {"sa": "0x00001002@192.0.2.2", "refused": 1, "inner": 1346}],
    }  # fmt: skip
    words = ("decap", files / "out.pcap", "-o", files / "clear.pcap", "--sad", files / "sad", "--json")
    opened = json.loads(espsim_text(*words)[1])
    assert (opened["delivered"], opened["packets"]) == (6, 6)
    assert opened["fragments"] == {"seen": 2, "datagrams": 1, "incomplete": 0}
    clear = (files / "clear.pcap").read_bytes()
    assert all(PACKETS[n] in clear for n in (0, 2, 5))
    assert PACKETS[3] not in clear  # its three fragments


def test_without_it_everything_leaves_whole(files):
    result, _ = encap(files)
    assert result["verdicts"] == {"SEALED": 6}
    assert "mtu" not in result


def test_an_mtu_of_68(files):
    result = encap(files, "--mtu", 68)[0]
    assert result["verdicts"] == {"PMTU": 3, "PMTU_SENDER": 2, "SEALED": 1}
    assert [one["inner"] for one in result["mtu"]["fits"]] == [14, 14]
    assert encap(files, "--mtu", 68, "--batch")[0]["mtu"] == result["mtu"]


def test_the_terminal_says_what_fits(files):
    words = ("encap", files / "in.pcap", "-o", files / "out.pcap", "--sad", files / "sad", "--mtu", 1400)
    out = espsim_text(*words)[1]
    assert "MTU 1400: 1 datagram cut inside, 1 ESP packet in fragments" in out
    assert "0x00001001@192.0.2.2: 1 refused; the largest inner packet that fits is 1346 bytes" in out


def test_the_high_halves_of_cut_datagrams_are_wiresharks_rows(files):
    (files / "sad").write_text(
        SAD.replace("replay-window 64 aead rfc4106(gcm(aes)) 0x08", "replay-window 64 flag esn replay-oseq 0xfffffffe"
                    " aead rfc4106(gcm(aes)) 0x08")
    )  # fmt: skip
    crossing = (files / "sad").read_text()
    rows = {}
    for name, sad in (("crossing", crossing), ("not", crossing.replace("0xfffffffe", "0x7"))):
        (files / "sad").write_text(sad)
        for way in ("--reference", "--batch"):
            encap(files, "--mtu", 1400, "--esp-sa", files / "rows", way)
            rows[name, way] = (files / "rows").read_text()
    assert rows["crossing", "--reference"] == rows["crossing", "--batch"]
    more = rows["crossing", "--batch"].count("0x00001002") - rows["not", "--batch"].count("0x00001002")
    assert more >= 1


@pytest.mark.parametrize("mtu", ["67", "0", "65536", "x"])
def test_an_mtu_that_is_none(files, mtu):
    words = ("encap", files / "in.pcap", "-o", files / "out.pcap", "--sad", files / "sad", "--mtu", mtu)
    status, _, err = espsim_text(*words)
    assert (status, (files / "out.pcap").exists()) == (2, False)
    assert "--mtu" in err


def explained(files, frame: int, *options: object) -> dict[str, Any]:
    words = ("explain", files / "in.pcap", "--sad", files / "sad", "--seal", "--json", "--frame", frame, *options)
    status, out, err = espsim_text(*words)
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_explain_shows_the_steps(files):
    refused = explained(files, 2, "--mtu", 1400)
    assert refused["verdict"] == "PMTU"
    assert refused["steps"][-1]["says"].endswith("the largest inner packet that fits is 1346 bytes")
    outside = explained(files, 3, "--mtu", 1400)
    (step,) = [step for step in outside["steps"] if step["step"] == "fragmentation outside"]
    assert "in 2 fragments" in step["says"]
    assert [len(packet) // 2 for packet in outside["leaves"]] == [field["value"] and int(field["value"].split()[0])
                                                                 for field in step["fields"]]  # fmt: skip
    inside = explained(files, 4, "--mtu", 1400)
    (step,) = [step for step in inside["steps"] if step["step"] == "fragmentation inside"]
    assert "cut into 3 fragments" in step["says"]
    assert len(inside["leaves"]) == 3
    assert [step["step"] for step in inside["steps"]].count("sequence number") == 1
    assert explained(files, 3)["verdict"] == "SEALED"
    assert len(explained(files, 3)["leaves"]) == 1


def test_explain_takes_it_with_seal_alone(files):
    status, _, err = espsim_text("explain", files / "in.pcap", "--sad", files / "sad", "--mtu", 1400)
    assert status == 2
    assert "--mtu needs --seal" in err
