"""tshark decrypts with the rows that we write: what we seal, and what Linux and others sent."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.io.capture import CaptureWriter, open_capture
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Mode, ReplayState, SecurityAssociation
from espsim.text.esp_sa_write import esp_sa_rows
from tests.support import CAPTURES, new_sad, sa_of

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

MANIFEST = json.loads((CAPTURES / "manifest.json").read_text())
TEXT = b"espsim and tshark"
# IPv4, UDP 40001 -> 40002: ports that no dissector claims.
UDP = struct.pack(">HHHH", 40001, 40002, 8 + len(TEXT), 0) + TEXT


def ip(v6=False):
    if v6:
        ends = parse_address("2001:db8::1") + parse_address("2001:db8::2")
        return struct.pack(">IHBB", 6 << 28, len(UDP), 17, 64) + ends + UDP
    ends = parse_address("192.0.2.1") + parse_address("192.0.2.2")
    return struct.pack(">BBHIBBH", 0x45, 0, 20 + len(UDP), 0, 64, 17, 0) + ends + UDP


def tshark(tmp_path, capture, rows, *fields, options=()):
    """tshark's fields, a list for each packet; tshark must print nothing about our rows on standard error."""
    config = tmp_path / "config"
    config.mkdir(exist_ok=True)
    (config / "esp_sa").write_text("".join(f"{row}\n" for row in rows))
    args = ["tshark", "-r", str(capture), "-T", "fields", *(f"-e{field}" for field in fields), *options]
    args += ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]
    env = dict(os.environ, WIRESHARK_CONFIG_DIR=str(config))
    done = subprocess.run(args, capture_output=True, text=True, check=True, env=env)
    assert "esp_sa" not in done.stderr
    assert "ESP SAs" not in done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def algorithms(name, bits, key, auth=None):
    fill = random.Random(name + str(key)).randbytes
    if auth is None:
        return (Algorithm("aead", name, fill(key), bits),)
    return (Algorithm("enc", name, fill(key)), Algorithm("auth-trunc", auth, fill(32 if bits else 0), bits))


def seal(algs, *, spi=0x1001, v6=False, start=0, **options):
    """Three sealed packets of one SA, and its pair for esp_sa_rows."""
    options.setdefault("mode", Mode.TUNNEL)
    ends = ("2001:db8::1", "2001:db8::2") if v6 else ("192.0.2.1", "192.0.2.2")
    replay = ReplayState(oseq=start & 0xFFFFFFFF, oseq_hi=start >> 32)
    src, dst = map(parse_address, ends)
    sa = SecurityAssociation(src, dst, spi, algorithms=algs, window=64, replay=replay, **options)
    outbound = Outbound(new_sad(sa), random.Random(1).randbytes)
    sent = [s for s in (outbound.send(ip(v6)) for _ in range(3)) if s is not None]
    return [s.packet for s in sent], (sa, [s.seq64 >> 32 for s in sent if s.seq64 is not None])


def show(tmp_path, sealed, *fields, options=()):
    """What tshark says of these packets with the rows of their SAs, and the rows."""
    path = tmp_path / "sealed.pcap"
    with CaptureWriter(str(path)) as writer:
        for packets, _ in sealed:
            for packet in packets:
                writer.write(packet, 0)
        writer.commit()
    rows = esp_sa_rows([pair for _, pair in sealed])
    return tshark(tmp_path, path, rows, *fields, options=options), rows


SUITES = [
    *[("rfc4106(gcm(aes))", bits, key) for bits in (64, 96, 128) for key in (20, 28, 36)],
    *[("cbc(aes)", bits, key, auth) for bits, auth in ((96, "hmac(sha1)"), (128, "hmac(sha256)")) for key in (16, 32)],
    ("cbc(aes)", 96, 24, "hmac(sha256)"),
    ("cbc(aes)", 192, 16, "hmac(sha384)"),
    ("cbc(aes)", 256, 16, "hmac(sha512)"),
    ("rfc3686(ctr(aes))", 96, 28, "hmac(sha1)"),
    ("ecb(cipher_null)", 96, 0, "hmac(sha1)"),
    ("ecb(cipher_null)", 128, 0, "hmac(sha256)"),
]
FIELDS = ("esp.icv_good", "esp.icv_bad", "udp.dstport", "data.data")


GCM = ("rfc4106(gcm(aes))", 128, 20)


def test_every_suite_mode_and_family_decrypts_with_its_icv_good(tmp_path):
    """One table of many rows, as a user has it: each packet finds its own."""
    cases: list[tuple[Any, Any]] = [(suite, {}) for suite in SUITES]
    cases += [
        (suite, {"mode": mode, "v6": v6})
        for suite in SUITES[::8]
        for mode in (Mode.TRANSPORT, Mode.TUNNEL)
        for v6 in (False, True)
    ]
    sealed = [seal(algorithms(*suite), spi=0x1000 + n, **options) for n, (suite, options) in enumerate(cases)]
    got, _ = show(tmp_path, sealed, "esp.spi", *FIELDS)
    assert got == [[f"0x{0x1000 + n:08x}", "1", "0", "40002", TEXT.hex()] for n in range(len(cases)) for _ in range(3)]


def test_a_mac_that_wireshark_lacks_is_not_checked_and_the_packet_decrypts(tmp_path):
    """`ANY 96 bit authentication [no checking]`; what has no row says so."""
    suites = [("rfc3686(ctr(aes))", 96, 20, "xcbc(aes)"), ("cbc(aes)", 128, 16, "cmac(aes)"),
              ("cbc(camellia)", 96, 16, "hmac(sha1)")]  # fmt: skip
    sealed = [seal(algorithms(*suite), spi=0x1000 + n) for n, suite in enumerate(suites)]
    got, rows = show(tmp_path, sealed, *FIELDS)
    assert got[:6] == [["0", "0", "40002", TEXT.hex()]] * 6
    assert "Wireshark has no cbc(camellia)+hmac(sha1) with an ICV of 96 bits, no row" in "\n".join(rows)


def test_esn_decrypts_across_an_epoch(tmp_path):
    suites = [GCM, ("cbc(aes)", 128, 16, "hmac(sha256)"), ("ecb(cipher_null)", 96, 0, "hmac(sha1)")]
    options = {"flags": frozenset({"esn"}), "start": 0x5_FFFFFFFE}
    sealed = [seal(algorithms(*suite), spi=0x1000 + n, **options) for n, suite in enumerate(suites)]
    got, rows = show(tmp_path, sealed, *FIELDS)
    assert sum("high 32 bits 0x00000005, 0x00000006" in row for row in rows) == 3
    # AES-GCM's ICV is called bad, and its comment says so; the others' are not checked.
    icvs = [["0", "1"]] * 3 + [["0", "0"]] * 6
    assert got == [[*icv, "40002", TEXT.hex()] for icv in icvs]


def test_what_is_not_checked_or_not_known_does_no_harm(tmp_path):
    known = [("cbc(aes)", 256, 16, "hmac(sha256)"), ("cbc(aes)", 0, 16, "digest_null"), GCM]
    unknown = [("rfc7539esp(chacha20,poly1305)", 128, 36), ("rfc4309(ccm(aes))", 128, 19)]
    sealed = [seal(algorithms(*suite), spi=0x1000 + n) for n, suite in enumerate([*unknown, *known])]
    got, _ = show(tmp_path, sealed, "data.data")
    assert got == [[""]] * 6 + [[TEXT.hex()]] * 9


@pytest.mark.parametrize(("sport", "dport", "told"), [(4500, 4500, False), (4500, 30000, False), (30001, 30000, True)])
def test_udp_encapsulation(tmp_path, sport, dport, told):
    sealed = [seal(algorithms(*GCM), encap=Encap("espinudp", sport, dport, bytes(4)))]
    hints = [row.rpartition("add ")[2].split() for row in esp_sa_rows([sealed[0][1]]) if "udpencap" in row]
    assert bool(hints) is told
    options = [word for hint in hints for word in hint]
    got, _ = show(tmp_path, sealed, "esp.icv_good", "data.data", options=options)
    assert got == [["1", TEXT.hex()]] * 3


PLAIN = [c for c in MANIFEST["captures"] if "chacha" not in c["name"]]


@pytest.mark.parametrize("capture", PLAIN, ids=lambda c: c["name"])
def test_captures_of_others(tmp_path, capture):
    """Rows made of the SAs of a capture open what another implementation sealed. Odd UDP ports are told by the hint."""
    sas = [sa_of(item) for item in capture["sas"]]
    epochs = sorted({p["seq_hi"] for p in capture["packets"]})
    rows = esp_sa_rows([(sa, epochs) for sa in sas])
    options = [word for row in rows if "udpencap" in row for word in row.rpartition("add ")[2].split()]
    path = Path(CAPTURES / capture["file"])
    got = tshark(tmp_path, path, rows, "esp.spi", "esp.icv_good", "esp.protocol", options=options)
    esp = [row for row in got if row[0]]
    assert len(esp) == len(capture["packets"])
    assert all(protocol for _, _, protocol in esp)
    # 4.0 makes an ICV of 32-bit sequence numbers, so that ESN's is never good: the comment says so.
    assert sum(good == "1" for _, good, _ in esp) == (0 if any(sa.esn for sa in sas) else len(esp))


def test_tshark_reads_what_the_writer_writes(tmp_path):
    path = tmp_path / "out.pcap"
    times = [1_700_000_000_123_456_789, 0xFFFFFFFF * 10**9 + 5]
    for nanosecond in (False, True):
        with CaptureWriter(str(path), nanosecond=nanosecond) as writer:
            for time in times:
                writer.write(ip(), time)
            writer.commit()
        with open_capture(str(path)) as reader:
            kept = [f"{f.time_ns // 10**9}.{f.time_ns % 10**9:09d}" for f in reader]
        got = tshark(tmp_path, path, [], "frame.time_epoch", "udp.dstport")
        assert got == [[time, "40002"] for time in kept]
