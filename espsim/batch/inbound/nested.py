"""Nested ESP: from the first packet on that holds ESP for this host, the reference path runs all (reference/nested.py).

What is inside is received again, and the window of its SA has to move in the order of arrival, among packets that come
to that SA by themselves. Kernels settle rows before anyone knows what SAs lie deeper. So, in `settle`:

1. find       the first row that was opened and holds ESP for this host; of rows that are the reference path's already
              the first that may hold some
2. settle     the rows before it, in kernels as ever
3. hand over  that row and all that follow become ONE_BY_ONE, in this batch and in every later one; where they were
              opened already their ciphertext is put back

`alone` (SAs' columns, 2 bytes) says so to all workers: [0] from `settle` on, [1] once what the kernels counted before
is complete; then the SAs' state is written back, once, and is the reference path's (`BatchInbound.ask_one`).

A row's payload is looked at in the kernel (`find_esp`), which errs on the side of ESP; the reference path then says of
such a row what is right. So traffic without ESP in ESP pays for one look at each payload, and so does ESP that passes
through to another host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from espsim.batch.inbound.decap import BY_NEXT_HEADER, TUNNEL
from espsim.batch.inbound.open import close_row
from espsim.core.arrays import I32, I64, U8
from espsim.core.batch import PacketBatch
from espsim.core.numbers import (
    DELIVERED,
    HANDED,
    ONE_BY_ONE,
    OUTGOING,
    OWN,
    PROTO_DSTOPTS,
    PROTO_ESP,
    PROTO_FRAGMENT,
    PROTO_HOP_BY_HOP,
    PROTO_IPIP,
    PROTO_IPV6,
    PROTO_ROUTING,
    PROTO_UDP,
    TRAILER,
    UNOPENED,
)
from espsim.jit.bytes import be16
from espsim.jit.compiling import kernel
from espsim.sad.association import SecurityAssociation

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns


class NestedLike(Protocol):
    """`espsim.reference.nested.Nested`. Nothing moves when it is asked."""

    def holds_another(
        self, sa: SecurityAssociation, packet: bytes, payload: bytes, next_header: int, own: bool, outgoing: bool
    ) -> bool:
        """Whether what was opened under an SA is ESP for this host."""

    def may_hold_another(self, packet: bytes, outgoing: bool) -> bool:
        """Whether a packet that is not opened yet may hold some."""


@kernel
def find_esp(
    first: int, arena: U8, plain_at: I64, payload: I32, next_header: U8, family: U8, sa_index: I32, form: U8,
    ports: U8, opened: U8, verdict: U8,
) -> int:  # fmt: skip
    """The first row from `first` on that was opened and in which ESP, or UDP to one of `ports`, may be; -1: none.

    An extension header of IPv6 may be followed by either.
    """
    for i in range(first, len(verdict)):
        if verdict[i] != DELIVERED or opened[i] != DELIVERED:
            continue
        at, size, proto = plain_at[i], np.int64(payload[i]), np.int64(next_header[i])
        kind, six = form[sa_index[i]], family[i] == 6
        if kind & TUNNEL or (kind & BY_NEXT_HEADER and proto in (PROTO_IPIP, PROTO_IPV6)):
            six = proto == PROTO_IPV6
            if size < (40 if six else 20):
                continue
            proto = np.int64(arena[at + 6]) if six else np.int64(arena[at + 9])
            headers = 40 if six else (np.int64(arena[at]) & 15) * 4
            at, size = at + headers, size - headers
        if proto == PROTO_ESP:
            return i
        if proto == PROTO_UDP:
            if size >= 8 and ports[be16(arena, at + 2)]:
                return i
        elif six and proto in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DSTOPTS):
            return i
    return -1


def first_of(batch: PacketBatch, columns: SadColumns, *, wary: bool = False) -> int:
    """The row from which on the reference path runs all; the batch's length: none.

    `wary`: no one can say before what a row of the reference path holds, because a device may open it under any SA.
    """
    nested = columns.nested
    if nested is None:
        return len(batch)
    if columns.alone[0]:
        return 0
    end, row = len(batch), -1
    while (row := _find(batch, columns, row + 1)) >= 0:
        if holds(batch, columns, row):
            end = row
            break
    if ONE_BY_ONE in batch.verdict.tobytes() and (columns.standing != ONE_BY_ONE).any():
        for row in np.flatnonzero(batch.verdict[:end] == ONE_BY_ONE).tolist():
            if wary or nested.may_hold_another(batch.packet(row), bool(batch.link[row] & OUTGOING)):
                return row
    return end


def _find(batch: PacketBatch, columns: SadColumns, first: int) -> int:
    return find_esp(
        first, batch.arena, batch.plain_at, batch.payload, batch.next_header, batch.family, batch.sa_index,
        columns.form, columns.ports, batch.opened, batch.verdict,
    )  # fmt: skip


def holds(batch: PacketBatch, columns: SadColumns, row: int) -> bool:
    """Whether a row was opened and holds ESP for this host."""
    if columns.nested is None or batch.opened[row] != DELIVERED:
        return False
    at, size = int(batch.plain_at[row]), int(batch.payload[row])
    own, outgoing = bool(batch.flags[row] & OWN), bool(batch.link[row] & OUTGOING)
    sa = columns.entries[batch.sa_index[row]].sa
    payload, following = batch.arena[at : at + size].tobytes(), int(batch.next_header[row])
    return columns.nested.holds_another(sa, batch.packet(row), payload, following, own, outgoing)


def hand_over(batch: PacketBatch, columns: SadColumns, first: int) -> None:
    """All rows from `first` on that have no verdict become the reference path's, as they came."""
    if first == len(batch):
        return
    columns.alone[0] = 1
    for row in (first + np.flatnonzero(batch.verdict[first:] == DELIVERED)).tolist():
        if batch.opened[row] in (DELIVERED, TRAILER):
            close_row(batch, columns, row, int(batch.seq64[row]))
        batch.opened[row], batch.verdict[row] = UNOPENED, ONE_BY_ONE
    batch.opened[first:][batch.verdict[first:] == ONE_BY_ONE] = HANDED
