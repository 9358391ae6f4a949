"""cbc(des3_ede) and hmac(md5), for old captures and IMS: opened, sealed, said to be obsolete, refused by devices."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # before 43
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

from espsim.aead.engines import ENGINES
from espsim.aead.suites import Algorithm, resolve
from espsim.cli.main import main
from espsim.io.capture import CaptureWriter, open_capture
from espsim.offload.caps import cipher_name
from tests.support import ipv4, usable

CASES = Path(__file__).parents[2] / "vectors" / "cases"
WAYS = [("--reference",), *(("--engine", name) for name in ENGINES), ("--workers", "2")]
ENC, AUTH = bytes(range(24)), bytes(range(100, 116))
SAD = "ip xfrm state add src 10.1.0.1 dst 10.2.0.1 proto esp spi 0x1001 mode tunnel replay-window 32 {auth} enc {enc}\n"
SUITES = [
    ("auth-trunc hmac(md5) 0x{auth} 96", "cbc(des3_ede)", "md5", 12),
    ("auth hmac(md5) 0x{auth}", "cbc(des3_ede)", "md5", 12),
    ("auth-trunc hmac(md5) 0x{auth} 128", "cbc(aes)", "md5", 16),
    ("auth-trunc hmac(sha1) 0x{auth} 96", "des3_ede", "sha1", 12),
    ("auth md5 0x{auth}", "ecb(cipher_null)", "md5", 12),
]


def run(*args):
    return CliRunner().invoke(main, list(map(str, args)), catch_exceptions=False)


def there(way):
    if way[0] == "--engine":
        usable(way[1])


def sad(folder, auth, enc):
    key = b"" if enc == "ecb(cipher_null)" else ENC[: 16 if enc == "cbc(aes)" else 24]
    path = folder / "sad"
    words = f"{enc} 0x{key.hex()}" if key else f"{enc} ''"
    path.write_text(SAD.format(auth=auth.format(auth=AUTH.hex()), enc=words))
    return path


def by_hand(inner):
    """A packet under 3DES and HMAC-MD5-96, made of RFC 2451, RFC 2403 and the packages' primitives alone."""
    pad = -(len(inner) + 2) % 8
    clear = inner + bytes(range(1, pad + 1)) + bytes((pad, 4))
    iv = bytes(range(8))
    encryptor = Cipher(TripleDES(ENC), CBC(iv)).encryptor()
    head = struct.pack("!II", 0x1001, 1) + iv + encryptor.update(clear) + encryptor.finalize()
    return ipv4(head + hmac.new(AUTH, head, hashlib.md5).digest()[:12], proto=50)


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_the_case_and_a_packet_by_hand(tmp_path, way):
    there(way)
    result = run("decap", CASES / "d02-ims.pcap", "--sad", CASES / "d02-ims-md5.sad", "--json", *way)
    assert json.loads(result.stdout)["delivered"] == 1
    assert "note: obsolete, for old captures and IMS only (RFC 8221): hmac(md5): 0x00002001@" in result.stderr
    inner = ipv4(b"what was inside")
    path = sad(tmp_path, *SUITES[0][:2])
    for packet, verdict in ((by_hand(inner), "DELIVERED"), (by_hand(inner)[:-1] + b"\0", "INTEGRITY")):
        with CaptureWriter(str(tmp_path / "in")) as writer:
            writer.write(packet, 0)
            writer.commit()
        report = run("decap", tmp_path / "in", "--sad", path, "-o", tmp_path / "out", "--json", *way)
        assert json.loads(report.stdout)["verdicts"] == {verdict: 1}
        with open_capture(str(tmp_path / "out")) as reader:
            assert [frame.ip for frame in reader] == ([inner] if verdict == "DELIVERED" else [])


@pytest.mark.parametrize(("auth", "enc", "digest", "icv"), SUITES)
@pytest.mark.parametrize("way", [WAYS[0], ("--engine", "auto")], ids=" ".join)
def test_sealed_and_opened_again(tmp_path, way, auth, enc, digest, icv):
    packets = [ipv4(bytes(n)) for n in range(30)]
    with CaptureWriter(str(tmp_path / "in")) as writer:
        for n, packet in enumerate(packets):
            writer.write(packet, n)
        writer.commit()
    path, out = sad(tmp_path, auth, enc), tmp_path / "sealed"
    sealed = run("encap", tmp_path / "in", "--sad", path, "-o", out, "--esp-sa", tmp_path / "rows", "--json", *(
        way if way[0] == "--reference" else ()))  # fmt: skip
    assert json.loads(sealed.stdout)["sealed"] == 30
    with open_capture(str(out)) as reader:
        for frame in reader:
            esp = (frame.ip or b"")[20:]
            assert esp[-icv:] == hmac.new(AUTH, esp[:-icv], digest).digest()[:icv]
    opened = run("decap", out, "--sad", path, "-o", tmp_path / "clear", "--json", *way)
    assert json.loads(opened.stdout)["delivered"] == 30
    with open_capture(str(tmp_path / "clear")) as reader:
        assert [frame.ip for frame in reader] == packets
    rows = (tmp_path / "rows").read_text()
    assert ('"TripleDES-CBC [RFC2451]"' in rows) == ("des3" in enc)
    assert ('"HMAC-MD5-96 [RFC2403]"' in rows) == (digest == "md5" and icv == 12)


def test_no_device_takes_md5_and_most_no_3des(tmp_path):
    auth = Algorithm("auth", "hmac(md5)", AUTH)
    assert cipher_name(resolve([Algorithm("enc", "cbc(aes)", bytes(16)), auth])) == "aes-cbc+hmac(md5)"
    sha1 = Algorithm("auth", "hmac(sha1)", bytes(20))
    assert cipher_name(resolve([Algorithm("enc", "cbc(des3_ede)", ENC), sha1])) == "3des-cbc+hmac"
    result = run("audit", CASES / "c14-mixed-3des.txt", "--model", "nvidia-mlx5-linux-packet", "--json")
    report = json.loads(result.stdout)
    assert report["sas"] == 3
    assert report["models"][0]["fates"]["refused"] == 1


@pytest.mark.parametrize("size", [8, 16, 23, 25, 32])
def test_3des_takes_24_bytes(size):
    with pytest.raises(ValueError, match="takes a key of 192 bits"):
        resolve([Algorithm("enc", "cbc(des3_ede)", bytes(size)), Algorithm("auth", "hmac(md5)", AUTH)])
