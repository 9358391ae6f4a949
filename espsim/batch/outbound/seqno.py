"""Seqno: the sequence number of every packet. SEQ_OVERFLOW. The only writer of an SA's counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.facts import AHEAD, BYTES, LAST, LIMIT, PACKETS, SINCE, USED, WRAPS
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, U8, U64
from espsim.core.numbers import (
    SEALED,
    SEQ_OVERFLOW,
)
from espsim.core.out_batch import OutBatch
from espsim.jit.compiling import kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.out_columns import OutColumns

_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)


@kernel
def number(sa_index: I32, payload: I32, time: U64, counts: U64, seq64: U64, verdict: U8) -> None:
    """RFC 4303 3.3.3: each row its SA's next number, in arrival order; SEQ_OVERFLOW. What gets one is counted.

    `time` is what SINCE shall be for an SA that was never used.
    """
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(counts, max(sa_index[i + AHEAD], 0))
        seq64[i] = _0
        if verdict[i] != SEALED:
            continue
        sa = sa_index[i]
        last = counts[sa, LAST]
        if last < counts[sa, LIMIT]:
            last += _1
        elif counts[sa, WRAPS] != _0:
            last = _0
        else:
            verdict[i] = SEQ_OVERFLOW
            continue
        counts[sa, LAST] = seq64[i] = last
        counts[sa, PACKETS] += _1
        counts[sa, BYTES] += np.uint64(payload[i])
        if counts[sa, USED] == _0:
            counts[sa, USED], counts[sa, SINCE] = _2, time[i]


def seqno(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.3, in arrival order; packets, bytes and first use are counted with it."""
    number(
        batch.sa_index, batch.payload, batch.time.view(np.uint64), columns.counts, batch.seq64, batch.verdict
    )  # fmt: skip


STAGE = Stage("seqno", seqno, frozenset({"seq64"}), sas=frozenset({"counts"}))
