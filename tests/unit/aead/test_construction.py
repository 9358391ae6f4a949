"""How each suite is put together, from the primitives alone: what the ICV covers, where the ESN's high half goes."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engine import BlockError
from espsim.aead.suites import HASHES, Algorithm, resolve
from tests.support import each_suite, suites

HEADER, HI = bytes.fromhex("0000100100000007"), bytes.fromhex("00000005")
ESN_AAD = bytes.fromhex("000010010000000500000007")
TEXT = bytes(range(48))


def transform(*algorithms):
    return CryptographyEngine().transform(resolve(algorithms))


@pytest.mark.parametrize("name", [n for n, h in HASHES.items() if h.digest])
@pytest.mark.parametrize("cipher", ["cbc(aes)", "ecb(cipher_null)"])
@pytest.mark.parametrize("hi", [b"", HI], ids=["plain", "esn"])
def test_encrypt_then_mac_over_header_iv_ciphertext_and_the_high_half(name, cipher, hi):
    """RFC 4303 2.2.1 and 3.3.2: the high half is not sent, and is the last that the MAC takes."""
    for bits in HASHES[name].icv_bits:
        key, mac_key, iv = bytes(range(32)), b"mac key", bytes(range(100, 116))
        ciphertext = TEXT
        if cipher == "cbc(aes)":
            encryptor = Cipher(AES(key), CBC(iv)).encryptor()
            ciphertext = encryptor.update(TEXT) + encryptor.finalize()
        else:
            key, iv = b"", b""
        ours = transform(Algorithm("enc", cipher, key), Algorithm("auth-trunc", name, mac_key, bits))
        digest = getattr(hashlib, HASHES[name].digest)
        icv = hmac.new(mac_key, HEADER + iv + ciphertext + hi, digest).digest()[: bits // 8]
        assert ours.seal(HEADER, hi, iv, TEXT) == ciphertext + icv
        assert ours.open(HEADER, hi, iv, ciphertext + icv) == TEXT
        assert ours.open(HEADER, b"\0\0\0\6", iv, ciphertext + icv) is None


@pytest.mark.parametrize(("hi", "aad"), [(b"", HEADER), (HI, ESN_AAD)], ids=["plain", "esn"])
def test_aeads_take_salt_and_iv_as_nonce_and_the_high_half_in_the_middle_of_the_aad(hi, aad):
    salt, iv = b"salt", b"iv-8byte"
    for size in (16, 24, 32):
        key = bytes(range(size))
        full = AESGCM(key).encrypt(salt + iv, TEXT, aad)
        for bits in (64, 96, 128):
            gcm = transform(Algorithm("aead", "rfc4106(gcm(aes))", key + salt, bits))
            assert gcm.seal(HEADER, hi, iv, TEXT) == full[: 48 + bits // 8]  # a shorter ICV is the front of the tag
            ccm = transform(Algorithm("aead", "rfc4309(ccm(aes))", key + salt[:3], bits))
            expected = AESCCM(key, tag_length=bits // 8).encrypt(salt[:3] + iv, TEXT, aad)
            assert ccm.seal(HEADER, hi, iv, TEXT) == expected
        gmac = transform(Algorithm("aead", "rfc4543(gcm(aes))", key + salt, 128))
        assert gmac.seal(HEADER, hi, iv, TEXT) == TEXT + AESGCM(key).encrypt(salt + iv, b"", aad + iv + TEXT)
    chacha = transform(Algorithm("aead", "rfc7539esp(chacha20,poly1305)", bytes(32) + salt, 128))
    assert chacha.seal(HEADER, hi, iv, TEXT) == ChaCha20Poly1305(bytes(32)).encrypt(salt + iv, TEXT, aad)


@pytest.mark.parametrize("name", each_suite())
def test_every_suite_opens_what_it_seals_down_to_nothing(name):
    keys = resolve(suites()[name])
    ours, iv = CryptographyEngine().transform(keys), bytes(keys.suite.iv_length)
    for size in (0, 16, 32):
        sealed = ours.seal(HEADER, b"", iv, TEXT[:size])
        assert len(sealed) == size + keys.icv_length
        assert ours.open(HEADER, b"", iv, sealed) == TEXT[:size]


def test_cbc_that_is_not_whole_blocks_is_told_apart_from_a_wrong_icv():
    null = transform(Algorithm("enc", "ecb(cipher_null)", b""), Algorithm("auth-trunc", "hmac(sha1)", b"k", 96))
    cbc = transform(Algorithm("enc", "cbc(aes)", bytes(16)), Algorithm("auth-trunc", "hmac(sha1)", b"k", 96))
    body = null.seal(HEADER, b"", b"", bytes(16) + b"odd")[16:]  # the MAC covers IV and "odd"
    with pytest.raises(BlockError):
        cbc.open(HEADER, b"", bytes(16), body)
    assert cbc.open(HEADER, b"", bytes(16), body[:-1] + b"x") is None
