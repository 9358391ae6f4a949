"""Trailer: padding and next header of what was opened. TRAILER in `opened`; Linux judges it before the window moves."""

from __future__ import annotations

from espsim.core.batch import PacketBatch
from espsim.kernels import trailer as kernel
from espsim.stages.columns import SadColumns

WRITES = frozenset({"opened", "payload", "pad", "next_header"})


def trailer(batch: PacketBatch, _columns: SadColumns) -> None:
    """RFC 4303 2.4 to 2.6, for every row."""
    trailer_of(batch, slice(None))


def trailer_of(batch: PacketBatch, rows: slice) -> None:
    """The same for some rows."""
    kernel.trailer(
        batch.arena, batch.plain_at[rows], batch.plain_length[rows], batch.opened[rows],
        batch.payload[rows], batch.pad[rows], batch.next_header[rows],
    )  # fmt: skip
