"""libgcrypt seals what espsim seals, byte for byte: the library that tshark has, called from here with no code of ours.

AES-XCBC-MAC is not in it; its AES is, and RFC 3566 is written out over that.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import random
from typing import Any

import pytest

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.suites import AEADS, CIPHERS, HASHES, Algorithm, resolve

pytestmark = pytest.mark.interop
PATH = ctypes.util.find_library("gcrypt")
if PATH is None:
    pytest.skip("libgcrypt is not installed", allow_module_level=True)
LIB = ctypes.CDLL(PATH)
LIB.gcry_check_version.restype = ctypes.c_char_p
VERSION = LIB.gcry_check_version(None).decode()

# gcrypt.h: enum gcry_cipher_algos by key length, enum gcry_cipher_modes, enum gcry_mac_algos, enum gcry_ctl_cmds
AES, CAMELLIA, TRIPLE_DES, CHACHA = {16: 7, 24: 8, 32: 9}, {16: 310, 24: 311, 32: 312}, 2, 316
ECB, CBC, CTR, CCM, GCM, POLY1305 = 1, 3, 6, 8, 9, 10
HMACS = {"hmac(sha256)": 101, "hmac(sha512)": 103, "hmac(sha384)": 104, "hmac(sha1)": 105, "hmac(md5)": 106}
CMAC_AES, SET_CCM_LENGTHS = 201, 69

CIPHER_SUITES = ("cbc(aes)", "cbc(camellia)", "cbc(des3_ede)", "rfc3686(ctr(aes))", "ecb(cipher_null)")
MACS = (*HMACS, "cmac(aes)", "xcbc(aes)")
AEAD_SUITES = ("rfc4106(gcm(aes))", "rfc4309(ccm(aes))", "rfc7539esp(chacha20,poly1305)")
HEADER, HI = bytes.fromhex("0000100100000007"), bytes.fromhex("00000005")


def good(code):
    assert code == 0, f"libgcrypt {VERSION}: error {code & 0xFFFF}"


def encrypt(algorithm, mode, key, text, *, iv=b"", counter=b"", aad=None, tag=0):
    """Ciphertext, and the tag of an AEAD."""
    handle, out, made = ctypes.c_void_p(), ctypes.create_string_buffer(len(text) + 1), ctypes.create_string_buffer(17)
    size = ctypes.c_size_t
    good(LIB.gcry_cipher_open(ctypes.byref(handle), algorithm, mode, 0))
    good(LIB.gcry_cipher_setkey(handle, key, size(len(key))))
    if iv:
        good(LIB.gcry_cipher_setiv(handle, iv, size(len(iv))))
    if counter:
        good(LIB.gcry_cipher_setctr(handle, counter, size(len(counter))))
    if mode == CCM:
        lengths = (ctypes.c_uint64 * 3)(len(text), len(aad or b""), tag)
        good(LIB.gcry_cipher_ctl(handle, SET_CCM_LENGTHS, ctypes.byref(lengths), size(24)))
    if aad is not None:
        good(LIB.gcry_cipher_authenticate(handle, aad, size(len(aad))))
    good(LIB.gcry_cipher_encrypt(handle, out, size(len(text)), text, size(len(text))))
    if tag:
        good(LIB.gcry_cipher_gettag(handle, made, size(tag if mode == CCM else 16)))
    LIB.gcry_cipher_close(handle)
    return out.raw[: len(text)] + made.raw[:tag]


def mac(name, key, message):
    if name == "xcbc(aes)":
        keys = encrypt(AES[len(key)], ECB, key, b"".join(bytes((n,)) * 16 for n in (1, 2, 3)))
        at = (len(message) - 1) // 16 * 16
        last, sub = message[at:], keys[16:32]
        if len(last) < 16:
            last, sub = (last + b"\x80").ljust(16, b"\0"), keys[32:]
        last = bytes(a ^ b for a, b in zip(last, sub, strict=True))
        return encrypt(AES[16], CBC, keys[:16], message[:at] + last, iv=bytes(16))[-16:]
    handle, out, length = ctypes.c_void_p(), ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    good(LIB.gcry_mac_open(ctypes.byref(handle), HMACS.get(name, CMAC_AES), 0, None))
    good(LIB.gcry_mac_setkey(handle, key, ctypes.c_size_t(len(key))))
    good(LIB.gcry_mac_write(handle, message, ctypes.c_size_t(len(message))))
    good(LIB.gcry_mac_read(handle, out, ctypes.byref(length)))
    LIB.gcry_mac_close(handle)
    return out.raw[: length.value]


def ciphertext(name, key, iv, text):
    if name == "ecb(cipher_null)":
        return text
    if name == "rfc3686(ctr(aes))":
        return encrypt(AES[len(key) - 4], CTR, key[:-4], text, counter=key[-4:] + iv + bytes((0, 0, 0, 1)))
    algorithm = {"cbc(aes)": AES, "cbc(camellia)": CAMELLIA}.get(name, {24: TRIPLE_DES})[len(key)]
    return encrypt(algorithm, CBC, key, text, iv=iv)


def ours(*algorithms) -> Any:
    return CryptographyEngine().transform(resolve(algorithms))


@pytest.mark.parametrize("name", MACS)
@pytest.mark.parametrize("cipher", CIPHER_SUITES)
def test_encrypt_then_mac(cipher, name):
    rng = random.Random(cipher + name)
    for size in CIPHERS[cipher].key_sizes:
        for bits in HASHES[name].icv_bits:
            mac_key = rng.randbytes(rng.choice(HASHES[name].key_lengths or (20, 32, 64)))
            key, iv, text = rng.randbytes(size), rng.randbytes(CIPHERS[cipher].iv_length), rng.randbytes(144)
            sealed = ciphertext(cipher, key, iv, text)
            transform = ours(Algorithm("enc", cipher, key), Algorithm("auth-trunc", name, mac_key, bits))
            for hi in (b"", HI):
                icv = mac(name, mac_key, HEADER + iv + sealed + hi)[: bits // 8]
                assert transform.seal(HEADER, hi, iv, text) == sealed + icv
                assert transform.open(HEADER, hi, iv, sealed + icv) == text


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", AEAD_SUITES)
def test_aeads(name, implicit):
    rng = random.Random(name)
    suite = AEADS[f"iiv({name})" if implicit else name]
    mode = {"rfc4106(gcm(aes))": GCM, "rfc4309(ccm(aes))": CCM}.get(name, POLY1305)
    for size in suite.key_lengths:
        for bits in suite.icv_bits:
            key, salt, text = rng.randbytes(size), rng.randbytes(suite.salt_length), rng.randbytes(71)
            transform = ours(Algorithm("aead", suite.name, key + salt, bits))
            for hi in (b"", HI):
                iv = b"" if implicit else rng.randbytes(8)
                number = iv or (hi or bytes(4)) + HEADER[4:]
                algorithm = CHACHA if mode == POLY1305 else AES[size]
                aad = HEADER[:4] + hi + HEADER[4:]
                sealed = encrypt(algorithm, mode, key, text, iv=salt + number, aad=aad, tag=bits // 8)
                assert transform.seal(HEADER, hi, iv, text) == sealed
                assert transform.open(HEADER, hi, iv, sealed) == text
