"""Captures: frames that lie in an arena become rows, rows become the records of a pcap.

    classic   records of a classic pcap           io/pcap.py, and io/linktype.py for where the IP packet starts
    hop       where records begin, and no more    for who hands a capture out in ranges (io/ranges.py)
    gather    records of kept rows, to write      io/pcap.py, frame_header
    room      the bytes that `gather` makes of rows

`classic` and `capture_ng.enhanced` walk the bytes of a file from `at` to `end` and fill rows from `row` on. They return
(row, at, why): the next row, the first byte that was not used, and why they stopped. What they can't do they leave to
the plain code, which also knows what to say of damage. Whatever the bytes are, a row lies between `at` and `end`.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import KIND_ARP, KIND_OTHER, OUTGOING
from espsim.jit.bytes import be32, copy, le32, put32_le
from espsim.jit.compiling import helper, inlined, kernel

FULL, MORE, ODD = 0, 1, 2
"""Why a walk stopped: no row left; what starts at `at` goes on behind `end`; for the plain code, and if it is a record
at all it ends before `end`."""

PREFIX = (0x49, 0x4B, 0x45, 0x54, 0x43, 0x50)
"""IKETCP, as wire/tcp.py has it."""

MAY_JOIN = np.uint8(0x20)
"""core.layers.MAY_JOIN."""

LONGEST = 65_600
"""Bytes of a row. No IP packet is longer than 65,575; of a longer frame what lies behind means nothing."""

MOST_ON_WIRE = (1 << 31) - 1
"""Bytes on the wire that a column takes; of more it says this."""

MAX_RECORD = 16 << 20
"""Bytes of a record, as io/source.py has it."""

_SECOND = 1_000_000_000
_LAST_SECOND = 0xFFFFFFFF
_V4, _V6 = 0x0800, 0x86DD
_NONE, _EITHER, _ARP = 0, -1, -2
"""In place of a version: nothing is known here; 4 or 6; ARP."""

NOT_IP, IS_ARP = -1, -2
"""In place of a start, as io/linktype.py has it."""


@inlined
def number(arena: U8, at: Int, big: bool) -> int:
    """A u32 of the file."""
    return np.int64(be32(arena, at)) if big else le32(arena, at)


@inlined
def _version_of_family(family: Int) -> int:
    """AF_INET is 2 everywhere; AF_INET6 is Linux's, NetBSD's and OpenBSD's, FreeBSD's, Darwin's. 0: neither."""
    if family == 2:
        return 4
    return 6 if family in (10, 24, 28, 30) else 0


@helper
def _behind_mpls(arena: U8, at: Int, size: Int, start: Int) -> tuple[int, int]:
    """(version, start) behind a stack of labels."""
    while start + 4 <= size:
        start += 4
        if arena[at + start - 2] & 1:
            return _EITHER, start
    return _NONE, start


@helper
def _behind_ppp(arena: U8, at: Int, size: Int, start: Int) -> tuple[int, int]:
    """(version, start) behind PPP's address, control and protocol."""
    if start + 2 <= size and arena[at + start] == 0xFF and arena[at + start + 1] == 0x03:
        start += 2
    if size < start + 2:
        return _NONE, start
    protocol = np.int64(arena[at + start])
    start += 1
    if protocol & 1 == 0:
        protocol = protocol << 8 | np.int64(arena[at + start])
        start += 1
    if protocol == 0x21:
        return 4, start
    if protocol == 0x57:
        return 6, start
    if protocol in (0x281, 0x283):
        return _behind_mpls(arena, at, size, start)
    return _NONE, start


@helper
def _behind_pppoe(arena: U8, at: Int, size: Int, start: Int) -> tuple[int, int]:
    """(version, start) behind PPPoE's header and PPP's."""
    if size < start + 6 or arena[at + start] != 0x11 or arena[at + start + 1] != 0:
        return _NONE, start
    return _behind_ppp(arena, at, size, start + 6)


@helper
def _behind_nflog(arena: U8, at: Int, size: Int) -> tuple[int, int]:
    """(version, start) of the packet among NFLOG's fields."""
    if size < 8:
        return _NONE, 0
    low = 0 if arena[at + 7] == 0 else 1  # where the low byte of a length lies
    arp, start = arena[at] == 3, 4
    while start + 4 <= size:
        here = at + start
        length = np.int64(arena[here + low]) | np.int64(arena[here + 1 - low]) << 8
        kind = np.int64(arena[here + 2 + low]) | np.int64(arena[here + 3 - low]) << 8
        if length < 4:
            break
        if kind == 9:
            version = _version_of_family(np.int64(arena[at]))
            return _ARP if arp else version if version != _NONE else _EITHER, start + 4
        if kind == 1 and start + 6 <= size and arena[here + 4] == 0x08 and arena[here + 5] == 0x06:
            arp = True
        start += length + 3 & ~3
    return _NONE, 0


@helper
def _behind_odd_type(arena: U8, at: Int, size: Int, kind: Int, start: Int) -> tuple[int, int]:
    """(version, start) behind a type that is neither IP nor a VLAN tag."""
    if kind in (0x8847, 0x8848):
        return _behind_mpls(arena, at, size, start)
    if kind == 0x8864:
        return _behind_pppoe(arena, at, size, start)
    return _ARP if kind == 0x0806 else _NONE, start


@inlined
def _behind_ethertype(arena: U8, at: Int, size: Int, field: Int, start: Int) -> tuple[int, int]:
    """(version, start) behind the type at `field` and VLAN tags."""
    kind = np.int64(arena[at + field]) << 8 | np.int64(arena[at + field + 1])
    while kind in (0x8100, 0x88A8, 0x9100):
        if size < start + 4:
            return _NONE, start
        kind = np.int64(arena[at + start + 2]) << 8 | np.int64(arena[at + start + 3])
        start += 4
    version = _NONE
    if kind == _V4:
        version = 4
    elif kind == _V6:
        version = 6
    else:
        version, start = _behind_odd_type(arena, at, size, kind, start)
    return version, start


@inlined
def _behind_family(arena: U8, at: Int, either: bool) -> int:
    """The version that an address family in network order names, or (`either`) in little-endian order first."""
    version = 0
    if either:
        version = _version_of_family(number(arena, at, False))
    if version == 0:
        version = _version_of_family(number(arena, at, True))
    return version


@helper
def _behind_others(arena: U8, at: Int, size: Int, linktype: Int) -> tuple[int, int]:
    """(version, start) of PPP, PPPoE and NFLOG."""
    if linktype == 51:
        return _behind_pppoe(arena, at, size, 0)
    if linktype == 239:
        return _behind_nflog(arena, at, size)
    if linktype == 50 and size > 0 and arena[at] in (0x0F, 0x8F):
        return _behind_ethertype(arena, at, size, 2, 4) if size > 4 else (_NONE, 0)
    return _behind_ppp(arena, at, size, 0) if linktype in (9, 50) else (_NONE, 0)


@inlined
def _type_field(linktype: Int) -> tuple[int, int]:
    """Where Ethernet, SLL and SLL2 have their type, and what follows their header."""
    if linktype == 1:
        return 12, 14
    return (14, 16) if linktype == 113 else (0, 20)


@inlined
def ip_start(arena: U8, at: Int, size: Int, linktype: Int) -> int:
    """Bytes before the IP packet in a frame of `size` bytes at `at`; NOT_IP or IS_ARP. The rules of io/linktype.py."""
    start, version = 0, _NONE
    if linktype in (1, 113, 276):
        field, start = _type_field(linktype)
        if size > start:
            version, start = _behind_ethertype(arena, at, size, field, start)
    elif linktype in (12, 14, 101):
        version = _EITHER
    elif linktype in (228, 229):
        version = 4 if linktype == 228 else 6
    elif linktype in (0, 108):
        start = 4
        if size > 4:
            version = _behind_family(arena, at, linktype == 0)
    else:
        version, start = _behind_others(arena, at, size, linktype)
    if version == _ARP:
        return IS_ARP
    if version == _NONE or size <= start:
        return NOT_IP
    nibble = np.int64(arena[at + start] >> 4)
    if nibble == version or (version == _EITHER and nibble in (4, 6)):
        return start
    return NOT_IP


@helper
def _fragment6(arena: U8, at: Int, size: Int) -> bool:
    """Whether IPv6's headers have a fragment header, and other fragments belong to it."""
    kind, here = np.int64(arena[at + 6]), 40
    while here + 8 <= size:
        if kind == 44:
            return bool(arena[at + here + 2] != 0 or arena[at + here + 3] & 0xF9 != 0)
        if kind not in (0, 43, 60):
            break
        kind = np.int64(arena[at + here])
        here += (np.int64(arena[at + here + 1]) + 1) * 8
    return False


@helper
def _in_stream(arena: U8, at: Int, here: Int, size: Int, ports: U8) -> bool:
    """Whether a segment, with TCP's header at `here`, has one of `ports`, or begins with IKETCP: it adds its port."""
    if here + 20 > size:
        return False
    here += at
    dport = np.int64(arena[here + 2]) << 8 | np.int64(arena[here + 3])
    if ports[np.int64(arena[here]) << 8 | np.int64(arena[here + 1])] != 0 or ports[dport] != 0:
        return True
    data = here + np.int64(arena[here + 12] >> 4) * 4
    if data + len(PREFIX) > at + size:
        return False
    for n in range(len(PREFIX)):
        if arena[data + n] != PREFIX[n]:
            return False
    ports[dport] = 1
    return True


@inlined
def _may_join(arena: U8, at: Int, size: Int, ports: U8) -> bool:
    """Whether an IP packet may be one that io/fragments.py takes; where it says no, it is none."""
    if arena[at] >> 4 == 4:
        if size < 20:
            return False
        head = arena[at : at + 20]
        if head[6] & 0x3F | head[7] != 0:
            return head[9] in (50, 17)
        return head[9] == 6 and _in_stream(arena, at, np.int64(head[0] & 15) * 4, size, ports)
    if size < 48:
        return False
    if arena[at + 6] == 6:
        return _in_stream(arena, at, 40, size, ports)
    return arena[at + 6] in (0, 43, 44, 60) and _fragment6(arena, at, size)


@inlined
def _outgoing(arena: U8, at: Int, linktype: Int) -> bool:
    """Whether a frame whose IP packet was found says that this host sent it: PACKET_OUTGOING of cooked headers."""
    if linktype == 113:
        return bool(arena[at] == 0 and arena[at + 1] == 4)
    return bool(linktype == 276 and arena[at + 10] == 4)


@inlined
def put_row(
    arena: U8, at: Int, size: Int, wire: Int, linktype: Int, joins: U8,
    offset: I64, length: I32, link: U8, captured: I32, on_wire: I32, row: Int,
) -> None:  # fmt: skip
    """Where the IP packet of a frame of `size` bytes at `at` lies; not IP: its length is 0, and `link` its kind.

    Of an IP packet `link` is OUTGOING where the frame says so; and MAY_JOIN of what the joiner may take: `joins`
    (65,536) is not 0 at the TCP ports that it looks at; empty where there is no joiner.
    `wire`: the frame's bytes on the wire.
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
        link[row] |= MAY_JOIN


@kernel
def classic(
    arena: U8, at: Int, end: Int, big: bool, unit: Int, linktype: Int, joins: U8,
    offset: I64, length: I32, time_ns: I64, link: U8, captured: I32, wire: I32, row: Int,
) -> tuple[int, int, int]:  # fmt: skip
    """Frames of a classic pcap whose fields are big-endian where `big`, fractions `unit` nanoseconds.

    `joins` as put_row has it.
    """
    rows, at, row = len(offset), np.int64(at), np.int64(row)
    while row < rows:
        if at + 16 > end:
            return row, at, MORE
        size = number(arena, at + 8, big)
        if size > MAX_RECORD:
            return row, at, ODD
        if at + 16 + size > end:
            return row, at, MORE
        time_ns[row] = number(arena, at, big) * _SECOND + number(arena, at + 4, big) * unit
        on_wire = number(arena, at + 12, big)
        put_row(arena, at + 16, size, on_wire, linktype, joins, offset, length, link, captured, wire, row)
        at += 16 + size
        row += 1
    return row, at, FULL


@kernel
def hop(arena: U8, at: Int, end: Int, limit: Int, big: bool) -> tuple[int, int, int]:
    """(records, at, why): over the records of a classic pcap that begin before `limit`; FULL where all were whole."""
    rows, at = 0, np.int64(at)
    while at < limit:
        if at + 16 > end:
            return rows, at, MORE
        size = number(arena, at + 8, big)
        if size > MAX_RECORD:
            return rows, at, ODD
        if at + 16 + size > end:
            return rows, at, MORE
        at += 16 + size
        rows += 1
    return rows, at, FULL


@kernel
def room(length: I32, keep: U8, around: Int, multiple: Int) -> int:
    """Bytes of the rows whose `keep` is not 0, each padded to `multiple` (a power of 2), with `around` more."""
    total = 0
    for row in range(len(length)):
        if keep[row] != 0:
            total += (np.int64(length[row]) + multiple - 1 & -multiple) + around
    return total


@kernel
def gather(
    arena: U8, at: I64, length: I32, time_ns: I64, keep: U8, nanosecond: bool, row: Int, out: U8
) -> tuple[int, int]:  # fmt: skip
    """Records of a little-endian pcap for rows from `row` on whose `keep` is not 0, into `out` while it has room.

    Returns the next row and the bytes written. It stops before a row that leaves the arena too. Seconds are 32 bits
    without sign: a time outside becomes the nearest inside.
    """
    rows, done, row = len(at), 0, np.int64(row)
    while row < rows:
        if keep[row] == 0:
            row += 1
            continue
        start, size = at[row], np.int64(length[row])
        if start < 0 or size < 0 or start > len(arena) - size or size + 16 > len(out) - done:
            break
        seconds, fraction = 0, 0
        if time_ns[row] > 0:
            seconds = time_ns[row] // _SECOND
            fraction = time_ns[row] - seconds * _SECOND
        if seconds > _LAST_SECOND:
            seconds, fraction = _LAST_SECOND, _SECOND - 1
        put32_le(out, done, seconds)
        put32_le(out, done + 4, fraction if nanosecond else fraction // 1000)
        put32_le(out, done + 8, size)
        put32_le(out, done + 12, size)
        copy(out, done + 16, arena, start, size)
        done += 16 + size
        row += 1
    return row, done
