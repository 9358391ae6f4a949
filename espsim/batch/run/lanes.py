"""The two directions as `stream` needs them: how a worker runs its rows of a batch, and which rows are whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from espsim.batch.inbound.order import BatchInbound
from espsim.batch.inbound.parse import parse
from espsim.batch.out_columns import stand_ins
from espsim.batch.outbound.order import BatchOutbound
from espsim.batch.outbound.policy import policy
from espsim.core.arrays import F64, U8, U32
from espsim.core.batch import PacketBatch
from espsim.core.numbers import ONE_BY_ONE
from espsim.core.out_batch import OVERHEAD, OutBatch
from espsim.io.slots import FrameSlot


class InboundLane:
    """Packets of a capture through a `BatchInbound`."""

    KEPT = ("verdict", "flags", "kind", "spi", "seq", "seq64", "sa_index", "inner_at", "inner_length",
            "opened", "odd_padding")  # fmt: skip
    """The columns that counts, answers, writers and who explains failures read."""

    def __init__(self, path: BatchInbound) -> None:
        self.path = path
        self.sad = path.one.sad
        self.entries = path.columns.entries
        self.alone: Counter[int] = Counter()
        """After the last piece: what the one-packet path opened, of all workers (`BatchInbound.alone`)."""

    def batch(self, slot: FrameSlot, time: F64, memory: Callable[..., Any], _workers: int) -> PacketBatch:
        """A batch over a slot's memory."""
        mark: U32 = memory((len(time),), np.uint32)
        mark[:] = self.path.one.mark or 0
        facts = slot.link, slot.frame, slot.captured, slot.wire
        return PacketBatch(slot.arena, slot.offset, slot.length, time, mark, memory, *facts)

    def run(self, batch: PacketBatch) -> None:
        """Run every row."""
        self.path.run(batch)

    def shard(self, batch: PacketBatch) -> U32:
        """A packet's SPI: whatever SA the lookup finds has the same one. 0 where there is none."""
        parse(batch, self.path.columns)
        return batch.spi

    def run_part(self, batch: PacketBatch, mine: U8, worker: int) -> None:
        """Run a worker's rows; the arena is shared, so inner packets are where they are."""
        rows = np.flatnonzero(mine == worker)
        columns = batch.offset[rows], batch.length[rows], batch.time[rows], batch.mark[rows]
        part = PacketBatch(
            batch.arena, *columns,
            link=batch.link[rows], frame=batch.frame[rows], captured=batch.captured[rows], wire=batch.wire[rows],
        )  # fmt: skip
        self.path.run(part)
        for name in self.KEPT:
            getattr(batch, name)[rows] = getattr(part, name)

    def close(self) -> None:
        """Write back into the SAD."""
        self.path.close()

    def groups(self) -> U32:
        """Every entry's SPI."""
        return np.array([entry.sa.spi for entry in self.entries], np.uint32)

    def notes(self) -> Counter[int]:
        """In a worker, or with one alone: what the one-packet path did."""
        return self.path.alone

    def take(self, notes: list[Counter[int]]) -> None:
        """What the workers noted."""
        self.alone = _sum(notes)


class OutboundLane:
    """Clear packets of a capture through a `BatchOutbound`."""

    KEPT = ("verdict", "sa_index", "seq64", "out_length")

    def __init__(self, path: BatchOutbound) -> None:
        self.path = path
        self.sad = path.one.sad
        self.entries = path.columns.entries
        # When an SA ends, its packets choose another: all that may come to that are one shard.
        ending = [entry for entry in self.entries if entry.sa.limited]
        alone = np.array(stand_ins(self.entries, ending), np.bool_) | (path.columns.standing == ONE_BY_ONE)
        self._groups: U32 = np.zeros(len(alone) + 1, np.uint32)  # the first one is for packets without an SA
        self._groups[1:] = np.where(alone, 0, np.arange(1, len(alone) + 1))
        self._least = path.one.mtu if any(entry.sa.tfcpad for entry in self.entries) else 0
        self.ambiguous = False
        """After the last piece: whether some packet fitted several SAs equally well, so that the newest was taken."""
        self.alone: Counter[int] = Counter()
        """After the last piece: what the one-packet path sealed, of all workers (`BatchOutbound.alone`)."""

    def batch(self, slot: FrameSlot, time: F64, memory: Callable[..., Any], workers: int) -> OutBatch:
        """A batch over a slot's memory; the sealed packets of several workers share one arena."""
        room = len(slot.arena) + len(time) * (self._least + OVERHEAD) if workers > 1 else 0
        return OutBatch(slot.arena, slot.offset, slot.length, time, memory((room,), np.uint8), memory)

    def run(self, batch: OutBatch) -> None:
        """Run every row."""
        self.path.run(batch)

    def shard(self, batch: OutBatch) -> U32:
        """A number for each SA, 0 for what goes one by one or is chosen by no SA."""
        policy(batch, self.path.columns)
        return self._groups[batch.sa_index + 1]

    def run_part(self, batch: OutBatch, mine: U8, worker: int) -> None:
        """Run a worker's rows, and put its sealed packets after those of the workers before it.

        Each worker has the most bytes that its rows can come to. ArenaFullError where that was not enough: packets
        that went elsewhere would be lost, and those of the next worker overwritten.
        """
        room = np.maximum(batch.length, self._least).astype(np.int64) + OVERHEAD
        at, size = int(room[mine < worker].sum()), int(room[mine == worker].sum())
        rows = np.flatnonzero(mine == worker)
        part = OutBatch(
            batch.arena, batch.offset[rows], batch.length[rows], batch.time[rows], batch.out[at : at + size],
            shared=True,
        )  # fmt: skip
        self.path.run(part)
        for name in self.KEPT:
            getattr(batch, name)[rows] = getattr(part, name)
        batch.out_at[rows] = part.out_at + at

    def close(self) -> None:
        """Write back into the SAD."""
        self.path.close()

    def groups(self) -> U32:
        """Every entry's number as `shard` gives it."""
        return self._groups[1:]

    def notes(self) -> tuple[bool, Counter[int]]:
        """In a worker, or with one alone: whether anything was ambiguous, and what the one-packet path did."""
        return self.path.ambiguous, self.path.alone

    def take(self, notes: list[tuple[bool, Counter[int]]]) -> None:
        """What the workers noted."""
        self.ambiguous = any(ambiguous for ambiguous, _ in notes)
        self.alone = _sum([alone for _, alone in notes])


def _sum(counts: list[Counter[int]]) -> Counter[int]:
    return sum(counts, Counter())
