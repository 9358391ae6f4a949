"""The `cryptography` engine: every suite, one object an SA. The default, and the reference for other engines."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, GCM

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # before 43
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

from espsim.aead.engine import BlockError, Transform
from espsim.aead.suites import HASHES, Kind, SuiteKeys, aad


def aead_cipher(keys: SuiteKeys) -> Any:
    """The package's AEAD object for a suite that is one, with its `encrypt` and `decrypt`; None for the others."""
    if keys.suite.name == "rfc4309(ccm(aes))":
        return AESCCM(keys.key, tag_length=keys.icv_length)
    if keys.suite.name == "rfc4106(gcm(aes))" and keys.icv_length == 16:
        return AESGCM(keys.key)
    return ChaCha20Poly1305(keys.key) if keys.suite.name == "rfc7539esp(chacha20,poly1305)" else None


class CryptographyEngine:
    """Seals and opens with pyca/cryptography (OpenSSL underneath)."""

    name = "cryptography"

    def transform(self, keys: SuiteKeys) -> Transform:
        """A transform for one SA's keys."""
        if keys.suite.kind is Kind.AUTHENC:
            return _Authenc(keys)
        if keys.suite.kind is Kind.GMAC:
            return _Gmac(keys)
        if keys.suite.name == "rfc4106(gcm(aes))" and keys.icv_length < 16:
            return _ShortGcm(keys)
        return _Aead(keys)


class _Aead:
    """GCM with a full ICV, CCM, ChaCha20-Poly1305."""

    def __init__(self, keys: SuiteKeys) -> None:
        self._salt = keys.salt
        self._cipher = aead_cipher(keys)

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        sealed: bytes = self._cipher.encrypt(self._salt + iv, plaintext, aad(header, seq_hi))
        return sealed

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
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
        self._block = keys.suite.block
        self._cbc = {16: AES, 8: TripleDES}[self._block](keys.key) if self._block > 1 else None
        digest = HASHES[keys.suite.auth or "digest_null"].digest
        # One keyed state an SA; each packet copies it, so the key is hashed once.
        self._mac = hmac.new(keys.auth_key, digestmod=getattr(hashlib, digest)) if digest else None
        self._icv_length = keys.icv_length

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        ciphertext = plaintext
        if self._cbc is not None:
            encryptor = Cipher(self._cbc, CBC(iv)).encryptor()
            ciphertext = encryptor.update(plaintext) + encryptor.finalize()
        return ciphertext + self._icv(header, iv, ciphertext, seq_hi)

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
        split = len(body) - self._icv_length
        ciphertext = body[:split]
        if not hmac.compare_digest(self._icv(header, iv, ciphertext, seq_hi), body[split:]):
            return None
        if self._cbc is None:
            return ciphertext
        if split % self._block:
            raise BlockError
        decryptor = Cipher(self._cbc, CBC(iv)).decryptor()
        return decryptor.update(ciphertext) + decryptor.finalize()

    def _icv(self, header: bytes, iv: bytes, ciphertext: bytes, seq_hi: bytes) -> bytes:
        if self._mac is None:
            return b""
        mac = self._mac.copy()
        mac.update(header)
        mac.update(iv)
        mac.update(ciphertext)
        mac.update(seq_hi)
        return mac.digest()[: self._icv_length]
