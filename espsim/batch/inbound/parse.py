"""Parse: the outer headers of a batch, equal to `reference/outer.py` for any bytes; then SPI and sequence number.

It gives NOT_ESP (no verdict), FRAGMENT and HEADER.

1. A row that leaves the arena is HEADER, and no byte of it is read.
2. IPv4 or IPv6: the end of the headers and of the packet; a fragment is FRAGMENT.
3. UDP to a port of ESP: ESP lies after it, but for keepalives and IKE. What holds no ESP is NOT_ESP.
4. SPI, sequence number and addresses into their columns.

Offsets that are written count from the start of the packet, as in `Outer`. Rows with a verdict hold 0 in every column
but the verdict (and for HEADER the flags).

Does not read a byte outside a packet's own row, put fragments together, or check the checksums of the outer headers.
Sources: RFC 4303 2 and 3.4.1, RFC 3948 2, RFC 8200 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound import layers
from espsim.batch.inbound.triple import NO_PORT, TCP_PORT
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8, U32, U64, Int
from espsim.core.batch import PacketBatch
from espsim.core.numbers import (
    CUT,
    DELIVERED,
    FRAGMENT,
    HEADER,
    IN_TCP,
    LINK_PART,
    NOT_ESP,
    PART,
    PROTO_DSTOPTS,
    PROTO_ESP,
    PROTO_FRAGMENT,
    PROTO_HOP_BY_HOP,
    PROTO_ROUTING,
    PROTO_UDP,
)
from espsim.jit.bytes import be16, be32, be64
from espsim.jit.compiling import inlined, kernel

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns

_8, _16, _24, _32 = (np.uint64(n) for n in (8, 16, 24, 32))


@inlined
def _headers6(arena: U8, at: Int, length: Int) -> tuple[int, int, int, int, bool, bool]:
    """(protocol, 0 for none of ours; end of the IP headers, end of the packet, offset of the byte that names what
    follows, fragment, not the first fragment) of IPv6."""
    end = 40 + be16(arena, at + 4)
    here, pointer = 40, 6
    fragment = later = False
    while True:
        kind = np.int64(arena[at + pointer])
        if kind in (PROTO_ESP, PROTO_UDP):
            break
        if here + 8 > min(end, length) or later:
            kind = 0
            break
        if kind == PROTO_FRAGMENT:
            field = be16(arena, at + here + 2)
            fragment, later = field & 0xFFF9 != 0, field & 0xFFF8 != 0
            pointer, here = here, here + 8
        elif kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS):
            pointer, here = here, here + (np.int64(arena[at + here + 1]) + 1) * 8
        else:
            kind = 0
            break
        if here > end:
            kind = 0
            break
    return kind, here, end, pointer, fragment, later


@inlined
def _in_udp(arena: U8, at: Int, length: Int, headers: int, end: int, cut: bool, fragment: bool, ports: U8) -> int:
    """The end of the ESP packet that a UDP datagram holds, 0 where it holds none: RFC 3948."""
    if end - headers < 8 or ports[be16(arena, at + headers + 2)] == 0:
        return 0
    size = be16(arena, at + headers + 4)
    if size <= 16 or (headers + size > end and not (cut or fragment)):
        return 0
    start = headers + 8
    if start >= length or (start + 4 <= length and be32(arena, at + start) == np.uint64(0)):
        return 0  # nothing captured of it, or the non-ESP marker
    return min(end, headers + size)


@inlined
def _locate(arena: U8, at: Int, length: Int, ports: U8) -> tuple[np.uint8, int, int, int, int, bool, bool]:
    """(verdict, end of the IP headers, ESP header, end, next-header byte, in UDP, cut) of one packet."""
    none = (NOT_ESP, 0, 0, 0, 0, False, False)
    if length < 20:
        return none
    version = arena[at] >> 4
    later = fragment = False
    if version == 4:
        kind, headers, end, pointer = np.int64(arena[at + 9]), np.int64(arena[at] & 15) * 4, be16(arena, at + 2), 9
        field = be16(arena, at + 6)
        fragment, later = field & 0x3FFF != 0, field & 0x1FFF != 0
        if headers < 20 or end < headers:
            return none
    elif version == 6 and length >= 40:
        kind, headers, end, pointer, fragment, later = _headers6(arena, at, length)
    else:
        return none
    cut = end > length
    end = min(end, length)
    esp, in_udp = headers, kind == PROTO_UDP
    if in_udp:
        end = 0 if later else _in_udp(arena, at, length, headers, end, cut, fragment, ports)
        esp = headers + 8
    if (kind != PROTO_ESP and not in_udp) or (in_udp and end == 0):
        return none
    verdict = DELIVERED
    if fragment:
        verdict = FRAGMENT
    elif end - esp < 8:
        verdict = HEADER
    return verdict, headers, esp, end, pointer, in_udp, cut


@kernel
def parse_rows(
    arena: U8, offset: I64, length: I32, link: U8, ports: U8,
    verdict: U8, flags: U8, family: U8, proto: U8, tos: U8, where: I32, sport: U32, dport: U32,
    spi: U32, seq: U32, daddr: U64, saddr: U64,
) -> None:  # fmt: skip
    """Fill every column after `ports` for the packets at `offset`, `length` bytes long, from the IP header on.

    `link`: core.layers.PART where a row has no packet because its frame is a part of a datagram; its verdict is PART.
    `ports` (65,536) is not 0 at the UDP ports that carry ESP. `where` (rows, 4): end of the IP headers, ESP header,
    end, and the byte that names what follows the IP headers. `daddr` and `saddr` are (rows, 2), high and low; an IPv4
    address is in the low one. `sport` and `dport` are NO_PORT without UDP, and `dport` TCP_PORT of what came in TCP.
    `family` is 4 or 6, `proto` 50.
    """
    for i in range(len(offset)):
        at, size = offset[i], np.int64(length[i])
        found, headers, esp, end, pointer, in_udp, cut = HEADER, 0, 0, 0, 0, False, False
        if at >= 0 and size >= 0 and at <= len(arena) - size:
            found, headers, esp, end, pointer, in_udp, cut = _locate(arena, at, size, ports)
        if size == 0 and link[i] == LINK_PART:
            found = PART
        verdict[i] = found
        flags[i] = CUT if cut and found != NOT_ESP else 0
        if found != DELIVERED:
            family[i] = proto[i] = tos[i] = 0
            where[i, 0] = where[i, 1] = where[i, 2] = where[i, 3] = 0
            sport[i] = dport[i] = NO_PORT
            spi[i] = seq[i] = 0
            daddr[i, 0] = daddr[i, 1] = saddr[i, 0] = saddr[i, 1] = 0
            continue
        where[i, 0], where[i, 1], where[i, 2], where[i, 3] = headers, esp, end, pointer
        proto[i] = PROTO_ESP
        if arena[at] >> 4 == 4:
            family[i], tos[i] = 4, arena[at + 1]
            saddr[i, 0] = daddr[i, 0] = 0
            saddr[i, 1], daddr[i, 1] = be32(arena, at + 12), be32(arena, at + 16)
        else:
            family[i], tos[i] = 6, (arena[at] & 15) << 4 | arena[at + 1] >> 4
            saddr[i, 0], saddr[i, 1] = be64(arena, at + 8), be64(arena, at + 16)
            daddr[i, 0], daddr[i, 1] = be64(arena, at + 24), be64(arena, at + 32)
        sport[i] = dport[i] = NO_PORT
        if in_udp:
            sport[i], dport[i] = be16(arena, at + headers), be16(arena, at + headers + 2)
        elif link[i] & IN_TCP:
            dport[i] = TCP_PORT
        spi[i], seq[i] = be32(arena, at + esp), be32(arena, at + esp + 4)


def parse(batch: PacketBatch, columns: SadColumns) -> None:
    """RFC 4303 3.4.1 and 2: where ESP is, or what is there instead."""
    parse_rows(
        batch.arena, batch.offset, batch.length, batch.link, columns.ports,
        batch.verdict, batch.flags, batch.family, batch.proto, batch.tos, batch.where, batch.sport, batch.dport,
        batch.spi, batch.seq, batch.daddr, batch.saddr,
    )  # fmt: skip
    layers.name(
        batch.arena, batch.offset, batch.length, batch.link, columns.ports, batch.verdict, batch.kind
    )  # fmt: skip


STAGE = Stage(
    "parse",
    parse,
    frozenset({"flags", "kind", "family", "proto", "tos", "where", "sport", "dport", "spi", "seq", "daddr", "saddr"}),
)
