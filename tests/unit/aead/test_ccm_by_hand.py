"""AES-CCM from AES alone, as RFC 3610 section 2 defines it: the known answers of CCM follow from that."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from espsim.aead.known_answers import KNOWN_ANSWERS
from espsim.aead.suites import resolve

CCM = [a for a in KNOWN_ANSWERS if a.algorithms[0].name == "rfc4309(ccm(aes))"]


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def ccm(key, nonce, extra, plaintext, size):
    """RFC 3610 2.2 and 2.3: ciphertext and ICV of `size` bytes. RFC 4309's nonces leave 4 bytes for a length."""
    block = Cipher(AES(key), ECB()).encryptor().update  # noqa: S305 - CCM is made of single blocks
    width = 15 - len(nonce)
    flags = 64 + 8 * ((size - 2) // 2) + width - 1
    text = bytes([flags]) + nonce + len(plaintext).to_bytes(width)
    text += (len(extra).to_bytes(2) + extra).ljust(16, b"\0") + plaintext + bytes(-len(plaintext) % 16)
    mac = bytes(16)
    for at in range(0, len(text), 16):
        mac = block(xor(mac, text[at : at + 16]))
    keys = b"".join(block(bytes([width - 1]) + nonce + n.to_bytes(width)) for n in range(len(plaintext) // 16 + 2))
    return xor(plaintext, keys[16:]) + xor(mac[:size], keys)


def test_there_are_some():
    assert {(len(a.algorithms[0].key), a.algorithms[0].bits, a.seq_hi is None) for a in CCM} == {
        (19, 128, True), (27, 96, False), (35, 64, True)
    }  # fmt: skip


@pytest.mark.parametrize("answer", CCM, ids=lambda a: a.source)
def test_the_known_answers_follow_from_aes(answer):
    keys, packet = resolve(answer.algorithms), answer.packet
    hi = b"" if answer.seq_hi is None else answer.seq_hi.to_bytes(4)
    extra = packet[:4] + hi + packet[4:8]
    assert packet[16:] == ccm(keys.key, keys.salt + packet[8:16], extra, answer.plaintext, keys.icv_length)


def test_the_hand_is_right_about_packet_vector_1_of_rfc3610():
    key, nonce = bytes.fromhex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"), bytes.fromhex("00000003020100a0a1a2a3a4a5")
    want = "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"
    assert ccm(key, nonce, bytes(range(8)), bytes(range(8, 31)), 8).hex() == want
