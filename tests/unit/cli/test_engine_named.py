"""Results say which engine sealed and opened, and how many packets each did where that was more than one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from espsim.aead.engines import ENGINES, engine_by_name, find
from espsim.aead.suites import Algorithm
from espsim.cli.main import main
from espsim.io.pcap import file_header, frame_header
from tests.support import Peer, gcm_sa, ipv4, udp, usable

LINE = "src 192.0.2.1 dst 192.0.2.2 proto esp spi {spi} reqid 1 mode tunnel replay-window 64 {algorithms}{rest}\n"
GCM, CCM = "aead rfc4106(gcm(aes)) 0x" + "07" * 20 + " 128", "aead rfc4309(ccm(aes)) 0x" + "07" * 19 + " 128"
CBC = "enc cbc(aes) 0x" + "07" * 16 + " auth-trunc hmac(sha256) 0x" + "08" * 32 + " 128"


def run(*args):
    result = CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def write(path, packets):
    frames = [frame_header(n * 10**6, len(packet), False) + packet for n, packet in enumerate(packets, 1)]
    path.write_bytes(file_header(101, False) + b"".join(frames))
    return path


def clear(tmp_path, count):
    """Clear packets for the SAs of `sad`, by turns: each takes its own UDP port."""
    return write(tmp_path / "clear.pcap", [ipv4(udp(bytes(n), 1000, 2000 + n % 3)) for n in range(count)])


def sad(tmp_path, *algorithms, rest=""):
    path = tmp_path / "sad.txt"
    lines = [
        LINE.format(spi=0x1001 + n, algorithms=a, rest=f" sel proto udp dport {2000 + n}{rest}")
        for n, a in enumerate(algorithms)
    ]
    path.write_text("".join(lines))
    return path


def both_ways(tmp_path, sad_path, count, *options):
    """JSON of encap, and of decap of what it made."""
    esp = tmp_path / "esp.pcap"
    out = json.loads(run("encap", clear(tmp_path, count), "-o", esp, "--sad", sad_path, "--json", *options))
    back = json.loads(run("decap", esp, "-o", tmp_path / "back.pcap", "--sad", sad_path, "--json", *options))
    return out, back


@pytest.mark.parametrize("name", [*ENGINES, "auto", "reference"])
def test_the_engine_is_named_however_few_packets_there_are(tmp_path, name):
    options = ["--reference"] if name == "reference" else ["--engine", name]
    engine = engine_by_name("cryptography") if name == "reference" else engine_by_name("auto")
    engine = usable(name) if name in ENGINES else engine
    for count in (0, 6):
        for told in both_ways(tmp_path, sad(tmp_path, GCM), count, *options):
            assert told["engine"] == engine.name
            assert told["engine_version"] == engine.version
            assert told["engine_isa"] == engine.isa
            assert "engines" not in told


@pytest.mark.parametrize("workers", [1, 2])
def test_packets_by_engine_where_the_chosen_one_lacks_a_suite(tmp_path, workers):
    usable("ipsec-mb")
    path = sad(tmp_path, GCM, CCM, CBC)
    out, back = both_ways(tmp_path, path, 30, "--engine", "ipsec-mb", "--workers", workers)
    for told in (out, back):
        assert told["engine"] == "ipsec-mb"
        assert told["engines"] == {"cryptography": 20, "ipsec-mb": 10}
    assert (out["sealed"], back["delivered"]) == (30, 30)


def test_packets_by_engine_where_the_chosen_one_did_none(tmp_path):
    usable("libcrypto")
    for told in both_ways(tmp_path, sad(tmp_path, CCM), 9, "--engine", "libcrypto"):
        assert (told["engine"], told["engines"]) == ("libcrypto", {"cryptography": 3})


def test_under_auto_the_next_engine_does_what_the_first_one_lacks(tmp_path):
    usable("ipsec-mb")
    usable("libcrypto")
    for told in both_ways(tmp_path, sad(tmp_path, GCM, CCM, CBC), 30):
        assert told["engine"] == "ipsec-mb"
        assert told["engines"] == {"cryptography": 10, "ipsec-mb": 10, "libcrypto": 10}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_reference_path_does_near_a_limit_is_its_engines(tmp_path, monkeypatch, workers):
    """Batches of 4: of 20 packets under a limit of 10, kernels do those before a batch that could meet it."""
    from espsim.batch.run import capture as run_capture

    monkeypatch.setattr(run_capture, "ROWS", 4)
    usable("libcrypto")
    path = sad(tmp_path, GCM, rest=" limit packet-hard 10")
    packets = [ipv4(udp(bytes(n), 1000, 2000)) for n in range(20)]
    esp = tmp_path / "esp.pcap"
    options = ["--sad", path, "--json", "--engine", "libcrypto", "--workers", workers]
    out = json.loads(run("encap", write(tmp_path / "in.pcap", packets), "-o", esp, *options))
    assert out["sealed"] == 10
    assert out["engines"] == {"cryptography": 2, "libcrypto": 8}
    back = json.loads(run("decap", esp, "-o", tmp_path / "back.pcap", *options))
    assert back["delivered"] == 10
    assert back["engines"] == {"cryptography": 2, "libcrypto": 8}


def test_a_device_that_uses_another_sas_keys_is_counted_by_the_keys(tmp_path):
    """marvell-cn10k-dpdk gives every packet of the SPI to one SA, whose suite the engine lacks."""
    usable("ipsec-mb")
    path = tmp_path / "sad.txt"
    first = LINE.format(spi=0x1001, algorithms=CBC, rest="")
    path.write_text(first + LINE.format(spi=0x1001, algorithms=GCM, rest="").replace("192.0.2.2", "192.0.2.9"))
    both = Algorithm("enc", "cbc(aes)", b"\7" * 16), Algorithm("auth-trunc", "hmac(sha256)", b"\x08" * 32, 128)
    peers = [Peer(replace(gcm_sa(), algorithms=both)), Peer(gcm_sa(dst="192.0.2.9", key_byte=7))]
    packets = [peers[n % 2].packet(n + 1, ipv4(bytes(40))) for n in range(10)]
    args = ["decap", write(tmp_path / "in.pcap", packets), "-o", tmp_path / "out.pcap", "--sad", path, "--json"]
    told = json.loads(run(*args, "--model", "marvell-cn10k-dpdk", "--engine", "ipsec-mb"))
    assert told["device"] == {"HIT": 5, "WRONG_SA": 5}
    assert told["engines"] == {"cryptography": 10}


def test_text_names_it_too(tmp_path):
    engine = engine_by_name("cryptography")
    isa = f"; {engine.isa}" if engine.isa else ""
    line = f"engine: cryptography ({engine.version}{isa})\n"
    esp, path = tmp_path / "esp.pcap", sad(tmp_path, GCM, CCM)
    assert line in run("encap", clear(tmp_path, 6), "-o", esp, "--sad", path, "--engine", "cryptography")
    assert line in run("decap", esp, "-o", tmp_path / "back.pcap", "--sad", path, "--reference")
    assert line in run("run", "duplicate-spi", "--policy", "rfc4301")
    if find("libcrypto").engine is not None:
        text = run("decap", esp, "-o", tmp_path / "back.pcap", "--sad", path, "--engine", "libcrypto")
        assert "engine: libcrypto (OpenSSL " in text
        assert "packets by engine: cryptography 2, libcrypto 2\n" in text


def test_run_names_it_at_the_top(tmp_path):
    engine = engine_by_name("cryptography")
    for args in (["duplicate-spi"], ["s02-android", "--policy", "rfc4301"], ["--thread", "--policy", "rfc4301"]):
        told = json.loads(run("run", *args, "--json"))
        assert (told["engine"], told["engine_version"], told["engine_isa"]) == (
            "cryptography", engine.version, engine.isa
        )  # fmt: skip
