"""Own traffic: packets that this host sent, which a capture shows too (sad/sent.py). The flag OWN, and SENT at the end.

Of such packets no window is asked and nothing is counted, so all that a run keeps of them is the highest number of
each SA with ESN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from espsim.core.arrays import I64, U8, U64
from espsim.core.batch import PacketBatch
from espsim.core.numbers import ONE_BY_ONE
from espsim.kernels import own as kernel
from espsim.kernels.own import INWARD, OUTWARD, UNDIRECTED
from espsim.sad.association import Direction
from espsim.sad.entry import SadEntry
from espsim.sad.sent import SentNumbers, before

_M64 = 0xFFFFFFFFFFFFFFFF
_DIRECTIONS = {Direction.IN: int(INWARD), None: int(UNDIRECTED), Direction.OUT: int(OUTWARD)}


@dataclass(slots=True)
class OwnColumns:
    """What the stages read of SAs for packets that this host sent; empty where none is looked for (`numbers` is None).

    `standing` as SadColumns has it, but for such packets; `direction` and `ends` of kernels/own.py; `sent` of
    kernels/replay.py. `numbers` is where the reference path keeps what `sent` says.
    """

    standing: U8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    direction: U8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    ends: U64 = field(default_factory=lambda: np.zeros((0, 4), np.uint64))
    sent: U64 = field(default_factory=lambda: np.zeros((0, 2), np.uint64))
    numbers: SentNumbers | None = None

    @classmethod
    def of(cls, entries: Sequence[SadEntry], standing: Sequence[int], numbers: SentNumbers) -> OwnColumns:
        """The SAs' columns; `numbers` is where they go on."""
        sent = np.zeros((len(entries), 2), np.uint64)
        for row, entry in enumerate(entries):
            highest = numbers.highest.get(entry.sa_index)
            sent[row] = (before(entry) & _M64, 0) if highest is None else (highest, 1)
        return cls(
            np.array(standing, np.uint8),
            np.array([_DIRECTIONS[entry.sa.direction] for entry in entries], np.uint8),
            np.array([_words(e.sa.src) + _words(e.sa.dst) for e in entries], np.uint64).reshape(len(entries), 4),
            sent,
            numbers,
        )

    def write_back(self, entries: Sequence[SadEntry], rows: I64) -> None:
        """Into `numbers`: the reference path goes on from there. Where an SA is that path's already, it has."""
        if self.numbers is None:
            return
        for row in rows[(self.sent[rows, 1] != 0) & (self.standing[rows] != ONE_BY_ONE)].tolist():
            self.numbers.highest[entries[row].sa_index] = int(self.sent[row, 0])


def find(batch: PacketBatch, own: OwnColumns) -> None:
    """Flag the packets that this host sent, once the lookup has found their SAs."""
    if own.numbers is not None:
        kernel.find(
            batch.sa_index, batch.saddr, batch.daddr, batch.link, batch.verdict, own.direction, own.ends, batch.flags
        )  # fmt: skip


def tell(batch: PacketBatch, own: OwnColumns) -> None:
    """SENT for what has come to its end."""
    if own.numbers is not None:
        kernel.tell(batch.flags, batch.verdict)


def _words(address: bytes) -> tuple[int, int]:
    number = int.from_bytes(address)
    return number >> 64, number & _M64
