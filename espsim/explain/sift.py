"""The collector over batches: batch/inbound/sift.py goes through the rows and stops at each that is to be looked at.

A run without failures costs one call a batch. Rows of groups that have been looked at enough are only counted, in the
kernel. What is looked at goes through the code of `watch.Watch`, in the same order.
"""

from __future__ import annotations

import numpy as np

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.batch.inbound import sift as kernel
from espsim.batch.inbound.order import BatchInbound
from espsim.batch.inbound.window import RESUMED, WHERE
from espsim.core.answers import Received
from espsim.core.arrays import I32
from espsim.core.batch import PacketBatch
from espsim.core.numbers import IN_TCP, OTHERWISE
from espsim.core.verdict import REPLAY_VERDICTS, Verdict
from espsim.explain.facts import Seen, Top
from espsim.explain.known import Known
from espsim.explain.watch import GROUPS, LOOKS, Collector, Group, Token
from espsim.sad.entry import SadEntry

_RIGHT = frozenset(map(int, (Verdict.DELIVERED, Verdict.TRAILER)))


class Sift(Collector):
    """Batches of `path`, in arrival order. Made before the first one runs."""

    def __init__(self, known: Known, path: BatchInbound) -> None:
        super().__init__(known, path.engine, path.one.ports)
        self._path = path
        columns = path.columns
        shape = columns.shape[: len(columns.entries)]
        self._state = np.zeros((max(len(shape), 1), 4), np.uint64)
        self._state[: len(shape), kernel.TOP] = columns.bits[(shape >> np.uint64(WHERE)).astype(np.int64)]
        self._state[: len(shape), kernel.FLAGS] = np.where(shape & np.uint64(RESUMED), kernel.RESUMED, np.uint64(0))
        self._keys = np.zeros((GROUPS, 3), np.uint64)
        self._slots = np.zeros(kernel.SLOTS, np.int32)
        self._counts = np.zeros((GROUPS, 2), np.int64)
        self._counts[:, kernel.ROOM] = LOOKS
        self._used = np.zeros(1, np.int64)
        self._made: list[Group] = []
        self._group_of: I32 = np.zeros(0, np.int32)

    def top(self, entry: SadEntry) -> Top:
        """As Collector."""
        row = self._path.columns.rows.get(entry.sa_index)
        if row is None:
            return Top(0, known=False)
        number, flags = self._state[row, : kernel.FLAGS + 1].tolist()
        return Top(number, not flags & int(kernel.RESUMED))

    def authentic(self, entry: SadEntry) -> bool:
        """As Collector."""
        row = self._path.columns.rows.get(entry.sa_index)
        return row is not None and bool(self._state[row, kernel.FLAGS] & kernel.AUTHENTIC)

    def take(self, batch: PacketBatch) -> dict[int, Token]:
        """A batch that has run; what was looked at, by row. `tokens` has the others of this batch too."""
        rows = len(batch)
        if len(self._group_of) < rows:
            self._group_of = np.zeros(rows, np.int32)
        looked: dict[int, Token] = {}
        row = -1
        while True:
            row = kernel.sift(
                row + 1, batch.verdict, batch.flags, batch.sa_index, batch.seq64, batch.odd_padding,
                batch.family, batch.spi, batch.daddr, batch.dport,
                self._state, self._keys, self._slots, self._counts, self._used, self._group_of,
            )  # fmt: skip
            if row < 0:
                return looked
            looked[row] = self._at(batch, row)

    def tokens(self, batch: PacketBatch, looked: dict[int, Token]) -> list[Token]:
        """Every row's token, after `take` of this batch gave `looked`."""
        groups = self._group_of[: len(batch)].tolist()
        return [looked.get(row) or (self._made[g] if g >= 0 else None) for row, g in enumerate(groups)]

    def end(self) -> None:
        """As Collector; the groups have their counts from here on."""
        for group, packets in zip(self._made, self._counts[:, kernel.PACKETS].tolist(), strict=False):
            group.packets = packets
        odd = self._state[:, kernel.ODD]
        entries = self._path.columns.entries
        self.odd = {entries[row].sa_index: int(odd[row]) for row in np.flatnonzero(odd).tolist()}
        super().end()

    def _at(self, batch: PacketBatch, row: int) -> Token:
        """Look at a row. A window that refused it may have done so after it was opened, and then it is plaintext."""
        (fate,) = self._path.answers(batch, slice(row, row + 1))
        if fate is None:
            raise RuntimeError("a row that is no packet has a group")
        number = int(self._group_of[row])
        if number == len(self._made):
            self._made.append(Group(fate.verdict, fate.entry))
            self.groups.append(self._made[-1])
        token = self._look(self._made[number], fate, seen_in(batch, row, fate))
        self._counts[number, kernel.ROOM] = min(self._counts[number, kernel.ROOM], self._made[number].room)
        return token


def seen_in(batch: PacketBatch, row: int, fate: Received[SadEntry]) -> Seen:
    """What the capture says of a row that failed. A window may have refused one that is plaintext by then."""
    packet, opened = batch.packet(row), None
    if fate.verdict in REPLAY_VERDICTS:
        code = int(batch.opened[row])
        opened = True if code in _RIGHT else None
        if code == OTHERWISE and fate.used is not None:
            packet = _closed(packet, int(batch.where[row, 1]), int(batch.where[row, 2]), fate.used)
    facts = int(batch.frame[row]), int(batch.captured[row]), int(batch.wire[row])
    return Seen(packet, *facts, opened, bool(batch.link[row] & IN_TCP))


def _closed(packet: bytes, esp: int, end: int, used: SadEntry) -> bytes:
    """The packet as it came: ciphertext where an engine left plaintext. Only its ICV, which is still there, depends on
    the number."""
    keys = used.sa.keys
    if keys is None:
        return packet
    body, icv = esp + 8 + keys.suite.iv_length, end - keys.icv_length
    seal = CryptographyEngine().transform(keys).seal
    sealed = seal(packet[esp : esp + 8], b"", packet[esp + 8 : body], packet[body:icv])
    return packet[:body] + sealed[: icv - body] + packet[icv:]
