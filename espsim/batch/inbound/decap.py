"""Decap: out of the tunnel, or back under the IP headers, in place; `reference/inner.py` over columns. It gives MODE.

1. Tunnel mode: the packet inside, its TFC padding cut off, congestion and DSCP carried over as the SA's flags say.
2. Transport mode: the IP headers move right, to the payload, with another length, next header and checksum.

Does not decrypt (open.py), judge the trailer (trailer.py) or selectors (admit.py), or touch a byte outside a row's own.
SAs in BEET mode and IP-TFS never come here: the reference path takes their rows (batch/columns.py).
Sources: RFC 4301 5.1.2 and 5.2, RFC 1624 3; Linux net/xfrm/xfrm_input.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.batch import PacketBatch
from espsim.core.numbers import (
    DELIVERED,
    ECN,
    MODE,
    PROTO_IPIP,
    PROTO_IPV6,
)
from espsim.jit.bytes import be16, fold, put16
from espsim.jit.compiling import inlined, kernel

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns

TUNNEL, DSCP, NO_ECN, BY_NEXT_HEADER = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)
RFC_6040 = np.uint8(16)
"""Bits of `form`, an SA's way to decapsulate: tunnel mode, the flags decap-dscp and noecn, Mode.ANY; ECN as RFC 6040
says, not as Linux does (not with noecn)."""

_ECT_1, _ECT_0, _CE = 1, 2, 3


@inlined
def _inside(arena: U8, at: int, payload: int, next_header: int) -> int:
    """The length of a tunnel's inner packet, TFC padding cut off; -1: it does not fit the mode."""
    if next_header == PROTO_IPIP and payload >= 20:
        length = be16(arena, at + 2)
    elif next_header == PROTO_IPV6 and payload >= 40:
        length = 40 + be16(arena, at + 4)
    else:
        return -1
    return min(length, payload) if length >= 20 else payload


@inlined
def _carry_over(arena: U8, at: int, length: int, v4: bool, outer: int, form: np.uint8) -> bool:
    """Congestion and the outer DSCP, as far as the SA's flags say; an IPv4 checksum that was wrong stays wrong.

    False: the packet must be dropped (RFC 6040 4.2).
    """
    first, second = np.int64(arena[at]), np.int64(arena[at + 1])
    if v4 and ((first & 15) * 4 < 20 or (first & 15) * 4 > length):
        return True  # no IPv4 header, so nothing is carried over
    tos = second if v4 else (first & 15) << 4 | second >> 4
    new = tos
    if form & DSCP:
        new = outer & 0xFC | new & 3
    if outer & 3 == _CE and not form & NO_ECN and new & 3:
        new |= _CE
    if form & RFC_6040:
        if outer & 3 == _CE and tos & 3 == 0:
            return False
        if outer & 3 == _ECT_1 and tos & 3 == _ECT_0:
            new = new & 0xFC | _ECT_1
    if new == tos:
        return True
    if v4:
        total = (~be16(arena, at + 10) & 0xFFFF) + (~tos & 0xFFFF) + new  # RFC 1624 3
        arena[at + 1] = new
        put16(arena, at + 10, ~fold(total) & 0xFFFF)
    else:
        arena[at], arena[at + 1] = first & 0xF0 | new >> 4, (new & 15) << 4 | second & 15
    return True


@inlined
def _rejoin(arena: U8, source: int, at: int, headers: int, size: int, v4: bool, pointer: int, next_header: int) -> None:
    """Move the IP headers from `source` right, to the payload; set length, next header (at `pointer`), checksum."""
    for n in range(headers - 1, -1, -1):
        arena[at + n] = arena[source + n]
    arena[at + pointer] = next_header
    if not v4:
        put16(arena, at + 4, size - 40)
        return
    put16(arena, at + 2, size)
    put16(arena, at + 10, 0)
    total = 0
    for n in range(0, headers, 2):
        total += be16(arena, at + n)
    put16(arena, at + 10, ~fold(total) & 0xFFFF)


@kernel
def decap_rows(
    arena: U8, offset: I64, where: I32, family: U8, tos: U8, sa_index: I32, form: U8,
    plain_at: I64, payload: I32, next_header: U8, inner_at: I64, inner_length: I32, verdict: U8,
) -> None:  # fmt: skip
    """The inner packet of every row without a verdict, made in place; MODE where a tunnel holds none, ECN."""
    for i in range(len(verdict)):
        inner_at[i] = inner_length[i] = 0
        if verdict[i] != DELIVERED:
            continue
        kind, at, size = form[sa_index[i]], plain_at[i], np.int64(payload[i])
        following = np.int64(next_header[i])
        if kind & TUNNEL or (kind & BY_NEXT_HEADER and following in (PROTO_IPIP, PROTO_IPV6)):
            size = _inside(arena, at, size, following)
            if size < 0:
                verdict[i] = MODE
                continue
            if not _carry_over(arena, at, size, following == PROTO_IPIP, np.int64(tos[i]), kind):
                verdict[i] = ECN
                continue
        else:
            headers = np.int64(where[i, 0])
            at, size = at - headers, headers + size
            _rejoin(arena, offset[i], at, headers, size, family[i] == 4, np.int64(where[i, 3]), following)
        inner_at[i], inner_length[i] = at, size


def decap(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4301 5.2, but for the SA's selector."""
    decap_rows(
        batch.arena, batch.offset, batch.where, batch.family, batch.tos, batch.sa_index, columns.form,
        batch.plain_at, batch.payload, batch.next_header, batch.inner_at, batch.inner_length, batch.verdict,
    )  # fmt: skip


STAGE = Stage("decap", decap, frozenset({"inner_at", "inner_length"}))
