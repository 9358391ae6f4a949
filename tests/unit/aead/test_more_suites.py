"""AES-CTR, Camellia-CBC, AES-XCBC-MAC, AES-CMAC and implicit IVs: published answers, and put together by hand."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.cmac import CMAC

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.icv import computed_icv
from espsim.aead.mac import keyed_mac
from espsim.aead.suites import AEADS, INSECURE, Algorithm, nonce, resolve, unprotected
from tests.support import vectors

HEADER, HI = bytes.fromhex("0000100100000007"), bytes.fromhex("00000005")
TEXT = bytes(range(50))
NULL = Algorithm("enc", "ecb(cipher_null)", b"")


def published(name):
    return [pytest.param(v, id=v["id"]) for v in vectors(f"{name}.json")["vectors"]]


def transform(*algorithms):
    return CryptographyEngine().transform(resolve(algorithms))


@pytest.mark.parametrize("v", published("rfc3686"))
def test_ctr_is_rfc_3686s(v):
    key, number, iv, text, sealed = (
        bytes.fromhex(v[name]) for name in ("key", "nonce", "iv", "plaintext", "ciphertext")
    )
    ours = transform(Algorithm("enc", "rfc3686(ctr(aes))", key + number))
    assert ours.seal(HEADER, b"", iv, text) == sealed
    assert ours.open(HEADER, b"", iv, sealed) == text


@pytest.mark.parametrize("v", published("rfc3713"))
def test_camellia_is_rfc_3713s(v):
    key, text, sealed = (bytes.fromhex(v[name]) for name in ("key", "plaintext", "ciphertext"))
    ours = transform(Algorithm("enc", "cbc(camellia)", key))
    assert ours.seal(HEADER, b"", bytes(16), text) == sealed
    assert ours.open(HEADER, b"", bytes(16), sealed) == text
    chained = ours.seal(HEADER, b"", bytes(16), text + bytes(a ^ b for a, b in zip(text, sealed, strict=True)))
    assert chained == sealed + sealed  # CBC: what is XORed with the block before


@pytest.mark.parametrize("bits", [96, 128])
@pytest.mark.parametrize(("name", "v"), [(name, param.values[0]) for file, name in (("rfc3566", "xcbc(aes)"),
                         ("rfc4493", "cmac(aes)")) for param in published(file)])  # fmt: skip
def test_the_aes_macs_are_their_rfcs(name, v, bits):
    message, mac = bytes.fromhex(v["message"]), bytes.fromhex(v["mac"])
    auth = Algorithm("auth-trunc", name, bytes.fromhex(v["key"]), bits)
    made = keyed_mac(resolve((NULL, auth)))
    assert made is not None
    assert [made.digest(message[:at], b"", message[at:]) for at in (0, 1, 16, len(message))] == [mac] * 4
    if len(message) >= 8:
        assert transform(NULL, auth).seal(message[:8], b"", b"", message[8:]) == message[8:] + mac[: bits // 8]


def xcbc_by_hand(key, message):
    """RFC 3566 4, block after block."""

    def aes(key, block):
        return Cipher(AES(key), ECB()).encryptor().update(block)  # noqa: S305 - single blocks

    one, two, three = (aes(key, bytes((n,)) * 16) for n in (1, 2, 3))
    state, blocks = bytes(16), [message[at : at + 16] for at in range(0, len(message), 16)] or [b""]
    for block in blocks[:-1]:
        state = aes(one[:16], bytes(a ^ b for a, b in zip(state, block, strict=True)))
    last, sub = (blocks[-1], two) if len(blocks[-1]) == 16 else ((blocks[-1] + b"\x80").ljust(16, b"\0"), three)
    return aes(one[:16], bytes(a ^ b ^ c for a, b, c in zip(state, last, sub, strict=True)))


@pytest.mark.parametrize("size", [16, 24, 32])
def test_the_aes_macs_cover_what_an_hmac_covers_with_any_aes_key(size):
    """RFC 4303 2.2.1 and 3.3.2; Linux takes keys that the RFCs have not (crypto/xcbc.c, crypto/cmac.c)."""
    mac_key, key, iv = bytes(range(size)), bytes(range(20)), b"iv-8byte"
    ciphertext = Cipher(AES(key[:16]), CTR(key[16:] + iv + bytes((0, 0, 0, 1)))).encryptor().update(TEXT)
    for hi in (b"", HI):
        covered = HEADER + iv + ciphertext + hi
        cmac = CMAC(AES(mac_key))
        cmac.update(covered)
        for name, icv in (("xcbc(aes)", xcbc_by_hand(mac_key, covered)), ("cmac(aes)", cmac.finalize())):
            enc, auth = Algorithm("enc", "rfc3686(ctr(aes))", key), Algorithm("auth", name, mac_key)
            ours = transform(enc, auth)  # `auth` without a length: 96 bits
            assert ours.seal(HEADER, hi, iv, TEXT) == ciphertext + icv[:12]
            assert ours.open(HEADER, hi, iv, ciphertext + icv[:12]) == TEXT
            assert ours.open(HEADER, b"\0\0\0\6", iv, ciphertext + icv[:12]) is None


@pytest.mark.parametrize("name", [name for name, suite in AEADS.items() if suite.implicit_iv])
@pytest.mark.parametrize(("hi", "number"), [(b"", "0000000000000007"), (HI, "0000000500000007")])
def test_an_implicit_iv_is_the_explicit_form_with_the_number_as_iv(name, hi, number):
    """RFC 8750 4: eight octets, the ESN, or four zeros and the sequence number; nothing of it travels."""
    implicit, explicit = AEADS[name], AEADS[name[4:-1]]
    assert (implicit.iv_length, explicit.iv_length) == (0, 8)
    for size in implicit.key_sizes:
        words = bytes(range(size)), implicit.icv_bits[0]
        ours, twin = transform(Algorithm("aead", name, *words)), transform(Algorithm("aead", explicit.name, *words))
        sealed = ours.seal(HEADER, hi, b"", TEXT)
        assert sealed == twin.seal(HEADER, hi, bytes.fromhex(number), TEXT)
        assert ours.open(HEADER, hi, b"", sealed) == TEXT
        keys = resolve([Algorithm("aead", name, *words)])
        assert nonce(keys, HEADER, hi, b"") == bytes(range(size))[size - implicit.salt_length :] + bytes.fromhex(number)
        icv = sealed[len(TEXT) :]
        assert computed_icv(keys, ours, HEADER, hi, b"", ciphertext=sealed[: len(TEXT)]) == icv


@pytest.mark.parametrize(("algorithms", "word"), [
    ((NULL,), "null"), ((NULL, Algorithm("auth", "digest_null", b"")), "null"),
    ((Algorithm("enc", "rfc3686(ctr(aes))", bytes(20)),), "ctr"),
    ((Algorithm("enc", "cbc(aes)", bytes(16)),), None),
    ((NULL, Algorithm("auth", "hmac(sha1)", b"k")), None),
    ((Algorithm("enc", "rfc3686(ctr(aes))", bytes(20)), Algorithm("auth", "cmac(aes)", bytes(16))), None),
])  # fmt: skip
def test_what_protects_nothing_is_named(algorithms, word):
    """The kernel takes all of these (authenc with digest_null); `encap` wants --insecure for them."""
    assert unprotected(resolve(algorithms)) == word
    assert word is None or word in INSECURE


@pytest.mark.parametrize(("algorithms", "words"), [
    ((Algorithm("enc", "rfc3686(ctr(aes))", bytes(16)),), "128 or 192 or 256 bits and 32 bits of nonce, not 128 bits"),
    ((NULL, Algorithm("auth", "xcbc(aes)", bytes(20))), "xcbc.aes. takes a key of 128 or 192 or 256 bits, not 160"),
    ((NULL, Algorithm("auth-trunc", "cmac(aes)", bytes(16), 64)), "an ICV of 96 or 128 bits, not 64"),
    ((Algorithm("aead", "iiv(rfc4309(ccm(aes)))", bytes(19), 128),), "takes an ICV of 64 bits, not 128"),
    ((Algorithm("enc", "cbc(camellia)", bytes(20)),), "128 or 192 or 256 bits, not 160"),
    ((NULL, Algorithm("auth", "hmac(rmd160)", bytes(20))), r"unknown auth algorithm 'hmac\(rmd160\)'"),
])  # fmt: skip
def test_wrong_lengths_are_said(algorithms, words):
    with pytest.raises(ValueError, match=words):
        resolve(algorithms)
