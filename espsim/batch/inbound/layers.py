"""What a row without ESP is: reference/layers.py over columns, step for step.

The bytes that are read:

    IPv4    0 version << 4 | header length in words    6 flags and offset    9 protocol
    IPv6    0 version << 4    6 next header    40 extension headers: next header, length in 8 bytes - 1; of a fragment
            header the offset at 2
    UDP     0 source port    2 destination port    4 length    8 payload

What this does not do: it opens no tunnel, checks no checksum, and reads no byte outside a packet's own row.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    KIND_AH,
    KIND_GENEVE,
    KIND_GRE,
    KIND_GTP_U,
    KIND_IKE,
    KIND_IP,
    KIND_KEEPALIVE,
    KIND_OTHER,
    KIND_TCP,
    KIND_UDP,
    KIND_VXLAN,
    NOT_ESP,
    PORT_GENEVE,
    PORT_GTP_U,
    PORT_IKE,
    PORT_VXLAN,
    PORT_VXLAN_LINUX,
    PROTO_AH,
    PROTO_DSTOPTS,
    PROTO_FRAGMENT,
    PROTO_GRE,
    PROTO_HOP_BY_HOP,
    PROTO_ROUTING,
    PROTO_TCP,
    PROTO_UDP,
)
from espsim.jit.bytes import be16, be32
from espsim.jit.compiling import helper, kernel

_0 = np.uint64(0)
_HEADER4, _HEADER6, _UDP_HEADER = 20, 40, 8
"""Bytes of the headers; of IPv4's the least."""
_KEEPALIVE, _MARKER = _UDP_HEADER + 1, _UDP_HEADER + 4
"""Bytes of a datagram that is a keepalive (0xff), and the least of one with a non-ESP marker (four zero bytes)."""


@helper
def _in_udp(arena: U8, at: Int, size: Int, ports: U8) -> int:
    """The kind of a datagram, of which `size` bytes (8 or more) were captured, by its ports."""
    sport, dport, length = be16(arena, at), be16(arena, at + 2), be16(arena, at + 4)
    if ports[sport] != 0 or ports[dport] != 0:
        if length == _KEEPALIVE and size >= _KEEPALIVE and arena[at + 8] == 0xFF:
            return KIND_KEEPALIVE
        if length >= _MARKER and size >= _MARKER and be32(arena, at + 8) == _0:
            return KIND_IKE
    if PORT_IKE in (sport, dport):
        return KIND_IKE
    if dport in (PORT_VXLAN, PORT_VXLAN_LINUX):
        return KIND_VXLAN
    if dport == PORT_GENEVE:
        return KIND_GENEVE
    return KIND_GTP_U if dport == PORT_GTP_U else KIND_UDP


@helper
def _protocol6(arena: U8, at: Int, size: Int) -> tuple[int, int, bool]:
    """(protocol, -1 where the headers are not whole; where it begins; whether a later fragment) of IPv6."""
    kind, here, later = np.int64(arena[at + 6]), _HEADER6, False
    while kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DSTOPTS):
        if later or here + 8 > size:
            return -1, here, later
        following = np.int64(arena[at + here])
        if kind == PROTO_FRAGMENT:
            later = be16(arena, at + here + 2) & 0xFFF8 != 0
            here += 8
        else:
            here += (np.int64(arena[at + here + 1]) + 1) * 8
        kind = following
    return kind, here, later


@helper
def _layer(arena: U8, at: Int, size: Int, ports: U8) -> int:
    """The kind of one packet of `size` bytes."""
    version = arena[at] >> 4 if size > 0 else 0
    if version not in (4, 6):
        return KIND_OTHER
    if version == 4:
        here = np.int64(arena[at] & 15) * 4
        if size < _HEADER4 or here < _HEADER4:
            return KIND_IP
        kind, later = np.int64(arena[at + 9]), be16(arena, at + 6) & 0x1FFF != 0
    else:
        if size < _HEADER6:
            return KIND_IP
        kind, here, later = _protocol6(arena, at, size)
    if kind == PROTO_UDP:
        return KIND_UDP if later or here + _UDP_HEADER > size else _in_udp(arena, at + here, size - here, ports)
    if kind == PROTO_TCP:
        return KIND_TCP
    if kind == PROTO_GRE:
        return KIND_GRE
    return KIND_AH if kind == PROTO_AH else KIND_IP


@kernel
def name(arena: U8, offset: I64, length: I32, link: U8, ports: U8, verdict: U8, kind: U8) -> None:
    """Fill `kind` of the rows whose verdict is NOT_ESP; 0 for the others.

    A row without bytes is a frame that is not IP: `link` says KIND_OTHER or KIND_ARP. `ports` as in parse.py.
    """
    for i in range(len(offset)):
        kind[i] = KIND_OTHER
        if verdict[i] == NOT_ESP:
            kind[i] = link[i] if length[i] <= 0 else _layer(arena, offset[i], np.int64(length[i]), ports)
