"""Seqno: the sequence number of every packet. SEQ_OVERFLOW. The only writer of an SA's counter."""

from __future__ import annotations

import numpy as np

from espsim.core.out_batch import OutBatch
from espsim.kernels import encap as kernel
from espsim.stages.outbound_columns import OutColumns
from espsim.stages.rule import Stage


def seqno(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.3, in arrival order; packets, bytes and first use are counted with it."""
    kernel.number(
        batch.sa_index, batch.payload, batch.time.view(np.uint64), columns.counts, batch.seq64, batch.verdict
    )  # fmt: skip


SEQNO = Stage("seqno", seqno, frozenset({"seq64"}), sas=frozenset({"counts"}))
