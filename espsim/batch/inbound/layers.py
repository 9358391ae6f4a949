"""What the rows are that are not ESP: `reference/layers.py` over columns.

Of a packet's bytes nothing outside its own row is read.
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
    PROTO_FRAGMENT,
)
from espsim.jit.bytes import be16, be32
from espsim.jit.compiling import helper, kernel

_0 = np.uint64(0)


@helper
def _in_udp(arena: U8, at: Int, size: Int, ports: U8) -> int:
    """By ports, of a datagram of which `size` bytes (8 or more) were captured."""
    sport, dport, length = be16(arena, at), be16(arena, at + 2), be16(arena, at + 4)
    if ports[sport] != 0 or ports[dport] != 0:
        if length == 9 and size >= 9 and arena[at + 8] == 0xFF:
            return KIND_KEEPALIVE
        if length >= 12 and size >= 12 and be32(arena, at + 8) == _0:
            return KIND_IKE
    if sport == 500 or dport == 500:
        return KIND_IKE
    if dport in (4789, 8472):
        return KIND_VXLAN
    if dport == 6081:
        return KIND_GENEVE
    return KIND_GTP_U if dport == 2152 else KIND_UDP


@helper
def _protocol6(arena: U8, at: Int, size: Int) -> tuple[int, int, bool]:
    """(protocol, -1 where the headers are not whole; where it begins; not the first fragment) of IPv6."""
    kind, here, later = np.int64(arena[at + 6]), 40, False
    while kind in (0, 43, 44, 60):
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
        if size < 20 or here < 20:
            return KIND_IP
        kind, later = np.int64(arena[at + 9]), be16(arena, at + 6) & 0x1FFF != 0
    else:
        if size < 40:
            return KIND_IP
        kind, here, later = _protocol6(arena, at, size)
    if kind == 17:
        return KIND_UDP if later or here + 8 > size else _in_udp(arena, at + here, size - here, ports)
    if kind == 6:
        return KIND_TCP
    if kind == 47:
        return KIND_GRE
    return KIND_AH if kind == 51 else KIND_IP


@kernel
def name(arena: U8, offset: I64, length: I32, link: U8, ports: U8, verdict: U8, kind: U8) -> None:
    """Fill `kind` of the rows whose verdict is NOT_ESP; 0 for the others.

    `link` is what the link layer says of a frame that is not IP (KIND_OTHER or KIND_ARP). `ports` as parse.py
    has them.
    """
    for i in range(len(offset)):
        kind[i] = KIND_OTHER
        if verdict[i] == NOT_ESP:
            kind[i] = link[i] if length[i] <= 0 else _layer(arena, offset[i], np.int64(length[i]), ports)
