"""Measure: what goes inside ESP, and how long each packet will be, before it gets a number. FRAGMENT, TOO_BIG.

`reference/outbound.py`, trimmed and _payload_of, over columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.facts import (
    AHEAD,
    OUTER4,
    TUNNEL,
    UDP,
)
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    OUT_FRAGMENT,
    PROTO_DSTOPTS,
    PROTO_FRAGMENT,
    PROTO_HOP_BY_HOP,
    PROTO_IPIP,
    PROTO_IPV6,
    PROTO_ROUTING,
    SEALED,
    TOO_BIG,
)
from espsim.core.out_batch import OutBatch
from espsim.jit.bytes import be16
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.out_columns import OutColumns

_IPIP, _IPV6 = 4, 41
_HOP_BY_HOP, _ROUTING, _FRAGMENT_HEADER, _DESTINATION = 0, 43, 44, 60


@inlined
def _trimmed(arena: U8, at: Int, length: Int, v4: bool) -> int:
    """The length of an IP packet without what a link layer padded it with."""
    size = be16(arena, at + 2) if v4 else 40 + be16(arena, at + 4)
    return min(size, length) if size >= (20 if v4 else 41) else length


@inlined
def _split6(arena: U8, at: Int, size: Int) -> tuple[int, int]:
    """`wire.ipv6.transport_insertion`: (where ESP goes, the byte that names what is there); -1: nowhere."""
    here, pointer, routed = 40, 6, False
    while here <= size:
        kind = np.int64(arena[at + pointer])
        if kind not in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS) or (kind == PROTO_DSTOPTS and routed):
            return (-1, 0) if kind == PROTO_FRAGMENT else (here, pointer)
        if here + 8 > size:
            break
        routed = routed or kind == PROTO_ROUTING
        pointer, here = here, here + (np.int64(arena[at + here + 1]) + 1) * 8
    return -1, 0


@inlined
def _split4(arena: U8, at: Int, size: Int) -> tuple[int, int]:
    """The same for IPv4."""
    headers = np.int64(arena[at] & 15) * 4
    if be16(arena, at + 6) & 0x3FFF or headers < 20 or headers > size:
        return -1, 0
    return headers, 9


@kernel
def measure_rows(
    arena: U8, offset: I64, length: I32, family: U8, sa_index: I32, facts: I64,
    headers: I32, pointer: I32, next_header: U8, payload: I32, plain_length: I32, out_length: I32, verdict: U8,
) -> None:  # fmt: skip
    """Fill the columns after `facts` for rows without a verdict, with zeros for the others; FRAGMENT, TOO_BIG."""
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(facts, max(sa_index[i + AHEAD], 0))
            prefetch(arena, offset[i + AHEAD])
        headers[i] = pointer[i] = payload[i] = plain_length[i] = out_length[i] = 0
        next_header[i] = 0
        if verdict[i] != SEALED:
            continue
        at, v4, sa = offset[i], family[i] == 4, sa_index[i]
        size = _trimmed(arena, at, np.int64(length[i]), v4)
        form = facts[sa, 7]
        place, byte, following = 0, 0, PROTO_IPIP if v4 else PROTO_IPV6
        if not form & TUNNEL:
            place, byte = _split4(arena, at, size) if v4 else _split6(arena, at, size)
            if place < 0:
                verdict[i] = OUT_FRAGMENT
                continue
            following = np.int64(arena[at + byte])
        padded = max(size - place, facts[sa, 5] & 0xFFFFFFFF)
        plain = padded + 2 + (-(padded + 2) & (form >> 32) - 1)
        outer = place
        if form & TUNNEL:
            outer = 20 if form & OUTER4 else 40
        total = outer + (16 if form & UDP else 8) + (form >> 16 & 0xFF) + plain + (form >> 24 & 0xFF)
        if total - (0 if form & OUTER4 else 40) > 0xFFFF:
            verdict[i] = TOO_BIG
            continue
        headers[i], pointer[i], next_header[i] = place, byte, following
        payload[i], plain_length[i], out_length[i] = size - place, plain, total


def measure(batch: OutBatch, columns: OutColumns) -> None:
    """What goes inside ESP (RFC 4303 3.1 and 3.3.2), and whether it may: a packet refused here uses up no number."""
    measure_rows(
        batch.arena, batch.offset, batch.length, batch.family, batch.sa_index, columns.facts,
        batch.headers, batch.pointer, batch.next_header, batch.payload, batch.plain_length, batch.out_length,
        batch.verdict,
    )  # fmt: skip


STAGE = Stage(
    "measure", measure, frozenset({"headers", "pointer", "next_header", "payload", "plain_length", "out_length"})
)
