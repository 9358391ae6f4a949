"""Sums: what the rows of a batch count, added up by SA, so that little is left to do in order of arrival.

With several workers, counting has a turn (batch/run/turns.py). Row by row it takes about 25 ns a packet there. So:

1. `add_up` makes the sums of a batch at any time after `settle` and `decap`. No state of an SA is read or written.
2. In order of arrival the sums are added to what SAs have: `tally_sums` (count.py), `received_sums`
   (batch/run/counting.py), `pass_sums` (sift.py). Each gives what its twin above it gives row by row. They look at each
   SA of the batch once, and at each row that did not pass.

The arrays:

    sums      (rows, 16) int64     one row for each SA of the batch, in the order of their first rows: the words below
    others    (rows) int32         rows that are packets of their own and were not delivered, or were sent by this host
    verdicts  (256, 4) int64       rows by verdict and flags (CUT, OWN)
    ignored   (layers) int64       rows that are not ESP, by kind
    place     (SAs) int32          the row in `sums` of an SA, + 1; 0: it has none
    used      (2) int64            how many rows of `sums` and of `others` there are

What this does not do: a batch with rows of the reference path (ONE_BY_ONE) has no sums, because these rows get their
verdict in order of arrival; it is counted row by row.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.core.layers import Layer
from espsim.core.numbers import (
    BLOCKED,
    CUT,
    DELIVERED,
    ECN,
    INTEGRITY,
    IPTFS_BUFFER,
    IPTFS_HEADER,
    IPTFS_LATE,
    IPTFS_LOST,
    MODE,
    NO_POLICY,
    NOT_ESP,
    ONE_BY_ONE,
    OWN,
    POLICY,
    REPLAY_DUPLICATE,
    REPLAY_TOO_OLD,
    SENT,
    TEMPLATE,
    TEMPLATES,
    TRAILER,
    TRUNCATED,
)
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

SA, GOOD, BYTES, SINCE, BITS, TOP, ODD, ALL, OTHER, DUPLICATES, TOO_OLD, FORGED = range(12)
"""Words of a row of `sums`. GOOD: rows that were delivered and that this host did not send. ALL: all rows. BYTES: the
payload of GOOD and OTHER. OTHER: rows that count as packets, though what is inside was refused. DUPLICATES, TOO_OLD,
FORGED: refusals. SINCE: if BITS has USED, when the SA was used first in this batch (seconds, the bits of a float64).
TOP: if BITS has TOOK, the highest number that the window took. ODD: rows delivered with padding other than 1, 2, 3."""
WORDS = 16
USED, AUTHENTIC, TOOK = 1, 2, 4
"""BITS: the window let some row pass; some row was authentic; the window took a number."""
SAS, OTHERS = 0, 1
"""Places in `used`."""
LAST = 32
"""Above all verdicts, below NOT_ESP and PART: such rows are not packets of their own."""
WAS_AUTHENTIC = (
    DELIVERED, TRAILER, MODE, POLICY, SENT, NO_POLICY, TEMPLATE, BLOCKED, TEMPLATES, ECN,
    IPTFS_BUFFER, IPTFS_HEADER, IPTFS_LOST, IPTFS_LATE,
)  # fmt: skip
"""Verdicts of packets whose ICV was right."""
COUNTED = (DELIVERED, MODE, POLICY, NO_POLICY, TEMPLATE, BLOCKED, TEMPLATES, ECN)
"""Verdicts of packets that passed ICV and trailer: an SA counts them as packets."""

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""
_FLAGS = CUT | OWN
_0 = np.uint64(0)
_HALF = np.uint64(1 << 63)


@inlined
def is_ahead(number: np.uint64, top: np.uint64) -> bool:
    """Whether a number is higher than the highest so far, counted modulo 2^64."""
    return number - top < _HALF if number > top else top - number > _HALF


@inlined
def _row_of(sa: int, place: I32, sums: I64, used: I64) -> int:
    """The row in `sums` of an SA; a new one is zeroed."""
    at = np.int64(place[sa]) - 1
    if at < 0:
        at = used[SAS]
        used[SAS] += 1
        place[sa] = at + 1
        for word in range(WORDS):
            sums[at, word] = 0
        sums[at, SA] = sa
    return at


@inlined
def _took(at: int, seq64: np.uint64, odd: bool, time: int, sums: I64) -> None:
    """Note a row whose number the window took."""
    if sums[at, BITS] & USED == 0:
        sums[at, SINCE] = time
    if sums[at, BITS] & TOOK == 0 or is_ahead(seq64, np.uint64(sums[at, TOP])):
        sums[at, TOP] = np.int64(seq64)
    sums[at, BITS] |= USED | AUTHENTIC | TOOK
    if odd:
        sums[at, ODD] += 1


@inlined
def _other(at: int, found: np.uint8, own: bool, seq64: np.uint64, payload: int, time: int, sums: I64) -> None:
    """Add a row of an SA that was not delivered, or that this host sent."""
    if found in WAS_AUTHENTIC:
        sums[at, BITS] |= AUTHENTIC
    if own:
        return
    if found in WAS_AUTHENTIC and found != TRAILER:
        if sums[at, BITS] & TOOK == 0 or is_ahead(seq64, np.uint64(sums[at, TOP])):
            sums[at, TOP] = np.int64(seq64)
        sums[at, BITS] |= TOOK
    if found in COUNTED:
        sums[at, OTHER] += 1
        sums[at, BYTES] += payload
    elif found == REPLAY_DUPLICATE:
        sums[at, DUPLICATES] += 1
        return
    elif found == REPLAY_TOO_OLD:
        sums[at, TOO_OLD] += 1
        return
    elif found == INTEGRITY:
        sums[at, FORGED] += 1
    elif found not in (TRUNCATED, TRAILER):
        return
    if sums[at, BITS] & USED == 0:
        sums[at, SINCE] = time
        sums[at, BITS] |= USED


@kernel
def add_up(
    verdict: U8, flags: U8, kind: U8, sa_index: I32, seq64: U64, odd: U8, payload: I32, time: I64,
    place: I32, sums: I64, others: I32, verdicts: I64, ignored: I64, used: I64,
) -> None:  # fmt: skip
    """Make the sums of a batch; those of the batch before are forgotten. `time`: the bits of a float64.

    1. The usual row, delivered and not sent by this host, adds to its SA's sums.
    2. A row that is not ESP is counted by its kind; another one that is no packet of its own not at all.
    3. Each other row is listed in `others`, and adds to its SA's sums, if it has an SA.
    """
    for at in range(used[SAS]):
        place[sums[at, SA]] = 0
    used[SAS] = used[OTHERS] = 0
    for found in range(256):
        for flag in range(4):
            verdicts[found, flag] = 0
    for layer in range(len(ignored)):
        ignored[layer] = 0
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(place, max(sa_index[i + AHEAD], 0))
        found, sa, own = verdict[i], np.int64(sa_index[i]), flags[i] & OWN != 0
        verdicts[found, flags[i] & _FLAGS] += 1
        if found == DELIVERED and sa >= 0 and not own:
            at = _row_of(sa, place, sums, used)
            sums[at, GOOD] += 1
            sums[at, ALL] += 1
            sums[at, BYTES] += payload[i]
            _took(at, seq64[i], odd[i] != 0, time[i], sums)
        elif found == NOT_ESP:
            ignored[kind[i]] += 1
        elif found < LAST:
            others[used[OTHERS]] = i
            used[OTHERS] += 1
            if sa >= 0:
                at = _row_of(sa, place, sums, used)
                sums[at, ALL] += 1
                _other(at, found, own, seq64[i], np.int64(payload[i]), time[i], sums)


class Sums:
    """The sums of one batch at a time, over `sas` SAs. Layouts: see above."""

    def __init__(self, sas: int) -> None:
        self.place: I32 = np.zeros(sas, np.int32)
        self.sums: I64 = np.zeros((0, WORDS), np.int64)
        self.others: I32 = np.zeros(0, np.int32)
        self.verdicts: I64 = np.zeros((256, 4), np.int64)
        self.ignored: I64 = np.zeros(len(Layer), np.int64)
        self.used: I64 = np.zeros(2, np.int64)

    def of(self, batch: InboundBatch) -> Sums | None:
        """Make the sums of a batch. None: rows of the reference path have no verdict yet."""
        if ONE_BY_ONE in batch.verdict.tobytes():
            return None
        self._make_room(len(batch))
        add_up(
            batch.verdict, batch.flags, batch.kind, batch.sa_index, batch.seq64, batch.odd_padding, batch.payload,
            batch.time.view(np.int64), self.place, self.sums, self.others, self.verdicts, self.ignored, self.used,
        )  # fmt: skip
        return self

    def _make_room(self, rows: int) -> None:
        if len(self.others) >= rows:
            return
        sums: I64 = np.empty((rows, WORDS), np.int64)
        sums[: self.used[SAS]] = self.sums[: self.used[SAS]]  # whose places are to be forgotten
        self.sums, self.others = sums, np.empty(rows, np.int32)
