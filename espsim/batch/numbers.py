"""The sequence numbers of a capture, without a SAD and without keys.

What this does not do: it opens nothing, so a number may be forged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np

from espsim.batch.inbound.parse import parse_rows
from espsim.core.address import Address
from espsim.core.inbound_batch import InboundBatch
from espsim.io.batches import BatchReader
from espsim.io.slots import FrameSlot
from espsim.wire.udp import PORT_NAT_T

ROWS = 4096


def numbers(
    reader: BatchReader, ports: Collection[int] = (PORT_NAT_T,), advance: Callable[[int], None] = lambda at: None
) -> Iterator[tuple[int, Address, int]]:
    """(SPI, destination, number on the wire) of every ESP packet, in order of arrival.

    `ports`: the UDP ports that carry ESP. `advance` is called with the number of bytes that have been read. Errors of
    the reader are raised after the last whole frame.
    """
    slot = FrameSlot.of(ROWS)
    expected = np.zeros(1 << 16, np.uint8)
    expected[list(ports)] = 1
    batch = InboundBatch(
        slot.arena, slot.offset, slot.length, np.zeros(ROWS), np.zeros(ROWS, np.uint32), link=slot.link
    )
    while rows := reader.read_into(slot):
        part = batch.head(rows)
        parse_rows(
            part.arena, part.offset, part.length, part.link, expected,
            part.verdict, part.flags, part.family, part.proto, part.tos, part.where, part.sport, part.dport,
            part.spi, part.seq, part.daddr, part.saddr,
        )  # fmt: skip
        kept = np.flatnonzero(part.verdict == 0)
        columns = (part.spi, part.seq, part.family, part.daddr)
        spis, seqs, families, daddrs = (column[kept].tolist() for column in columns)
        for spi, seq, family, (high, low) in zip(spis, seqs, families, daddrs, strict=True):
            yield spi, low.to_bytes(4) if family == 4 else (high << 64 | low).to_bytes(16), seq
        if reader.joiner is not None:
            reader.joiner.settled()  # nothing here needs them, and they would fill memory
        advance(reader.at)
