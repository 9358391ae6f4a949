"""The `cryptography` engine for batches. The twin of all others.

1. Rows without room for IV and ICV become TRUNCATED.
2. Nonces and AADs are made for many rows at once.
3. The package's object is called row by row. That is most of the time, so nothing is copied on the way to it.

Suites that the package has no AEAD for go through the one-packet transforms (cryptography_engine.py).
"""

# ruff: noqa: PLR0917
# A batch is six columns, always in the same order.

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cryptography
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.backends.openssl import backend

from espsim.aead.batch import BatchEngine, Clear, SlotKeys, Slots
from espsim.aead.cryptography_engine import CryptographyEngine, aead_cipher
from espsim.aead.engine import BlockError, Transform
from espsim.aead.isa import openssl_isa, package_cpu_info
from espsim.aead.suites import SuiteKeys
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


_HEADER_LENGTH = 8
"""SPI and sequence number."""
_HEAD, _ICV, _BLOCK = range(3)
"""A slot's lengths in bytes: header and IV; the ICV; a block of the cipher."""
_SALT = 4
"""Bytes of the longest salt."""


class _ByTransform:
    """A one-packet transform, called as the package's AEADs are: the nonce is its IV, the AAD is as `suites.aad`."""

    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def encrypt(self, iv: bytes, plaintext: memoryview, aad: bytes) -> bytes:
        """Ciphertext and ICV."""
        return self._transform.seal(aad[:4] + aad[-4:], aad[4:-4], iv, bytes(plaintext))

    def decrypt(self, iv: bytes, body: memoryview, aad: bytes) -> bytes:
        """The plaintext. Raises InvalidTag, and BlockError as `Transform.open`."""
        plaintext = self._transform.open(aad[:4] + aad[-4:], aad[4:-4], iv, bytes(body))
        if plaintext is None:
            raise InvalidTag
        return plaintext


@dataclass(frozen=True, slots=True)
class _Form:
    """How nonces and AADs are made. All nonces of one form are equally long, and so are its AADs."""

    salt_length: int
    iv_length: int
    implicit_iv: bool
    esn: bool

    def nonces(self, salts: U8, arena: U8, start: I64, seq64: U64) -> list[bytes]:
        """As `suites.nonce` makes them. `salts` (rows, 4): a shorter one is at the beginning."""
        if self.implicit_iv:
            iv = _beside(self._seq_hi(seq64), _bytes_at(arena, start + 4, 4))
        else:
            iv = _bytes_at(arena, start + _HEADER_LENGTH, self.iv_length)
        return _as_list(_beside(salts[:, : self.salt_length], iv))

    def aads(self, arena: U8, start: I64, seq64: U64) -> list[bytes]:
        """As `suites.aad` makes them."""
        header = _bytes_at(arena, start, _HEADER_LENGTH)
        return _as_list(_beside(header[:, :4], self._seq_hi(seq64), header[:, 4:]) if self.esn else header)

    def _seq_hi(self, seq64: U64) -> U8:
        """The high halves (rows, 4), zeros without ESN."""
        high = seq64 >> np.uint64(32) if self.esn else np.zeros_like(seq64)
        return high.astype(">u4").view(np.uint8).reshape(-1, 4)


def _bytes_at(arena: U8, at: I64, length: int) -> U8:
    """`length` bytes at each of these places (places, length)."""
    found: U8 = arena[at[:, None] + np.arange(length)]
    return found


def _beside(*columns: U8) -> U8:
    """Arrays of as many rows beside one another."""
    return np.concatenate(columns, axis=1)


def _as_list(rows: U8) -> list[bytes]:
    """Each row of a contiguous array."""
    count, width = rows.shape
    made: list[bytes] = rows.view(f"V{width}").ravel().tolist() if width else [b""] * count
    return made


class _Rows:
    """Opens and seals; the package's objects have no direction."""

    def __init__(self, slots: Slots) -> None:
        self._forms: dict[_Form, int] = {}
        self._count = len(slots)
        # One slot more, without keys: for numbers that are out of range.
        lengths, salts, forms, ciphers = zip(*map(self._set_up, (*slots, None)), strict=True)
        self._lengths = np.array(lengths, np.int64)
        self._salts = np.frombuffer(b"".join(salts), np.uint8).reshape(-1, _SALT)
        self._form = np.array(forms, np.uint8)
        self._ciphers: tuple[Any, ...] = ciphers

    def _set_up(self, slot: SlotKeys | None) -> tuple[tuple[int, int, int], bytes, int, Any]:
        """A slot's lengths, its salt with zeros after it, the number of its form, and what is called for its rows."""
        if slot is None:
            return (0, 0, 1), bytes(_SALT), 0, None
        keys, suite = slot.keys, slot.keys.suite
        cipher = aead_cipher(keys)
        salt = b"" if cipher is None else keys.salt
        form = _Form(len(salt), suite.iv_length, suite.implicit_iv, slot.esn)
        return (
            (_HEADER_LENGTH + suite.iv_length, keys.icv_length, suite.block),
            salt.ljust(_SALT, b"\0"),
            self._forms.setdefault(form, len(self._forms)),
            _ByTransform(CryptographyEngine().transform(keys)) if cipher is None else cipher,
        )

    def open(self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
        """See batch.py."""
        memory = memoryview(arena)  # type: ignore[arg-type]
        waiting = self._with_room(arena, esp, end, slot, result)
        for rows, columns in self._by_form(arena, esp, slot, seq64, waiting):
            each = zip(*columns, end[rows].tolist(), rows.tolist(), strict=True)
            for cipher, nonce, aad, body, stop, row in each:
                try:
                    plaintext = cipher.decrypt(nonce, memory[body:stop], aad)
                except InvalidTag:
                    result[row] = INTEGRITY
                except BlockError:
                    result[row] = TRUNCATED
                else:
                    memory[body : body + len(plaintext)] = plaintext
            result[rows[result[rows] == WAITING]] = DONE

    def seal(
        self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8, clear: Clear | None = None
    ) -> None:  # fmt: skip
        """See batch.py."""
        memory = memoryview(arena)  # type: ignore[arg-type]
        waiting = self._with_room(arena, esp, end, slot, result)
        at, size = self._texts(waiting, esp, end, slot, clear)
        other = memory if clear is None else memoryview(clear.arena)  # type: ignore[arg-type]
        whole = size % self._lengths[slot[waiting], _BLOCK] == 0
        fits = whole & ((at < 0) | (at <= len(other) - size))
        result[waiting[~fits]] = TRUNCATED
        for rows, columns in self._by_form(arena, esp, slot, seq64, waiting[fits]):
            at, size = self._texts(rows, esp, end, slot, clear)
            each = zip(*columns, end[rows].tolist(), at.tolist(), size.tolist(), strict=True)
            for cipher, nonce, aad, body, stop, place, length in each:
                source, begin = (memory, body) if place < 0 else (other, place)
                memory[body:stop] = cipher.encrypt(nonce, source[begin : begin + length], aad)
            result[rows] = DONE

    def _with_room(self, arena: U8, esp: I64, end: I64, slot: I32, result: U8) -> I64:
        """The waiting rows that have room for IV and ICV; the others become TRUNCATED."""
        rows = np.flatnonzero(result == WAITING)
        start, stop, number = esp[rows], end[rows], slot[rows]
        lengths = self._lengths[np.where((number >= 0) & (number < self._count), number, self._count)]
        for row in rows[lengths[:, _HEAD] == 0]:
            raise IndexError(f"row {row}: there are no keys in slot {slot[row]}")
        inside = (start >= 0) & (start <= stop) & (stop <= len(arena))
        room = inside & (stop - start >= lengths[:, _HEAD] + lengths[:, _ICV])
        result[rows[~room]] = TRUNCATED
        return rows[room]

    def _texts(self, rows: I64, esp: I64, end: I64, slot: I32, clear: Clear | None) -> tuple[I64, I64]:
        """Where the plaintexts of rows begin in `clear.arena`, -1: between IV and ICV; and their lengths."""
        lengths = self._lengths[slot[rows]]
        size = end[rows] - esp[rows] - lengths[:, _HEAD] - lengths[:, _ICV]
        at = np.full(len(rows), -1) if clear is None or not len(clear.at) else clear.at[rows]
        return at, size

    def _by_form(
        self, arena: U8, esp: I64, slot: I32, seq64: U64, rows: I64
    ) -> Iterator[tuple[I64, tuple[list[Any], list[bytes], list[bytes], list[int]]]]:
        """By form, the rows that have it; and four columns: their ciphers, nonces, AADs, and where their IVs end."""
        for form, which in self._forms.items():
            mine = rows[self._form[slot[rows]] == which]
            if not len(mine):
                continue
            start, number = esp[mine], slot[mine]
            ciphers = [self._ciphers[one] for one in number.tolist()]
            nonces = form.nonces(self._salts[number], arena, start, seq64[mine])
            aads = form.aads(arena, start, seq64[mine])
            bodies = (start + self._lengths[number, _HEAD]).tolist()
            yield mine, (ciphers, nonces, aads, bodies)
