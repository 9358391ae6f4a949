"""Decap: out of the tunnel, or back under the IP headers, in place, past the selector. MODE, POLICY; the SAs count."""

from __future__ import annotations

import numpy as np

from espsim.core.batch import PacketBatch
from espsim.kernels import admit as kernel_admit
from espsim.kernels import decap as kernel
from espsim.stages import own
from espsim.stages.columns import SadColumns
from espsim.stages.rule import Stage


def decap(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4301 5.2, but for the SA's selector."""
    kernel.decap(
        batch.arena, batch.offset, batch.where, batch.family, batch.tos, batch.sa_index, columns.form,
        batch.plain_at, batch.payload, batch.next_header, batch.inner_at, batch.inner_length, batch.verdict,
    )  # fmt: skip


def admit(batch: PacketBatch, columns: SadColumns) -> None:
    """The SA's selector is asked about the inner packet (__xfrm_policy_check)."""
    if len(columns.selectors):
        kernel_admit.admit(
            batch.arena, batch.inner_at, batch.inner_length, batch.sa_index, columns.selector_of, columns.selectors,
            batch.verdict,
        )  # fmt: skip


def sent(batch: PacketBatch, columns: SadColumns) -> None:
    """SENT in the place of DELIVERED for what this host sent."""
    own.tell(batch, columns.own)


def count(batch: PacketBatch, columns: SadColumns) -> None:
    """Packets, bytes, refusals and first use of every SA; writes no column of the batch."""
    kernel.tally(batch.verdict, batch.flags, batch.sa_index, batch.payload, batch.time.view(np.int64), columns.counts)


DECAP = Stage("decap", decap, frozenset({"inner_at", "inner_length"}))
ADMIT = Stage("admit", admit)
SENT = Stage("sent", sent)
COUNT = Stage("count", count, sas=frozenset({"counts"}), objects=False)
