"""Replay: `check` before the engine, `settle` after it. REPLAY_*, and what became of the rows that were opened.

`check` asks the windows as they stand when the batch begins, and moves none. Within a batch that answer can be wrong in
three ways, and `settle`, which goes in arrival order, puts each right:

    the number came twice in this batch        refused now, although both were opened
    refused at first, may pass now             opened now (an ESN window has moved into the next 2^32)
    may pass, but with another high half       opened again with that one
"""

from __future__ import annotations

from espsim.core.batch import PacketBatch
from espsim.kernels import replay as kernel
from espsim.stages.aead import open_again
from espsim.stages.columns import SadColumns
from espsim.stages.rule import Stage
from espsim.stages.trailer import trailer_again


def check(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4303 3.4.3 and A2.2: the 64-bit number, and whether the window lets it pass. Writes no window.

    What this host sent has a number too, and passes.
    """
    kernel.check(
        batch.sa_index, batch.seq, batch.flags, batch.verdict, columns.shape, columns.bits, columns.own.sent,
        batch.seq64, batch.replay,
    )  # fmt: skip


def settle(batch: PacketBatch, columns: SadColumns) -> None:
    """Ask again in arrival order, and move the windows of what is authentic (xfrm_replay_recheck, _advance)."""
    row = 0
    while True:
        row = kernel.advance(
            row, batch.sa_index, batch.seq, batch.flags, batch.opened, columns.shape, columns.bits, columns.own.sent,
            batch.seq64, batch.replay, batch.verdict,
        )  # fmt: skip
        if row < 0:
            return
        open_again(batch, columns, row)
        trailer_again(batch, row)


CHECK = Stage("check", check, frozenset({"seq64", "replay"}), objects=False)
SETTLE = Stage("settle", settle, sas=frozenset({"shape", "bits", "own.sent"}))
