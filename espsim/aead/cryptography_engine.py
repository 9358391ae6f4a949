"""The `cryptography` engine: every suite, one object an SA. The reference path's, and the reference for other engines.

What this does not do: pad, number packets or draw IVs (reference/outbound.py). A new suite begins in suites.py.
"""

from __future__ import annotations

import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR, GCM

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # before 43
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES
try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia
except ImportError:  # before 47
    from cryptography.hazmat.primitives.ciphers.algorithms import Camellia

from espsim.aead.engine import BlockError, Transform
from espsim.aead.mac import keyed_mac
from espsim.aead.suites import SuiteKeys, SuiteKind, aad, implicit_iv

_BLOCK_CIPHERS: dict[str, Any] = {"cbc(aes)": AES, "cbc(camellia)": Camellia, "cbc(des3_ede)": TripleDES}


def aead_cipher(keys: SuiteKeys) -> Any:
    """The package's AEAD object for a suite that is one, with its `encrypt` and `decrypt`; None for the others."""
    cipher = keys.suite.cipher
    if cipher == "rfc4309(ccm(aes))":
        return AESCCM(keys.key, tag_length=keys.icv_length)
    if cipher == "rfc4106(gcm(aes))" and keys.icv_length == 16:
        return AESGCM(keys.key)
    return ChaCha20Poly1305(keys.key) if cipher == "rfc7539esp(chacha20,poly1305)" else None


class CryptographyEngine:
    """Seals and opens with pyca/cryptography (OpenSSL underneath)."""

    name = "cryptography"

    def transform(self, keys: SuiteKeys) -> Transform:
        """A transform for one SA's keys."""
        if keys.suite.kind is SuiteKind.AUTHENC:
            return _Ctr(keys) if keys.suite.cipher == "rfc3686(ctr(aes))" else _Authenc(keys)
        if keys.suite.kind is SuiteKind.GMAC:
            return _Gmac(keys)
        if keys.suite.name == "rfc4106(gcm(aes))" and keys.icv_length < 16:
            return _ShortGcm(keys)
        return _Aead(keys)


class _Aead:
    """GCM with a full ICV, CCM, ChaCha20-Poly1305; the IV in the packet, or implicit."""

    def __init__(self, keys: SuiteKeys) -> None:
        self._salt = keys.salt
        self._implicit_iv = keys.suite.implicit_iv
        self._cipher = aead_cipher(keys)

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        if self._implicit_iv:
            iv = implicit_iv(header, seq_hi)
        sealed: bytes = self._cipher.encrypt(self._salt + iv, plaintext, aad(header, seq_hi))
        return sealed

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
        if self._implicit_iv:
            iv = implicit_iv(header, seq_hi)
        try:
            plaintext: bytes = self._cipher.decrypt(self._salt + iv, body, aad(header, seq_hi))
        except InvalidTag:
            return None
        return plaintext


class _ShortGcm:
    """GCM with an ICV of 64 or 96 bits, which the AESGCM class does not offer."""

    def __init__(self, keys: SuiteKeys) -> None:
        self._key = AES(keys.key)
        self._salt = keys.salt
        self._icv_length = keys.icv_length

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        encryptor = Cipher(self._key, GCM(self._salt + iv)).encryptor()
        encryptor.authenticate_additional_data(aad(header, seq_hi))
        return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag[: self._icv_length]

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
        split = len(body) - self._icv_length
        mode = GCM(self._salt + iv, body[split:], min_tag_length=self._icv_length)
        decryptor = Cipher(self._key, mode).decryptor()
        decryptor.authenticate_additional_data(aad(header, seq_hi))
        plaintext = decryptor.update(body[:split])
        try:
            return plaintext + decryptor.finalize()
        except InvalidTag:
            return None


class _Gmac:
    """AES-GMAC (RFC 4543): the payload travels in clear; AAD = SPI, [seq_hi,] seq, IV, payload."""

    def __init__(self, keys: SuiteKeys) -> None:
        self._cipher = AESGCM(keys.key)
        self._salt = keys.salt

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        return plaintext + self._cipher.encrypt(self._salt + iv, b"", aad(header, seq_hi) + iv + plaintext)

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
        plaintext, icv = body[:-16], body[-16:]
        try:
            self._cipher.decrypt(self._salt + iv, icv, aad(header, seq_hi) + iv + plaintext)
        except InvalidTag:
            return None
        return plaintext


class _Authenc:
    """Encrypt, then MAC (RFC 4303 3.3.2, 3.4.4): the ICV over header, IV, ciphertext, ESN's high half comes first."""

    def __init__(self, keys: SuiteKeys) -> None:
        self._keys = keys
        self._cbc = _BLOCK_CIPHERS[keys.suite.cipher](keys.key) if keys.suite.block > 1 else None
        self._mac = keyed_mac(keys)

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        ciphertext = self._encrypt(iv, plaintext)
        return ciphertext + self._icv(header, iv, ciphertext, seq_hi)

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
        split = len(body) - self._keys.icv_length
        ciphertext = body[:split]
        if not hmac.compare_digest(self._icv(header, iv, ciphertext, seq_hi), body[split:]):
            return None
        return self._decrypt(iv, ciphertext)

    def _encrypt(self, iv: bytes, plaintext: bytes) -> bytes:
        if self._cbc is None:
            return plaintext
        encryptor = Cipher(self._cbc, CBC(iv)).encryptor()
        return encryptor.update(plaintext) + encryptor.finalize()

    def _decrypt(self, iv: bytes, ciphertext: bytes) -> bytes:
        if self._cbc is None:
            return ciphertext
        if len(ciphertext) % self._keys.suite.block:
            raise BlockError
        decryptor = Cipher(self._cbc, CBC(iv)).decryptor()
        return decryptor.update(ciphertext) + decryptor.finalize()

    def _icv(self, header: bytes, iv: bytes, ciphertext: bytes, seq_hi: bytes) -> bytes:
        if self._mac is None:
            return b""
        return self._mac.digest(header, iv, ciphertext, seq_hi)[: self._keys.icv_length]


class _Ctr(_Authenc):
    """AES-CTR: the counter block is the SA's nonce, the IV, and 00000001 for the first block (RFC 3686 4)."""

    def __init__(self, keys: SuiteKeys) -> None:
        super().__init__(keys)
        self._aes = AES(keys.key)

    def _encrypt(self, iv: bytes, plaintext: bytes) -> bytes:
        return Cipher(self._aes, CTR(counter_block(self._keys, iv))).encryptor().update(plaintext)

    def _decrypt(self, iv: bytes, ciphertext: bytes) -> bytes:
        return self._encrypt(iv, ciphertext)


def counter_block(keys: SuiteKeys, iv: bytes) -> bytes:
    """AES-CTR's first counter block (RFC 3686 4)."""
    return keys.salt + iv + (1).to_bytes(4)
