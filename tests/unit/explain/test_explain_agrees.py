"""explain and decap have the same verdict, counter and cause for every frame; its text fits, without escapes."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys

import pytest

from espsim.reference.outbound import Outbound
from espsim.sad.association import Mark
from espsim.text.show import format_sa_line
from tests.command import espsim, espsim_text
from tests.support import CAPTURES, VECTORS, gcm_sa, ipv4, new_sad, sa_of, udp

CASES = VECTORS / "cases"
FRAGMENTS = VECTORS / "fragments"
MANIFEST = json.loads((CAPTURES / "manifest.json").read_text())


def sources():
    """(name, capture, SAD, more options)."""
    for capture in MANIFEST["captures"]:
        words = "\n".join(format_sa_line(sa_of(sa)) for sa in capture["sas"])
        yield pytest.param(CAPTURES / f"{capture['name']}.pcap", words, (), id=capture["name"])
    for event in MANIFEST["events"]:
        words = event["sa"]["ip_xfrm_state"]
        yield pytest.param(CAPTURES / f"{event['name']}.pcap", words, (), id=event["name"])
        model = ("--model", "marvell-cn10k-linux-v5", "--assume", "model")
        yield pytest.param(CAPTURES / f"{event['name']}.pcap", words, model, id=f"{event['name']}, a device")
    for capture in json.loads((FRAGMENTS / "manifest.json").read_text())["captures"]:
        words = "\n".join(format_sa_line(sa_of(sa)) for sa in capture["sas"])
        for more in ((), ("--no-reassemble",)):
            yield pytest.param(FRAGMENTS / capture["file"], words, more, id=" ".join((capture["name"], *more)))
    for name, sad, more in (
        ("a1-esn-wrap", "a1-esn-wrap", ("--keep-window",)),
        ("d01-both", "d01-both-dir", ()),
        ("d01-both", "d01-both-nodir", ()),
        ("d02-ims", "d02-ims-md5", ()),
        ("l01-nflog", "link", ()),
        ("l04-pppoe", "link", ()),
        ("l14-gre", "link", ()),
        ("r13-mark", "r13-mark", ()),
        ("r13-mark", "r13-mark", ("--any-mark",)),
    ):
        sas = (CASES / f"{sad}.sad").read_text()
        yield pytest.param(CASES / f"{name}.pcap", sas, more, id=" ".join((name, sad, *more)))


@pytest.mark.parametrize(("capture", "sas", "more"), list(sources()))
def test_every_frame(capture, sas, more, tmp_path):
    (tmp_path / "sad").write_text(sas)
    words = (capture, "--sad", tmp_path / "sad", *more)
    lines = tmp_path / "lines"
    ended = espsim("decap", *words, "--verdicts", lines, "--reference")
    assert ended.returncode == 0, ended.stderr
    verdicts = [json.loads(line) for line in lines.read_text().splitlines()]
    for line in verdicts:
        ended = espsim("explain", *words, "--frame", line["frame"], "--json")
        if line["verdict"] == "ignored":
            assert ended.returncode == 2
            assert f"is not ESP, but {line['kind']}" in ended.stderr.decode()
            continue
        assert ended.returncode == 0, ended.stderr
        told = json.loads(ended.stdout)
        same = line.keys() & {"frame", "verdict", "linux_counter", "spi", "seq", "seq64", "sa", "cause", "datagram",
                              "device", "surfacing", "keys_of"}  # fmt: skip
        assert {key: told[key] for key in same} == {key: line[key] for key in same}
        assert (told["inner"] is not None) == (line["verdict"] in ("DELIVERED", "SENT"))
        frame = bytes.fromhex(told["bytes"])
        for step in told["steps"]:
            assert step["says"]
            assert step["source"]
            for field in step["fields"]:
                if field["offset"] is not None:
                    assert frame[field["offset"] :][: field["length"]].hex() == field["hex"], field
        assert told["steps"][-1]["step"] == "verdict"
    first = next((line["frame"] for line in verdicts if line["verdict"] != "ignored"), None)
    if first is not None:
        assert json.loads(espsim("explain", *words, "--json").stdout)["frame"] == first


def test_a_datagram_in_fragments(tmp_path):
    """The frame that completes a datagram is explained as the datagram; bytes of other frames have no offset."""
    capture = json.loads((FRAGMENTS / "manifest.json").read_text())["captures"][1]
    (tmp_path / "sad").write_text("\n".join(format_sa_line(sa_of(sa)) for sa in capture["sas"]))
    words = ("explain", FRAGMENTS / capture["file"], "--sad", tmp_path / "sad", "--json", "--frame")
    part = next(n for n in range(1, 23) if b'"verdict": "FRAGMENT"' in espsim(*words, n).stdout)
    first = json.loads(espsim(*words, part).stdout)
    assert (first["linux_counter"], first["cause"], first["frames"]) == (None, None, [part])
    told = json.loads(espsim(*words, first["datagram"]).stdout)
    assert (told["verdict"], told["frames"][0], told["frames"][-1]) == ("DELIVERED", part, told["frame"])
    fields = {f["name"]: f for step in told["steps"] if step["step"] in ("ESP header", "ESP payload", "ICV")
              for f in step["fields"]}  # fmt: skip
    assert fields["SPI"]["offset"] is None
    assert fields["ICV"]["offset"] is not None
    alone = json.loads(espsim(*words, first["datagram"], "--no-reassemble").stdout)
    assert (alone["verdict"], alone["plaintext"]) == ("FRAGMENT", None)


def pcap(*frames):
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    return head + b"".join(struct.pack("<IIII", 1, n, len(f), len(f)) + f for n, f in enumerate(frames))


def flipped(packet):
    return packet[:-1] + bytes((packet[-1] ^ 1,))


def sent(seqs, **options):
    """Packets of one SA, by number."""
    sa = gcm_sa(**options)
    sad = new_sad(sa)
    (entry,) = sad
    outbound = Outbound(sad, bytes)
    packets = []
    for seq in seqs:
        entry.send_next(seq)
        packets.append(outbound.send_with(entry, ipv4(udp(b"inner"))).packet or b"")
    return packets


def failing():
    """Packets that fail, and why; each list is a capture."""
    good = sent(range(1, 4))
    yield "damaged", [flipped(good[0]), flipped(good[1]), good[2]]
    yield "damaged", [good[0], *map(flipped, good[1:])]
    yield "key", [flipped(packet) for packet in good]
    yield "restart", sent([100_000, 1, 2, 3, 4])
    yield "too-old", sent([100_000, 70, 65, 66])
    yield "duplicate", [*good, *good]
    yield "other-sa", sent(range(1, 4), key_byte=9)
    yield "mark", sent([1], spi=0x1002)
    yield "unknown-spi", sent([1], spi=0x1003)
    yield "other-destination", sent([1], dst="192.0.2.9")
    yield "esn-flag", sent([1], flags=frozenset({"esn"}))
    yield "icv-length", [packet[:2] + (len(packet) - 4).to_bytes(2) + packet[4:-4] for packet in sent([1, 2])]
    yield "key", [flipped(packet) for packet in sent(range(1, 60))]  # more than are looked at


@pytest.mark.parametrize(
    ("cause", "packets"), list(failing()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_cause(cause, packets, tmp_path):
    sas = [gcm_sa(), gcm_sa(spi=0x1002, key_byte=9, mark=Mark(5, 0xFF))]
    (tmp_path / "sad").write_text("".join(f"{format_sa_line(sa)}\n" for sa in sas))
    (tmp_path / "c.pcap").write_bytes(pcap(*packets))
    words = (tmp_path / "c.pcap", "--sad", tmp_path / "sad")
    assert espsim("decap", *words, "--verdicts", tmp_path / "lines", "--reference").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert cause in {line["cause"] for line in lines}
    for line in lines:
        told = json.loads(espsim("explain", *words, "--frame", line["frame"], "--json").stdout)
        assert (told["verdict"], told["cause"]) == (line["verdict"], line["cause"])
        assert (told["detail"] is None) == (told["verdict"] == "DELIVERED")
        assert told["detail"] is None or told["detail"] in told["steps"][-1]["says"]


def test_from_a_pipe_nothing_more_is_read(tmp_path):
    """explain does not wait for a fragment's rest at the end of a pipe; here the pipe has more, which is not read."""
    (tmp_path / "sad").write_text(f"{format_sa_line(gcm_sa())}\n")
    words = ["explain", "-", "--sad", str(tmp_path / "sad"), "--frame", "1", "--json"]
    command = [sys.executable, "-m", "espsim", *words]
    first = pcap(flipped(sent([1])[0]))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(first)
        process.stdin.flush()
        told = json.loads(process.stdout.read())  # standard input is still open
    assert (process.returncode, told["verdict"], told["cause"]) == (0, "INTEGRITY", "key")


@pytest.mark.parametrize("seal", [False, True], ids=["opened", "sealed"])
@pytest.mark.parametrize("name", ["demo", "esn", "nat", "two-peers"])
def test_the_text_fits(name, seal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert espsim_text("samples", tmp_path)[0] == 0
    capture, sad = ("clear", "clear") if seal else (name, name)
    words = ("explain", f"{capture}.pcap", "--sad", f"{sad}.sad", *(["--seal"] if seal else []))
    for columns in (80, 60):
        status, text, _ = espsim_text(*words, "--width", columns)
        assert status == 0
        assert "\x1b" not in text
        told = [line for line in text.splitlines() if re.match(r"\d+\. |   |[0-9a-f]{4} ", line)]
        assert max(map(len, told)) <= columns  # lines for a shell have 80 columns whatever the width
        assert max(map(len, text.splitlines())) <= 80
    result = json.loads(espsim_text(*words, "--json")[1])
    for number, step in enumerate(result["steps"], 1):
        assert f"\n{number}. {step['step']}" in text


def test_a_terminal_gets_colours(monkeypatch, tmp_path):
    espsim_text("samples", tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = espsim_text("explain", tmp_path / "esn.pcap", "--sad", tmp_path / "esn.sad")[1]
    assert "\x1b[" in text
