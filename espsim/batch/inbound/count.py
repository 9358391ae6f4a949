"""Count: packets, bytes, refusals and first use of every SA. Writes no column of the batch.

What an SA counts: reference/inbound.py, _check_sequence and accept. The stage counts row by row (`tally`). A run of a
capture counts by SA instead, where a batch has sums (`tally_sums`, batch/run/lanes.py). Both are here, so that `counts`
has one writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound import sums as batch_sums
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import (
    BLOCKED,
    DELIVERED,
    ECN,
    INTEGRITY,
    MODE,
    NO_POLICY,
    OWN,
    POLICY,
    REPLAY_DUPLICATE,
    REPLAY_TOO_OLD,
    TEMPLATE,
    TEMPLATES,
    TRAILER,
    TRUNCATED,
)
from espsim.jit.compiling import kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""

PACKETS, BYTES, DUPLICATES, TOO_OLD, FORGED, USED, SINCE = range(7)
"""Words of a row of `counts` (SAs, 8; int64): what was counted in this run, and first use. A row is a cache line."""

NEVER, BEFORE, IN_RUN = range(3)
"""What USED says: the SA was never used; used before this run; used first in this run, at SINCE (seconds, the bits of a
float64)."""


@kernel
def tally(verdict: U8, flags: U8, sa_index: I32, payload: I32, time: I64, counts: I64) -> None:
    """Count settled rows for their SAs; no row that this host sent (`flags` has OWN).

    1. A packet that passed ICV and trailer: packets, and bytes of payload, whatever is said of what is inside.
    2. A refusal by the window or the ICV: its own counter.
    3. First use: the first packet that the window let pass. Its `time` (a float64's bits) is stored as SINCE.
    """
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(counts, max(sa_index[i + AHEAD], 0))
        sa, found = sa_index[i], verdict[i]
        if sa < 0 or flags[i] & OWN:
            continue
        if found in (DELIVERED, MODE, POLICY, NO_POLICY, TEMPLATE, BLOCKED, TEMPLATES, ECN):
            counts[sa, PACKETS] += 1
            counts[sa, BYTES] += payload[i]
        elif found == REPLAY_DUPLICATE:
            counts[sa, DUPLICATES] += 1
        elif found == REPLAY_TOO_OLD:
            counts[sa, TOO_OLD] += 1
        elif found == INTEGRITY:
            counts[sa, FORGED] += 1
        elif found not in (TRUNCATED, TRAILER):
            continue
        if counts[sa, USED] == NEVER and found not in (REPLAY_DUPLICATE, REPLAY_TOO_OLD):
            counts[sa, USED], counts[sa, SINCE] = IN_RUN, time[i]


@kernel
def tally_sums(sums: I64, used: I64, counts: I64) -> None:
    """As `tally`, of a batch whose sums are made (sums.py)."""
    many = used[batch_sums.SAS]
    for i in range(many):
        if i + AHEAD < many:
            prefetch(counts, sums[i + AHEAD, batch_sums.SA])
        sa = sums[i, batch_sums.SA]
        counts[sa, PACKETS] += sums[i, batch_sums.GOOD] + sums[i, batch_sums.OTHER]
        counts[sa, BYTES] += sums[i, batch_sums.BYTES]
        counts[sa, DUPLICATES] += sums[i, batch_sums.DUPLICATES]
        counts[sa, TOO_OLD] += sums[i, batch_sums.TOO_OLD]
        counts[sa, FORGED] += sums[i, batch_sums.FORGED]
        if counts[sa, USED] == NEVER and sums[i, batch_sums.BITS] & batch_sums.USED:
            counts[sa, USED], counts[sa, SINCE] = IN_RUN, sums[i, batch_sums.SINCE]


def count(batch: InboundBatch, columns: InboundColumns) -> None:
    """Packets, bytes, refusals and first use of every SA."""
    tally(batch.verdict, batch.flags, batch.sa_index, batch.payload, batch.time.view(np.int64), columns.counts)


STAGE = Stage("count", count, sas=frozenset({"counts"}), objects=False)
