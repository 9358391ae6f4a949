"""decap and encap on the reference path, in batches and with workers: one answer; a lost worker leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from espsim.aead.engines import ENGINES, NOT_THERE, find
from espsim.cli.main import main
from espsim.io.pcap import file_header, frame_header
from tests.command import espsim, espsim_text, reaped
from tests.support import CAPTURES, Peer, gcm_sa, ipv4

MANIFEST = json.loads((CAPTURES / "manifest.json").read_text())
CAPTURE = next(c for c in MANIFEST["captures"] if "ip_xfrm_state" in c["sas"][0])
SA = "src 192.0.2.1 dst 192.0.2.2 proto esp spi {spi} mode tunnel replay-window 64 aead rfc4106(gcm(aes)) 0x{key} 128\n"


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def without_engine(text):
    """A result but for its path, and who sealed and opened: that is another engine's name on every way."""
    result = json.loads(text)
    result.pop("path")
    assert result.pop("engine") in ENGINES
    return {key: value for key, value in result.items() if not key.startswith("engine")}


def sad_file(tmp_path):
    path = tmp_path / "sad.txt"
    path.write_text("".join(SA.format(spi=0x1000 + n, key=bytes([n]).hex() * 20) for n in range(4)))
    return path


def block(kind, body):
    """A block of a little-endian pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def frames(count, first=1):
    """Bytes of frames for four SAs in turn, every fifth one forged and every seventh one not ESP."""
    peers = [Peer(gcm_sa(spi=0x1000 + n, key_byte=n)) for n in range(4)]
    data = b""
    for n in range(first, first + count):
        packet = peers[n % 4].packet(n, ipv4(bytes(n % 90 + 20)))
        if n % 5 == 0:
            packet = packet[:-1] + bytes((packet[-1] ^ 1,))
        if n % 7 == 0:
            packet = ipv4(b"no ESP")
        data += frame_header(n * 10**6, len(packet), False) + packet
    return data


@pytest.mark.parametrize("model", ["marvell-cn10k-dpdk", "marvell-cn10k-linux-v5", "nvidia-mlx5-linux-packet"])
def test_a_device_gives_the_same_files_and_report_in_batches(tmp_path, model):
    sad = sad_file(tmp_path)
    sad.write_text(sad.read_text() + SA.format(spi=0x1000, key="07" * 20).replace("192.0.2.2", "192.0.2.9"))
    stranger = Peer(gcm_sa(dst="192.0.2.9", spi=0x1000, key_byte=7))
    others = b"".join(
        frame_header(n, len(packet), False) + packet for n in range(20) if (packet := stranger.packet(n, ipv4(b"hi")))
    )
    (tmp_path / "in.pcap").write_bytes(file_header(101, False) + frames(100) + others + frames(50, 101))
    outputs = []
    for options in ([], ["--reference"]):
        out, lines = tmp_path / "out.pcap", tmp_path / "lines"
        args = ["decap", tmp_path / "in.pcap", "-o", out, "--sad", sad, "--verdicts", lines, "--json", "--model", model]
        result = run(*args, *options)
        assert result.exit_code == 0
        outputs.append((without_engine(result.stdout), out.read_bytes(), lines.read_text()))
    assert outputs[0] == outputs[1]
    assert sum(outputs[0][0]["device"].values()) == outputs[0][0]["packets"] > 100


@pytest.mark.parametrize("way", [["--reference"], ["--workers", 2], ["--workers", 3, "--engine", "cryptography"]])
def test_every_way_gives_the_same_files_and_report(tmp_path, way):
    sad = sad_file(tmp_path)
    (tmp_path / "in.pcap").write_bytes(file_header(101, False) + frames(500))
    outputs = []
    for name, options in (("default", []), ("other", way)):
        out, lines = tmp_path / f"{name}.pcap", tmp_path / f"{name}.jsonl"
        result = run("decap", tmp_path / "in.pcap", "-o", out, "--sad", sad, "--verdicts", lines, "--json", *options)
        assert result.exit_code == 0
        outputs.append((without_engine(result.stdout), out.read_bytes(), lines.read_text()))
    assert outputs[0] == outputs[1]
    assert outputs[0][0]["delivered"] > 300
    assert outputs[0][0]["verdicts"]["INTEGRITY"] == 86


@pytest.mark.parametrize("way", [["--batch"], ["--workers", 2]])
def test_times_and_lengths_on_the_wire_that_no_column_holds(tmp_path, way):
    """A clock of whole seconds ends after 2^64 of them, a column's after 2^63 ns; 2^32 bytes are more than 2^31."""
    packet, cut = (Peer(gcm_sa(spi=0x1000, key_byte=0)).packet(n, ipv4(bytes(20))) for n in (1, 2))
    cut = cut[:60]
    interface = block(1, struct.pack("<HHI", 101, 0, 0) + struct.pack("<HHB3x", 9, 1, 0))
    rows = [struct.pack("<IIIII", 0, 1 << 30, 7, len(data), wire) for data, wire in ((packet, 0), (cut, 0xFFFFFFFF))]
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    packets = block(6, rows[0] + packet) + block(6, rows[1] + cut)
    (tmp_path / "in.pcapng").write_bytes(section + interface + packets)
    outputs = []
    for options in (["--reference"], way):
        lines = tmp_path / "lines"
        args = ["decap", tmp_path / "in.pcapng", "--sad", sad_file(tmp_path), "--verdicts", lines, "--json", *options]
        outputs.append((without_engine(run(*args).stdout), lines.read_text()))
    assert outputs[0] == outputs[1]
    assert outputs[0][0]["verdicts"] == {"DELIVERED": 1, "TRUNCATED": 1}
    assert '"time": "9223372036.854775807"' in outputs[0][1]


@pytest.mark.parametrize("option", [["--engine", "cryptography"], ["--workers", 2]])
@pytest.mark.parametrize("command", ["decap", "encap"])
def test_reference_takes_no_engine_and_no_workers(tmp_path, command, option):
    out = tmp_path / "out.pcap"
    result = CliRunner().invoke(
        main,
        [command, str(CAPTURES / CAPTURE["file"]), "-o", str(out), "--sad", str(sad_file(tmp_path)), "--reference",
         *map(str, option)],
    )  # fmt: skip
    assert result.exit_code == 1
    assert f"{option[0]} needs the batch path" in str(result.exception)
    assert not out.exists()


@pytest.mark.parametrize("command", ["decap", "encap"])
@pytest.mark.parametrize("engine", ["rot13", *ENGINES])
def test_an_engine_that_is_not_there_is_an_error_by_name(tmp_path, command, engine):
    if engine in ENGINES and find(engine).state != NOT_THERE:
        pytest.skip(f"{engine} is there")
    out = tmp_path / "out.pcap"
    args = [command, CAPTURES / CAPTURE["file"], "-o", out, "--sad", sad_file(tmp_path), "--engine", engine]
    status, _, stderr = espsim_text(*args)
    assert status == 2
    assert engine in stderr
    assert len(stderr.splitlines()) == 1
    assert not out.exists()


def opened(fifo, process):
    """The writer's end, as soon as the process has opened the other one."""
    while True:
        assert process.poll() is None, process.communicate()
        try:
            fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        os.set_blocking(fd, True)
        return os.fdopen(fd, "wb", buffering=0)


def children(pid):
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("command", ["decap", pytest.param("encap", marks=pytest.mark.long)])
def test_a_worker_killed_in_mid_run(tmp_path, tmp_path_factory, command):
    """The command says so in one line, and neither output is there, nor anything beside it."""
    sad = sad_file(tmp_path)
    # Kernels that are not on disk yet would be compiled by processes that are no workers, and one of those be killed.
    before = tmp_path_factory.mktemp("before")
    (before / "in").write_bytes(file_header(101, False) + frames(50))
    assert espsim(command, before / "in", "-o", before / "out", "--sad", sad, "--batch").returncode == 0
    os.mkfifo(tmp_path / "in")
    out, extra = tmp_path / "out", tmp_path / "extra"
    extras = ["--verdicts" if command == "decap" else "--esp-sa", extra]
    process = subprocess.Popen(
        [sys.executable, "-m", "espsim", command, tmp_path / "in", "-o", out, "--sad", sad, "--workers", "2", *extras],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with reaped(process), opened(tmp_path / "in", process) as pipe:
        pipe.write(file_header(101, False) + frames(50))
        while not (workers := children(process.pid)):  # they are there when the first frames have been read
            assert process.poll() is None
        os.kill(workers[0], signal.SIGKILL)
        feeder = threading.Thread(target=feed, args=(pipe,))
        feeder.start()
        stdout, stderr = process.communicate(timeout=120)
        feeder.join()
    assert process.returncode == 2
    assert stdout == ""
    (line,) = stderr.splitlines()
    assert "of 2 was killed by signal 9 before its work was done" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "sad.txt"]


def feed(pipe):
    data = frames(50, 51)
    try:
        for _ in range(1000):
            pipe.write(data)
    except BrokenPipeError:
        return
