"""Decap: the inner packet of every opened row, made in place. reference/inner.py over columns. It gives MODE and ECN.

1. Tunnel mode: the packet inside. TFC padding is cut off; ECN and DSCP are carried over as the SA's flags say.
2. Transport mode: the IP headers move right, up to the payload. Length, next header and checksum are set.

What this does not do: it does not judge the trailer (trailer.py) or selectors (admit.py), checks and sets no checksum
of TCP or UDP inside, and touches no byte outside a packet's own row. Rows of SAs in mode BEET or IPTFS never come here:
the reference path takes them (batch/inbound/columns.py).
Sources: RFC 4301 5.1.2 and 5.2, RFC 6040 4.2, RFC 1624 3; Linux net/xfrm/xfrm_input.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import (
    DELIVERED,
    ECN,
    IP_END,
    MODE,
    POINTER,
    PROTO_IPIP,
    PROTO_IPV6,
)
from espsim.jit.bytes import be16, fold, put16
from espsim.jit.compiling import inlined, kernel

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

TUNNEL, DSCP, NO_ECN, BY_NEXT_HEADER = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)
RFC_6040 = np.uint8(16)
"""Bits of `form`, how an SA decapsulates: tunnel mode; the flags decap-dscp and noecn; Mode.ANY (the next header names
the mode); ECN as RFC 6040 states it, not as Linux does (never with noecn)."""

_ECT_1, _ECT_0, _CE = 1, 2, 3
"""The ECN field's values; 0 is Not-ECT."""
_ECN, _DSCP = 3, 0xFC
"""The two parts of the TOS byte, or of the traffic class."""
_HEADER4, _HEADER6 = 20, 40
"""Bytes of the headers; of IPv4's the least."""


@inlined
def _inside(arena: U8, at: int, payload: int, next_header: int) -> int:
    """The length of a tunnel's inner packet, without TFC padding; -1: the payload is not an IP packet.

    The inner header states it. A length that is too small is ignored: then nothing is cut off.
    """
    if next_header == PROTO_IPIP and payload >= _HEADER4:
        length = be16(arena, at + 2)
    elif next_header == PROTO_IPV6 and payload >= _HEADER6:
        length = _HEADER6 + be16(arena, at + 4)
    else:
        return -1
    return min(length, payload) if length >= _HEADER4 else payload


@inlined
def _carry_over(arena: U8, at: int, length: int, v4: bool, outer: int, form: np.uint8) -> bool:
    """Write ECN and DSCP of the outer header (`outer`, its TOS byte) into the inner one, as the SA's flags say.

    1. A broken IPv4 header stays as it is.
    2. decap-dscp: the outer DSCP replaces the inner one.
    3. CE outside marks an inner packet that is ECN-capable, unless the SA has noecn.
    4. With RFC 6040: CE outside and Not-ECT inside drops the packet (False); ECT(1) outside replaces ECT(0).
    5. The IPv4 checksum is updated by the difference (RFC 1624 3), so that a wrong one stays wrong.
    """
    first, second = np.int64(arena[at]), np.int64(arena[at + 1])
    if v4 and ((first & 15) * 4 < _HEADER4 or (first & 15) * 4 > length):
        return True
    tos = second if v4 else (first & 15) << 4 | second >> 4
    new = tos
    if form & DSCP:
        new = outer & _DSCP | new & _ECN
    if outer & _ECN == _CE and not form & NO_ECN and new & _ECN:
        new |= _CE
    if form & RFC_6040:
        if outer & _ECN == _CE and tos & _ECN == 0:
            return False
        if outer & _ECN == _ECT_1 and tos & _ECN == _ECT_0:
            new = new & _DSCP | _ECT_1
    if new == tos:
        return True
    if v4:
        total = (~be16(arena, at + 10) & 0xFFFF) + (~tos & 0xFFFF) + new
        arena[at + 1] = new
        put16(arena, at + 10, ~fold(total) & 0xFFFF)
    else:
        arena[at], arena[at + 1] = first & 0xF0 | new >> 4, (new & 15) << 4 | second & 15
    return True


@inlined
def _rejoin(arena: U8, source: int, at: int, headers: int, size: int, v4: bool, pointer: int, next_header: int) -> None:
    """Move the IP headers from `source` right to `at`; set length, next header (at `pointer`) and IPv4's checksum.

    `size`: bytes of headers and payload. The copy runs from the end, because source and target overlap.
    """
    for n in range(headers - 1, -1, -1):
        arena[at + n] = arena[source + n]
    arena[at + pointer] = next_header
    if not v4:
        put16(arena, at + 4, size - _HEADER6)
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
    """Make the inner packet of every row without a verdict; `inner_at` and `inner_length` of the others are 0.

    1. An SA of Mode.ANY is in tunnel mode where the next header is IP.
    2. Tunnel: MODE where the payload is not an IP packet; ECN where RFC 6040 drops it.
    3. Transport: the IP headers come before the payload.
    """
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
            headers = np.int64(where[i, IP_END])
            at, size = at - headers, headers + size
            _rejoin(arena, offset[i], at, headers, size, family[i] == 4, np.int64(where[i, POINTER]), following)
        inner_at[i], inner_length[i] = at, size


def decap(batch: InboundBatch, columns: InboundColumns) -> None:
    """RFC 4301 5.2 without the SA's selector, which `admit` judges."""
    decap_rows(
        batch.arena, batch.offset, batch.where, batch.family, batch.tos, batch.sa_index, columns.form,
        batch.plain_at, batch.payload, batch.next_header, batch.inner_at, batch.inner_length, batch.verdict,
    )  # fmt: skip


STAGE = Stage("decap", decap, frozenset({"inner_at", "inner_length"}))
