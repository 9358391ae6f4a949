"""Seqno: the sequence number of every packet. The only writer of an SA's counter. Gives SEQ_OVERFLOW.

An SA with a counter-mode IV never gets a number twice (`counts`, WRAPS, is 0: batch/outbound/columns.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound.count import IN_RUN
from espsim.batch.outbound.facts import AHEAD, BYTES, LAST, LIMIT, PACKETS, SINCE, USED, WRAPS
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, U8, U64
from espsim.core.numbers import SEALED, SEQ_OVERFLOW
from espsim.core.outbound_batch import OutboundBatch
from espsim.jit.compiling import kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.outbound.columns import OutboundColumns

_0, _1, _IN_RUN = np.uint64(0), np.uint64(1), np.uint64(IN_RUN)


@kernel
def number(sa_index: I32, payload: I32, time: U64, counts: U64, seq64: U64, verdict: U8) -> None:
    """RFC 4303 3.3.3: give each row its SA's next number, in arrival order, and count it.

    1. The next number: LAST + 1; past LIMIT 0 where the SA wraps, else SEQ_OVERFLOW.
    2. Packets, and bytes of payload.
    3. First use. `time`: stored as SINCE when an SA's first packet gets its number.
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
            counts[sa, USED], counts[sa, SINCE] = _IN_RUN, time[i]


def seqno(batch: OutboundBatch, columns: OutboundColumns) -> None:
    """RFC 4303 3.3.3, in arrival order."""
    number(batch.sa_index, batch.payload, batch.time.view(np.uint64), columns.counts, batch.seq64, batch.verdict)


STAGE = Stage("seqno", seqno, frozenset({"seq64"}), sas=frozenset({"counts"}))
