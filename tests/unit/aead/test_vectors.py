"""Published ESP packets at the AEAD layer: what is stated opens to the plaintext and seals to the bytes."""

from __future__ import annotations

import pytest

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.suites import AEADS, HASHES, Algorithm, pack_seq_hi, resolve
from tests.support import vectors

AEAD_NAMES = {
    "AES-GCM": "rfc4106(gcm(aes))",
    "AES-GMAC": "rfc4543(gcm(aes))",
    "CHACHA20-POLY1305": "rfc7539esp(chacha20,poly1305)",
}
FULL_HASHES = {f"HMAC-{h.digest.upper()}-FULL": name for name, h in HASHES.items() if h.digest}


def published():
    for name in (
        "draft_mcgrew_gcm_test_01.json",
        "rfc7634_appendix_a.json",
        "rfc3602_esp_cases.json",
        "linux_testmgr_authenc_cbc.json",
    ):
        for vector in vectors(name)["vectors"]:
            yield pytest.param(vector, id=vector["id"])


PUBLISHED = list(published())


def algorithms(v):
    key = bytes.fromhex(v["key"])
    if v["algorithm"] == "AES-CBC":
        enc = Algorithm("enc", "cbc(aes)", key)
        if v["auth_algorithm"] is None:
            return (enc,)
        auth_key = bytes.fromhex(v["auth_key"])
        return (enc, Algorithm("auth-trunc", FULL_HASHES[v["auth_algorithm"]], auth_key, 8 * v["icv_len"]))
    return (Algorithm("aead", AEAD_NAMES[v["algorithm"]], key + bytes.fromhex(v["salt"]), 8 * v["icv_len"]),)


def seq_hi_of(v):
    return pack_seq_hi(v["seq"]) if v["esn"] else b""


def split(v):
    packet = bytes.fromhex(v["packet"])
    iv = len(v["iv"]) // 2
    return packet[:8], packet[8 : 8 + iv], packet[8 + iv :]


@pytest.mark.parametrize("v", PUBLISHED)
def test_opens_to_the_stated_plaintext(v):
    transform = CryptographyEngine().transform(resolve(algorithms(v)))
    header, iv, body = split(v)
    assert header == v["spi"].to_bytes(4) + (v["seq"] & 0xFFFFFFFF).to_bytes(4)
    plaintext = transform.open(header, seq_hi_of(v), iv, body)
    assert plaintext is not None
    assert plaintext.hex() == v["plaintext"]


@pytest.mark.parametrize("v", PUBLISHED)
def test_seals_to_the_stated_bytes(v):
    transform = CryptographyEngine().transform(resolve(algorithms(v)))
    header, iv, body = split(v)
    sealed = transform.seal(header, seq_hi_of(v), iv, bytes.fromhex(v["plaintext"]))
    assert sealed.hex() == body.hex() == v["ciphertext_icv"]


@pytest.mark.parametrize("v", [p for p in PUBLISHED if p.values[0]["icv_len"]])
def test_every_bit_of_the_icv_counts(v):
    transform = CryptographyEngine().transform(resolve(algorithms(v)))
    header, iv, body = split(v)
    seq_hi = seq_hi_of(v)
    for bit in range(8 * v["icv_len"]):
        forged = int.from_bytes(body) ^ (1 << bit)
        assert transform.open(header, seq_hi, iv, forged.to_bytes(len(body))) is None


@pytest.mark.parametrize("name", list(AEADS))
def test_the_esn_high_half_is_authenticated(name):
    suite = AEADS[name]
    key = bytes(range(suite.key_lengths[0] + suite.salt_length))
    for bits in suite.icv_bits:
        transform = CryptographyEngine().transform(resolve([Algorithm("aead", name, key, bits)]))
        header, iv = bytes(8), bytes(8)
        sealed = transform.seal(header, b"\0\0\0\1", iv, b"plaintext")
        assert len(sealed) == len(b"plaintext") + bits // 8
        assert transform.open(header, b"\0\0\0\1", iv, sealed) == b"plaintext"
        assert transform.open(header, b"\0\0\0\2", iv, sealed) is None
        assert transform.open(header, b"", iv, sealed) is None


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        (Algorithm("aead", "rfc4106(gcm(aes))", bytes(19), 128), "128 or 192 or 256 bits and 32 bits of salt"),
        (Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 0), "64 or 96 or 128 bits, not 0"),
        (Algorithm("aead", "rfc9999(rot13)", bytes(20), 128), "unknown aead algorithm 'rfc9999(rot13)'"),
        (Algorithm("enc", "cbc(aes)", bytes(15)), "128 or 192 or 256 bits, not 120"),
        (Algorithm("enc", "cbc(des)", bytes(8)), "unknown enc algorithm 'cbc(des)'"),
        (Algorithm("auth-trunc", "hmac(sha1)", bytes(20), 96), "`enc` with `auth`"),
    ],
)
def test_refuses_what_cannot_work_with_a_sentence(algorithm, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        resolve([algorithm])


def test_keys_show_in_no_repr():
    algorithm = Algorithm("aead", "rfc4106(gcm(aes))", b"\xde\xad\xbe\xef" * 5, 128)
    text = repr(algorithm) + repr(resolve([algorithm])) + repr((algorithm,))
    assert "dead" not in text.lower()
    assert r"\xde" not in text
