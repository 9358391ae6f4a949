"""MACs for encrypt-then-MAC suites: one keyed object an SA, which computes the ICV of each packet.

HMAC            hashlib's (RFC 2104)
AES-CMAC        the `cryptography` package's (RFC 4493)
AES-XCBC-MAC    here, of the package's AES-CBC (RFC 3566 4): K1, K2, K3 are AES under the SA's key of blocks of 01,
                02, 03; a CBC-MAC under K1 whose last block is XORed with K2 if it is whole, else padded with 80 00
                ... and XORed with K3
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC

from espsim.aead.suites import HASHES, SuiteKeys

_BLOCK = 16


class Mac(Protocol):
    """One SA's MAC with its key set up."""

    def digest(self, *parts: bytes) -> bytes:
        """The whole MAC over the parts, one after another."""


def keyed_mac(keys: SuiteKeys) -> Mac | None:
    """The MAC of a suite that has one (`auth`), with its key; None for digest_null."""
    name = keys.suite.auth or "digest_null"
    if name == "xcbc(aes)":
        return _Xcbc(keys.auth_key)
    if name == "cmac(aes)":
        return _Cmac(keys.auth_key)
    digest = HASHES[name].digest
    return _Hmac(keys.auth_key, digest) if digest else None


class _Hmac:
    """Each packet copies the keyed state, so the key is hashed once."""

    def __init__(self, key: bytes, digest: str) -> None:
        self._state = hmac.new(key, digestmod=getattr(hashlib, digest))

    def digest(self, *parts: bytes) -> bytes:
        state = self._state.copy()
        for part in parts:
            state.update(part)
        return state.digest()


class _Cmac:
    """Each packet copies the keyed state, so that the subkeys are made once."""

    def __init__(self, key: bytes) -> None:
        self._state = CMAC(AES(key))

    def digest(self, *parts: bytes) -> bytes:
        state = self._state.copy()
        for part in parts:
            state.update(part)
        return state.finalize()


class _Xcbc:
    """The subkeys are made once an SA."""

    def __init__(self, key: bytes) -> None:
        blocks = b"".join(bytes((n,)) * _BLOCK for n in (1, 2, 3))
        made = Cipher(AES(key), ECB()).encryptor().update(blocks)  # noqa: S305 - three single blocks, as RFC 3566 says
        self._cipher = Cipher(AES(made[:_BLOCK]), CBC(bytes(_BLOCK)))
        self._whole = int.from_bytes(made[_BLOCK : 2 * _BLOCK])
        self._padded = int.from_bytes(made[2 * _BLOCK :])

    def digest(self, *parts: bytes) -> bytes:
        message = b"".join(parts)
        at = (len(message) - 1) // _BLOCK * _BLOCK if message else 0
        last, mask = message[at:], self._whole
        if len(last) < _BLOCK:
            last, mask = (last + b"\x80").ljust(_BLOCK, b"\0"), self._padded
        masked = (int.from_bytes(last) ^ mask).to_bytes(_BLOCK)
        return self._cipher.encryptor().update(message[:at] + masked)[-_BLOCK:]
