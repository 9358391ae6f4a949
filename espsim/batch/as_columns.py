"""Answers for programs, one numpy column a fact: `espsim.open_batch` and `espsim.seal_batch`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.outbound.order import OutboundPipeline
from espsim.core.arrays import I32, I64, U8, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.sad.entry import SadEntry


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OpenedBatch:
    """One row a packet. `verdict` (uint8) is a Verdict's number; 255: the packet is not ESP.

    `sa_index` (int32): `SadEntry.sa_index`; -1: no SA. `seq64` (uint64): the number that was inferred; 0: the packet
    was refused before that. A delivered row has its inner packet in `arena` (uint8) from `inner_at` (int64) on,
    `inner_length` (int32) bytes long; other rows have length 0. `inners`: the inner packets that came out with a row of
    IP-TFS, which has length 0 too.
    """

    arena: U8
    verdict: U8
    sa_index: I32
    seq64: U64
    inner_at: I64
    inner_length: I32
    inners: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.verdict)

    def __repr__(self) -> str:
        return f"OpenedBatch({_counted(self.verdict, Verdict, 'not ESP')})"

    def inner(self, row: int) -> bytes | None:
        """The inner packet of a delivered row; None for other rows."""
        return _bytes(self.arena, self.inner_at, self.inner_length, row)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SealedBatch:
    """One row a packet. `verdict` (uint8) is an OutboundVerdict's number; 255: the packet is not IP.

    `sa_index` (int32): `SadEntry.sa_index`; -1: no SA. `seq64` (uint64): the number sent. A sealed row has its packet
    in `arena` (uint8) from `at` (int64) on, `length` (int32) bytes long; other rows have length 0. `outers`: all
    packets of a row that left in several, or of IP-TFS; such a row has length 0 too. `waiting`: packets of IP-TFS that
    left at the end, after their delay.
    """

    arena: U8
    verdict: U8
    sa_index: I32
    seq64: U64
    at: I64
    length: I32
    outers: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)
    waiting: tuple[bytes, ...] = ()

    def __len__(self) -> int:
        return len(self.verdict)

    def __repr__(self) -> str:
        return f"SealedBatch({_counted(self.verdict, OutboundVerdict, 'not IP')})"

    def packet(self, row: int) -> bytes | None:
        """The packet of a sealed row; None for other rows."""
        return _bytes(self.arena, self.at, self.length, row)


def opened(path: InboundPipeline, packets: Sequence[bytes], times: Sequence[float] | float, mark: int) -> OpenedBatch:
    """Run IP packets through a path."""
    batch = InboundBatch.of(packets, times, mark)
    path.run(batch)
    length = np.where(batch.verdict == Verdict.DELIVERED, batch.inner_length, 0).astype(np.int32)
    found = _indices(path.columns.entries, batch.sa_index)
    inners = path.aggregated.inners if path.aggregated is not None else {}
    length[list(inners)] = 0
    return OpenedBatch(batch.arena, batch.verdict, found, batch.seq64, batch.inner_at, length, inners)


def sealed(path: OutboundPipeline, packets: Sequence[bytes], times: Sequence[float] | float) -> SealedBatch:
    """Run clear IP packets through a path."""
    batch = OutboundBatch.of(packets, times)
    path.run(batch)
    here = batch.verdict == OutboundVerdict.SEALED
    length = np.where(here, batch.out_length, 0).astype(np.int32)
    found = _indices(path.columns.entries, batch.sa_index)
    outers = {row: tuple(several.sent.wire()) for row, several in batch.several.items()}
    length[list(outers)] = 0
    waiting = tuple(packet for leaves in path.one.senders.elapse(math.inf) for packet in leaves.packets)
    seq64 = np.where(here, batch.seq64, 0)
    return SealedBatch(batch.out, batch.verdict, found, seq64, batch.out_at, length, outers, waiting)


def _indices(entries: Sequence[SadEntry], rows: I32) -> I32:
    """`SadEntry.sa_index` for rows of the columns."""
    numbers = np.array([*(entry.sa_index for entry in entries), -1], np.int32)
    return numbers[rows]


def _bytes(arena: U8, at: I64, length: I32, row: int) -> bytes | None:
    size = int(length[row])
    return arena[int(at[row]) : int(at[row]) + size].tobytes() if size else None


def _counted(verdict: U8, names: type[Verdict] | type[OutboundVerdict], other: str) -> str:
    known = {int(name): name.name for name in names}
    counts = Counter(known.get(number, other) for number in verdict.tolist())
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "no packets"
