"""A batch of clear packets on their way out as struct-of-arrays, and the arena that holds them sealed.

Columns and rows keep the rules of `core/inbound_batch.py`: one writer a column, and a row that was dropped stays where
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from espsim.core.answers import Sent
from espsim.core.arrays import F64, I32, I64, U8, U16, U64, Bools
from espsim.core.batch_rows import BatchRows
from espsim.core.inbound_batch import packed

OUT_COLUMNS: dict[str, tuple[type[np.generic], int]] = {
    # policy: what selectors see of the packet, and the SA whose selector takes it
    "family": (np.uint8, 1),  # 4, 6
    "proto": (np.uint8, 1),
    "sport": (np.uint16, 1),  # of ICMP the type, and the code in dport
    "dport": (np.uint16, 1),
    "saddr": (np.uint64, 2),  # high and low; IPv4 in the low one
    "daddr": (np.uint64, 2),
    "sa_index": (np.int32, 1),  # row of OutboundColumns; -1: none
    "rank": (np.int32, 1),  # how specific that SA's selector is; -1: none
    "tied": (np.uint8, 1),  # not 0: another SA is as specific, and the newest was taken
    # measure: what goes inside ESP, in bytes, and how long the packet will be
    "headers": (np.int32, 1),  # IP headers that stay in front of ESP: transport mode's
    "pointer": (np.int32, 1),  # offset in them of the byte that names what follows
    "next_header": (np.uint8, 1),
    "payload": (np.int32, 1),  # bytes after `headers`, without what a link layer added
    "plain_length": (np.int32, 1),  # payload, TFC padding, padding, trailer
    "out_length": (np.int32, 1),  # the sealed packet, where one comes of it
    # seqno
    "seq64": (np.uint64, 1),
    # encap: offsets in `out`
    "out_at": (np.int64, 1),
    "esp_at": (np.int64, 1),
    "end_at": (np.int64, 1),
    "clear_at": (np.int64, 1),  # where in `arena` what is sealed lies; -1: in `out`, where the ciphertext goes
    # seal
    "sealed": (np.uint8, 1),  # what the engine says of the row (aead/batch.py)
    # the first stage that objects, once
    "verdict": (np.uint8, 1),
}
"""Name, dtype and values a row of every column that stages write."""

ROOM = 16
"""Bytes that a batch may need after each packet. No record format has fewer between two frames."""


class Several(NamedTuple):
    """A row that leaves in several packets: the answer, and where they lie in `out`, as (offset, length)."""

    sent: Sent[Any]
    places: list[tuple[int, int]]


class OutboundBatch(BatchRows):
    """Clear IP packets in `arena` (uint8, contiguous) at `offset` (int64), `length` (int32) bytes long.

    `time` is when each is sent, in seconds. `room`: bytes after each packet that this batch may write. With ROOM bytes
    the trailer goes there, and what is sealed is read where it lies instead of being copied first. Sealed packets are
    in `out` (uint8), which the encap stage makes, also where it is given but too small. Give the last batch's `out` to
    the next batch once it has been read. `before`: bytes that stay free before each sealed packet, for a writer's
    headers; the packets then lie end to end. With 0 they begin at multiples of 16. Bytes of `out` past `out_end` mean
    nothing. `memory(shape, dtype)` makes the columns that stages write, zeroed. A batch may run again with other
    packets: stages write every row of their columns.
    """

    WHOLE = frozenset({"arena", "room", "before", "_out", "out_end", "several"})
    family: U8
    proto: U8
    sport: U16
    dport: U16
    saddr: U64
    daddr: U64
    sa_index: I32
    rank: I32
    tied: U8
    headers: I32
    pointer: I32
    next_header: U8
    payload: I32
    plain_length: I32
    out_length: I32
    seq64: U64
    out_at: I64
    esp_at: I64
    end_at: I64
    clear_at: I64
    sealed: U8
    verdict: U8

    def __init__(  # noqa: PLR0917 - arrays in one fixed order, as InboundBatch takes them
        self, arena: U8, offset: I64, length: I32, time: F64, out: U8 | None = None,
        memory: Callable[..., Any] = np.zeros, room: int = 0, before: int = 0,
    ) -> None:  # fmt: skip
        rows = len(offset)
        if not len(length) == len(time) == rows:
            raise ValueError("the columns of a batch must have one length")
        self.arena, self.offset, self.length, self.time = arena, offset, length, time
        self._out = [np.empty(0, np.uint8) if out is None else out]  # one place for the batch and all its heads
        self.out_end = 0
        self.room, self.before = room, before
        self.several: dict[int, Several] = {}
        for name, (kind, width) in OUT_COLUMNS.items():
            setattr(self, name, memory((rows,) if width == 1 else (rows, width), kind))

    @classmethod
    def of(
        cls, packets: Sequence[bytes], times: Sequence[float] | float = 0.0, out: U8 | None = None
    ) -> OutboundBatch:  # fmt: skip
        """IP packets, copied into an arena of their own. `times`: one for each, or one for all."""
        return cls(*packed(packets, times, ROOM), out, room=ROOM)

    @property
    def out(self) -> U8:
        """The arena of sealed packets."""
        return self._out[0]

    @out.setter
    def out(self, arena: U8) -> None:
        self._out[0] = arena

    def make_room(self, end: int) -> None:
        """`out` has at least `end` bytes afterwards, those before `out_end` as they were."""
        if end > len(self.out):
            larger = np.empty(end + end // 4, np.uint8)
            larger[: self.out_end] = self.out[: self.out_end]
            self.out = larger

    def append(self, row: int, packet: bytes) -> None:
        """Put a row's sealed packet after all others."""
        self.out_at[row], self.out_length[row] = self._put(packet)

    def append_several(self, row: int, sent: Sent[Any]) -> None:
        """The same for a row that leaves in several packets; `several` has them."""
        self.several[row] = Several(sent, [self._put(packet) for packet in sent.wire()])

    def leaving(self, sealed: int, time_ns: I64, rows: slice = slice(None)) -> tuple[I64, I32, I64, Bools]:
        """What leaves, as columns for a writer: where in `out`, how long, when, and whether it does.

        `sealed` is the verdict of rows that leave whole; `time_ns` the rows' times; `rows` some of them.
        """
        if not self.several:
            return self.out_at[rows], self.out_length[rows], time_ns[rows], self.verdict[rows] == sealed
        places: list[tuple[int, int, int]] = []
        facts = zip(*(c[rows].tolist() for c in (self.verdict, self.out_at, self.out_length, time_ns)), strict=True)
        for row, (verdict, at, size, when) in enumerate(facts, rows.indices(len(self))[0]):
            if row in self.several:
                places += [(*place, when) for place in self.several[row].places]
            elif verdict == sealed:
                places.append((at, size, when))
        found = np.array(places, np.int64).reshape(-1, 3)
        return found[:, 0].copy(), found[:, 1].astype(np.int32), found[:, 2].copy(), np.ones(len(found), np.bool_)

    def _put(self, packet: bytes) -> tuple[int, int]:
        at, size = self.out_end, len(packet)
        self.make_room(at + size)
        self.out[at : at + size] = np.frombuffer(packet, np.uint8)
        self.out_end = at + size
        return at, size
