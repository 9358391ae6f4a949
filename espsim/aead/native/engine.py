"""What the engines in C libraries share: batches through the loop, and another engine for the suites they lack."""

# ruff: noqa: PLR0917
# A batch is six columns, always in the same order.

from __future__ import annotations

import copy
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from espsim.aead.batch import BatchEngine, Clear, Opener, Sealer, Slots
from espsim.aead.cryptography_batch import CryptographyBatch
from espsim.aead.suites import SuiteKeys
from espsim.core.arrays import I32, I64, U8, U64

_IN_PLACE = Clear(np.zeros(1, np.uint8), np.zeros(0, np.int64))
_SLOT = 3
"""Place of `slot` among the arguments of `run`."""
_KINDS = tuple(map(np.dtype, (np.uint8, np.int64, np.int64, np.int32, np.uint64, np.uint8)))


class NativeRows:
    """Runs a library's kernel over batches and gives the rows of suites that the engine lacks to another one.

    Slot lines (salts) and scratch memory (nonces, tags, hash states) are zeroed when it goes, as all keys are.
    """

    def __init__(
        self, kernel: Callable[..., int], opening: bool, functions: I64, lines: I64, work: U8, owner: object
    ) -> None:
        self._kernel, self._opening = kernel, opening
        self._lines, self._work = lines, work
        self.memory = functions, lines, work, *_IN_PLACE
        """What the kernel takes beside a batch's columns, for rows in place: its first arrays, and its last two."""
        self._owner = owner  # keeps alive what the lines point to
        self._rest: Callable[..., None] | None = None
        weakref.finalize(self, _wipe, lines, work)

    def otherwise(self, rest: Callable[..., None]) -> None:
        """Set what is called with the batch when rows are still waiting."""
        self._rest = rest

    def opens_by(self, kernel: Callable[..., int]) -> bool:
        """Whether it opens by this kernel. Then compiled code may call it itself, and `finish` comes after it."""
        return self._kernel is kernel and self._opening

    def run(
        self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8, clear: Clear | None = None
    ) -> None:  # fmt: skip
        """Open or seal the waiting rows of a batch; batch.py says what the columns are."""
        _check_columns(arena, esp, end, slot, seq64, result)
        text = _IN_PLACE if clear is None else clear
        _check_clear(text, len(esp))
        left = self._kernel(self._opening, *self.memory[:3], arena, esp, end, slot, seq64, result, *text)
        self.finish(left, arena, esp, end, slot, seq64, result, *(() if clear is None else (clear,)))

    open = seal = run

    def finish(self, left: int, *batch: Any) -> None:
        """After the kernel, with its answer and what `run` was called with: the rows of suites that the engine lacks.

        IndexError: a row's slot holds no keys.
        """
        if left < 0:
            raise IndexError(f"row {-1 - left}: there are no keys in slot {batch[_SLOT][-1 - left]}")
        if left and self._rest is not None:
            self._rest(*batch)


class NativeEngine(ABC):
    """The base of both: each engine defines `supports` and `_rows`."""

    name: str
    version: str
    isa: str | None

    def __init__(self) -> None:
        self._fallback: Callable[[], BatchEngine] = CryptographyBatch
        self._served: dict[str, bool] = {}

    def with_fallback(self, fallback: Callable[[], BatchEngine]) -> Self:
        """The same engine with another one for the suites that this one lacks."""
        other = copy.copy(self)
        other._fallback = fallback
        return other

    @abstractmethod
    def supports(self, keys: SuiteKeys) -> bool:
        """Whether the library runs this suite."""

    def engine_for(self, keys: SuiteKeys) -> BatchEngine:
        """Itself, or its fallback's choice."""
        return self if self.supports(keys) else self._fallback().engine_for(keys)

    def opener(self, slots: Slots) -> Opener:
        """An opener for these slots."""
        rows, rest = self._rows(slots, opening=True), self._lacking(slots)
        if rest is not None:
            rows.otherwise(self._fallback().opener(rest).open)
        return rows

    def sealer(self, slots: Slots) -> Sealer:
        """A sealer for these slots."""
        rows, rest = self._rows(slots, opening=False), self._lacking(slots)
        if rest is not None:
            rows.otherwise(self._fallback().sealer(rest).seal)
        return rows

    @abstractmethod
    def _rows(self, slots: Slots, *, opening: bool) -> NativeRows:
        """What opens or seals the rows of these slots."""

    def _lacking(self, slots: Slots) -> Slots | None:
        """The slots whose suites the engine lacks, in their places; None where there are none."""
        rest = [None if slot is None or self.serves(slot.keys) else slot for slot in slots]
        return rest if any(rest) else None

    def serves(self, keys: SuiteKeys) -> bool:
        """As `supports`, called once for each suite, because most of a hundred thousand slots have the same."""
        answer = self._served.get(keys.suite.name)
        if answer is None:
            answer = self._served[keys.suite.name] = self.supports(keys)
        return answer


def _wipe(*memory: I64 | U8) -> None:
    for array in memory:
        array.fill(0)


def _check_clear(clear: Clear, rows: int) -> None:
    """ValueError as `_check_columns`."""
    if (clear.arena.dtype, clear.at.dtype) != _KINDS[:2] or not clear.arena.flags.c_contiguous:
        raise ValueError("plaintexts lie in a contiguous arena of uint8, their places are int64")
    if len(clear.at) not in (0, rows):
        raise ValueError("the columns of a batch must have one length")


def _check_columns(arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
    """ValueError where columns differ in length or kind: compiled code would walk past the shorter one."""
    rows = len(esp)
    if (arena.dtype, esp.dtype, end.dtype, slot.dtype, seq64.dtype, result.dtype) != _KINDS:
        raise ValueError("a column of a batch is not of its kind (espsim/aead/batch.py lists them)")
    if not (len(end) == len(slot) == len(seq64) == len(result) == rows):
        raise ValueError("the columns of a batch must have one length")
    if not arena.flags.c_contiguous or not arena.flags.writeable:
        raise ValueError("the arena must be contiguous and writable")
