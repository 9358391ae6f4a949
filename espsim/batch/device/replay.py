"""Settling and counting after a device: the device may decrypt before the window is asked, and may ask no window.

    advance   as `inbound.replay.advance`, each row in its own order    reference/inbound.py, accept
    tally     as `inbound.count.tally`                                  the same

`order` says of each row when its window is asked: WINDOW_FIRST, ICV_FIRST or NOBODY.

What this does not do: it has no windows of its own. A device that checks replays uses the SA's window (window.py); only
the order differs.
"""

from __future__ import annotations

import numpy as np

from espsim.batch.inbound.count import BYTES, DUPLICATES, FORGED, IN_RUN, NEVER, PACKETS, SINCE, TOO_OLD, USED
from espsim.batch.inbound.replay import settle_sent
from espsim.batch.inbound.window import accepted, infer, judge
from espsim.core.arrays import I32, I64, U8, U32, U64
from espsim.core.numbers import (
    BLOCKED,
    DELIVERED,
    ECN,
    INTEGRITY,
    MODE,
    NO_POLICY,
    OTHERWISE,
    OWN,
    POLICY,
    REPLAY_DUPLICATE,
    REPLAY_TOO_OLD,
    REPLAY_ZERO,
    TEMPLATE,
    TEMPLATES,
    TRAILER,
    TRUNCATED,
)
from espsim.jit.compiling import kernel

WINDOW_FIRST, ICV_FIRST, NOBODY = np.uint8(0), np.uint8(1), np.uint8(2)
"""Orders: the window before the ICV, as in software; the ICV before the window; no window is asked."""


@kernel
def advance(
    first: int, order: U8, sa_index: I32, seq: U32, flags: U8, opened: U8, shape: U64, bits: U64, sent: U64,
    seq64: U64, replay: U8, verdict: U8,
) -> int:  # fmt: skip
    """Settle rows without a verdict from `first` on; the row that must be opened, or -1. See inbound.replay.advance.

    1. A packet that this host sent: `settle_sent`.
    2. Infer the number again, and ask the window again, unless the order is NOBODY.
    3. WINDOW_FIRST: a refusal is the verdict, whatever the ICV.
    4. The row was not opened, or under another number: return it, to be opened.
    5. The ICV was wrong: that is the verdict, before any refusal.
    6. The window refuses, or the trailer was wrong: the refusal comes first.
    7. Else the number is authentic, and moves the window, unless the order is NOBODY.
    """
    for i in range(first, len(sa_index)):
        if verdict[i] != DELIVERED or sa_index[i] < 0:
            continue
        form, number = shape[sa_index[i]], np.uint64(seq[i])
        if flags[i] & OWN:
            if settle_sent(i, sa_index[i], form, number, opened, sent, seq64, verdict):
                continue
            return i
        now, ahead = infer(form, bits, number)
        refused = DELIVERED if order[i] == NOBODY else judge(form, bits, number, now, ahead)
        if refused != DELIVERED and order[i] == WINDOW_FIRST:
            if seq64[i] != now and opened[i] in (DELIVERED, TRAILER):
                opened[i] = OTHERWISE
            verdict[i] = replay[i] = refused
            seq64[i] = now
        elif replay[i] != DELIVERED or seq64[i] != now:
            seq64[i], replay[i] = now, DELIVERED
            return i
        elif opened[i] in (TRUNCATED, INTEGRITY):
            verdict[i] = opened[i]
        elif refused != DELIVERED or opened[i] != DELIVERED:
            verdict[i] = refused if refused != DELIVERED else opened[i]
        elif order[i] != NOBODY:
            accepted(sa_index[i], shape, bits, number, now, ahead)
    return -1


@kernel
def tally(verdict: U8, order: U8, flags: U8, sa_index: I32, payload: I32, time: I64, counts: I64) -> None:
    """Count settled rows for the SAs whose context was used; as inbound.count.tally.

    What differs: REPLAY_ZERO is a first use where the device has decrypted the packet, and so is every refusal then.
    """
    for i in range(len(verdict)):
        sa, found = sa_index[i], verdict[i]
        if sa < 0 or flags[i] & OWN:
            continue
        refused = found in (REPLAY_DUPLICATE, REPLAY_TOO_OLD, REPLAY_ZERO)
        if found in (DELIVERED, MODE, POLICY, NO_POLICY, TEMPLATE, BLOCKED, TEMPLATES, ECN):
            counts[sa, PACKETS] += 1
            counts[sa, BYTES] += payload[i]
        elif found == REPLAY_DUPLICATE:
            counts[sa, DUPLICATES] += 1
        elif found == REPLAY_TOO_OLD:
            counts[sa, TOO_OLD] += 1
        elif found == INTEGRITY:
            counts[sa, FORGED] += 1
        elif found not in (TRUNCATED, TRAILER, REPLAY_ZERO):
            continue
        if counts[sa, USED] == NEVER and not (refused and order[i] == WINDOW_FIRST):
            counts[sa, USED], counts[sa, SINCE] = IN_RUN, time[i]
