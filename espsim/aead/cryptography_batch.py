"""The `cryptography` engine for batches: row after row through the one-packet transforms. The twin of all others."""

# ruff: noqa: PLR0917
# A batch is six columns, always in the same order.

from __future__ import annotations

from collections.abc import Callable

import cryptography
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.backends.openssl import backend

from espsim.aead.batch import BatchEngine, Clear, SlotKeys, Slots
from espsim.aead.cryptography_engine import CryptographyEngine, aead_cipher
from espsim.aead.engine import BlockError
from espsim.aead.isa import openssl_isa, package_cpu_info
from espsim.aead.suites import SuiteKeys, aad, pack_seq_hi
from espsim.core.arrays import I32, I64, U8, U64
from espsim.core.numbers import DONE, INTEGRITY, TRUNCATED, WAITING


class CryptographyBatch:
    """Every suite, everywhere."""

    name = "cryptography"

    def __init__(self) -> None:
        self.version = f"cryptography {cryptography.__version__}, {backend.openssl_version_text()}"
        self.isa = openssl_isa(package_cpu_info())

    def supports(self, keys: SuiteKeys) -> bool:
        """Always."""
        return True

    def engine_for(self, keys: SuiteKeys) -> BatchEngine:
        """Itself."""
        return self

    def with_fallback(self, fallback: Callable[[], BatchEngine]) -> BatchEngine:
        """Itself: it lacks no suite."""
        return self

    def opener(self, slots: Slots) -> _Rows:
        """An opener for these slots."""
        return _Rows(slots)

    def sealer(self, slots: Slots) -> _Rows:
        """A sealer for these slots."""
        return _Rows(slots)


class _Slot:
    """One slot's keys. Offsets are those of a row in the arena: ESP header at `start`, ICV up to `stop`."""

    def __init__(self, slot: SlotKeys) -> None:
        self._head = 8 + slot.keys.suite.iv_length
        self._icv_length = slot.keys.icv_length
        self.least = self._head + self._icv_length
        self._block = slot.keys.suite.block
        self._esn = slot.esn
        self._salt = slot.keys.salt
        self._transform = CryptographyEngine().transform(slot.keys)
        # The package is most of a row's time; where its object can be called at once, nothing is copied on the way.
        self._cipher = aead_cipher(slot.keys) if not slot.keys.suite.implicit_iv else None

    def open(self, memory: memoryview, start: int, stop: int, seq64: int, _clear: memoryview | None) -> int:
        """What became of the row; its plaintext is written where the ICV is right."""
        body = start + self._head
        try:
            if self._cipher is not None:
                nonce = self._salt + memory[start + 8 : body]
                plaintext = self._cipher.decrypt(nonce, memory[body:stop], self._aad(memory, start, seq64))
            else:
                header, iv = bytes(memory[start : start + 8]), bytes(memory[start + 8 : body])
                plaintext = self._transform.open(header, self._seq_hi(seq64), iv, bytes(memory[body:stop]))
        except InvalidTag:
            return INTEGRITY
        except BlockError:
            return TRUNCATED
        if plaintext is None:
            return INTEGRITY
        memory[body : body + len(plaintext)] = plaintext
        return DONE

    def seal(self, memory: memoryview, start: int, stop: int, seq64: int, clear: memoryview | None) -> int:
        """What became of the row; ciphertext and ICV are written."""
        body, icv = start + self._head, stop - self._icv_length
        text = memory[body:icv] if clear is None else clear[: icv - body]
        if (icv - body) % self._block or len(text) < icv - body:
            return TRUNCATED
        if self._cipher is not None:
            nonce = self._salt + memory[start + 8 : body]
            sealed = self._cipher.encrypt(nonce, text, self._aad(memory, start, seq64))
        else:
            header, iv = bytes(memory[start : start + 8]), bytes(memory[start + 8 : body])
            sealed = self._transform.seal(header, self._seq_hi(seq64), iv, bytes(text))
        memory[body:stop] = sealed
        return DONE

    def _seq_hi(self, seq64: int) -> bytes:
        return pack_seq_hi(seq64) if self._esn else b""

    def _aad(self, memory: memoryview, start: int, seq64: int) -> bytes | memoryview:
        header = memory[start : start + 8]
        return aad(bytes(header), pack_seq_hi(seq64)) if self._esn else header


class _Rows:
    """Opens and seals; the package's objects have no direction."""

    def __init__(self, slots: Slots) -> None:
        self._slots = [_Slot(slot) if slot else None for slot in slots]

    def open(self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
        """See batch.py."""
        self._run(_Slot.open, arena, esp, end, slot, seq64, result)

    def seal(
        self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8, clear: Clear | None = None
    ) -> None:  # fmt: skip
        """See batch.py."""
        self._run(_Slot.seal, arena, esp, end, slot, seq64, result, clear)

    def _run(
        self, work: Callable[[_Slot, memoryview, int, int, int, memoryview | None], int],
        arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8, clear: Clear | None = None,
    ) -> None:  # fmt: skip
        memory, slots = memoryview(arena), self._slots  # type: ignore[arg-type]
        room, count = len(memory), len(slots)
        waiting = np.flatnonzero(result == WAITING)
        columns = (column[waiting].tolist() for column in (esp, end, slot, seq64))
        elsewhere = clear is not None and len(clear.at) > 0
        became: list[int] = []
        try:
            for row, start, stop, number, seq in zip(waiting.tolist(), *columns, strict=True):
                keys = slots[number] if 0 <= number < count else None
                if keys is None:
                    raise IndexError(f"row {row}: there are no keys in slot {number}")
                if not 0 <= start <= stop <= room or stop - start < keys.least:
                    became.append(TRUNCATED)
                else:
                    text = _text(clear, row) if elsewhere else None
                    became.append(work(keys, memory, start, stop, seq, text))
        finally:
            result[waiting[: len(became)]] = became


def _text(clear: Clear | None, row: int) -> memoryview | None:
    """Where the plaintext of a row begins in another arena; None where it lies in its place."""
    at = -1 if clear is None else int(clear.at[row])
    return None if clear is None or at < 0 else memoryview(clear.arena)[at:]  # type: ignore[arg-type]
