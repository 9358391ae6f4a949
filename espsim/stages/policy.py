"""Policy: the SA whose selector takes the packet. Not IP, NO_SA, STATE_INVALID."""

from __future__ import annotations

from espsim.core.out_batch import OutBatch
from espsim.kernels import select as kernel
from espsim.stages.outbound_columns import OutColumns
from espsim.stages.rule import Stage


def policy(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.1: the most specific SA, then the newest; SAs of the one-packet path make a row ONE_BY_ONE."""
    facts = batch.verdict, batch.family, batch.proto, batch.sport, batch.dport, batch.saddr, batch.daddr
    kernel.flow(batch.arena, batch.offset, batch.length, *facts)
    kernel.choose(*facts, columns.groups, columns.table, columns.ahead, batch.rank, batch.tied, batch.sa_index)
    kernel.judge(batch.sa_index, columns.standing, batch.tied, batch.verdict)


POLICY = Stage(
    "policy",
    policy,
    frozenset({"family", "proto", "sport", "dport", "saddr", "daddr", "sa_index", "rank", "tied"}),
    sas=frozenset({"ahead"}),  # scratch
)
