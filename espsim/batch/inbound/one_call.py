"""One call: the steps from parse to trailer of a whole batch in one call of compiled code.

    parse_rows, name, triple, find_own, usable, check_rows, aim, run_ipsec_mb, judge_trailers

The kernels are the ones that the separate stages call, in the same order, so the columns are the same. The separate
stages take 9 microseconds a batch beside their work, most of it to make numpy's arrays known to compiled code; one call
takes 4. Both take longer where the packets of a batch have pushed Python out of the caches.

It runs where `suits` says so. Everywhere else the separate stages run: with other engines, with an SPI rule that has a
lookup of its own, with a device, and in debug mode, which checks each stage.

What this does not do: it knows no rule of any step, and it does not run a few rows at a time. Blocks of rows that fit
the first-level cache were tried: they are no faster, and slower with many SAs, because each block prefetches anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from espsim.aead.native.engine import NativeRows
from espsim.aead.native.ipsec_mb_rows import run_ipsec_mb
from espsim.batch.inbound.layers import name
from espsim.batch.inbound.lookup import triple, usable
from espsim.batch.inbound.open import aim, refuse_broken
from espsim.batch.inbound.own import find_own
from espsim.batch.inbound.parse import parse_rows
from espsim.batch.inbound.replay import check_rows
from espsim.batch.inbound.trailer import judge_trailers, trailer
from espsim.core.arrays import I32, I64, U8, U32, U64
from espsim.core.inbound_batch import InboundBatch
from espsim.jit.compiling import kernel

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

STEPS = 5
"""How many stages `run` replaces: parse, lookup, check, open, trailer."""


@kernel
def run_steps(
    look_for_own: bool, functions: I64, lines: I64, work: U8, clear: U8, clear_at: I64, arena: U8,
    offset: I64, length: I32, link: U8, mark: U32, verdict: U8, flags: U8, kind: U8, family: U8, proto: U8, tos: U8,
    where: I32, sport: U32, dport: U32, spi: U32, seq: U32, daddr: U64, saddr: U64, sa_index: I32, seq64: U64,
    replay: U8, esp_at: I64, end_at: I64, plain_at: I64, plain_length: I32, opened: U8, payload: I32, pad: U8,
    next_header: U8, odd: U8,
    ports: U8, table4: U64, table6: U64, chain: U32, standing: U8, sending: U8, direction: U8, ends: U64, shape: U64,
    bits: U64, sent: U64, extent: U8,
) -> int:  # fmt: skip
    """Run the steps, as the stages in their files call them. Returns what `run_ipsec_mb` does.

    `look_for_own`: packets that this host sent are looked for (own.py). `functions` to `clear_at`: what `run_ipsec_mb`
    takes beside the columns. Then columns of the batch, and of the SAs.
    """
    parse_rows(
        arena, offset, length, link, ports,
        verdict, flags, family, proto, tos, where, sport, dport, spi, seq, daddr, saddr,
    )  # fmt: skip
    name(arena, offset, length, link, ports, verdict, kind)
    triple(verdict, family, proto, spi, daddr, mark, dport, table4, table6, chain, sa_index)
    if look_for_own:
        find_own(sa_index, saddr, daddr, link, verdict, direction, ends, flags)
    usable(sa_index, dport, flags, standing, sending, verdict)
    check_rows(sa_index, seq, flags, verdict, shape, bits, sent, seq64, replay)
    aim(verdict, replay, flags, offset, where, sa_index, extent, esp_at, end_at, plain_at, plain_length, opened)
    left = run_ipsec_mb(
        True, functions, lines, work, arena, esp_at, end_at, sa_index, seq64, opened, clear, clear_at
    )  # fmt: skip
    judge_trailers(arena, plain_at, plain_length, opened, payload, pad, next_header, odd)
    return left


def suits(batch: InboundBatch, columns: InboundColumns) -> bool:
    """Whether `run` may take the place of the separate stages: ipsec-mb opens, and the tables find the SAs."""
    opener = columns.opener
    ours = isinstance(opener, NativeRows) and opener.opens_by(run_ipsec_mb)
    return ours and columns.asked is None and batch.arena.flags.writeable


def run(batch: InboundBatch, columns: InboundColumns) -> None:
    """The first STEPS stages. Raises what `open` raises."""
    opener, own = cast(NativeRows, columns.opener), columns.own
    left = run_steps(
        own.numbers is not None, *opener.memory, batch.arena,
        batch.offset, batch.length, batch.link, batch.mark, batch.verdict, batch.flags, batch.kind, batch.family,
        batch.proto, batch.tos, batch.where, batch.sport, batch.dport, batch.spi, batch.seq, batch.daddr, batch.saddr,
        batch.sa_index, batch.seq64, batch.replay, batch.esp_at, batch.end_at, batch.plain_at, batch.plain_length,
        batch.opened, batch.payload, batch.pad, batch.next_header, batch.odd_padding,
        columns.ports, columns.table4, columns.table6, columns.chain, columns.standing, own.standing, own.direction,
        own.ends, columns.shape, columns.bits, own.sent, columns.extent,
    )  # fmt: skip
    opener.finish(left, batch.arena, batch.esp_at, batch.end_at, batch.sa_index, batch.seq64, batch.opened)
    refuse_broken(batch.opened)
    if left:
        trailer(batch, columns)  # of the rows that another engine has opened now; the others keep what they have
