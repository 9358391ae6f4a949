"""Decap: out of the tunnel, or back under the IP headers, in place. MODE; then the SAs count."""

from __future__ import annotations

import numpy as np

from espsim.core.batch import PacketBatch
from espsim.kernels import decap as kernel
from espsim.stages.columns import SadColumns

WRITES = frozenset({"arena", "inner_at", "inner_length", "verdict"})


def decap(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4301 5.2. A selector is not looked at: SAs that have one are the one-packet path's."""
    kernel.decap(
        batch.arena, batch.offset, batch.where, batch.family, batch.tos, batch.sa_index, columns.form,
        batch.plain_at, batch.payload, batch.next_header, batch.inner_at, batch.inner_length, batch.verdict,
    )  # fmt: skip


def count(batch: PacketBatch, columns: SadColumns) -> None:
    """Packets, bytes, refusals and first use of every SA; writes no column of the batch."""
    kernel.tally(batch.verdict, batch.sa_index, batch.payload, batch.time.view(np.int64), columns.counts)
