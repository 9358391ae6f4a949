"""Trailer: padding and next header of what was opened. It writes TRAILER into `opened`.

The plaintext (wire/esp.py, parse_trailer, over columns):

    payload | TFC padding | padding 1, 2, 3 ... | pad length | next header

It comes before `settle`, because Linux judges the trailer before the window moves.

What this does not do: it cuts off no TFC padding (decap.py does, where the inner packet states its length), and refuses
no padding for its bytes, as Linux refuses none.
Sources: RFC 4303 2.4 to 2.6; Linux esp_remove_trailer (net/ipv4/esp4.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import DELIVERED, PROTO_NONE, TRAILER
from espsim.jit.compiling import kernel

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns


@kernel
def judge_trailers(
    arena: U8, offset: I64, length: I32, opened: U8, payload: I32, pad: U8, next_header: U8, odd: U8
) -> None:  # fmt: skip
    """Payload length, pad length and next header of rows whose `opened` is DELIVERED; zeros for all others.

    1. TRAILER: there is no trailer, the pad length leaves no payload, or the next header says that this is a dummy
       packet (RFC 4303 2.6). The row keeps zeros.
    2. The lengths in bytes, and the next header.
    3. `odd` is 1 where the padding is not 1, 2, 3 ... (2.4).

    `offset`, `length`: the plaintext in the arena, in bytes.
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


def trailer(batch: InboundBatch, _columns: InboundColumns) -> None:
    """RFC 4303 2.4 to 2.6."""
    judge_trailers(
        batch.arena, batch.plain_at, batch.plain_length, batch.opened, batch.payload, batch.pad, batch.next_header,
        batch.odd_padding,
    )  # fmt: skip


STAGE = Stage("trailer", trailer, frozenset({"payload", "pad", "next_header", "odd_padding"}), objects=False)


def trailer_again(batch: InboundBatch, row: int) -> None:
    """`trailer` for one row, which `settle` has opened again."""
    this = slice(row, row + 1)
    judge_trailers(
        batch.arena, batch.plain_at[this], batch.plain_length[this], batch.opened[this],
        batch.payload[this], batch.pad[this], batch.next_header[this], batch.odd_padding[this],
    )  # fmt: skip
