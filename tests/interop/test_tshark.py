"""tshark decrypts what `espsim encap` writes, with the rows that `--esp-sa` writes, and finds every ICV good."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from espsim.cli.main import main
from tests.support import read_raw_capture, write_raw_capture

pytestmark = pytest.mark.interop
TSHARK = shutil.which("tshark")
if TSHARK is None:
    pytest.skip("tshark is not installed", allow_module_level=True)

KEY = bytes(range(0x21, 0x61)).hex()
SUITES = {
    "gcm128": f"aead 'rfc4106(gcm(aes))' 0x{KEY[:40]} 128",
    "gcm192": f"aead 'rfc4106(gcm(aes))' 0x{KEY[:56]} 128",
    "gcm256": f"aead 'rfc4106(gcm(aes))' 0x{KEY[:72]} 128",
    "gcm128-icv96": f"aead 'rfc4106(gcm(aes))' 0x{KEY[:40]} 96",
    "gcm256-icv64": f"aead 'rfc4106(gcm(aes))' 0x{KEY[:72]} 64",
    "cbc128-sha1": f"enc 'cbc(aes)' 0x{KEY[:32]} auth-trunc 'hmac(sha1)' 0x{KEY[:40]} 96",
    "cbc256-sha256": f"enc 'cbc(aes)' 0x{KEY[:64]} auth-trunc 'hmac(sha256)' 0x{KEY[:64]} 128",
    "cbc192-sha256-96": f"enc 'cbc(aes)' 0x{KEY[:48]} auth 'hmac(sha256)' 0x{KEY[:64]}",
    "cbc256-sha512": f"enc 'cbc(aes)' 0x{KEY[:64]} auth-trunc 'hmac(sha512)' 0x{KEY} 256",
    "ctr128-sha256": f"enc 'rfc3686(ctr(aes))' 0x{KEY[:40]} auth-trunc 'hmac(sha256)' 0x{KEY[:64]} 128",
    "ctr256-sha1": f"enc 'rfc3686(ctr(aes))' 0x{KEY[:72]} auth-trunc 'hmac(sha1)' 0x{KEY[:40]} 96",
    "null-sha1": f"enc 'ecb(cipher_null)' '' auth-trunc 'hmac(sha1)' 0x{KEY[:40]} 96",
    "null-sha256": f'enc "ecb(cipher_null)" "" auth-trunc "hmac(sha256)" 0x{KEY[:64]} 128',
}
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
MODES = ("tunnel", "transport")
SIZES = (1, 2, 13, 14, 15, 16, 200, 1300)


def udp_packet(version, src, dst, size):
    from espsim.core.address import parse_address
    from espsim.wire import ipv4, ipv6, udp

    a, b = parse_address(src), parse_address(dst)
    datagram = udp.emit(7777, 5555, bytes(range(256))[:size] + bytes(max(size - 256, 0)), (a, b))
    if version == 4:
        head = ipv4.emit(tos=0, payload_length=len(datagram), ident=1, flags=ipv4.DF, ttl=64, proto=17, src=a, dst=b)
    else:
        head = ipv6.emit(traffic_class=0, flow=0, payload_length=len(datagram), next_header=17, hops=64, src=a, dst=b)
    return head + datagram


def tshark(tmp_path, capture, *options):
    """(ICV good?, inner UDP payload) of each packet."""
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [
        TSHARK, "-n", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE",
        "-o", "esp.enable_authentication_check:TRUE", *options, "-T", "fields", "-E", "occurrence=l",
        "-e", "esp.icv_good", "-e", "udp.dstport", "-e", "data.data",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "esp_sa" not in done.stderr, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


ENCAPS = ["", "encap espinudp 4500 4500 0.0.0.0", "encap espinudp 4500 31002 0.0.0.0"]
CASES = [(suite, mode, outer, encap) for suite in SUITES for mode in MODES for outer in ENDS for encap in ENCAPS]


def clear_packets(mode, outer):
    ends = ENDS[outer] if mode == "transport" else ("10.1.0.1", "10.2.0.1")
    return [udp_packet(4 if mode == "tunnel" else outer, *ends, size) for size in SIZES]


@pytest.fixture(scope="session")
def decoded(tmp_path_factory):
    """Every case sealed by `encap`, an SPI each; what tshark, run once over all of them, says of each packet."""
    folder = tmp_path_factory.mktemp("tshark")
    packets, rows = [], []
    for spi, (suite, mode, outer, encap) in enumerate(CASES, 0x1001):
        src, dst = ENDS[outer]
        if outer == 6:
            encap = encap.replace("0.0.0.0", "::")  # noqa: S104, PLW2901 - iproute2's word for no address
        write_raw_capture(folder / "clear.pcap", clear_packets(mode, outer))
        (folder / "sad").write_text(
            f"ip xfrm state add src {src} dst {dst} proto esp spi {spi:#x} mode {mode} replay-window 64"
            f" {SUITES[suite]} {encap}\n"
        )
        args = ["encap", folder / "clear.pcap", "-o", folder / "esp.pcap", "--sad", folder / "sad"]
        args += ["--esp-sa", folder / "row"]
        assert CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False).exit_code == 0
        packets += [packet for _, packet in read_raw_capture(folder / "esp.pcap")]
        rows.append((folder / "row").read_text())
    (folder / "esp_sa").write_text("".join(rows))
    write_raw_capture(folder / "all.pcap", packets)
    said = tshark(folder, folder / "all.pcap", "-d", "udp.port==31002,udpencap")
    assert len(said) == len(CASES) * len(SIZES)
    return {case: said[n * len(SIZES) : (n + 1) * len(SIZES)] for n, case in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_every_icv_is_good_and_every_payload_right(decoded, case):
    _, mode, outer, _ = case
    rows = decoded[case]
    assert [row[0] for row in rows] == ["1"] * len(SIZES)
    assert [row[1] for row in rows] == ["5555"] * len(SIZES)
    sizes = zip(clear_packets(mode, outer), SIZES, strict=True)
    assert [row[2] for row in rows] == [packet[-size:].hex() for packet, size in sizes]


def test_esn_is_decrypted_and_its_epoch_is_named(tmp_path):
    """4.0 can't check an ICV with ESN; the payloads come out, and the file says which high half the row is for."""
    clear = [udp_packet(4, "10.1.0.1", "10.2.0.1", size) for size in SIZES]
    write_raw_capture(tmp_path / "clear.pcap", clear)
    (tmp_path / "sad").write_text(
        "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window 64 flag esn"
        f" replay-oseq-hi 7 {SUITES['cbc128-sha1']}\n"
    )
    args = ["encap", "clear.pcap", "-o", "esp.pcap", "--sad", "sad", "--esp-sa", "esp_sa"]
    args = [str(tmp_path / a) if a in ("clear.pcap", "esp.pcap", "sad", "esp_sa") else a for a in args]
    assert CliRunner().invoke(main, args, catch_exceptions=False).exit_code == 0
    assert "high 32 bits 0x00000007" in (tmp_path / "esp_sa").read_text()
    rows = tshark(tmp_path, tmp_path / "esp.pcap")
    assert [row[2] for row in rows] == [packet[-size:].hex() for packet, size in zip(clear, SIZES, strict=True)]


def test_a_capture_with_secrets_is_read_without_complaint(tmp_path):
    """Versions before 4.7 pass over the block; every packet is there, at its time."""
    lines = []
    for spi, (suite, version) in enumerate([(s, v) for s in SUITES for v in ENDS], 0x1001):
        src, dst = ENDS[version]
        sel = f"sel src 10.1.0.1/32 dst 10.2.0.{spi & 255}/32"
        lines.append(f"src {src} dst {dst} proto esp spi {spi:#x} mode tunnel replay-window 64 {SUITES[suite]} {sel}")
    (tmp_path / "sad").write_text("".join(f"ip xfrm state add {line}\n" for line in lines))
    clear = [udp_packet(4, "10.1.0.1", f"10.2.0.{spi & 255}", 40) for spi in range(0x1001, 0x1001 + len(lines))]
    write_raw_capture(tmp_path / "clear.pcap", clear)
    args = ["encap", tmp_path / "clear.pcap", "-o", tmp_path / "esp.pcapng", "--sad", tmp_path / "sad", "--secrets"]
    assert CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False).exit_code == 0
    command = [
        str(TSHARK),
        "-n",
        "-r",
        str(tmp_path / "esp.pcapng"),
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "esp.spi",
    ]
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert [line for line in done.stderr.splitlines() if not line.startswith("Running as user")] == []
    seen = [line.split("\t") for line in done.stdout.splitlines()]
    assert [int(spi, 16) for _, spi in seen] == list(range(0x1001, 0x1001 + len(lines)))
    assert [round(float(time)) for time, _ in seen] == [1_700_000_000 + n for n in range(len(lines))]
