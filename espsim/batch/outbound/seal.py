"""Seal: every packet is encrypted and gets its ICV, in place, by the engine; then UDP gets its checksum over IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.aead.engine import EngineError
from espsim.batch.outbound.facts import OUTER4, UDP, halves
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    PROTO_UDP,
    SEALED,
    WAITING,
)
from espsim.core.out_batch import OutBatch
from espsim.jit.bytes import fold, put16
from espsim.jit.compiling import inlined, kernel

if TYPE_CHECKING:
    from espsim.batch.out_columns import OutColumns

_UDP = 17
_1, _2 = np.uint64(1), np.uint64(2)


@inlined
def _sum16(out: U8, at: Int, size: Int) -> int:
    """The sum of big-endian 16-bit words; of an odd last byte that and a zero."""
    high = low = np.uint64(0)
    here = np.uint64(at)
    for n in range(np.uint64(size) >> _1):
        high += np.uint64(out[here + _2 * n])
        low += np.uint64(out[here + _2 * n + _1])
    if size & 1:
        high += np.uint64(out[at + size - 1])
    return (np.int64(high) << 8) + np.int64(low)


@kernel
def checksum_rows(verdict: U8, sa_index: I32, facts: I64, esp_at: I64, end_at: I64, out: U8) -> None:
    """UDP's checksum in sealed packets over IPv6 (RFC 8200 8.1); over IPv4 it stays 0 (RFC 3948 2.1)."""
    for i in range(len(verdict)):
        if verdict[i] != SEALED:
            continue
        sa = sa_index[i]
        if facts[sa, 7] & (UDP | OUTER4) != UDP:
            continue
        at = esp_at[i] - 8
        size = end_at[i] - at
        total = size + PROTO_UDP + _sum16(out, at, size)
        for word in range(4):
            total += halves(facts[sa, word])
        found = ~fold(total) & 0xFFFF
        put16(out, at + 6, found if found else 0xFFFF)


def seal(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.2. Raises EngineError where the engine's library breaks down; no packet can make it."""
    batch.sealed[:] = batch.verdict == SEALED
    np.multiply(batch.sealed, np.uint8(WAITING), out=batch.sealed)
    columns.sealer.seal(batch.out, batch.esp_at, batch.end_at, batch.sa_index, batch.seq64, batch.sealed)
    if batch.sealed.tobytes() != bytes(len(batch)):  # DONE is 0; ten times as fast as numpy's any, for a batch
        raise EngineError(f"the engine gave up on {np.count_nonzero(batch.sealed)} packets of a batch")


def checksum(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 8200 8.1: it covers what was sealed, so it comes last."""
    checksum_rows(batch.verdict, batch.sa_index, columns.facts, batch.esp_at, batch.end_at, batch.out)


SEAL = Stage("seal", seal, frozenset({"sealed"}), objects=False)
CHECKSUM = Stage("checksum", checksum, objects=False)
