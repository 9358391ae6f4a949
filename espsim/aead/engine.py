"""What an engine is: keys in, a `Transform` out, and every engine's answers equal byte for byte."""

from __future__ import annotations

from typing import Protocol

from espsim.aead.suites import SuiteKeys


class Transform(Protocol):
    """One SA's algorithm with its keys set up."""

    def seal(self, header: bytes, seq_hi: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """Ciphertext and ICV of `plaintext` (payload, padding, pad length, next header).

        `header` is the ESP header (8 bytes), `seq_hi` 4 bytes with ESN, else empty. `plaintext` must be whole blocks.
        """

    def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
        """The plaintext of `body` (ciphertext and ICV, at least the ICV long), or None where the ICV is wrong.

        Raises BlockError where the ICV is right but the ciphertext is not whole blocks.
        """


class BlockError(Exception):
    """The ICV was right, but the ciphertext is not a whole number of the cipher's blocks."""


class EngineError(Exception):
    """An engine cannot be used: its library is missing, too old, or breaks down. The text says which."""


class WrongEngineError(EngineError):
    """An engine is there and does what it must not: it failed its proof. The text says at what."""


class Engine(Protocol):
    """Makes transforms. `name` is what `--engine` takes."""

    name: str

    def transform(self, keys: SuiteKeys) -> Transform:
        """A transform for one SA's keys; the cost of key set-up is paid here."""
