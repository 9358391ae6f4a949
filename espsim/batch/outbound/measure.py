"""Measure: what goes inside ESP, and how long each packet will be. Gives FRAGMENT and TOO_BIG.

It runs before `seqno`, so that a packet refused here uses up no number. reference/outbound.py, trimmed, _payload_of
and _wrapped_length, over columns.

What this does not do: it cuts nothing, and its only bound on length is the length field of the outer header. Where a
path MTU is kept, the reference path takes over (batch/outbound/columns.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.facts import (
    AHEAD,
    FORM,
    OUTER4,
    TUNNEL,
    UDP,
    alignment,
    icv_length,
    iv_length,
    shortest_payload,
)
from espsim.batch.stages import Stage
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
from espsim.core.outbound_batch import OutboundBatch
from espsim.jit.bytes import be16
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.outbound.columns import OutboundColumns

_ESP_HEADER, _UDP_HEADER, _HEADER4, _HEADER6 = 8, 8, 20, 40
"""Bytes of the headers."""
_TRAILER = 2
"""Bytes of pad length and next header."""
_FRAGMENT4 = 0x3FFF
"""MF and the offset of an IPv4 header: not 0 in a fragment."""
_PROTOCOL4, _NEXT_HEADER6 = 9, 6
"""Offsets of the byte that names what follows an IP header."""


@inlined
def _trimmed(arena: U8, at: Int, length: Int, v4: bool) -> int:
    """The length that the IP header states, unless it is too small. Bytes after it are a link layer's padding."""
    size = be16(arena, at + 2) if v4 else _HEADER6 + be16(arena, at + 4)
    return min(size, length) if size >= (_HEADER4 if v4 else _HEADER6 + 1) else length


@inlined
def _split6(arena: U8, at: Int, size: Int) -> tuple[int, int]:
    """wire.ipv6.transport_insertion: (where ESP goes, the byte that names what is there); -1 for a fragment or no room.

    ESP goes after hop-by-hop and routing headers, and after destination options that come before a routing header.
    """
    here, pointer, routed = _HEADER6, _NEXT_HEADER6, False
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
    """The same for IPv4: after the header and its options."""
    headers = np.int64(arena[at] & 15) * 4
    if be16(arena, at + 6) & _FRAGMENT4 or headers < _HEADER4 or headers > size:
        return -1, 0
    return headers, _PROTOCOL4


@kernel
def measure_rows(
    arena: U8, offset: I64, length: I32, family: U8, sa_index: I32, facts: I64,
    headers: I32, pointer: I32, next_header: U8, payload: I32, plain_length: I32, out_length: I32, verdict: U8,
) -> None:  # fmt: skip
    """Fill the columns after `facts` for rows without a verdict, with zeros for the others.

    1. Cut off what a link layer added.
    2. What goes inside: in tunnel mode the whole packet; in transport mode all after its headers, and none of a
       fragment (FRAGMENT: RFC 4303 3.3.4).
    3. Plaintext: payload and TFC padding, then padding and trailer up to the SA's alignment.
    4. The sealed packet; TOO_BIG where the outer header's 16-bit length field cannot say it (IPv6 counts no header).
    """
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
        form = facts[sa, FORM]
        place, byte, following = 0, 0, PROTO_IPIP if v4 else PROTO_IPV6
        if not form & TUNNEL:
            place, byte = _split4(arena, at, size) if v4 else _split6(arena, at, size)
            if place < 0:
                verdict[i] = OUT_FRAGMENT
                continue
            following = np.int64(arena[at + byte])
        inside = max(size - place, shortest_payload(facts, sa)) + _TRAILER
        plain = inside + (-inside & alignment(form) - 1)
        outer = place
        if form & TUNNEL:
            outer = _HEADER4 if form & OUTER4 else _HEADER6
        total = outer + (_UDP_HEADER if form & UDP else 0) + _ESP_HEADER + iv_length(form) + plain + icv_length(form)
        if total - (0 if form & OUTER4 else _HEADER6) > 0xFFFF:
            verdict[i] = TOO_BIG
            continue
        headers[i], pointer[i], next_header[i] = place, byte, following
        payload[i], plain_length[i], out_length[i] = size - place, plain, total


def measure(batch: OutboundBatch, columns: OutboundColumns) -> None:
    """What goes inside ESP, whether it may, and how long the packet will be (RFC 4303 3.1, 3.3.2)."""
    measure_rows(
        batch.arena, batch.offset, batch.length, batch.family, batch.sa_index, columns.facts,
        batch.headers, batch.pointer, batch.next_header, batch.payload, batch.plain_length, batch.out_length,
        batch.verdict,
    )  # fmt: skip


STAGE = Stage(
    "measure", measure, frozenset({"headers", "pointer", "next_header", "payload", "plain_length", "out_length"})
)
