"""The ICV that a received packet ought to have: computed over the ciphertext as it came, whatever ICV came with it.

An AEAD's tag covers the ciphertext, but libraries compute it from a plaintext. So the keystream is taken off here and
put on again by the SA's own transform. The plaintext in between is never returned, because nothing has verified it.

    GCM                 AES-CTR from J0 + 1, where J0 = nonce, 00000001      (NIST SP 800-38D 7)
    ChaCha20-Poly1305   ChaCha20 from block 1                                (RFC 8439 2.8)
    CCM                 AES-CTR from A_1: flags, nonce, 00000001             (RFC 3610 2.3)
    GMAC, NULL          the payload is in clear
    CBC, CTR and a MAC  the MAC is over the ciphertext
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import CTR

from espsim.aead.engine import Transform
from espsim.aead.mac import keyed_mac
from espsim.aead.suites import SuiteKeys, SuiteKind, nonce


def computed_icv(
    keys: SuiteKeys, transform: Transform, header: bytes, seq_hi: bytes, iv: bytes, *, ciphertext: bytes
) -> bytes:
    """The ICV over a received ciphertext, `keys.icv_length` bytes; the arguments are those of `Transform.open`."""
    if keys.suite.kind is SuiteKind.AUTHENC:
        mac = keyed_mac(keys)
        return mac.digest(header, iv, ciphertext, seq_hi)[: keys.icv_length] if mac is not None else b""
    clear = ciphertext
    if keys.suite.kind is not SuiteKind.GMAC:
        clear = _without_keystream(keys, nonce(keys, header, seq_hi, iv), ciphertext)
    sealed = transform.seal(header, seq_hi, iv, clear)
    return sealed[len(sealed) - keys.icv_length :]


def _without_keystream(keys: SuiteKeys, whole_nonce: bytes, ciphertext: bytes) -> bytes:
    cipher: Cipher[CTR] | Cipher[None]
    if keys.suite.cipher == "rfc7539esp(chacha20,poly1305)":
        cipher = Cipher(ChaCha20(keys.key, (1).to_bytes(4, "little") + whole_nonce), None)
    elif keys.suite.cipher == "rfc4309(ccm(aes))":
        width = 15 - len(whole_nonce)  # bytes of the counter
        cipher = Cipher(AES(keys.key), CTR(bytes((width - 1,)) + whole_nonce + (1).to_bytes(width)))
    else:
        cipher = Cipher(AES(keys.key), CTR(whole_nonce + (2).to_bytes(4)))
    return cipher.decryptor().update(ciphertext)
