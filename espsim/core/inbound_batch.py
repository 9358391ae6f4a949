"""A batch of packets as struct-of-arrays: one byte arena, and one numpy column a fact.

Each column is defined by one stage, which says so (batch/stages.py). Rows stay where they are: a row that was dropped
has a verdict, and no stage after that looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from espsim.core.arrays import F64, I32, I64, U8, U32, U64
from espsim.core.batch_rows import BatchRows

COLUMNS: dict[str, tuple[type[np.generic], int]] = {
    # parse: what the outer headers say; offsets in `where` count from the packet's start
    "family": (np.uint8, 1),  # 4, 6
    "flags": (np.uint8, 1),  # core.numbers.CUT
    "kind": (np.uint8, 1),  # core.layers.Layer of what is not ESP
    "proto": (np.uint8, 1),
    "tos": (np.uint8, 1),
    "where": (np.int32, 4),  # IP_END, ESP_START, ESP_END, POINTER (core.numbers)
    "sport": (np.uint32, 1),
    "dport": (np.uint32, 1),  # batch.inbound.triple.NO_PORT without UDP, TCP_PORT in TCP
    "spi": (np.uint32, 1),
    "seq": (np.uint32, 1),
    "daddr": (np.uint64, 2),  # high and low; IPv4 in the low one
    "saddr": (np.uint64, 2),
    # lookup
    "sa_index": (np.int32, 1),  # row of InboundColumns; -1: none
    # replay
    "seq64": (np.uint64, 1),
    "replay": (np.uint8, 1),  # what the window says: 0, or a verdict REPLAY_*
    # aead, trailer: offsets in the arena
    "esp_at": (np.int64, 1),
    "end_at": (np.int64, 1),
    "plain_at": (np.int64, 1),
    "plain_length": (np.int32, 1),
    "opened": (np.uint8, 1),  # 0: ICV and trailer are good
    "payload": (np.int32, 1),
    "pad": (np.uint8, 1),
    "next_header": (np.uint8, 1),
    "odd_padding": (np.uint8, 1),  # 1: the padding is not 1, 2, 3
    "holder": (np.uint8, 1),  # 1: the first row that holds ESP for this host (nested)
    # decap: the inner packet in the arena
    "inner_at": (np.int64, 1),
    "inner_length": (np.int32, 1),
    # the first stage that objects, once
    "verdict": (np.uint8, 1),
}
"""Name, dtype and values a row of every column that stages write."""


def packed(packets: Sequence[bytes], times: Sequence[float] | float, room: int = 0) -> tuple[U8, I64, I32, F64]:
    """Packets in an arena of their own, `room` zeros after each: arena, offset, length, time.

    `times`: one for each, or one for all.
    """
    rows = len(packets)
    length = np.fromiter(map(len, packets), np.int32, rows)
    offset = np.zeros(rows, np.int64)
    np.cumsum(length[:-1] + np.int32(room), out=offset[1:])
    time = np.empty(rows, np.float64)
    time[:] = times
    return np.frombuffer(bytearray(room).join([*packets, b""]), np.uint8), offset, length, time


class InboundBatch(BatchRows):
    """Packets in `arena` (uint8, writable, contiguous) at `offset` (int64), `length` (int32) bytes long.

    `time` is when each arrived, in seconds; `mark` its mark; `link` a core.layers.Layer where it is not IP, else bits
    (core/numbers.py). `frame` (int64) is the number of each row's frame, from 1; `captured` and `wire` (int32) how many
    bytes of that frame were captured and were on the wire. Where they are not given, every row is a frame of its own
    that holds the packet alone.

    Stages work in place: bytes of opened packets in the arena are plaintext afterwards. `memory(shape, dtype)` makes
    the columns that stages write, zeroed. A batch may run again with other packets: stages write every row of their
    columns.
    """

    WHOLE = frozenset({"arena", "_free"})
    family: U8
    flags: U8
    kind: U8
    proto: U8
    tos: U8
    where: I32
    sport: U32
    dport: U32
    spi: U32
    seq: U32
    daddr: U64
    saddr: U64
    sa_index: I32
    seq64: U64
    replay: U8
    esp_at: I64
    end_at: I64
    plain_at: I64
    plain_length: I32
    opened: U8
    payload: I32
    pad: U8
    next_header: U8
    odd_padding: U8
    holder: U8
    inner_at: I64
    inner_length: I32
    verdict: U8
    _free = 0
    """Bytes at the end of a longer arena that no row has."""

    def __init__(  # noqa: PLR0917
        self, arena: U8, offset: I64, length: I32, time: F64, mark: U32, memory: Callable[..., Any] = np.zeros,
        link: U8 | None = None, frame: I64 | None = None, captured: I32 | None = None, wire: I32 | None = None,
    ) -> None:  # fmt: skip
        rows = len(offset)
        if not len(length) == len(time) == len(mark) == rows:
            raise ValueError("the columns of a batch must have one length")
        self.arena, self.offset, self.length, self.time, self.mark = arena, offset, length, time, mark
        self.link: U8 = np.zeros(rows, np.uint8) if link is None else link
        self.frame: I64 = np.arange(1, rows + 1) if frame is None else frame
        self.captured: I32 = length if captured is None else captured
        self.wire: I32 = self.captured if wire is None else wire
        for name, (kind, width) in COLUMNS.items():
            setattr(self, name, memory((rows,) if width == 1 else (rows, width), kind))

    @classmethod
    def of(cls, packets: Sequence[bytes], times: Sequence[float] | float = 0.0, mark: int = 0) -> InboundBatch:
        """IP packets, copied into an arena of their own. `times`: one for each, or one for all."""
        return cls(*packed(packets, times), np.full(len(packets), mark, np.uint32))

    def put_inner(self, row: int, inner: bytes) -> None:
        """Put the inner packet of a row that was opened elsewhere where its packet lay.

        It is longer than its packet in one case: BEET mode has put an IPv6 header in place of an IPv4 one, and no ICV
        made room. Then it goes to the end of the arena, which this batch replaces by a longer copy.
        """
        at, size = int(self.offset[row]), len(inner)
        if size > int(self.length[row]):
            if size > self._free:
                self._free = max(size, len(self.arena))
                self.arena = np.concatenate((self.arena, np.zeros(self._free, np.uint8)))
            at, self._free = len(self.arena) - self._free, self._free - size
        self.arena[at : at + size] = np.frombuffer(inner, np.uint8)
        self.inner_at[row], self.inner_length[row] = at, size

    def inner(self, row: int) -> bytes:
        """The inner packet of a delivered row."""
        at = int(self.inner_at[row])
        return self.arena[at : at + int(self.inner_length[row])].tobytes()
