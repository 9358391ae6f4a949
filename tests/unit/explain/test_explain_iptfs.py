"""`explain` of IP-TFS: the payload's header, each block with its borders, both ways."""

from __future__ import annotations

import json

import pytest

from tests.command import espsim, espsim_text
from tests.foreign import Sealer, gcm_words, inner_packet, pcap, sa_line
from tests.unit.reference.test_iptfs_captures import FOLDER, SUITES

PEER = Sealer()
A, B = inner_packet(b"first"), inner_packet(bytes(60), src="10.1.0.9")
BASIC = bytes(4)


@pytest.fixture
def explain(tmp_path):
    """The steps of the packet with this number, by name."""

    def ran(payloads, *, options="", frame=None):
        packets = [PEER.packet(number, payload, next_header=144) for number, payload in payloads]
        (tmp_path / "sad").write_text(sa_line(gcm_words(), mode="iptfs", more=options))
        words = ("--sad", tmp_path / "sad", "--json", "--frame", str(frame or len(packets)))
        return told(espsim("explain", pcap(tmp_path / "in", packets), *words).stdout)

    return ran


def told(text):
    result = json.loads(text)
    return result, {step["step"]: step for step in result["steps"]}


def blocks(steps):
    """Name, length and value of each block."""
    return [(field["name"], field["length"], field["value"]) for field in steps["data blocks"]["fields"]]


def test_a_capture_of_linux(tmp_path):
    (suite,) = (one for one in SUITES if "pkt300" in one["name"])
    (tmp_path / "sad").write_text("\n".join(sa["ip_xfrm_state_receiver"] for sa in suite["sas"]))
    words = ("explain", FOLDER / suite["file"], "--sad", tmp_path / "sad", "--json", "--frame")
    result, steps = told(espsim(*words, "9").stdout)
    assert "no block begins here: 468 bytes of one are left, and 260 are here" in steps["AGGFRAG header"]["says"]
    assert blocks(steps) == [
        ("block 1, 4 to 264", 260, "continues: neither its first nor its last part (of 728 bytes)")
    ]
    assert result["inners"] == []
    result, steps = told(espsim(*words, "1").stdout)
    assert [name for name, _, _ in blocks(steps)] == ["block 1, 4 to 32", "block 2, 32 to 68", "block 3, 68 to 152"]
    assert result["inners"] == [inner["inner_hex"] for inner in suite["inner"][:3]]
    assert steps["inner packet 3 of 3"]["says"] == "84 bytes, complete with this packet"


def test_blocks_of_every_kind(explain):
    _, steps = explain([(1, BASIC + A + B[:50])])
    assert blocks(steps) == [
        ("block 1, 4 to 37", 33, "a whole inner packet: IPv4, 33 bytes, 10.1.0.1 > 10.2.0.1"),
        ("block 2, 37 to 87", 50, "begins here and continues in the next packet: IPv4, 88 bytes, 10.1.0.9 > 10.2.0.1"),
    ]
    result, steps = explain([(1, BASIC + B[:50]), (2, b"\0\0\0\x26" + B[50:] + A + bytes(7))])
    assert [block[2].split(":")[0] for block in blocks(steps)] == [
        "the last part",
        "a whole inner packet",
        "padding to the end",
    ]
    assert result["inners"] == [B.hex(), A.hex()]
    result, steps = explain([(1, BASIC + A + b"\x90")])
    assert blocks(steps)[1][2].startswith("not a data block that can be read")
    assert (result["verdict"], result["cause"], result["inners"]) == ("IPTFS_BUFFER", "iptfs", [])


def test_headers(explain):
    _, steps = explain([(1, b"\1\0\0\0" + bytes(20) + A)])
    assert [field["name"] for field in steps["AGGFRAG header"]["fields"]][3:] == [
        "loss event rate", "RTT, echo delay, transmit delay", "TVal", "TEcho",
    ]  # fmt: skip
    _, steps = explain([(1, b"\0\0\0")])
    assert steps["AGGFRAG header"]["says"] == "3 bytes: the header is cut short"
    _, steps = explain([(1, b"\7\1\0\0" + A)])
    assert [field["value"] for field in steps["AGGFRAG header"]["fields"]] == ["7, not known", "0x01", 0]


def test_a_packet_that_waits_and_one_that_is_late(explain):
    result, steps = explain([(1, BASIC + A), (3, b"\0\0\0\x05" + B[83:] + A)], options="iptfs-opts drop-time 5000")
    assert "for 5 ms more at most" in steps["reorder window"]["says"]
    assert blocks(steps)[0][2] == "a part of an inner packet that began in an earlier packet"
    assert (result["verdict"], result["inners"]) == ("DELIVERED", [])
    result, steps = explain([(2, BASIC + A), (1, BASIC + B)])
    assert "too late" in steps["reorder window"]["says"]
    assert (result["verdict"], result["cause"]) == ("IPTFS_LATE", "reordered")


def test_another_next_header(tmp_path):
    (tmp_path / "sad").write_text(sa_line(gcm_words(), mode="iptfs"))
    packets = pcap(tmp_path / "in", [PEER.packet(1, A)])
    result, steps = told(espsim("explain", packets, "--sad", tmp_path / "sad", "--json").stdout)
    assert (result["verdict"], result["cause"]) == ("MODE", "mode")
    assert "next header 144" in steps["inner packet"]["says"]


def test_the_way_out(tmp_path):
    (tmp_path / "sad").write_text(sa_line(gcm_words(), mode="iptfs", more="iptfs-opts pkt-size 80 init-delay 9000000"))
    words = ("explain", pcap(tmp_path / "in", [A, B]), "--sad", tmp_path / "sad", "--seal", "--frame", "2")
    result, steps = told(espsim(*words, "--json").stdout)
    assert (result["verdict"], len(result["packets"]), result["seq"]) == ("SEALED", 4, 1)
    assert result["packet"] == result["bytes"] == result["packets"][0]
    assert "9000 ms" in steps["queue"]["says"]
    names = [step["step"] for step in result["steps"]]
    assert (names.count("AGGFRAG header"), names.count("data blocks"), names.count("ICV")) == (4, 4, 1)
    assert "a part of an inner packet that began in an earlier packet" in blocks(steps)[0][2]
    status, text, _ = espsim_text(*words, "--html", tmp_path / "page")
    assert status == 0
    assert "block 1, 4 to 37" in text
    assert "AGGFRAG" in (tmp_path / "page").read_text()
