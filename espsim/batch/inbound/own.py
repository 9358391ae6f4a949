"""Own traffic: packets that this host sent, which a capture shows too (sad/sent.py).

1. `find`, in the lookup, sets the flag OWN.
2. `sent`, at the end, gives SENT instead of DELIVERED.

What this does not do: no window is asked about such packets, and nothing is counted for their SAs. A run keeps one
thing of them: the highest number of each SA with ESN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8, U64, address_words
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import DELIVERED, NOT_ESP, ONE_BY_ONE, OUTGOING, OWN, SENT
from espsim.jit.compiling import kernel
from espsim.sad.association import Direction
from espsim.sad.entry import SadEntry
from espsim.sad.sent import SentNumbers, before

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

INWARD, UNDIRECTED, OUTWARD = np.uint8(0), np.uint8(1), np.uint8(2)
"""The direction that an SA states."""
HIGHEST, AUTHENTIC = 0, 1
"""Columns of `sent`: the highest authentic number, or the dump's before there is one; whether it was authentic."""
_SRC_HIGH, _SRC_LOW, _DST_HIGH, _DST_LOW = range(4)
"""Columns of `ends`."""

_0 = np.uint64(0)


@kernel
def find_own(
    sa_index: I32, saddr: U64, daddr: U64, link: U8, verdict: U8, direction: U8, ends: U64, flags: U8
) -> None:  # fmt: skip
    """Set OWN in `flags` of rows that are ESP.

    1. Without an SA the capture decides (`link`: OUTGOING).
    2. The capture says outgoing: unless the SA is inbound.
    3. Else: if the SA is outbound, and its addresses are the packet's.

    `direction` (SAs): INWARD, UNDIRECTED or OUTWARD. `ends` (SAs, 4): source and destination, high and low word.
    """
    for i in range(len(sa_index)):
        if verdict[i] == NOT_ESP:
            continue
        mine, sa = link[i] & OUTGOING != 0, sa_index[i]
        if sa >= 0 and mine:
            mine = direction[sa] != INWARD
        elif sa >= 0 and direction[sa] == OUTWARD:
            other = (saddr[i, 0] ^ ends[sa, _SRC_HIGH]) | (saddr[i, 1] ^ ends[sa, _SRC_LOW])
            other |= (daddr[i, 0] ^ ends[sa, _DST_HIGH]) | (daddr[i, 1] ^ ends[sa, _DST_LOW])
            mine = other == _0
        if mine:
            flags[i] |= OWN


@kernel
def tell_sent(flags: U8, verdict: U8) -> None:
    """SENT for rows without a verdict whose `flags` have OWN."""
    for i in range(len(verdict)):
        if verdict[i] == DELIVERED and flags[i] & OWN:
            verdict[i] = SENT


_M64 = 0xFFFFFFFFFFFFFFFF
_DIRECTIONS = {Direction.IN: int(INWARD), None: int(UNDIRECTED), Direction.OUT: int(OUTWARD)}


@dataclass(slots=True)
class OwnColumns:
    """What the stages read of SAs for packets that this host sent. Empty (`numbers` is None) in a run without them.

    `standing` as in InboundColumns, for such packets. `direction`, `ends`: see `find_own`. `sent` (SAs, 2): HIGHEST,
    AUTHENTIC. `numbers`: where the reference path keeps the same.
    """

    standing: U8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    direction: U8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    ends: U64 = field(default_factory=lambda: np.zeros((0, 4), np.uint64))
    sent: U64 = field(default_factory=lambda: np.zeros((0, 2), np.uint64))
    numbers: SentNumbers | None = None

    @classmethod
    def of(cls, entries: Sequence[SadEntry], standing: Sequence[int], numbers: SentNumbers) -> OwnColumns:
        """The columns of SAs, which go on from `numbers`."""
        sent = np.zeros((len(entries), 2), np.uint64)
        for row, entry in enumerate(entries):
            highest = numbers.highest.get(entry.sa_index)
            if highest is not None:
                sent[row] = highest, 1
            elif start := before(entry):
                sent[row, HIGHEST] = start & _M64
        return cls(
            np.array(standing, np.uint8),
            np.array([_DIRECTIONS[entry.sa.direction] for entry in entries], np.uint8),
            np.hstack([address_words(e.sa.src for e in entries), address_words(e.sa.dst for e in entries)]),
            sent,
            numbers,
        )

    def write_back(self, entries: Sequence[SadEntry], rows: I64) -> None:
        """Write `sent` into `numbers`, but not of SAs that the reference path has: it has written there itself."""
        if self.numbers is None:
            return
        for row in rows[(self.sent[rows, AUTHENTIC] != 0) & (self.standing[rows] != ONE_BY_ONE)].tolist():
            self.numbers.highest[entries[row].sa_index] = int(self.sent[row, HIGHEST])


def find(batch: InboundBatch, own: OwnColumns) -> None:
    """Flag the packets that this host sent, once the lookup has found their SAs."""
    if own.numbers is not None:
        find_own(
            batch.sa_index, batch.saddr, batch.daddr, batch.link, batch.verdict, own.direction, own.ends, batch.flags
        )  # fmt: skip


def tell(batch: InboundBatch, own: OwnColumns) -> None:
    """SENT for rows of this host that have no verdict."""
    if own.numbers is not None:
        tell_sent(batch.flags, batch.verdict)


def sent(batch: InboundBatch, columns: InboundColumns) -> None:
    """SENT instead of DELIVERED for what this host sent."""
    tell(batch, columns.own)


STAGE = Stage("sent", sent)
