"""Memory for batches of frames, and the rows of joined fragments, which can be more, fewer or longer than frames.

A datagram that was put together takes its completing frame's row, and lies after the frames in the arena. Where there
is no room for it, it waits for the next batch with all rows that come after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from espsim.core.arrays import I32, I64, U8
from espsim.core.numbers import LINK_PART, MAY_JOIN, OUTGOING
from espsim.io.fragments import Joiner, TakenFrame
from espsim.io.rows.classic import LONGEST

COLUMNS: dict[str, type[np.generic]] = {
    "offset": np.int64, "length": np.int32, "time_ns": np.int64, "link": np.uint8,
    "frame": np.int64, "captured": np.int32, "wire": np.int32,
}  # fmt: skip
"""The columns of a slot."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSlot:
    """Memory for one batch of frames: `arena` (uint8, contiguous, at least LONGEST bytes) and columns of one length.

    A row's IP packet lies at `offset` (int64) in the arena, `length` (int32) bytes long: from the first byte of the IP
    header to the end of what was captured, LONGEST bytes at most; 0 where the frame is not IP. `time_ns` (int64) is
    nanoseconds since the epoch; `link` (uint8) is what a frame that is not IP is (core.layers.Layer: ARP or OTHER), or
    bits of a row that is IP, or core.numbers.LINK_PART: then the fragment's first header still lies at `offset`.
    `frame` (int64) is the number of the frame, from 1; `captured` and `wire` (int32) are its bytes, captured and on the
    wire. ValueError where the columns don't fit each other.
    """

    arena: U8
    offset: I64
    length: I32
    time_ns: I64
    link: U8
    frame: I64
    captured: I32
    wire: I32

    def __post_init__(self) -> None:
        columns = [getattr(self, name) for name in COLUMNS]
        kinds = [column.dtype for column in columns]
        if self.arena.dtype != np.uint8 or kinds != [np.dtype(kind) for kind in COLUMNS.values()]:
            raise ValueError(f"a slot of {self.arena.dtype.name}, {', '.join(kind.name for kind in kinds)}")
        if not len({len(column) for column in columns}) == 1 or not len(self.offset):
            raise ValueError("the columns of a slot must have one length, and a row")
        if self.arena.nbytes < LONGEST or not self.arena.flags.c_contiguous:
            raise ValueError(f"an arena must be contiguous and have {LONGEST} bytes")

    @classmethod
    def of(cls, rows: int = 4096, size: int = 4 << 20, memory: Callable[..., Any] = np.empty) -> Self:
        """A slot of so many rows and bytes, made by `memory(shape, dtype)`."""
        return cls(memory((size,), np.uint8), *(memory((rows,), kind) for kind in COLUMNS.values()))


class WaitingRow(NamedTuple):
    """A row that waits for the next batch: its packet, and its values of _FACTS."""

    packet: bytes
    facts: tuple[int, ...]


_HEADER = 40  # bytes of a fragment with its addresses in them
_FACTS = ("link", "time_ns", "frame", "captured", "wire")


def give(held: deque[WaitingRow], slot: FrameSlot, row: int = 0, at: int = 0) -> tuple[int, int]:
    """Put rows that wait into a slot, as many as fit from `row` and from `at` in the arena on: the next (row, at)."""
    while held and row < len(slot.offset) and at + len(held[0].packet) <= len(slot.arena):
        packet, facts = held.popleft()
        _put(slot, row, at, packet)
        for name, value in zip(_FACTS, facts, strict=True):
            getattr(slot, name)[row] = value
        if slot.link[row] == LINK_PART:
            slot.length[row] = 0
        row, at = row + 1, at + len(packet)
    return row, at


def join(joiner: Joiner, slot: FrameSlot, rows: int, free: int, held: deque[WaitingRow]) -> int:
    """Give the joiner the marked ones of the first rows; the arena is free from `free` on.

    Returns how many rows there are then, at least one. Rows without room go into `held`, which is empty before.
    """
    taken: dict[int, TakenFrame] = {}
    if slot.link[:rows].max() < MAY_JOIN:  # a tenth of the time that looking for the bit takes
        return rows
    for row in np.flatnonzero(slot.link[:rows] & MAY_JOIN).tolist():
        found = joiner.take(_packet(slot, row), int(slot.frame[row]), int(slot.time_ns[row]))
        slot.link[row] &= OUTGOING
        if found is not None:
            taken[row] = found if not found.packets else TakenFrame(found.packets, found.link | int(slot.link[row]))
    for row, (packets, link) in taken.items():
        if len(packets) > 1 or sum(map(len, packets)) > len(slot.arena) - free:
            held.extend(_rows(slot, row, rows, taken))
            return give(held, slot, row, free if row else 0)[0]  # from the first row on the whole arena is free
        slot.length[row], slot.link[row] = 0, link
        for packet in packets:
            _put(slot, row, free, packet)
            free += len(packet)
    return rows


def _rows(slot: FrameSlot, first: int, end: int, taken: dict[int, TakenFrame]) -> Iterator[WaitingRow]:
    for row in range(first, end):
        link, *facts = (int(getattr(slot, name)[row]) for name in _FACTS)
        packets, link = taken[row] if row in taken else ((_packet(slot, row),), link)
        for packet in packets or (_packet(slot, row)[:_HEADER],):
            yield WaitingRow(packet, (link, *facts))


def _put(slot: FrameSlot, row: int, at: int, packet: bytes) -> None:
    slot.arena[at : at + len(packet)] = np.frombuffer(packet, np.uint8)
    slot.offset[row], slot.length[row] = at, len(packet)


def _packet(slot: FrameSlot, row: int) -> bytes:
    at = int(slot.offset[row])
    return slot.arena[at : at + int(slot.length[row])].tobytes()
