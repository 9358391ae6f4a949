"""Trailer: padding and next header of what was opened. TRAILER in `opened`; Linux judges it before the window moves.

`wire/esp.py` split_trailer and the dummy packet over columns, as esp_remove_trailer judges them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.batch import PacketBatch
from espsim.core.numbers import DELIVERED, PROTO_NONE, TRAILER
from espsim.jit.compiling import kernel

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns


@kernel
def judge_trailers(
    arena: U8, offset: I64, length: I32, opened: U8, payload: I32, pad: U8, next_header: U8, odd: U8
) -> None:  # fmt: skip
    """Of rows whose `opened` is 0: payload length, pad length and next header; else, and where refused, zeros.

    `offset` and `length` are the plaintext's in the arena, in bytes. `opened` becomes TRAILER where the pad length
    leaves no payload or next header 59 says that it is a dummy (RFC 4303 2.6). `odd` is 1 where the padding is not
    1, 2, 3 (2.4), which no one refuses.
    """
    for i in range(len(offset)):
        payload[i], pad[i], next_header[i], odd[i] = 0, 0, 0, 0
        if opened[i] != DELIVERED:
            continue
        last = offset[i] + length[i] - 1
        if length[i] < 2 or length[i] - 2 - np.int64(arena[last - 1]) <= 0 or arena[last] == PROTO_NONE:
            opened[i] = TRAILER
            continue
        pad[i], next_header[i] = arena[last - 1], arena[last]
        payload[i] = length[i] - 2 - np.int64(pad[i])
        for n in range(np.int64(pad[i])):
            if arena[offset[i] + payload[i] + n] != n + 1:
                odd[i] = 1
                break


def trailer(batch: PacketBatch, _columns: SadColumns) -> None:
    """RFC 4303 2.4 to 2.6, for every row."""
    judge_trailers(
        batch.arena, batch.plain_at, batch.plain_length, batch.opened, batch.payload, batch.pad, batch.next_header,
        batch.odd_padding,
    )  # fmt: skip


STAGE = Stage("trailer", trailer, frozenset({"payload", "pad", "next_header", "odd_padding"}), objects=False)


def trailer_again(batch: PacketBatch, row: int) -> None:
    """The same for one row."""
    this = slice(row, row + 1)
    judge_trailers(
        batch.arena, batch.plain_at[this], batch.plain_length[this], batch.opened[this],
        batch.payload[this], batch.pad[this], batch.next_header[this], batch.odd_padding[this],
    )  # fmt: skip
