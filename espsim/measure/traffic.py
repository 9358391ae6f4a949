"""Packets of tunnels in batches. SAs come in random order; the packets of each SA are numbered from 1, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espsim.aead.batch import BatchEngine, SlotKeys
from espsim.core.arrays import U8
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import PROTO_IPIP
from espsim.core.outbound_batch import ROOM, OutboundBatch
from espsim.measure.keys import Keys
from espsim.measure.tunnels import GCM, ICV, SOURCE
from espsim.wire import esp, ipv4

Size = int | str
"""Bytes of an inner IP packet, or "imix"."""

IMIX = {64: 7, 576: 4, 1424: 1}
"""(bytes, packets of 12 with that size): simple IMIX, with the largest size cut to fit into a tunnel."""

BATCH = 2048
"""Packets of a batch."""
MOST_PACKETS = 1 << 17
ARENA = 96 << 20
"""Most bytes of packets in a workload."""
_AROUND = ipv4.HEADER_LENGTH + esp.HEADER_LENGTH + GCM.iv_length + ICV
"""Bytes of outer IPv4, ESP, IV and ICV. Padding and trailer count as part of the payload."""


def mean_size(size: Size) -> float:
    """Mean bytes of a packet."""
    return float(size) if size != "imix" else sum(s * n for s, n in IMIX.items()) / sum(IMIX.values())


def packets_for(sas: int, size: Size) -> int:
    """As many packets as SAs, so that many SAs cause many cache misses; at least four batches, within limits."""
    most = int(ARENA / (mean_size(size) + _AROUND))
    return max(min(-(-sas // BATCH) * BATCH, MOST_PACKETS, most // BATCH * BATCH), 4 * BATCH)


def sizes_of(size: Size, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The inner size of each of `rows` packets."""
    if size != "imix":
        return np.full(rows, int(size), np.int64)
    share = np.array(list(IMIX.values())) / sum(IMIX.values())
    return rng.choice(np.array(list(IMIX), np.int64), rows, p=share)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Packets for a batch of either direction."""

    arena: U8
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int32]

    def put(self, batch: InboundBatch | OutboundBatch) -> None:
        """Overwrite a batch that has as many rows."""
        batch.arena[: len(self.arena)] = self.arena
        batch.offset[:], batch.length[:] = self.offset, self.length


def clear_chunks(daddr: npt.NDArray[np.uint32], size: npt.NDArray[np.int64]) -> Iterator[Chunk]:
    """IPv4 packets of `size` bytes to `daddr`, one chunk for each batch."""
    for at in range(0, len(size), BATCH):
        rows = slice(at, at + BATCH)
        yield _laid_out(size[rows], daddr[rows], proto=17)


def sealed_chunks(
    of: Keys, slots: list[SlotKeys], size: npt.NDArray[np.int64], engine: BatchEngine, batch: int = BATCH
) -> Iterator[Chunk]:
    """Sealed packets, each around an IPv4 packet of `size` bytes padded to whole words, one chunk for each batch.

    A packet without an SA (`of.pick` -1) has the same length, with zeros in place of the ciphertext.
    """
    used, slot = np.unique(of.pick, return_inverse=True)
    sealer = engine.sealer([None if sa < 0 else slots[sa] for sa in used.tolist()])
    seq = _numbered(of.pick)
    for begin in range(0, len(size), batch):
        rows = slice(begin, begin + batch)
        padded = -(-(size[rows] + 2) // 4) * 4
        made = _laid_out(padded + _AROUND, of.packet_daddr[rows, 1].astype(np.uint32), proto=50)
        at_esp = made.offset + ipv4.HEADER_LENGTH
        _put(made.arena, at_esp, of.packet_spi[rows], 4)
        _put(made.arena, at_esp + 4, seq[rows], 4)
        _put(made.arena, at_esp + 8, seq[rows], 8)
        _fill(made.arena, at_esp + 16, size[rows], padded)
        result = np.where(of.pick[rows] < 0, np.uint8(0), np.uint8(255)).astype(np.uint8)
        end = made.offset + made.length
        sealer.seal(made.arena, at_esp, end, slot[rows].astype(np.int32), seq[rows].astype(np.uint64), result)
        if result.any():
            raise AssertionError("the engine did not seal")
        yield made


def _numbered(pick: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Number each SA's packets from 1, in order; packets without an SA are one more series."""
    order = np.argsort(pick, kind="stable")
    _, starts, counts = np.unique(pick[order], return_index=True, return_counts=True)
    seq = np.empty(len(pick), np.int64)
    seq[order] = np.arange(1, len(pick) + 1) - np.repeat(starts, counts)
    return seq


def _laid_out(length: npt.NDArray[np.int64], daddr: npt.NDArray[np.uint32], *, proto: int) -> Chunk:
    """IPv4 packets of `length` bytes: correct headers, then zeros. Between them lies as much as in a capture."""
    each = length + ROOM
    offset = np.cumsum(each) - each
    arena = np.zeros(int(each.sum()), np.uint8)
    header = np.frombuffer(
        ipv4.emit(tos=0, payload_length=0, ident=0, flags=ipv4.DF, ttl=64, proto=proto,
                  src=SOURCE, dst=bytes(4)), np.uint8
    )  # fmt: skip
    arena[offset[:, np.newaxis] + np.arange(len(header))] = header
    _put(arena, offset + 2, length, 2)
    _put(arena, offset + 16, daddr, 4)
    _put(arena, offset + 10, np.zeros(len(length)), 2)
    headers = arena[offset[:, np.newaxis] + np.arange(len(header))].view(">u2").astype(np.int64).sum(axis=1)
    folded = (headers & 0xFFFF) + (headers >> 16)
    _put(arena, offset + 10, ~((folded & 0xFFFF) + (folded >> 16)) & 0xFFFF, 2)
    return Chunk(arena, offset, length.astype(np.int32))


def _fill(arena: U8, at: npt.NDArray[np.int64], size: npt.NDArray[np.int64], padded: npt.NDArray[np.int64]) -> None:
    """Clear packets of `size` bytes at `at`, each with padding and trailer up to `padded` bytes."""
    for one in np.unique(size).tolist():
        here = at[size == one]
        clear = ipv4.emit(tos=0, payload_length=one - ipv4.HEADER_LENGTH, ident=0, flags=ipv4.DF, ttl=64, proto=17,
                          src=bytes((10, 1, 0, 1)), dst=bytes((10, 2, 0, 1)))  # fmt: skip
        arena[here[:, np.newaxis] + np.arange(len(clear))] = np.frombuffer(clear, np.uint8)
    pad = padded - size - 2
    for n in range(1, 4):
        here = (at + size)[pad >= n]
        arena[here + n - 1] = n
    arena[at + padded - 2] = pad
    arena[at + padded - 1] = PROTO_IPIP


def _put(arena: U8, at: npt.NDArray[np.int64], value: npt.NDArray[np.generic], width: int) -> None:
    """A big-endian number of `width` bytes in every row."""
    numbers = value.astype(np.int64)
    for n in range(width):
        arena[at + n] = numbers >> 8 * (width - 1 - n) & 0xFF
