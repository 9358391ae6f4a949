"""Tries keys on a failed packet, within a budget. Plaintext is thrown away: the answer is only that it opened.

    opens         one SA's transform, one number
    high_half     one SA's keys, many high halves of ESN's number (or none: without ESN)
    keys_of       many SAs' keys

The engine that ran the packets tries many at a time. All engines agree, and the budget counts trials, not seconds. So
the answers do not depend on the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from espsim.aead.batch import BatchEngine, Opener, SlotKeys
from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engine import BlockError, Transform
from espsim.aead.suites import SuiteKeys, pack_seq_hi
from espsim.core.arrays import I32, U64
from espsim.core.numbers import DONE, WAITING
from espsim.sad.entry import SadEntry

BUDGET = 100_000
"""Trials of a run; one more for each `FRAMES` frames so far. Half is kept for the first packet of each group."""
FRAMES = 4
_ALONE, _SAMPLE = 8, 60
"""The cost of a single trial, and of looking at a packet; the unit is one trial of many at a time."""


class Trials:
    """Tries keys with `engine`, and counts the cost."""

    def __init__(self, engine: BatchEngine) -> None:
        self._engine = engine
        self._openers: dict[int, Opener] = {}
        self._many: Opener | None = None
        self._made: dict[tuple[int, int], tuple[SuiteKeys, Transform]] = {}
        self.spent = 0

    def may(self, frame: int, *, first: bool) -> bool:
        """Whether another packet may be looked at; if so, it is charged. `first`: it is the first of its group."""
        budget = BUDGET + frame // FRAMES
        if self.spent > (budget if first else budget // 2):
            return False
        self.spent += _SAMPLE
        return True

    def charge(self, esp: bytes) -> None:
        """Charge a trial whose outcome is known already."""
        self.spent += _ALONE * _weight(esp)

    def opens(self, entry: SadEntry, esp: bytes, seq64: int) -> bool | None:
        """Whether a packet, from the SPI on, opens with an SA's keys. None: no room for IV, ICV, or no whole blocks."""
        keys = entry.sa.keys
        if keys is None:
            return None
        return self._opens(*self._keyed(entry, keys), esp, pack_seq_hi(seq64) if entry.sa.esn else b"")

    def icv_of(self, entry: SadEntry, esp: bytes, seq64: int, lengths: Iterable[int]) -> int | None:
        """The first of some ICV lengths (bytes) with which a packet opens under an SA's keys. None: none does."""
        keys = entry.sa.keys
        if keys is None:
            return None
        for length in lengths:
            if self._opens(
                *self._keyed(entry, replace(keys, icv_length=length)),
                esp,
                pack_seq_hi(seq64) if entry.sa.esn else b"",
                whole=True,
            ):
                return length
        return None

    def _keyed(self, entry: SadEntry, keys: SuiteKeys) -> tuple[SuiteKeys, Transform]:
        """An SA's keys, perhaps with another ICV length, and their transform, which is made once."""
        made = self._made.get((entry.sa_index, keys.icv_length))
        if made is None:
            made = self._made[entry.sa_index, keys.icv_length] = keys, CryptographyEngine().transform(keys)
        return made

    def _opens(
        self, keys: SuiteKeys, transform: Transform, esp: bytes, seq_hi: bytes, *, whole: bool = False
    ) -> bool | None:
        body = 8 + keys.suite.iv_length
        if len(esp) < body + keys.icv_length:
            return None
        self.charge(esp)
        try:
            return transform.open(esp[:8], seq_hi, esp[8:body], esp[body:]) is not None
        except BlockError:
            return True if whole else None

    def high_half(self, entry: SadEntry, esp: bytes, highs: U64, *, esn: bool = True) -> int | None:
        """The first of some high halves under which a packet opens with an SA's keys. `esn`: with ESN or without."""
        keys = entry.sa.keys
        if keys is None or len(highs) == 0:
            return None
        opener = self._openers.get(entry.sa_index)
        if opener is None:
            slots = [SlotKeys(keys, esn=False), SlotKeys(keys, esn=True)]
            opener = self._openers[entry.sa_index] = self._engine.opener(slots)
        found = self._sweep(opener, esp, np.full(len(highs), int(esn), np.int32), highs << np.uint64(32))
        return None if found is None else int(highs[found])

    def keys_of(self, entries: Sequence[SadEntry], esp: bytes, numbers: Sequence[int]) -> int | None:
        """The index of the SA under which a packet opens. `numbers`: its number under each SA.

        Every call must have the same `entries`: their keys are set up once.
        """
        if self._many is None:
            self._many = self._engine.opener([SlotKeys(e.sa.keys, e.sa.esn) if e.sa.keys else None for e in entries])
        slots = np.arange(len(entries), dtype=np.int32)
        return self._sweep(self._many, esp, slots, np.array(numbers, np.uint64))

    def _sweep(self, opener: Opener, esp: bytes, slots: I32, seq64: U64) -> int | None:
        """The row under which the packet opens. All rows are the same bytes: a row that fails leaves them unchanged."""
        rows = len(slots)
        if not rows:
            return None
        self.spent += rows * _weight(esp)
        arena = np.frombuffer(bytearray(esp), np.uint8)
        result = np.full(rows, WAITING, np.uint8)
        opener.open(arena, np.zeros(rows, np.int64), np.full(rows, len(esp), np.int64), slots, seq64, result)
        arena[:] = 0  # no one may see plaintext that opened under a guess
        found = np.flatnonzero(result == DONE)
        return int(found[0]) if len(found) else None


def _weight(esp: bytes) -> int:
    return 1 + (len(esp) >> 10)
