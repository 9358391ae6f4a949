"""The `cryptography` engine for batches: row after row through the one-packet transforms. The twin of all others."""

# ruff: noqa: PLR0917
# A batch is six columns, always in the same order.

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cryptography
import numpy as np

from espsim.aead.batch import (
    BROKEN,
    DONE,
    INTEGRITY,
    TRUNCATED,
    WAITING,
    BatchEngine,
    Bytes,
    Int32s,
    Int64s,
    Slots,
    UInt64s,
)
from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engine import BlockError, Transform
from espsim.aead.suites import SuiteKeys, pack_seq_hi


class CryptographyBatch:
    """Every suite, everywhere."""

    name = "cryptography"

    def __init__(self) -> None:
        self.version = f"cryptography {cryptography.__version__}"

    def supports(self, keys: SuiteKeys) -> bool:
        """Always."""
        return True

    def with_fallback(self, fallback: Callable[[], BatchEngine]) -> BatchEngine:
        """Itself: it lacks no suite."""
        return self

    def opener(self, slots: Slots) -> _Rows:
        """An opener for these slots."""
        return _Rows(slots)

    def sealer(self, slots: Slots) -> _Rows:
        """A sealer for these slots."""
        return _Rows(slots)


class _Slot(NamedTuple):
    transform: Transform
    iv_length: int
    icv_length: int
    esn: bool
    block: int


class _Rows:
    """Opens and seals; transforms have no direction."""

    def __init__(self, slots: Slots) -> None:
        engine = CryptographyEngine()
        self._slots = [
            _Slot(engine.transform(s.keys), s.keys.suite.iv_length, s.keys.icv_length, s.esn, s.keys.suite.block)
            if s
            else None
            for s in slots
        ]

    def open(self, arena: Bytes, esp: Int64s, end: Int64s, slot: Int32s, seq64: UInt64s, result: Bytes) -> None:
        """See batch.py."""
        self._run(self._open_row, arena, esp, end, slot, seq64, result)

    def seal(self, arena: Bytes, esp: Int64s, end: Int64s, slot: Int32s, seq64: UInt64s, result: Bytes) -> None:
        """See batch.py."""
        self._run(self._seal_row, arena, esp, end, slot, seq64, result)

    def _run(
        self, row: Callable[[_Slot, memoryview, int, int, bytes], int],
        arena: Bytes, esp: Int64s, end: Int64s, slot: Int32s, seq64: UInt64s, result: Bytes,
    ) -> None:  # fmt: skip
        memory = memoryview(arena)  # type: ignore[arg-type]
        waiting = np.flatnonzero(result == WAITING)
        columns = zip(*(c[waiting].tolist() for c in (esp, end, slot, seq64)), strict=True)
        answers = bytearray(len(waiting))
        for n, (start, stop, number, number64) in enumerate(columns):
            keys = self._slots[number] if 0 <= number < len(self._slots) else None
            if keys is None:
                raise IndexError(f"row {waiting[n]}: there are no keys in slot {number}")
            if not 0 <= start <= stop <= len(memory) or stop - start < 8 + keys.iv_length + keys.icv_length:
                answers[n] = TRUNCATED
                continue
            answers[n] = row(keys, memory, start, stop, pack_seq_hi(number64) if keys.esn else b"")
        result[waiting] = np.frombuffer(answers, dtype=np.uint8)

    @staticmethod
    def _open_row(keys: _Slot, memory: memoryview, start: int, stop: int, seq_hi: bytes) -> int:
        body = start + 8 + keys.iv_length
        try:
            plaintext = keys.transform.open(
                bytes(memory[start : start + 8]), seq_hi, bytes(memory[start + 8 : body]), bytes(memory[body:stop])
            )
        except BlockError:
            return TRUNCATED
        if plaintext is None:
            return INTEGRITY
        memory[body : body + len(plaintext)] = plaintext
        return DONE

    @staticmethod
    def _seal_row(keys: _Slot, memory: memoryview, start: int, stop: int, seq_hi: bytes) -> int:
        body, icv = start + 8 + keys.iv_length, stop - keys.icv_length
        if (icv - body) % keys.block:
            return TRUNCATED
        sealed = keys.transform.seal(
            bytes(memory[start : start + 8]), seq_hi, bytes(memory[start + 8 : body]), bytes(memory[body:icv])
        )
        if len(sealed) != stop - body:
            return BROKEN
        memory[body:stop] = sealed
        return DONE
