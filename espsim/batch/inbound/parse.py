"""Parse: the outer headers of a batch, then SPI and sequence number. Equals reference/outer.py for any bytes.

It gives FRAGMENT, HEADER, and NOT_ESP, which is not a verdict.

1. A row that leaves the arena is HEADER; no byte of it is read.
2. IPv4, or IPv6 with extension headers: find the end of the headers and of the packet. A fragment is FRAGMENT.
3. UDP to a port of ESP: ESP follows UDP's header, unless the datagram is a keepalive or IKE. A row without ESP is
   NOT_ESP; layers.py says what it is.
4. Write SPI, sequence number and addresses into their columns.

The bytes that are read:

    IPv4    0 version << 4 | header length in words    1 TOS    2 total length    6 flags and offset    9 protocol
            12 source    16 destination
    IPv6    0 version << 28 | traffic class << 20 | flow label    4 payload length    6 next header    8 source
            24 destination    40 extension headers: next header, length in 8 bytes - 1; of a fragment header the offset
            at 2
    UDP     0 source port    2 destination port    4 length
    ESP     0 SPI    4 sequence number

Offsets in columns count from the start of the packet. A row with a verdict has 0 in every other column (NO_PORT in
`sport` and `dport`), except that HEADER and FRAGMENT keep the flag CUT.

What this does not do: it joins no fragments, checks no checksum of the outer headers, and reads no byte outside a
packet's own row.
Sources: RFC 4303 2 and 3.4.1, RFC 3948 2, RFC 8200 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.inbound import layers
from espsim.batch.inbound.triple import NO_PORT, TCP_PORT
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8, U32, U64, Int
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import (
    CUT,
    DELIVERED,
    ESP_END,
    ESP_START,
    FRAGMENT,
    HEADER,
    IN_TCP,
    IP_END,
    LINK_PART,
    NOT_ESP,
    PART,
    POINTER,
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
    from espsim.batch.inbound.columns import InboundColumns

_0 = np.uint64(0)
_HEADER4, _HEADER6, _UDP_HEADER, _ESP_HEADER = 20, 40, 8, 8
"""Bytes of the headers; of IPv4's the least."""
_NOT_OURS = 0
"""In the place of a protocol: neither ESP nor UDP follows."""
_NEXT_HEADER6, _PROTOCOL4 = 6, 9
"""Offsets of the byte that names what follows an IP header."""
_FRAGMENT4, _OFFSET4 = 0x3FFF, 0x1FFF
"""IPv4: MF and the offset, not 0 in a fragment; the offset, not 0 in a later one."""
_FRAGMENT6, _OFFSET6 = 0xFFF9, 0xFFF8
"""The same of IPv6's fragment header."""


@inlined
def _headers6(arena: U8, at: Int, length: Int) -> tuple[int, int, int, int, bool, bool]:
    """(protocol or _NOT_OURS, end of the IP headers, end of the packet, offset of the byte that names what follows,
    whether a fragment, whether a later fragment) of IPv6."""
    end = _HEADER6 + be16(arena, at + 4)
    here, pointer = _HEADER6, _NEXT_HEADER6
    fragment = later = False
    while True:
        kind = np.int64(arena[at + pointer])
        if kind in (PROTO_ESP, PROTO_UDP):
            break
        if here + 8 > min(end, length) or later:
            kind = _NOT_OURS
            break
        if kind == PROTO_FRAGMENT:
            field = be16(arena, at + here + 2)
            fragment, later = field & _FRAGMENT6 != 0, field & _OFFSET6 != 0
            pointer, here = here, here + 8
        elif kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS):
            pointer, here = here, here + (np.int64(arena[at + here + 1]) + 1) * 8
        else:
            kind = _NOT_OURS
            break
        if here > end:
            kind = _NOT_OURS
            break
    return kind, here, end, pointer, fragment, later


@inlined
def _in_udp(arena: U8, at: Int, length: Int, headers: int, end: int, cut: bool, fragment: bool, ports: U8) -> int:
    """The end of the ESP packet in a UDP datagram (RFC 3948); 0: it holds none.

    1. A whole header, to a port of ESP.
    2. Room for more than an ESP header, and no end past the packet's, unless the rest was not captured or comes later.
    3. Some of the payload was captured, and it does not begin with the non-ESP marker (IKE).
    """
    if end - headers < _UDP_HEADER or ports[be16(arena, at + headers + 2)] == 0:
        return 0
    size = be16(arena, at + headers + 4)
    if size <= _UDP_HEADER + _ESP_HEADER or (headers + size > end and not (cut or fragment)):
        return 0
    start = headers + _UDP_HEADER
    if start >= length or (start + 4 <= length and be32(arena, at + start) == _0):
        return 0
    return min(end, headers + size)


@inlined
def _locate(arena: U8, at: Int, length: Int, ports: U8) -> tuple[np.uint8, int, int, int, int, bool, bool]:
    """(verdict, end of the IP headers, ESP header, end of ESP, next-header byte, in UDP, cut) of one packet.

    1. IPv4 or IPv6: the protocol, the end of the headers and of the packet, whether it is a fragment.
    2. Cut the packet's end to the captured bytes.
    3. In UDP, ESP begins after its header and may end earlier. A later fragment has no UDP header.
    4. FRAGMENT, or HEADER where SPI and sequence number are not whole.
    """
    none = (NOT_ESP, 0, 0, 0, 0, False, False)
    if length < _HEADER4:
        return none
    version = arena[at] >> 4
    later = fragment = False
    if version == 4:
        kind, pointer = np.int64(arena[at + _PROTOCOL4]), _PROTOCOL4
        headers, end = np.int64(arena[at] & 15) * 4, be16(arena, at + 2)
        field = be16(arena, at + 6)
        fragment, later = field & _FRAGMENT4 != 0, field & _OFFSET4 != 0
        if headers < _HEADER4 or end < headers:
            return none
    elif version == 6 and length >= _HEADER6:
        kind, headers, end, pointer, fragment, later = _headers6(arena, at, length)
    else:
        return none
    cut = end > length
    end = min(end, length)
    esp, in_udp = headers, kind == PROTO_UDP
    if in_udp:
        end = 0 if later else _in_udp(arena, at, length, headers, end, cut, fragment, ports)
        esp = headers + _UDP_HEADER
    if (kind != PROTO_ESP and not in_udp) or (in_udp and end == 0):
        return none
    verdict = DELIVERED
    if fragment:
        verdict = FRAGMENT
    elif end - esp < _ESP_HEADER:
        verdict = HEADER
    return verdict, headers, esp, end, pointer, in_udp, cut


@kernel
def parse_rows(
    arena: U8, offset: I64, length: I32, link: U8, ports: U8,
    verdict: U8, flags: U8, family: U8, proto: U8, tos: U8, where: I32, sport: U32, dport: U32,
    spi: U32, seq: U32, daddr: U64, saddr: U64,
) -> None:  # fmt: skip
    """Fill every column after `ports` for the packets at `offset`, `length` bytes long, from the IP header on.

    `link`: LINK_PART where the frame is a fragment that completes no datagram; the row has no bytes and is PART.
    `ports` (65,536) is not 0 at the UDP ports that carry ESP.
    `where` (rows, 4): IP_END, ESP_START, ESP_END, POINTER.
    `daddr`, `saddr` (rows, 2): high and low word; an IPv4 address is in the low one.
    `sport`, `dport`: NO_PORT without UDP; `dport` is TCP_PORT for ESP out of a TCP stream.
    `family` is 4 or 6, `proto` PROTO_ESP.
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
            where[i, IP_END] = where[i, ESP_START] = where[i, ESP_END] = where[i, POINTER] = 0
            sport[i] = dport[i] = NO_PORT
            spi[i] = seq[i] = 0
            daddr[i, 0] = daddr[i, 1] = saddr[i, 0] = saddr[i, 1] = 0
            continue
        where[i, IP_END], where[i, ESP_START], where[i, ESP_END], where[i, POINTER] = headers, esp, end, pointer
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


def parse(batch: InboundBatch, columns: InboundColumns) -> None:
    """RFC 4303 3.4.1 and 2: where ESP is, or what the packet is instead."""
    parse_rows(
        batch.arena, batch.offset, batch.length, batch.link, columns.ports,
        batch.verdict, batch.flags, batch.family, batch.proto, batch.tos, batch.where, batch.sport, batch.dport,
        batch.spi, batch.seq, batch.daddr, batch.saddr,
    )  # fmt: skip
    layers.name(batch.arena, batch.offset, batch.length, batch.link, columns.ports, batch.verdict, batch.kind)


STAGE = Stage(
    "parse",
    parse,
    frozenset({"flags", "kind", "family", "proto", "tos", "where", "sport", "dport", "spi", "seq", "daddr", "saddr"}),
)
