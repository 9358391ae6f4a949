"""Nested ESP: from the first packet that holds ESP for this host, the reference path runs all rows.

Why: the inner packet is received again, and the window of its SA must move in the order of arrival, among packets that
come to that SA by themselves (reference/nested.py). Kernels settle rows before the inner SAs are known. So:

1. `inside`, a stage of its own that any worker runs at any time, marks the first row that was opened and holds ESP
   for this host, in `holder`;
2. `settle` ends at that row, or before it at a row that belongs to the reference path and may hold some;
3. it settles the rows before, in kernels as usual;
4. it hands over: that row and all rows after it become ONE_BY_ONE, in this batch and in every later one. The ciphertext
   of those that were opened is put back.

`alone` (uint8, 2; a column of the SAs) tells all workers. HANDED_OVER is set by `settle`. COUNTED is set when all that
the kernels counted before is complete; then the SAs' state is written back, once (`InboundPipeline.ask_one`).

The kernel `find_esp` looks at each payload, and may name a row that holds no ESP for this host; the reference path
decides about that row. So without ESP in ESP, and with ESP that passes through to another host, the cost is one look at
each payload.

What this does not do: it opens nothing a second time; the reference path opens the inner packets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from espsim.batch.inbound.decap import BY_NEXT_HEADER, TUNNEL
from espsim.batch.inbound.open import close_row
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.inbound_batch import InboundBatch
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
    from espsim.batch.inbound.columns import InboundColumns


HANDED_OVER, COUNTED = 0, 1
"""Bytes of `alone`."""
_HEADER4, _HEADER6, _UDP_HEADER = 20, 40, 8
"""Bytes of the headers; of IPv4's the least."""
_PROTOCOL4, _NEXT_HEADER6 = 9, 6
"""Offsets of the byte that names what follows an IP header."""


class NestedLike(Protocol):
    """`espsim.reference.nested.Nested`. Its methods change nothing."""

    def holds_another(
        self, sa: SecurityAssociation, packet: bytes, payload: bytes, next_header: int, own: bool, outgoing: bool
    ) -> bool:
        """Whether a payload that was opened under an SA is ESP for this host."""

    def may_hold_another(self, packet: bytes, outgoing: bool) -> bool:
        """Whether a packet that is not opened yet may hold ESP for this host."""


@kernel
def find_esp(
    first: int, arena: U8, plain_at: I64, payload: I32, next_header: U8, family: U8, sa_index: I32, form: U8,
    ports: U8, opened: U8, verdict: U8,
) -> int:  # fmt: skip
    """The first row from `first` on that was opened and may hold ESP, or UDP to one of `ports`; -1: none.

    1. Tunnel mode: the protocol is that of the inner IP header, after which the payload goes on.
    2. Transport mode: it is the next header.
    3. After an extension header of IPv6 either may follow: the row is named.
    """
    for i in range(first, len(verdict)):
        if verdict[i] != DELIVERED or opened[i] != DELIVERED:
            continue
        at, size, proto = plain_at[i], np.int64(payload[i]), np.int64(next_header[i])
        kind, six = form[sa_index[i]], family[i] == 6
        if kind & TUNNEL or (kind & BY_NEXT_HEADER and proto in (PROTO_IPIP, PROTO_IPV6)):
            six = proto == PROTO_IPV6
            if size < (_HEADER6 if six else _HEADER4):
                continue
            proto = np.int64(arena[at + _NEXT_HEADER6]) if six else np.int64(arena[at + _PROTOCOL4])
            headers = _HEADER6 if six else (np.int64(arena[at]) & 15) * 4
            at, size = at + headers, size - headers
        if proto == PROTO_ESP:
            return i
        if proto == PROTO_UDP:
            if size >= _UDP_HEADER and ports[be16(arena, at + 2)]:
                return i
        elif six and proto in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DSTOPTS):
            return i
    return -1


def inside(batch: InboundBatch, columns: InboundColumns) -> None:
    """`holder` is 1 at the first row that was opened and holds ESP for this host, 0 at all others."""
    batch.holder[:] = 0
    if columns.nested is None or columns.alone[HANDED_OVER]:
        return
    row = -1
    while (row := _find(batch, columns, row + 1)) >= 0:
        if holds(batch, columns, row):
            batch.holder[row] = 1
            return


STAGE = Stage("nested", inside, frozenset({"holder"}), objects=False)


def first_of(batch: InboundBatch, columns: InboundColumns, *, wary: bool = False) -> int:
    """The first row that the reference path runs with all after it; the batch's length: there is none.

    `wary`: take any row of the reference path, because a device may open it under any SA.
    """
    nested = columns.nested
    if nested is None:
        return len(batch)
    if columns.alone[HANDED_OVER]:
        return 0
    end = batch.holder.tobytes().find(1)
    if end < 0:
        end = len(batch)
    if ONE_BY_ONE in batch.verdict.tobytes() and (columns.standing != ONE_BY_ONE).any():
        for row in np.flatnonzero(batch.verdict[:end] == ONE_BY_ONE).tolist():
            if wary or nested.may_hold_another(batch.packet(row), bool(batch.link[row] & OUTGOING)):
                return row
    return end


def _find(batch: InboundBatch, columns: InboundColumns, first: int) -> int:
    return find_esp(
        first, batch.arena, batch.plain_at, batch.payload, batch.next_header, batch.family, batch.sa_index,
        columns.form, columns.ports, batch.opened, batch.verdict,
    )  # fmt: skip


def holds(batch: InboundBatch, columns: InboundColumns, row: int) -> bool:
    """Whether a row was opened and holds ESP for this host."""
    if columns.nested is None or batch.opened[row] != DELIVERED:
        return False
    at, size = int(batch.plain_at[row]), int(batch.payload[row])
    own, outgoing = bool(batch.flags[row] & OWN), bool(batch.link[row] & OUTGOING)
    sa = columns.entries[batch.sa_index[row]].sa
    payload, following = batch.arena[at : at + size].tobytes(), int(batch.next_header[row])
    return columns.nested.holds_another(sa, batch.packet(row), payload, following, own, outgoing)


def hand_over(batch: InboundBatch, columns: InboundColumns, first: int) -> None:
    """Give the reference path all rows from `first` on that have no verdict, with the bytes that they came with."""
    if first == len(batch):
        return
    columns.alone[HANDED_OVER] = 1
    for row in (first + np.flatnonzero(batch.verdict[first:] == DELIVERED)).tolist():
        if batch.opened[row] in (DELIVERED, TRAILER):
            close_row(batch, columns, row, int(batch.seq64[row]))
        batch.opened[row], batch.verdict[row] = UNOPENED, ONE_BY_ONE
    batch.opened[first:][batch.verdict[first:] == ONE_BY_ONE] = HANDED
