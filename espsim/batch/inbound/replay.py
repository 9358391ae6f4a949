"""Replay: the window is asked twice, by `check` before the engine opens a row and by `settle` after it.

1. `check` (kernel check_rows) infers each row's 64-bit number and asks the window as it is when the batch begins. It
   moves no window.
2. The engine opens the rows that may pass (open.py), and the trailer is judged (trailer.py).
3. `settle` (kernel advance) asks again, in arrival order, gives the verdicts, and moves the window for each authentic
   row. Where a row must be opened first, `advance` stops; `settle` opens that row and goes on from there.

Within a batch the first answer can be wrong in three ways. `settle` corrects each:

    the number came twice in this batch             the second one is refused now, although both were opened
    refused at first, may pass now                  opened now: an ESN window has moved into the next 2^32 numbers
    may pass, but another high half is inferred     opened again under that one; its ICV covers the high half (RFC 4303
                                                    2.2.1), so what opened under one does not open under another

What this does not do: it knows neither the rules of a window nor where it lies in memory; window.py does, verdict for
verdict as sad/window.py.
Sources: RFC 4303 3.4.3 and appendix A2; Linux net/xfrm/xfrm_replay.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound import nested
from espsim.batch.inbound.open import close_row, open_again
from espsim.batch.inbound.own import AUTHENTIC, HIGHEST
from espsim.batch.inbound.trailer import trailer_again
from espsim.batch.inbound.window import ESN, WHERE, accepted, infer, judge, sent_number
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, U8, U32, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import DELIVERED, OTHERWISE, OWN, TRAILER, UNOPENED
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

_0, _1 = np.uint64(0), np.uint64(1)

NEAR, FAR = 16, 32
"""Rows between a prefetch and its use: of a window's bits, and of its shape, which says where the bits are."""

_WHERE = np.uint64(WHERE)


@inlined
def _prefetch_ahead(i: int, rows: int, sa_index: I32, shape: U64, bits: U64) -> None:
    """Prefetch what the rows after this one will read."""
    if i + FAR < rows:
        prefetch(shape, max(sa_index[i + FAR], 0))
    if i + NEAR < rows:
        prefetch(bits, shape[max(sa_index[i + NEAR], 0)] >> _WHERE)


@kernel
def check_rows(
    sa_index: I32, seq: U32, flags: U8, verdict: U8, shape: U64, bits: U64, sent: U64, seq64: U64, replay: U8
) -> None:
    """For rows without a verdict: `seq64`, and in `replay` DELIVERED or the verdict that the window gives now.

    Other rows get 0 in both. `replay` is not a verdict yet, because `advance` may answer otherwise. No window is asked
    about packets that this host sent (`flags` has OWN): their numbers are those nearest to `sent[sa, HIGHEST]`.
    """
    rows = len(sa_index)
    for i in range(rows):
        _prefetch_ahead(i, rows, sa_index, shape, bits)
        seq64[i], replay[i] = _0, DELIVERED
        if verdict[i] != DELIVERED or sa_index[i] < 0:
            continue
        form, number = shape[sa_index[i]], np.uint64(seq[i])
        if flags[i] & OWN:
            seq64[i] = sent_number(form, sent[sa_index[i], HIGHEST], number)
        else:
            seq64[i], ahead = infer(form, bits, number)
            replay[i] = judge(form, bits, number, seq64[i], ahead)


@inlined
def settle_sent(
    i: int, sa: int, form: np.uint64, number: np.uint64, opened: U8, sent: U64, seq64: U64, verdict: U8
) -> bool:
    """Settle a row that this host sent. False: its number is another one now, and it must be opened under that."""
    now = sent_number(form, sent[sa, HIGHEST], number)
    if seq64[i] != now:
        seq64[i] = now
        return False
    if opened[i] != DELIVERED:
        verdict[i] = opened[i]
    elif form & ESN != _0 and (sent[sa, AUTHENTIC] == _0 or now > sent[sa, HIGHEST]):
        sent[sa, HIGHEST], sent[sa, AUTHENTIC] = now, _1
    return True


@kernel
def advance(
    first: int, sa_index: I32, seq: U32, flags: U8, opened: U8, shape: U64, bits: U64, sent: U64,
    seq64: U64, replay: U8, verdict: U8,
) -> int:  # fmt: skip
    """Settle rows without a verdict in arrival order, from `first` on. The row that must be opened; -1: none.

    1. A packet that this host sent: `settle_sent`.
    2. Infer the number again, and ask the window again.
    3. The window refuses: that is the verdict, whatever the ICV. `opened` becomes OTHERWISE where the row was opened
       under another number, so that its plaintext is not used.
    4. The row was not opened, or under another number: correct `seq64` and `replay`, and return the row. The caller
       opens it, writes `opened`, and calls again with `first` at this row.
    5. ICV or trailer was wrong: `opened` is the verdict.
    6. Else the number is authentic, and moves the window.
    """
    rows = len(sa_index)
    for i in range(first, rows):
        _prefetch_ahead(i, rows, sa_index, shape, bits)
        if verdict[i] != DELIVERED or sa_index[i] < 0:
            continue
        form, number = shape[sa_index[i]], np.uint64(seq[i])
        if flags[i] & OWN:
            if settle_sent(i, sa_index[i], form, number, opened, sent, seq64, verdict):
                continue
            return i
        now, ahead = infer(form, bits, number)
        refused = judge(form, bits, number, now, ahead)
        if refused != DELIVERED:
            if seq64[i] != now and opened[i] in (DELIVERED, TRAILER):
                opened[i] = OTHERWISE
            verdict[i] = replay[i] = refused
            seq64[i] = now
        elif replay[i] != DELIVERED or seq64[i] != now:
            seq64[i], replay[i] = now, DELIVERED
            return i
        elif opened[i] != DELIVERED:
            verdict[i] = opened[i]
        else:
            accepted(sa_index[i], shape, bits, number, now, ahead)
    return -1


def check(batch: InboundBatch, columns: InboundColumns) -> None:
    """RFC 4303 3.4.3 and A2.2: the 64-bit number, and whether the window lets it pass. Moves no window."""
    check_rows(
        batch.sa_index, batch.seq, batch.flags, batch.verdict, columns.shape, columns.bits, columns.own.sent,
        batch.seq64, batch.replay,
    )  # fmt: skip


def settle(batch: InboundBatch, columns: InboundColumns) -> None:
    """Ask again in arrival order, and move the windows of what is authentic (xfrm_replay_recheck, _advance)."""

    def go_on(rows: InboundBatch, first: int) -> int:
        return advance(
            first, rows.sa_index, rows.seq, rows.flags, rows.opened, columns.shape, columns.bits, columns.own.sent,
            rows.seq64, rows.replay, rows.verdict,
        )  # fmt: skip

    settle_by(go_on, batch, columns)


def settle_by(
    go_on: Callable[[InboundBatch, int], int], batch: InboundBatch, columns: InboundColumns, *, wary: bool = False
) -> None:  # fmt: skip
    """Settle up to the first row that holds ESP in ESP (`wary` as in nested.py).

    `go_on(rows, first)` is `advance` with its columns, or a device's.
    """
    end = nested.first_of(batch, columns, wary=wary)
    rows, row = batch if end == len(batch) else batch.head(end), 0
    opened_as = rows.seq64.copy() if columns.esn else rows.seq64  # without ESN no number ever changes
    while (row := go_on(rows, row)) >= 0:
        open_again(rows, columns, row, int(opened_as[row]))
        trailer_again(rows, row)
        if nested.holds(rows, columns, row):
            end = row
            break
    _close_implicit(rows, columns, opened_as)
    nested.hand_over(batch, columns, end)


def _close_implicit(rows: InboundBatch, columns: InboundColumns, opened_as: U64) -> None:
    """Put the ciphertext back in rows that are OTHERWISE and have an implicit IV.

    It is done here because the IV is the number under which they were opened, and no one else keeps that.
    """
    if not columns.entries or OTHERWISE not in rows.opened.tobytes():
        return
    for row in np.flatnonzero(rows.opened == OTHERWISE).tolist():
        keys = columns.entries[rows.sa_index[row]].sa.keys
        if keys is not None and keys.suite.implicit_iv:
            close_row(rows, columns, row, int(opened_as[row]))
            rows.opened[row] = UNOPENED


CHECK = Stage("check", check, frozenset({"seq64", "replay"}), objects=False)
SETTLE = Stage("settle", settle, sas=frozenset({"shape", "bits", "own.sent", "alone"}))
