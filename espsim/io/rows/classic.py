"""Captures: frames that lie in an arena become rows. The way back is records.py.

    classic   records of a classic pcap           io/pcap.py, and io/linktype.py for where the IP packet starts
    hop       where records begin, and no more    to give a capture out in ranges (io/ranges.py)

A record, in the byte order that the file's magic says (offsets on the right):

    | seconds u32 | fraction u32 | captured length u32 | length on the wire u32 |   0
    | the captured bytes ...                                                    |  16

`classic` and `blocks.blocks` walk the bytes of a file from `at` to `end` and fill rows from `row` on. They return
(row, at, why): the next row, the first byte that was not used, and why they stopped. What they can't read they leave to
the plain code, which also words the errors. Whatever the bytes are, a row lies between `at` and `end`.

What this does not do: open tunnels (GRE, VXLAN), put fragments or TCP streams together (a row is marked MAY_JOIN), or
check lengths and checksums of IP.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_MPLS,
    ETHERTYPE_MPLS_MULTICAST,
    ETHERTYPE_PPPOE,
    ETHERTYPE_QINQ,
    ETHERTYPE_QINQ_OLD,
    ETHERTYPE_VLAN,
    KIND_ARP,
    KIND_OTHER,
    LINKTYPE_ETHERNET,
    LINKTYPE_IPV4,
    LINKTYPE_IPV6,
    LINKTYPE_LOOP,
    LINKTYPE_NFLOG,
    LINKTYPE_NULL,
    LINKTYPE_PPP,
    LINKTYPE_PPP_HDLC,
    LINKTYPE_PPPOE,
    LINKTYPE_RAW,
    LINKTYPE_RAW_BSD,
    LINKTYPE_RAW_OPENBSD,
    LINKTYPE_SLL,
    LINKTYPE_SLL2,
    MAX_RECORD,
    MAY_JOIN,
    MOST_ON_WIRE,
    NFPROTO_ARP,
    NFULA_PACKET_HDR,
    NFULA_PAYLOAD,
    OUTGOING,
    PACKET_OUTGOING,
    PPP_IPV4,
    PPP_IPV6,
    PPP_MPLS,
    PPP_MPLS_MULTICAST,
    PROTO_DSTOPTS,
    PROTO_ESP,
    PROTO_FRAGMENT,
    PROTO_HOP_BY_HOP,
    PROTO_ROUTING,
    PROTO_TCP,
    PROTO_UDP,
)
from espsim.jit.bytes import be32, le32
from espsim.jit.compiling import helper, inlined, kernel

FULL, MORE, ODD = 0, 1, 2
"""Why a walk stopped. FULL: no row is left. MORE: what starts at `at` goes on after `end`. ODD: the plain code has to
read it; if it is a record at all it ends before `end`."""

PREFIX = (0x49, 0x4B, 0x45, 0x54, 0x43, 0x50)
"""IKETCP, as wire/tcp.py has it."""

_JOINS = np.uint8(MAY_JOIN)

LONGEST = 65_600
"""Bytes of a row. No IP packet is longer than 65,575; the rest of a longer frame means nothing."""

SECOND = 1_000_000_000

# Offsets in a record.
SECONDS, FRACTION, CAPTURED, ON_WIRE, RECORD = 0, 4, 8, 12, 16

# Offsets in the headers of IPv4, IPv6, IPv6's fragment header and TCP (wire/ has their layouts).
_FLAGS4, _PROTOCOL4, _HEADER4 = 6, 9, 20
_NEXT_HEADER6, _HEADER6, _EXTENSION6 = 6, 40, 8
_OFFSET_AND_MORE = 2
_DPORT, _DATA_OFFSET, _HEADER_TCP = 2, 12, 20

_NONE, _EITHER, _ARP = 0, -1, -2
"""In place of an IP version: what follows is not known here; IPv4 or IPv6; ARP."""

NOT_IP, IS_ARP = -1, -2
"""In place of a start, as io/linktype.py has it."""


@inlined
def number(arena: U8, at: Int, big: bool) -> int:
    """A u32 of the file."""
    return np.int64(be32(arena, at)) if big else le32(arena, at)


# -- where the IP packet starts ---------------------------------------------------------------------------------------
# `at` is where the frame begins in the arena, `size` its bytes, `start` an offset in it. (version, start): what follows
# the header that was read, and where.


@inlined
def _version_of_family(family: Int) -> int:
    """AF_INET is 2 everywhere; AF_INET6 is Linux's, NetBSD's and OpenBSD's, FreeBSD's, Darwin's. 0: neither."""
    if family == 2:
        return 4
    return 6 if family in (10, 24, 28, 30) else 0


@helper
def _after_mpls(arena: U8, at: Int, size: Int, start: Int) -> tuple[int, int]:
    """(version, start) after a stack of labels: `label 20 bits, class 3, bottom of stack 1, TTL 8` each."""
    while start + 4 <= size:
        start += 4
        if arena[at + start - 2] & 1:
            return _EITHER, start
    return _NONE, start


@helper
def _after_ppp(arena: U8, at: Int, size: Int, start: Int) -> tuple[int, int]:
    """(version, start) after PPP: `[0xff 0x03,] protocol 2, or 1 where its first byte is odd`."""
    if start + 2 <= size and arena[at + start] == 0xFF and arena[at + start + 1] == 0x03:
        start += 2
    if size < start + 2:
        return _NONE, start
    protocol = np.int64(arena[at + start])
    start += 1
    if protocol & 1 == 0:
        protocol = protocol << 8 | np.int64(arena[at + start])
        start += 1
    if protocol == PPP_IPV4:
        return 4, start
    if protocol == PPP_IPV6:
        return 6, start
    if protocol in (PPP_MPLS, PPP_MPLS_MULTICAST):
        return _after_mpls(arena, at, size, start)
    return _NONE, start


@helper
def _after_pppoe(arena: U8, at: Int, size: Int, start: Int) -> tuple[int, int]:
    """(version, start) after PPPoE and PPP: `version and type 0x11, code 0, session 2, length 2, PPP`."""
    if size < start + 6 or arena[at + start] != 0x11 or arena[at + start + 1] != 0:
        return _NONE, start
    return _after_ppp(arena, at, size, start + 6)


@helper
def _after_nflog(arena: U8, at: Int, size: Int) -> tuple[int, int]:
    """(version, start) of the packet among NFLOG's fields.

    `family 1, version 1, resource id 2`, then fields: `length 2, type 2, value`, padded to 4, in the byte order of the
    machine that captured.

    1. The byte order: types are small, so the high byte of the first one's is 0.
    2. Field by field, until the packet: NFULA_PACKET_HDR may say that it is ARP.
    """
    if size < 8:
        return _NONE, 0
    low = 0 if arena[at + 7] == 0 else 1  # where the low byte of a length lies
    arp, start = arena[at] == NFPROTO_ARP, 4
    while start + 4 <= size:
        here = at + start
        length = np.int64(arena[here + low]) | np.int64(arena[here + 1 - low]) << 8
        kind = np.int64(arena[here + 2 + low]) | np.int64(arena[here + 3 - low]) << 8
        if length < 4:
            break
        if kind == NFULA_PAYLOAD:
            version = _version_of_family(np.int64(arena[at]))
            return _ARP if arp else version if version != _NONE else _EITHER, start + 4
        if kind == NFULA_PACKET_HDR and start + 6 <= size:
            arp = arp or (np.int64(arena[here + 4]) << 8 | np.int64(arena[here + 5])) == ETHERTYPE_ARP
        start += length + 3 & ~3
    return _NONE, 0


@helper
def _after_other_type(arena: U8, at: Int, size: Int, kind: Int, start: Int) -> tuple[int, int]:
    """(version, start) after a type that is neither IP nor a VLAN tag."""
    if kind in (ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST):
        return _after_mpls(arena, at, size, start)
    if kind == ETHERTYPE_PPPOE:
        return _after_pppoe(arena, at, size, start)
    return _ARP if kind == ETHERTYPE_ARP else _NONE, start


@inlined
def _after_ethertype(arena: U8, at: Int, size: Int, field: Int, start: Int) -> tuple[int, int]:
    """(version, start) after the type at `field` and VLAN tags: `tag 2, type 2` each."""
    kind = np.int64(arena[at + field]) << 8 | np.int64(arena[at + field + 1])
    while kind in (ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD):
        if size < start + 4:
            return _NONE, start
        kind = np.int64(arena[at + start + 2]) << 8 | np.int64(arena[at + start + 3])
        start += 4
    version = _NONE
    if kind == ETHERTYPE_IPV4:
        version = 4
    elif kind == ETHERTYPE_IPV6:
        version = 6
    else:
        version, start = _after_other_type(arena, at, size, kind, start)
    return version, start


@inlined
def _version_after_family(arena: U8, at: Int, either: bool) -> int:
    """The version that an address family in network order names, or (`either`) in little-endian order first."""
    version = 0
    if either:
        version = _version_of_family(number(arena, at, False))
    if version == 0:
        version = _version_of_family(number(arena, at, True))
    return version


@helper
def _after_others(arena: U8, at: Int, size: Int, linktype: Int) -> tuple[int, int]:
    """(version, start) of PPP, PPPoE and NFLOG. Cisco's HDLC begins with 0x0f or 0x8f and has its type at 2."""
    if linktype == LINKTYPE_PPPOE:
        return _after_pppoe(arena, at, size, 0)
    if linktype == LINKTYPE_NFLOG:
        return _after_nflog(arena, at, size)
    if linktype == LINKTYPE_PPP_HDLC and size > 0 and arena[at] in (0x0F, 0x8F):
        return _after_ethertype(arena, at, size, 2, 4) if size > 4 else (_NONE, 0)
    return _after_ppp(arena, at, size, 0) if linktype in (LINKTYPE_PPP, LINKTYPE_PPP_HDLC) else (_NONE, 0)


@inlined
def _type_field(linktype: Int) -> tuple[int, int]:
    """Where Ethernet, SLL and SLL2 have their type, and what follows their header."""
    if linktype == LINKTYPE_ETHERNET:
        return 12, 14
    return (14, 16) if linktype == LINKTYPE_SLL else (0, 20)


@inlined
def ip_start(arena: U8, at: Int, size: Int, linktype: Int) -> int:
    """Bytes before the IP packet in a frame of `size` bytes at `at`; NOT_IP or IS_ARP. The rules of io/linktype.py.

    1. By link type: the version that the frame's headers promise, and where the packet would start.
    2. The packet's own version has to be that one.
    """
    start, version = 0, _NONE
    if linktype in (LINKTYPE_ETHERNET, LINKTYPE_SLL, LINKTYPE_SLL2):
        field, start = _type_field(linktype)
        if size > start:
            version, start = _after_ethertype(arena, at, size, field, start)
    elif linktype in (LINKTYPE_RAW_BSD, LINKTYPE_RAW_OPENBSD, LINKTYPE_RAW):
        version = _EITHER
    elif linktype in (LINKTYPE_IPV4, LINKTYPE_IPV6):
        version = 4 if linktype == LINKTYPE_IPV4 else 6
    elif linktype in (LINKTYPE_NULL, LINKTYPE_LOOP):
        start = 4
        if size > 4:
            version = _version_after_family(arena, at, linktype == LINKTYPE_NULL)
    else:
        version, start = _after_others(arena, at, size, linktype)
    if version == _ARP:
        return IS_ARP
    if version == _NONE or size <= start:
        return NOT_IP
    nibble = np.int64(arena[at + start] >> 4)
    if nibble == version or (version == _EITHER and nibble in (4, 6)):
        return start
    return NOT_IP


# -- what the joiner may want -----------------------------------------------------------------------------------------


@helper
def _fragment6(arena: U8, at: Int, size: Int) -> bool:
    """Whether IPv6's headers have a fragment header, and other fragments belong to it."""
    kind, here = np.int64(arena[at + _NEXT_HEADER6]), _HEADER6
    while here + _EXTENSION6 <= size:
        if kind == PROTO_FRAGMENT:
            field = at + here + _OFFSET_AND_MORE
            return bool(arena[field] != 0 or arena[field + 1] & 0xF9 != 0)
        if kind not in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS):
            break
        kind = np.int64(arena[at + here])
        here += (np.int64(arena[at + here + 1]) + 1) * 8
    return False


@helper
def _in_stream(arena: U8, at: Int, here: Int, size: Int, ports: U8) -> bool:
    """Whether a segment, with TCP's header at `here`, has one of `ports`, or begins with IKETCP: it adds its port."""
    if here + _HEADER_TCP > size:
        return False
    here += at
    dport = np.int64(arena[here + _DPORT]) << 8 | np.int64(arena[here + _DPORT + 1])
    if ports[np.int64(arena[here]) << 8 | np.int64(arena[here + 1])] != 0 or ports[dport] != 0:
        return True
    data = here + np.int64(arena[here + _DATA_OFFSET] >> 4) * 4
    if data + len(PREFIX) > at + size:
        return False
    for n in range(len(PREFIX)):
        if arena[data + n] != PREFIX[n]:
            return False
    ports[dport] = 1
    return True


@inlined
def _may_join(arena: U8, at: Int, size: Int, ports: U8) -> bool:
    """Whether io/fragments.py may take an IP packet. False is certain; True need not be.

    1. IPv4: a fragment (more to come, or an offset) of ESP or UDP; or a segment of a stream.
    2. IPv6: a segment of a stream without extension headers; or a fragment after those that come before ESP.
    """
    if arena[at] >> 4 == 4:
        if size < _HEADER4:
            return False
        head = arena[at : at + _HEADER4]
        if head[_FLAGS4] & 0x3F | head[_FLAGS4 + 1] != 0:
            return head[_PROTOCOL4] in (PROTO_ESP, PROTO_UDP)
        return head[_PROTOCOL4] == PROTO_TCP and _in_stream(arena, at, np.int64(head[0] & 15) * 4, size, ports)
    if size < _HEADER6 + _EXTENSION6:
        return False
    kind = arena[at + _NEXT_HEADER6]
    if kind == PROTO_TCP:
        return _in_stream(arena, at, _HEADER6, size, ports)
    known = kind in (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_DSTOPTS)
    return known and _fragment6(arena, at, size)


@inlined
def _outgoing(arena: U8, at: Int, linktype: Int) -> bool:
    """Whether a frame whose IP packet was found says that this host sent it: PACKET_OUTGOING of cooked headers."""
    if linktype == LINKTYPE_SLL:
        return bool(arena[at] == 0 and arena[at + 1] == PACKET_OUTGOING)
    return bool(linktype == LINKTYPE_SLL2 and arena[at + 10] == PACKET_OUTGOING)


# -- rows of a classic pcap -------------------------------------------------------------------------------------------


@inlined
def put_row(
    arena: U8, at: Int, size: Int, wire: Int, linktype: Int, joins: U8,
    offset: I64, length: I32, link: U8, captured: I32, on_wire: I32, row: Int,
) -> None:  # fmt: skip
    """The columns of a frame of `size` bytes at `at`, of which `wire` were on the wire.

    1. Where its IP packet lies. A frame that is not IP has length 0, and its kind in `link`.
    2. `link` of an IP packet: OUTGOING where the frame says that this host sent it.
    3. MAY_JOIN where the joiner may take the packet. `joins` (65,536 bytes) is not 0 at the TCP ports that the joiner
       looks at, and empty where there is no joiner.
    """
    captured[row], on_wire[row] = size, min(wire, MOST_ON_WIRE)
    start = ip_start(arena, at, size, linktype)
    link[row] = KIND_ARP if start == IS_ARP else KIND_OTHER
    if start < 0:
        offset[row], length[row] = at, 0
        return
    offset[row], length[row] = at + start, min(size - start, LONGEST)
    if _outgoing(arena, at, linktype):
        link[row] = OUTGOING
    if len(joins) > 0 and _may_join(arena, at + start, size - start, joins):
        link[row] |= _JOINS


@kernel
def classic(
    arena: U8, at: Int, end: Int, big: bool, unit: Int, linktype: Int, joins: U8,
    offset: I64, length: I32, time_ns: I64, link: U8, captured: I32, wire: I32, row: Int,
) -> tuple[int, int, int]:  # fmt: skip
    """Frames of a classic pcap whose fields are big-endian where `big`, fractions `unit` nanoseconds.

    1. A whole header, a possible size and all captured bytes have to be there; else the walk stops before the record.
    2. The time, in nanoseconds.
    3. The row's other columns (`put_row`, which says what `joins` is).
    """
    rows, at, row = len(offset), np.int64(at), np.int64(row)
    while row < rows:
        if at + RECORD > end:
            return row, at, MORE
        size = number(arena, at + CAPTURED, big)
        if size > MAX_RECORD:
            return row, at, ODD
        if at + RECORD + size > end:
            return row, at, MORE
        time_ns[row] = number(arena, at + SECONDS, big) * SECOND + number(arena, at + FRACTION, big) * unit
        on_wire = number(arena, at + ON_WIRE, big)
        put_row(arena, at + RECORD, size, on_wire, linktype, joins, offset, length, link, captured, wire, row)
        at += RECORD + size
        row += 1
    return row, at, FULL


@kernel
def hop(arena: U8, at: Int, end: Int, limit: Int, big: bool) -> tuple[int, int, int]:
    """(records, at, why): over the records of a classic pcap that begin before `limit`; FULL where all were whole."""
    rows, at = 0, np.int64(at)
    while at < limit:
        if at + RECORD > end:
            return rows, at, MORE
        size = number(arena, at + CAPTURED, big)
        if size > MAX_RECORD:
            return rows, at, ODD
        if at + RECORD + size > end:
            return rows, at, MORE
        at += RECORD + size
        rows += 1
    return rows, at, FULL


# -- records of rows --------------------------------------------------------------------------------------------------
