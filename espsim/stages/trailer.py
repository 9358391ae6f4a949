"""Trailer: padding and next header of what was opened. TRAILER in `opened`; Linux judges it before the window moves."""

from __future__ import annotations

from espsim.core.batch import PacketBatch
from espsim.kernels import trailer as kernel
from espsim.stages.columns import SadColumns
from espsim.stages.rule import Stage


def trailer(batch: PacketBatch, _columns: SadColumns) -> None:
    """RFC 4303 2.4 to 2.6, for every row."""
    kernel.trailer(
        batch.arena, batch.plain_at, batch.plain_length, batch.opened, batch.payload, batch.pad, batch.next_header,
        batch.odd_padding,
    )  # fmt: skip


TRAILER = Stage("trailer", trailer, frozenset({"payload", "pad", "next_header", "odd_padding"}), objects=False)


def trailer_again(batch: PacketBatch, row: int) -> None:
    """The same for one row."""
    this = slice(row, row + 1)
    kernel.trailer(
        batch.arena, batch.plain_at[this], batch.plain_length[this], batch.opened[this],
        batch.payload[this], batch.pad[this], batch.next_header[this], batch.odd_padding[this],
    )  # fmt: skip
