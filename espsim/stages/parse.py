"""Parse: the outer headers, SPI and sequence number. Not ESP, FRAGMENT, HEADER."""

from __future__ import annotations

from espsim.core.batch import PacketBatch
from espsim.kernels import layers
from espsim.kernels import parse as kernel
from espsim.stages.columns import SadColumns
from espsim.stages.rule import Stage


def parse(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4303 3.4.1 and 2: where ESP is, or what is there instead."""
    kernel.parse(
        batch.arena, batch.offset, batch.length, batch.link, columns.ports,
        batch.verdict, batch.flags, batch.family, batch.proto, batch.tos, batch.where, batch.sport, batch.dport,
        batch.spi, batch.seq, batch.daddr, batch.saddr,
    )  # fmt: skip
    layers.name(
        batch.arena, batch.offset, batch.length, batch.link, columns.ports, batch.verdict, batch.kind
    )  # fmt: skip


PARSE = Stage(
    "parse",
    parse,
    frozenset({"flags", "kind", "family", "proto", "tos", "where", "sport", "dport", "spi", "seq", "daddr", "saddr"}),
)
