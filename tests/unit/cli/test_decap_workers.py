"""decap and encap with `--workers` on a system without room, and a SAD in which no packet finds an SA."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.io.pcap import file_header, frame_header
from tests.support import Peer, gcm_sa, ipv4
from tests.unit.batch.test_workers import room_for

ESP = (
    "src 192.0.2.1 dst 192.0.2.2 proto esp spi {spi} mode tunnel replay-window 64 aead rfc4106(gcm(aes)) 0x{key} 128\n"
)
AH = "src 10.0.0.1 dst 10.0.0.2 proto ah spi 0x100 mode tunnel replay-window 32 auth-trunc hmac(sha1) 0x{key} 96\n"


@pytest.fixture
def files(tmp_path):
    """A capture of ESP for two SAs, clear packets, and the SAs."""
    peers = [Peer(gcm_sa(spi=0x1000 + n, key_byte=n)) for n in (1, 2)]
    for name, packets in (
        ("esp", [peers[n % 2].packet(n + 1, ipv4(bytes(40))) for n in range(20)]),
        ("clear", [ipv4(bytes(40)) for _ in range(20)]),
    ):
        frames = [frame_header(n, len(packet), False) + packet for n, packet in enumerate(packets)]
        (tmp_path / f"{name}.pcap").write_bytes(file_header(101, False) + b"".join(frames))
    (tmp_path / "sad").write_text("".join(ESP.format(spi=0x1000 + n, key=bytes([n]).hex() * 20) for n in (1, 2)))
    return tmp_path


def run(files, command, *options):
    capture = files / ("esp.pcap" if command == "decap" else "clear.pcap")
    args = [command, capture, "-o", files / "out.pcap", "--sad", files / "sad", "--engine", "cryptography", *options]
    return CliRunner().invoke(main, list(map(str, args)))


@pytest.mark.parametrize("command", ["decap", "encap"])
@pytest.mark.parametrize("room", [4, 12, 30])
def test_too_few_file_descriptors_for_so_many_workers(files, command, room):
    assert run(files, command).exit_code == 0  # everything is imported
    (files / "out.pcap").unlink()
    with room_for(room):
        result = run(files, command, "--workers", 32)
    assert isinstance(result.exception, InputError)
    assert "of 32 workers run: Too many open files; give fewer, or raise its limits (`ulimit -n`" in str(
        result.exception
    )
    assert not multiprocessing.active_children()
    assert sorted(path.name for path in files.iterdir()) == ["clear.pcap", "esp.pcap", "sad"]


def test_too_few_processes_for_so_many_workers(files, monkeypatch):
    def fork():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    result = run(files, "decap", "--workers", 2)
    assert isinstance(result.exception, InputError)
    assert "--workers: this system lets 0 of 2 workers run: Resource temporarily unavailable" in str(result.exception)
    assert not (files / "out.pcap").exists()


@pytest.mark.parametrize("way", [[], ["--reference"], ["--workers", 2]])
def test_a_sad_without_esp_sas(files, way):
    """decap runs, and says why nothing is opened."""
    (files / "sad").write_text(AH.format(key="00" * 20))
    options = ["--json", *way]
    args = ["decap", files / "esp.pcap", "-o", files / "out.pcap", "--sad", files / "sad", *options]
    result = CliRunner().invoke(main, list(map(str, args)))
    assert result.exit_code == 0
    assert result.stderr == f"espsim: note: {files / 'sad'}: no usable ESP SA in it, so no packet finds one\n"
    told = json.loads(result.stdout)
    assert (told["packets"], told["verdicts"], told["by_sa"]) == (20, {"NO_SA": 20}, [])
    assert told["engine"]
    sealed = run(files, "encap", "--json")
    assert (sealed.exit_code, json.loads(sealed.stdout)["no_sa"]) == (0, 20)
    assert "no usable ESP SA in it" in sealed.stderr
    audit = CliRunner().invoke(main, ["audit", str(files / "sad"), "--model", "marvell-cn10k-dpdk"])
    assert isinstance(audit.exception, InputError)
    assert str(audit.exception).endswith("has no ESP SA")
