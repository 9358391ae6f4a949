"""Counts the verdicts of whole batches: of all rows, and of every SA.

received         an inbound batch                     batch/run/stats.py, InboundStats.count
received_sums    one whose sums are made (sums.py)    the same
sent             an outbound batch                    OutboundStats.count

by_sa    (SAs, 3) int64               PASSED and ALL: packets that passed (verdict 0), and of all verdicts; DROPS: the
                                      SA's row in `drops`, 0 where all of them passed
drops    (SAs + 1, verdicts) int64    packets of each other verdict; [0, 0]: how many SAs have a row. Rows are given out
                                      in turn: of 100,000 SAs whose packets pass no row takes memory
order    (SAs + 1) int64              [0] how many SAs had a packet; then their rows, in the order in which their
                                      first packets came
"""

from __future__ import annotations

import numpy as np

from espsim.batch.inbound.sums import ALL as ALL_ROWS
from espsim.batch.inbound.sums import OTHERS, SA, SAS
from espsim.core.arrays import I32, I64, U8
from espsim.core.numbers import CUT, NOT_ESP, OWN
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""
HOW_MANY = 0
"""The place in `order` of the number of SAs that had a packet."""
PASSED, ALL, DROPS = range(3)
"""Columns of `by_sa`."""
_FLAGS = CUT | OWN


@inlined
def _add(sa: int, many: int, by_sa: I64, order: I64) -> None:
    """Count packets of an SA."""
    if by_sa[sa, ALL] == 0:
        order[HOW_MANY] += 1
        order[order[HOW_MANY]] = sa
    by_sa[sa, ALL] += many


@inlined
def _drop(sa: int, found: np.uint8, by_sa: I64, drops: I64) -> None:
    """Count the verdict of one packet that did not pass."""
    if by_sa[sa, DROPS] == 0:
        drops[0, 0] += 1
        by_sa[sa, DROPS] = drops[0, 0]
    drops[by_sa[sa, DROPS], found] += 1


@inlined
def _of_sa(sa: int, found: np.uint8, by_sa: I64, drops: I64, order: I64) -> None:
    """Count one packet of an SA."""
    _add(sa, 1, by_sa, order)
    if found == 0:
        by_sa[sa, PASSED] += 1
    else:
        _drop(sa, found, by_sa, drops)


@kernel
def received(
    verdict: U8, flags: U8, kind: U8, sa_index: I32, verdicts: I64, ignored: I64, by_sa: I64, drops: I64, order: I64
) -> None:  # fmt: skip
    """Count rows in `verdicts` (256, 4), by verdict and flags (CUT, OWN); what is not ESP in `ignored`, by kind."""
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(by_sa, max(sa_index[i + AHEAD], 0))
        found, sa = verdict[i], np.int64(sa_index[i])
        verdicts[found, flags[i] & _FLAGS] += 1
        if found == NOT_ESP:
            ignored[kind[i]] += 1
        elif sa >= 0:
            _of_sa(sa, found, by_sa, drops, order)


@kernel
def received_sums(
    sums: I64, others: I32, verdicts_now: I64, ignored_now: I64, used: I64, verdict: U8, sa_index: I32,
    verdicts: I64, ignored: I64, by_sa: I64, drops: I64, order: I64,
) -> None:  # fmt: skip
    """As `received`, of a batch whose sums are made.

    1. Its verdicts, and what is not ESP.
    2. Each SA of the batch: all its rows; for now all of them passed.
    3. Each row that did not: its verdict.
    """
    for found in range(256):
        for flag in range(4):
            verdicts[found, flag] += verdicts_now[found, flag]
    for layer in range(len(ignored)):
        ignored[layer] += ignored_now[layer]
    many = used[SAS]
    for i in range(many):
        if i + AHEAD < many:
            prefetch(by_sa, sums[i + AHEAD, SA])
        _add(sums[i, SA], sums[i, ALL_ROWS], by_sa, order)
        by_sa[sums[i, SA], PASSED] += sums[i, ALL_ROWS]
    for i in range(used[OTHERS]):
        found, sa = verdict[others[i]], np.int64(sa_index[others[i]])
        if found != 0 and sa >= 0:
            by_sa[sa, PASSED] -= 1
            _drop(sa, found, by_sa, drops)


@kernel
def sent(verdict: U8, sa_index: I32, verdicts: I64, by_sa: I64, drops: I64, order: I64) -> None:
    """Count rows in `verdicts` (256), by verdict."""
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(by_sa, max(sa_index[i + AHEAD], 0))
        found, sa = verdict[i], np.int64(sa_index[i])
        verdicts[found] += 1
        if sa >= 0:
            _of_sa(sa, found, by_sa, drops, order)
