"""tshark decrypts with the rows that we write: what we seal, and what Linux and others sent."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.io.capture import CaptureWriter, open_capture
from espsim.io.esp_sa import esp_sa_rows
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Mode, ReplayState, SecurityAssociation
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
    """tshark's fields, a list a packet; nothing may be said of our rows on standard error."""
    config = tmp_path / "config"
    config.mkdir(exist_ok=True)
    (config / "esp_sa").write_text("".join(f"{row}\n" for row in rows))
    args = ["tshark", "-r", str(capture), "-T", "fields", *(f"-e{field}" for field in fields), *options]
    args += ["-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"]
    args += ["-o", 'gui.column.format:"No.","%m"']
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


def seal(tmp_path, algs, *, v6=False, start=0, count=3, **options):
    options.setdefault("mode", Mode.TUNNEL)
    ends = ("2001:db8::1", "2001:db8::2") if v6 else ("192.0.2.1", "192.0.2.2")
    replay = ReplayState(oseq=start & 0xFFFFFFFF, oseq_hi=start >> 32)
    src, dst = map(parse_address, ends)
    sa = SecurityAssociation(src, dst, 0x1001, algorithms=algs, window=64, replay=replay, **options)
    outbound = Outbound(new_sad(sa), random.Random(1).randbytes)
    path = tmp_path / "sealed.pcap"
    epochs = []
    with CaptureWriter(str(path)) as writer:
        for n in range(count):
            sent = outbound.send(ip(v6), 0.0)
            assert sent is not None
            assert sent.packet is not None
            assert sent.seq64 is not None
            writer.write(sent.packet, n)
            epochs.append(sent.seq64 >> 32)
        writer.commit()
    return path, esp_sa_rows([(sa, epochs)])


SUITES = [
    *[("rfc4106(gcm(aes))", bits, key) for bits in (64, 96, 128) for key in (20, 28, 36)],
    *[("cbc(aes)", bits, key, auth) for bits, auth in ((96, "hmac(sha1)"), (128, "hmac(sha256)")) for key in (16, 32)],
    ("cbc(aes)", 96, 24, "hmac(sha256)"),
    ("cbc(aes)", 192, 16, "hmac(sha384)"),
    ("cbc(aes)", 256, 16, "hmac(sha512)"),
    ("ecb(cipher_null)", 96, 0, "hmac(sha1)"),
    ("ecb(cipher_null)", 128, 0, "hmac(sha256)"),
]
FIELDS = ("esp.icv_good", "esp.icv_bad", "udp.dstport", "data.data")


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: "-".join(map(str, s)))
def test_every_suite_decrypts_with_its_icv_good(tmp_path, suite):
    path, rows = seal(tmp_path, algorithms(*suite))
    assert tshark(tmp_path, path, rows, *FIELDS) == [["1", "0", "40002", TEXT.hex()]] * 3


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("mode", list(Mode))
def test_modes_and_families(tmp_path, mode, v6):
    path, rows = seal(tmp_path, algorithms("rfc4106(gcm(aes))", 128, 20), mode=mode, v6=v6)
    assert tshark(tmp_path, path, rows, *FIELDS) == [["1", "0", "40002", TEXT.hex()]] * 3


@pytest.mark.parametrize(
    ("suite", "icv"),
    [
        (("rfc4106(gcm(aes))", 128, 20), ["0", "1"]),  # the comment says so
        (("cbc(aes)", 128, 16, "hmac(sha256)"), ["0", "0"]),
        (("ecb(cipher_null)", 96, 0, "hmac(sha1)"), ["0", "0"]),
    ],
    ids=["gcm", "cbc", "null"],
)
def test_esn_decrypts_across_an_epoch(tmp_path, suite, icv):
    path, rows = seal(tmp_path, algorithms(*suite), flags=frozenset({"esn"}), start=0x5_FFFFFFFE)
    assert any("0x00000005, 0x00000006" in row for row in rows)
    got = tshark(tmp_path, path, rows, *FIELDS)
    assert got == [[*icv, "40002", TEXT.hex()]] * 3


@pytest.mark.parametrize(
    ("suite", "known"),
    [
        (("cbc(aes)", 256, 16, "hmac(sha256)"), True),
        (("cbc(aes)", 0, 16, "digest_null"), True),
        (("rfc7539esp(chacha20,poly1305)", 128, 36), False),
        (("rfc4309(ccm(aes))", 128, 19), False),
    ],
    ids=str,
)
def test_what_is_not_checked_or_not_known_does_no_harm(tmp_path, suite, known):
    path, rows = seal(tmp_path, algorithms(*suite))
    assert [row[3] for row in tshark(tmp_path, path, rows, *FIELDS)] == [TEXT.hex() if known else ""] * 3


@pytest.mark.parametrize(("sport", "dport", "told"), [(4500, 4500, False), (4500, 30000, False), (30001, 30000, True)])
def test_udp_encapsulation(tmp_path, sport, dport, told):
    algs = algorithms("rfc4106(gcm(aes))", 128, 20)
    path, rows = seal(tmp_path, algs, encap=Encap("espinudp", sport, dport, bytes(4)))
    hints = [row.rpartition("add ")[2].split() for row in rows if "udpencap" in row]
    assert bool(hints) is told
    options = [word for hint in hints for word in hint]
    assert tshark(tmp_path, path, rows, "esp.icv_good", "data.data", options=options) == [["1", TEXT.hex()]] * 3


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
