"""Seal: the engine writes ciphertext and ICV of every packet. Then UDP over IPv6 gets its checksum.

The plaintext is where `encap` left it: in the clear packets' arena, or in `out` itself (`clear_at`).

What this does not do: UDP over IPv4 keeps checksum 0 (RFC 3948 2.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.aead.batch import Clear
from espsim.aead.engine import EngineError
from espsim.batch.outbound.facts import DST_LOW, FORM, OUTER4, SRC_HIGH, UDP, halves
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    PROTO_UDP,
    SEALED,
    WAITING,
)
from espsim.core.outbound_batch import OutboundBatch
from espsim.jit.bytes import fold, put16
from espsim.jit.compiling import inlined, kernel

if TYPE_CHECKING:
    from espsim.batch.outbound.columns import OutboundColumns

_UDP_HEADER, _CHECKSUM = 8, 6
"""Bytes of UDP's header, and the offset of its checksum."""
_1, _2 = np.uint64(1), np.uint64(2)


@inlined
def _sum16(out: U8, at: Int, size: Int) -> int:
    """The sum of big-endian 16-bit words; a zero follows an odd last byte (RFC 1071 1).

    High and low bytes are summed apart: loops of single bytes are what LLVM makes vector code of.
    """
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
    """Write UDP's checksum into sealed packets over IPv6 (RFC 8200 8.1).

    The sum is of the pseudo-header (addresses, length, protocol), UDP's header with checksum 0, and ESP. A checksum of
    0 is written as 0xFFFF, because 0 means none.
    """
    for i in range(len(verdict)):
        if verdict[i] != SEALED:
            continue
        sa = sa_index[i]
        if facts[sa, FORM] & (UDP | OUTER4) != UDP:
            continue
        at = esp_at[i] - _UDP_HEADER
        size = end_at[i] - at
        total = size + PROTO_UDP + _sum16(out, at, size)
        for word in range(SRC_HIGH, DST_LOW + 1):
            total += halves(facts[sa, word])
        found = ~fold(total) & 0xFFFF
        put16(out, at + _CHECKSUM, found if found else 0xFFFF)


def seal(batch: OutboundBatch, columns: OutboundColumns) -> None:
    """RFC 4303 3.3.2. EngineError: the engine's library failed; no packet can cause that."""
    batch.sealed[:] = batch.verdict == SEALED
    np.multiply(batch.sealed, np.uint8(WAITING), out=batch.sealed)
    columns.sealer.seal(
        batch.out, batch.esp_at, batch.end_at, batch.sa_index, batch.seq64, batch.sealed,
        Clear(batch.arena, batch.clear_at),
    )  # fmt: skip
    if batch.sealed.tobytes() != bytes(len(batch)):  # DONE is 0; ten times as fast as numpy's any
        raise EngineError(f"the engine gave up on {np.count_nonzero(batch.sealed)} packets of a batch")


def checksum(batch: OutboundBatch, columns: OutboundColumns) -> None:
    """RFC 8200 8.1. Last, because it covers the ciphertext."""
    checksum_rows(batch.verdict, batch.sa_index, columns.facts, batch.esp_at, batch.end_at, batch.out)


SEAL = Stage("seal", seal, frozenset({"sealed"}), objects=False)
CHECKSUM = Stage("checksum", checksum, objects=False)
