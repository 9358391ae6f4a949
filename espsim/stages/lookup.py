"""Lookup: the SA of every packet, and whether it may be used.

NO_SA, DIRECTION, SA_LARVAL, SA_INVALID, ENCAP_MISMATCH.
"""

from __future__ import annotations

import numpy as np

from espsim.core.batch import PacketBatch
from espsim.core.numbers import OUTGOING, PROTO_ESP
from espsim.kernels.lookup import TCP_PORT, triple, usable
from espsim.sad.sad import Sad
from espsim.sad.sent import sent_under
from espsim.stages import own
from espsim.stages.columns import SadColumns
from espsim.stages.rule import Stage


def lookup(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4303 3.4.2, and xfrm_input's checks of the SA found; SAs of the one-packet path make a row ONE_BY_ONE."""
    if columns.asked is not None:
        _by_policy(batch, columns, columns.asked)
    else:
        triple(
            batch.verdict, batch.family, batch.proto, batch.spi, batch.daddr, batch.mark, batch.dport,
            columns.table4, columns.table6, columns.chain, batch.sa_index,
        )  # fmt: skip
    own.find(batch, columns.own)
    usable(
        batch.sa_index, batch.dport, batch.flags, columns.standing, columns.own.standing, batch.verdict
    )  # fmt: skip


LOOKUP = Stage("lookup", lookup, frozenset({"sa_index"}))


def _by_policy(batch: PacketBatch, columns: SadColumns, sad: Sad) -> None:
    """A policy with a lookup of its own is asked row by row."""
    batch.sa_index[:] = -1
    for row in np.flatnonzero(batch.verdict == 0).tolist():
        daddr, saddr = (_address(column[row].tolist(), int(batch.family[row])) for column in (batch.daddr, batch.saddr))
        port = int(batch.dport[row])
        mark = None if columns.any_mark else int(batch.mark[row])
        wanted = daddr, int(batch.spi[row]), PROTO_ESP, mark, None if port >= TCP_PORT else port
        outgoing = bool(batch.link[row] & OUTGOING)
        found = sad.lookup(*wanted) if columns.own.numbers is not None else None
        if found is None or not sent_under(found.sa, saddr, daddr, outgoing=outgoing):
            found = sad.input(*wanted, saddr)
        if found is not None:
            batch.sa_index[row] = columns.rows[found.sa_index]


def _address(words: list[int], family: int) -> bytes:
    """An address from its two words, high and low."""
    return words[1].to_bytes(4) if family == 4 else (words[0] << 64 | words[1]).to_bytes(16)
