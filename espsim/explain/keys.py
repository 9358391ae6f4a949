"""How keys are shown: by fingerprint, or in full where the user asks for it.

A fingerprint is the first 8 hex digits of the key's SHA-256. It shows whether two ends have the same key. It lets
someone check a guess of the key, but so does the packet's ICV. It would give away a short key, so a salt (3 or 4 bytes)
and keys of less than 16 bytes have none.

    printf %s "$KEY" | xxd -r -p | sha256sum | cut -c 1-8
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from espsim.aead.suites import SuiteKeys, SuiteKind
from espsim.explain.steps import Field

_LEAST = 16


def fingerprint(key: bytes) -> str | None:
    """8 hex digits. None: the key is too short for a fingerprint."""
    return hashlib.sha256(key).hexdigest()[:8] if len(key) >= _LEAST else None


@dataclass(frozen=True, slots=True)
class Shown:
    """An SA's keys as an explanation shows them. `show`: in full."""

    keys: SuiteKeys
    show: bool

    @property
    def key(self) -> str:
        """The cipher's key in a command."""
        return self._word("KEY", self.keys.key)

    @property
    def salt(self) -> str:
        """The salt in a command."""
        return self._word("SALT", self.keys.salt)

    @property
    def auth_key(self) -> str:
        """The MAC's key in a command."""
        return self._word("AUTH_KEY", self.keys.auth_key)

    def fields(self) -> list[Field]:
        """The SA's keys, each with its fingerprint."""
        keys = self.keys
        authenc = keys.suite.kind is SuiteKind.AUTHENC
        named = [("KEY", keys.key), ("AUTH_KEY", keys.auth_key)] if authenc else [("KEY", keys.key)]
        found = [self._field(name, key) for name, key in named if key]
        return [*found, self.salt_field()] if keys.salt else found

    def salt_field(self) -> Field:
        """The salt, masked unless keys are shown."""
        salt = self.keys.salt
        if self.show:
            return Field("SALT", None, len(salt), salt.hex(), "of the SA")
        return Field("SALT", None, len(salt), None, "of the SA, hidden")

    def _field(self, name: str, key: bytes) -> Field:
        digest = fingerprint(key)
        value = f"{8 * len(key)} bits, " + (f"fingerprint {digest}" if digest else "too short for a fingerprint")
        return Field(name, None, len(key), key.hex() if self.show else None, value)

    def _word(self, name: str, key: bytes) -> str:
        return f'"{key.hex()}"' if self.show else f'"${name}"'
