"""Open: the engine checks the ICV of every row that the window did not refuse, and decrypts it in place.

1. `aim` says where ESP and its plaintext lie.
2. The engine opens the rows that are WAITING. `opened` becomes DONE, TRUNCATED or INTEGRITY. It is not a verdict yet,
   because `settle` asks the window again.

A row whose ICV is wrong keeps its ciphertext. `settle` may open a row again under another number (`open_again`), or put
its ciphertext back (`close_row`).

What this does not do: it does not judge the trailer (trailer.py), and moves no window (replay.py).
Sources: RFC 4303 3.4.4; RFC 8750 for implicit IVs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.engine import EngineError
from espsim.aead.suites import pack_seq_hi
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import (
    BROKEN,
    CUT,
    DELIVERED,
    ESP_END,
    ESP_START,
    TRUNCATED,
    UNOPENED,
    WAITING,
)
from espsim.core.verdict import Verdict
from espsim.jit.compiling import kernel

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

IV, ICV = 0, 1
"""Columns of `extent`."""
_ESP_HEADER = 8
"""Bytes of SPI and sequence number."""


@kernel
def aim(
    verdict: U8, replay: U8, flags: U8, offset: I64, where: I32, sa_index: I32, extent: U8,
    esp: I64, end: I64, plain_at: I64, plain_length: I32, opened: U8,
) -> None:  # fmt: skip
    """For rows without a verdict: offsets of ESP, of its end, of the plaintext, and the plaintext's length.

    The length is 0 where there is no room for IV and ICV. `extent` (SAs, 2): bytes of IV and ICV. `opened` becomes
    WAITING where the window lets the row pass, TRUNCATED where the capture cut that row, else UNOPENED.
    """
    for i in range(len(verdict)):
        esp[i] = end[i] = plain_at[i] = plain_length[i] = 0
        opened[i] = UNOPENED
        if verdict[i] != DELIVERED:
            continue
        sa = sa_index[i]
        esp[i], end[i] = offset[i] + where[i, ESP_START], offset[i] + where[i, ESP_END]
        plain_at[i] = esp[i] + _ESP_HEADER + np.int64(extent[sa, IV])
        plain_length[i] = max(end[i] - np.int64(extent[sa, ICV]) - plain_at[i], 0)
        if replay[i] == DELIVERED:
            opened[i] = TRUNCATED if flags[i] & CUT else WAITING


_BROKEN = bytes([BROKEN])


def open_rows(batch: InboundBatch, columns: InboundColumns) -> None:
    """RFC 4303 3.4.4. EngineError: the engine's library failed; no packet can cause that."""
    aim(
        batch.verdict, batch.replay, batch.flags, batch.offset, batch.where, batch.sa_index, columns.extent,
        batch.esp_at, batch.end_at, batch.plain_at, batch.plain_length, batch.opened,
    )  # fmt: skip
    columns.opener.open(batch.arena, batch.esp_at, batch.end_at, batch.sa_index, batch.seq64, batch.opened)
    refuse_broken(batch.opened)


STAGE = Stage("open", open_rows, frozenset({"esp_at", "end_at", "plain_at", "plain_length", "opened"}), objects=False)


def open_again(batch: InboundBatch, columns: InboundColumns, row: int, number: int) -> None:
    """Open one row under its present seq64. `number` is the seq64 that it had before.

    A row that opened under `number` cannot open under another one, because an ICV fits one number: it is INTEGRITY, and
    its ciphertext is put back. Without an ICV (null ciphers) the number has no influence, and the row stays open.
    """
    if batch.opened[row] in (Verdict.DELIVERED, Verdict.TRAILER):
        if columns.extent[batch.sa_index[row], ICV]:
            close_row(batch, columns, row, number)
            batch.opened[row] = Verdict.INTEGRITY
        else:
            batch.opened[row] = Verdict.DELIVERED  # for the trailer to be judged again
        return
    batch.opened[row] = TRUNCATED if batch.flags[row] & CUT else WAITING
    this = slice(row, row + 1)
    columns.opener.open(
        batch.arena, batch.esp_at[this], batch.end_at[this], batch.sa_index[this], batch.seq64[this], batch.opened[this]
    )  # fmt: skip
    refuse_broken(batch.opened[this])


def close_row(batch: InboundBatch, columns: InboundColumns, row: int, number: int) -> None:
    """Write ciphertext over a row's plaintext; zeros where the keys are not known (a benchmark without `entries`).

    The ICV still lies after it. `number`: the seq64 under which the row was opened, because it is an implicit IV
    (RFC 8750).
    """
    at, size = int(batch.plain_at[row]), int(batch.plain_length[row])
    esp, plaintext = int(batch.esp_at[row]), batch.arena[at : at + size]
    sa = columns.entries[batch.sa_index[row]].sa if columns.entries else None
    if sa is None or sa.keys is None:
        plaintext[:] = 0
        return
    seq_hi = pack_seq_hi(number) if sa.esn else b""
    header, iv = batch.arena[esp : esp + 8].tobytes(), batch.arena[esp + 8 : at].tobytes()
    sealed = CryptographyEngine().transform(sa.keys).seal(header, seq_hi, iv, plaintext.tobytes())
    plaintext[:] = np.frombuffer(sealed, np.uint8)[:size]


def refuse_broken(opened: U8) -> None:
    """EngineError where the engine gave up on a row."""
    if _BROKEN in opened.tobytes():  # ten times as fast as numpy's any
        raise EngineError(f"the engine gave up on {np.count_nonzero(opened == BROKEN)} packets of a batch")
