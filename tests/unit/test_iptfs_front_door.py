"""IP-TFS through the library and the command line: packets are joined and cut, and come out again."""

from __future__ import annotations

import io
import json

import pytest

import espsim
from tests.command import espsim as run
from tests.foreign import gcm_words, inner_packet, pcap, sa_line

PACKETS = [inner_packet(bytes(size)) for size in (1, 40, 700, 3)]
OPTIONS = "iptfs-opts init-delay 500000 pkt-size 200"


def sad():
    return espsim.load_sad(io.StringIO(sa_line(gcm_words(), mode="iptfs", more=OPTIONS)))


def test_one_packet_does_not_wait_for_others():
    sent = espsim.seal_packet(sad(), PACKETS[2])
    assert sent is not None
    assert len(tuple(sent.wire())) == 5
    receiver = sad()
    found = [espsim.open_packet(receiver, packet) for packet in tuple(sent.wire())]
    assert [received.verdict.name for received in found if received is not None] == ["DELIVERED"] * 5


def test_batches():
    sealed = espsim.seal_batch(sad(), PACKETS, times=[0.0, 0.1, 1.0, 1.1])
    outers = [packet for row in range(4) for packet in sealed.outers[row]] + list(sealed.waiting)
    assert [sealed.packet(row) for row in range(4)] == [None] * 4
    assert len(sealed.outers[2]) == 1  # the first two, joined
    opened = espsim.open_batch(sad(), outers)
    assert [packet for row in range(len(outers)) for packet in opened.inners[row]] == PACKETS
    assert opened.inner(0) is None


@pytest.mark.parametrize("way", [("--reference",), ("--batch",), ("--workers", "2")])
def test_commands(tmp_path, way):
    (tmp_path / "sad").write_text(sa_line(gcm_words(), mode="iptfs", more=OPTIONS))
    clear = pcap(tmp_path / "clear", PACKETS)
    words = ("--sad", tmp_path / "sad", "--json", *way)
    told = json.loads(run("encap", clear, "-o", tmp_path / "esp", *words).stdout)
    assert (told["sealed"], told["iptfs"]["inner"], told["iptfs"]["fragments"]) == (4, 4, 5)
    back = json.loads(run("decap", tmp_path / "esp", "-o", tmp_path / "back", *words).stdout)
    assert back["iptfs"]["packets"] == told["iptfs"]["packets"] == back["delivered"]
    assert [frame.ip for frame in espsim.read_capture(tmp_path / "back")] == PACKETS


@pytest.mark.parametrize("how", ["--secrets", "--esp-sa"])
def test_keys_for_wireshark_say_the_mode(tmp_path, how):
    (tmp_path / "sad").write_text(sa_line(gcm_words(), mode="iptfs", more=OPTIONS))
    clear, words = pcap(tmp_path / "clear", PACKETS), ("--sad", tmp_path / "sad")
    rows = () if how == "--secrets" else (tmp_path / "rows",)
    run("encap", clear, "-o", tmp_path / "esp", *words, how, *rows)
    sads = ("--sad", *rows) if rows else ()
    back = json.loads(run("decap", tmp_path / "esp", "-o", tmp_path / "back", *sads, "--json").stdout)
    assert back["iptfs"]["inner"] == 4
    assert [frame.ip for frame in espsim.read_capture(tmp_path / "back")] == PACKETS
    if rows:
        assert "mode iptfs iptfs-opts init-delay 500000 pkt-size 200\n" in rows[0].read_text()


def test_refused_inner_packets_are_told_apart_from_delivered_esp_packets(tmp_path):
    (tmp_path / "sad").write_text(sa_line(gcm_words(), mode="iptfs", more=OPTIONS))
    (tmp_path / "spd").write_text("ip xfrm policy add src 10.9.0.0/16 dir in tmpl proto esp mode tunnel\n")
    run("encap", pcap(tmp_path / "clear", PACKETS), "-o", tmp_path / "esp", "--sad", tmp_path / "sad")
    said = run("decap", tmp_path / "esp", "--sad", tmp_path / "sad", "--spd", tmp_path / "spd").stdout.decode()
    assert "4 refused\nIP-TFS: selector or policies refused inner packets" in said
