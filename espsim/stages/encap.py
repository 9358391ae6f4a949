"""Encap: how long each packet will be (`measure`, before it gets a number), and all of it but ciphertext and ICV.

FRAGMENT, TOO_BIG.
"""

from __future__ import annotations

import numpy as np

from espsim.core.out_batch import OutBatch
from espsim.kernels import encap as kernel
from espsim.stages.outbound_columns import OutColumns
from espsim.stages.rule import Stage


def measure(batch: OutBatch, columns: OutColumns) -> None:
    """What goes inside ESP (RFC 4303 3.1 and 3.3.2), and whether it may: a packet refused here uses up no number."""
    kernel.measure(
        batch.arena, batch.offset, batch.length, batch.family, batch.sa_index, columns.facts,
        batch.headers, batch.pointer, batch.next_header, batch.payload, batch.plain_length, batch.out_length,
        batch.verdict,
    )  # fmt: skip


def encap(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.2, RFC 4301 5.1.2, RFC 3948: headers, IV, payload and trailer, in `out`, which grows if need be."""
    end, random = kernel.lay_out(batch.verdict, batch.out_length, batch.sa_index, columns.facts, batch.out_at)
    batch.out_end = 0
    batch.make_room(end)
    batch.out_end = end
    ivs = np.frombuffer(columns.random_bytes(random * kernel.IV_ROOM) if random else b"", np.uint8)
    kernel.encap(
        batch.arena, batch.offset, batch.family, batch.sa_index, batch.headers, batch.pointer, batch.next_header,
        batch.payload, batch.plain_length, batch.out_at, batch.out_length, batch.seq64.view(np.int64), batch.verdict,
        columns.facts, ivs, batch.out, batch.esp_at, batch.end_at,
    )  # fmt: skip


MEASURE = Stage(
    "measure", measure, frozenset({"headers", "pointer", "next_header", "payload", "plain_length", "out_length"})
)
ENCAP = Stage("encap", encap, frozenset({"out", "out_at", "esp_at", "end_at"}), objects=False)
