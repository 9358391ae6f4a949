"""Key slots as native engines keep them: one cache line a slot, and what happens to the suites an engine lacks."""

# ruff: noqa: PLR0917
# A batch is six columns, always in the same order.

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from espsim.aead.batch import BatchEngine, SlotKeys, Slots
from espsim.core.arrays import I32, I64, U8, U64

# A slot's line, offsets in bytes; one int64 each.
KIND, IV, ICV, ESN, SALT, KEY, MAC, ROUTINE = 0, 8, 16, 24, 32, 40, 48, 56
LINE = 64

_KINDS = tuple(map(np.dtype, (np.uint8, np.int64, np.int64, np.int32, np.uint64, np.uint8)))

# What KIND says.
NOTHING, ELSEWHERE, GCM, CHACHA, GMAC, AUTHENC, CCM = range(7)

KINDS = {
    "rfc4106(gcm(aes))": GCM,
    "rfc7539esp(chacha20,poly1305)": CHACHA,
    "rfc4543(gcm(aes))": GMAC,
    "rfc4309(ccm(aes))": CCM,
}


def aligned(size: int) -> U8:
    """Zeroed bytes that begin at a cache line."""
    memory = np.zeros(size + LINE, dtype=np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


class Secret:
    """Zeroed bytes that begin at a cache line, at the address `at`; zeroed again when they go."""

    def __init__(self, size: int) -> None:
        self.memory: U8 = aligned(size)
        self.at = self.memory.ctypes.data
        weakref.finalize(self, self.memory.fill, 0)


def make_lines(slots: Slots, supports: Callable[[Any], bool]) -> I64:
    """int64[slots, 8]: kind, lengths, ESN and salt filled in; the keys are the engine's to add."""
    lines = aligned(LINE * len(slots)).view(np.int64).reshape(len(slots), LINE // 8)
    for line, slot in zip(lines, slots, strict=True):
        if slot is None:
            continue
        keys = slot.keys
        kind = KINDS.get(keys.suite.name, AUTHENC) if supports(keys) else ELSEWHERE
        salt = int.from_bytes(keys.salt.ljust(4, b"\0"), sys.byteorder)
        line[:5] = kind, keys.suite.iv_length, keys.icv_length, slot.esn, salt
    return lines


class NativeRows:
    """Runs a kernel over batches and gives the rows of suites that the engine lacks to `fallback`.

    Slot lines (salts) and scratch memory (nonces, tags, hash states) are zeroed when it goes, as all keys are.
    """

    def __init__(self, kernel: Callable[..., int], functions: I64, lines: I64, work: U8, owner: object) -> None:
        self._kernel = kernel
        self._functions = functions
        self._lines = lines
        self._work = work
        self._owner = owner  # keeps alive what the lines point to
        self._rest: Callable[..., None] | None = None
        weakref.finalize(self, _wipe, lines, work)

    def otherwise(self, rest: Callable[..., None]) -> None:
        """What to call with the batch when rows are still waiting."""
        self._rest = rest

    def run(self, arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
        """Open or seal the waiting rows of a batch; batch.py says what the columns are."""
        check_columns(arena, esp, end, slot, seq64, result)
        left = self._kernel(self._functions, self._lines, self._work, arena, esp, end, slot, seq64, result)
        if left < 0:
            raise IndexError(f"row {-1 - left}: there are no keys in slot {slot[-1 - left]}")
        if left and self._rest is not None:
            self._rest(arena, esp, end, slot, seq64, result)

    open = seal = run


def _wipe(*memory: I64 | U8) -> None:
    for array in memory:
        array.fill(0)


def check_columns(arena: U8, esp: I64, end: I64, slot: I32, seq64: U64, result: U8) -> None:
    """ValueError where columns differ in length or kind: compiled code would walk past the shorter one."""
    rows = len(esp)
    if (arena.dtype, esp.dtype, end.dtype, slot.dtype, seq64.dtype, result.dtype) != _KINDS:
        raise ValueError("a column of a batch is not of its kind (espsim/aead/batch.py lists them)")
    if not (len(end) == len(slot) == len(seq64) == len(result) == rows):
        raise ValueError("the columns of a batch must have one length")
    if not arena.flags.c_contiguous or not arena.flags.writeable:
        raise ValueError("the arena must be contiguous and writable")


def lacking(slots: Slots, supports: Callable[[Any], bool]) -> list[SlotKeys | None] | None:
    """The slots whose suites an engine lacks, in their places; None where there are none."""
    rest = [slot if slot and not supports(slot.keys) else None for slot in slots]
    return rest if any(rest) else None


def complete(
    rows: NativeRows, slots: Slots, engine: BatchEngine, fallback: Callable[[], BatchEngine], way: str
) -> NativeRows:
    """`rows`, with the `fallback` engine for the slots that `engine` lacks; `way` is "open" or "seal"."""
    rest = lacking(slots, engine.supports)
    if rest is not None:
        other = fallback()
        rows.otherwise(other.opener(rest).open if way == "open" else other.sealer(rest).seal)
    return rows
