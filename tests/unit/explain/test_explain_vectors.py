"""Published packets explained: nonce, AAD, ICV and plaintext as their sources state them; printed lines repeat them."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess

import pytest

from espsim.aead.suites import AEADS, CIPHERS, HASHES
from tests.command import espsim, espsim_text
from tests.support import ipv4, udp, vectors

SRC, DST = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


def published():
    for name in ("rfc7634_appendix_a.json", "draft_mcgrew_gcm_test_01.json", "rfc3602_esp_cases.json"):
        for vector in vectors(name)["vectors"]:
            if vector["packet"] and vector["spi"]:
                yield pytest.param(vector, id=vector["id"])


def dump_of(vector, packet):
    """`ip xfrm state` words of a vector's SA, its window at the number before the packet's."""
    key = f"0x{vector['key']}{vector['salt']}"
    algorithm = {
        "AES-GCM": f"aead 'rfc4106(gcm(aes))' {key} 128",
        "AES-GMAC": f"aead 'rfc4543(gcm(aes))' {key} 128",
        "CHACHA20-POLY1305": f"aead 'rfc7539esp(chacha20,poly1305)' {key} 128",
        "AES-CBC": f"enc 'cbc(aes)' {key}",
    }[vector["algorithm"]]
    src, dst = (".".join(map(str, packet[at : at + 4])) for at in (12, 16))
    esn = f" flag esn replay-seq-hi 0x{vector['seq'] >> 32:x}" if vector["esn"] else ""
    # A number below 256 is fine on receipt, though none would be allocated.
    return f"src {src} dst {dst} proto esp spi 0x{vector['spi']:08x} mode transport replay-window 32{esn} {algorithm}\n"


def packet_of(vector):
    if vector["ip_packet"]:
        return bytes.fromhex(vector["ip_packet"])
    esp = bytes.fromhex(vector["packet"])
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(esp), 0, 0, 64, 50, 0, SRC, DST) + esp


def test_spi_0_finds_no_sa(explained):
    """draft-mcgrew's test 4: RFC 4303 2.1 keeps SPI 0 off the wire, and Linux finds no state by it."""
    (vector,) = [v for v in vectors("draft_mcgrew_gcm_test_01.json")["vectors"] if v["spi"] == 0]
    packet = packet_of(vector)
    result = explained(packet, dump_of(vector, packet))
    assert (result["verdict"], result["nonce"], result["aad"], result["icv"]) == ("NO_SA", None, None, None)


@pytest.fixture
def explained(tmp_path):
    """Explains a packet under SAs: the JSON."""

    def run(packet, sas, *more):
        (tmp_path / "sad").write_text(sas)
        ended = espsim("explain", packet.hex(), "--sad", tmp_path / "sad", "--json", *more)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


@pytest.mark.parametrize("vector", list(published()))
def test_as_stated(vector, explained):
    packet = packet_of(vector)
    result = explained(packet, dump_of(vector, packet))
    authenc = vector["algorithm"] == "AES-CBC"
    assert result["nonce"] == (None if authenc else vector["salt"] + vector["iv"])
    assert result["aad"] == vector["aad"]
    assert result["icv"] == result["icv_expected"] == vector["icv"]
    assert result["plaintext"] == vector["plaintext"]
    assert (result["spi"], result["seq"]) == (vector["spi"], vector["seq"] & 0xFFFFFFFF)
    assert result["seq64"] == (vector["seq"] if vector["esn"] else vector["seq"] & 0xFFFFFFFF)
    assert (result["cause"] is None) == (result["verdict"] == "DELIVERED")
    assert_offsets(result, packet)


def assert_offsets(result, frame):
    """Every field that says where it is in the frame is there."""
    told = [field for step in result["steps"] for field in step["fields"]]
    for field in told:
        assert set(field) == {"name", "offset", "length", "hex", "value"}
        if field["offset"] is not None:
            assert frame[field["offset"] :][: field["length"]].hex() == field["hex"], field
    assert {field["offset"] for field in told} >= {0, 9, 20, 24, 28}  # version, protocol, SPI, number, IV


def every_suite():
    for name, suite in AEADS.items():
        for length in suite.key_lengths:
            for bits in suite.icv_bits:
                yield f"aead '{name}' 0x{bytes(range(1, length + suite.salt_length + 1)).hex()} {bits}"
    for cipher, needs in CIPHERS.items():
        for length in needs.key_sizes:
            key = f"0x{bytes(range(40, 40 + length)).hex()}" if length else '""'
            yield f"auth-trunc 'hmac(sha256)' 0x{'5c' * 32} 128 enc '{cipher}' {key}"
    for name, mac in HASHES.items():
        if mac.digest:
            for bits in mac.icv_bits:
                yield f"auth-trunc '{name}' 0x{'c5' * 20} {bits} enc 'cbc(aes)' 0x{'17' * 16}"
        for size in mac.key_lengths:
            yield f"auth-trunc '{name}' 0x{'c5' * size} 96 enc 'rfc3686(ctr(aes))' 0x{'17' * (size + 4)}"


def some_suites():
    """One of each kind of line; the others take long."""
    chosen = ("'rfc4106(gcm(aes))' 0x0102030405060708090a0b0c0d0e0f1011121314 64", "chacha", "16171819 96", "rfc4543",
              "cbc(aes)", "des3", "null", "md5", "iiv(rfc7539", "camellia", "xcbc", "cmac")  # fmt: skip
    some: list[object] = []
    seen: set[str] = set()
    for words in every_suite():
        kinds = {kind for kind in chosen if kind in words} - seen
        seen |= kinds
        some.append(pytest.param(words, id=f"{len(some)}", marks=() if kinds else (pytest.mark.long,)))
    return some


def sealed(tmp_path, sas):
    """A packet that `encap` made, from the IP header on."""
    (tmp_path / "sad").write_text(sas)
    inner = ipv4(udp(bytes(range(42))))
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + struct.pack("<IIII", 1, 0, *[len(inner)] * 2)
    (tmp_path / "clear").write_bytes(head + inner)
    ended = espsim("encap", tmp_path / "clear", "-o", tmp_path / "wire", "--sad", tmp_path / "sad", "--json",
                   "--reference")  # fmt: skip
    assert json.loads(ended.stdout)["sealed"] == 1
    return (tmp_path / "wire").read_bytes()[40:]


def repeated(result, keys):
    """What every printed line prints, run by a shell: {of: [output, ...]}."""
    lines = [repeat for step in result["steps"] for repeat in step["repeat"]]
    script = "\necho\n".join(line["command"] for line in lines)
    assert max(map(len, script.splitlines())) <= 80 or "KEY" not in keys
    ended = subprocess.run(["bash", "-ec", script], env=keys, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), script
    return list(zip((line["of"] for line in lines), ended.stdout.split(), strict=True))


def environment(words):
    """KEY, SALT and AUTH_KEY of an SA's words, and what a shell needs."""
    import os
    import sys
    from pathlib import Path

    found = [word[2:] for word in words.split() if word.startswith("0x")]
    keys = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "KEY": "", "AUTH_KEY": "", "SALT": ""}
    if words.startswith("aead"):
        salt = 2 * next(s.salt_length for n, s in AEADS.items() if f"'{n}'" in words)
        return {**keys, "KEY": found[0][:-salt], "SALT": found[0][-salt:]}
    key = found[1] if len(found) > 1 else ""
    if "ctr" in words:
        return {**keys, "AUTH_KEY": found[0], "KEY": key[:-8], "SALT": key[-8:]}
    return {**keys, "AUTH_KEY": found[0], "KEY": key}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
@pytest.mark.parametrize("words", some_suites())
def test_printed_lines_repeat_what_they_are_under(words, explained, tmp_path):
    shown = "chacha" in words
    sas = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x00001001 mode tunnel replay-window 64 flag esn {words}\n"
    packet = sealed(tmp_path, sas)
    result = explained(packet, sas, *(["--show-keys"] if shown else []))
    keys = environment(words)
    if shown:
        keys = {"PATH": keys["PATH"]}
    wanted = {
        "seq64": f"{result['seq64']:016x}", "nonce": result["nonce"], "AAD": result["aad"],
        "ICV": result["icv"], "plaintext": result["plaintext"],
        "counter block": f"{result['nonce']}00000001",
    }  # fmt: skip
    lines = repeated(result, keys)
    assert {of for of, _ in lines} >= {"seq64", "ICV", "checksum"}
    for of, printed in lines:
        if of != "checksum":
            assert printed == wanted[of], of
    checksums = [field["hex"] for step in result["steps"] for field in step["fields"] if field["name"] == "checksum"]
    assert [printed for of, printed in lines if of == "checksum"] == checksums[:2]

    # A byte changed: the line under the ICV gives the computed one, and the plaintext stays where it is.
    broken = packet[:40] + bytes((packet[40] ^ 1,)) + packet[41:]
    wrong = explained(broken, sas)
    assert (wrong["verdict"], wrong["plaintext"], wrong["inner"]) == ("INTEGRITY", None, None)
    assert wrong["icv_expected"] != wrong["icv"] == result["icv"]
    wrong["steps"] = [step for step in wrong["steps"] if step["step"] == "ICV"]
    assert repeated(wrong, environment(words)) == [("ICV", wrong["icv_expected"])]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
@pytest.mark.parametrize(
    "words",
    [
        f"aead 'rfc4309(ccm(aes))' 0x{'33' * 19} 64",
        f"aead 'rfc4106(gcm(aes))' 0x{'44' * 20} 96",
        f"auth-trunc 'hmac(sha1)' 0x{'5c' * 20} 96 enc 'cbc(aes)' 0x{'17' * 16}",
    ],
)
def test_printed_lines_seal_too(words, tmp_path):
    sas = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x00001001 mode tunnel {words}\n"
    (tmp_path / "sad").write_text(sas)
    clear = ipv4(udp(bytes(range(50)))).hex()
    result = json.loads(espsim("explain", clear, "--seal", "--sad", tmp_path / "sad", "--json").stdout)
    lines = dict(repeated(result, environment(words)))
    assert lines["ICV"] == result["icv"]
    if words.startswith("aead"):
        assert (lines["nonce"], lines["AAD"]) == (result["nonce"], result["aad"])
        assert result["packet"].endswith(lines["ciphertext"])
        assert lines["ciphertext"].endswith(result["icv"])
    else:
        assert result["packet"].endswith(lines["ciphertext"] + result["icv"])


def test_no_key_without_show_keys(explained, tmp_path):
    key, salt = "5e" * 15 + "c4", "d00dfeed"
    sas = (
        "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x00001001 mode tunnel replay-window 64"
        f" aead 'rfc4106(gcm(aes))' 0x{key}{salt} 128\n"
    )
    packet = sealed(tmp_path, sas)
    words = ("explain", packet.hex(), "--sad", tmp_path / "sad")
    _, text, _ = espsim_text(*words)
    plain = text.replace(" ", "")
    assert key not in plain
    assert salt not in plain
    assert "fingerprint" in text
    shown = espsim_text(*words, "--show-keys")[1]
    assert key in shown
    assert salt in shown
    result = json.loads(espsim_text(*words, "--json")[1])
    assert result["nonce"].startswith(salt)  # as its vectors state it: --help says so
    assert key not in json.dumps(result)
    assert salt not in json.dumps(result["steps"])
