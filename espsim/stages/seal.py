"""Seal: every packet is encrypted and gets its ICV, in place, by the engine; then UDP gets its checksum over IPv6."""

from __future__ import annotations

import numpy as np

from espsim.aead.engine import EngineError
from espsim.core.numbers import SEALED, WAITING
from espsim.core.out_batch import OutBatch
from espsim.kernels.encap import checksum as kernel
from espsim.stages.outbound_columns import OutColumns
from espsim.stages.rule import Stage


def seal(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.2. Raises EngineError where the engine's library breaks down; no packet can make it."""
    batch.sealed[:] = batch.verdict == SEALED
    np.multiply(batch.sealed, np.uint8(WAITING), out=batch.sealed)
    columns.sealer.seal(batch.out, batch.esp_at, batch.end_at, batch.sa_index, batch.seq64, batch.sealed)
    if batch.sealed.tobytes() != bytes(len(batch)):  # DONE is 0; ten times as fast as numpy's any, for a batch
        raise EngineError(f"the engine gave up on {np.count_nonzero(batch.sealed)} packets of a batch")


def checksum(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 8200 8.1: it covers what was sealed, so it comes last."""
    kernel(batch.verdict, batch.sa_index, columns.facts, batch.esp_at, batch.end_at, batch.out)


SEAL = Stage("seal", seal, frozenset({"sealed"}), objects=False)
CHECKSUM = Stage("checksum", checksum, objects=False)
