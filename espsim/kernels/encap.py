"""From the SA chosen to the packet that the engine seals: lengths, numbers, headers, padding; then UDP's checksum.

    measure     what goes inside, and how long the packet will be    reference/outbound.py, trimmed, _payload_of
    number      the sequence number, in arrival order                _next_sequence, and what SAs count
    lay_out     where each packet goes
    encap       all of it but ciphertext and ICV                     _wrap, _tunnel_header
    checksum    UDP over IPv6, whose checksum covers the ICV         wire/udp.py

A row of `facts` (int64, 8 words, a cache line an SA; 64-bit patterns where they are unsigned):

    0, 1 source (high, low; IPv4 in the low one)    2, 3 destination    4 SPI
    5    UDP source port << 48 | destination port << 32 | shortest payload (TFC padding)
    6    the mask under which the sequence number is a counter-mode IV
    7    form | IV's length << 16 | ICV's << 24 | what payload and trailer are a multiple of (a power of 2) << 32

and of `counts` (uint64, likewise): LAST sent, LIMIT that it stays at, WRAPS to 0 there instead, what the SA counted:
PACKETS, BYTES, and first use as in kernels/decap.py (USED: 0 never, 1 before this run, 2 in it, first at SINCE).
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, I64, U8, U64, Int
from espsim.core.numbers import (
    OUT_FRAGMENT,
    PROTO_DSTOPTS,
    PROTO_ESP,
    PROTO_FRAGMENT,
    PROTO_HOP_BY_HOP,
    PROTO_IPIP,
    PROTO_IPV6,
    PROTO_ROUTING,
    PROTO_UDP,
    SEALED,
    SEQ_OVERFLOW,
    TOO_BIG,
)
from espsim.jit.bytes import be16, fold, put16, put32, put64
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

TUNNEL, OUTER4, UDP, NO_ECN, NO_DSCP, NO_DF, RANDOM_IV = (1 << n for n in range(7))
"""Bits of `form`: tunnel mode, IPv4 outside, ESP in UDP, the flags noecn, dont-encap-dscp, nopmtudisc, a CBC IV."""

LAST, LIMIT, WRAPS, PACKETS, BYTES, USED, SINCE = range(7)

ALIGN = 16
"""Sealed packets begin at multiples of this."""
IV_ROOM = 16
"""Bytes of the longest CBC IV, AES's; 3DES's has 8."""

AHEAD = 16
_TTL = 64
_0, _1, _2 = np.uint64(0), np.uint64(1), np.uint64(2)


@inlined
def _copy(source: U8, start: Int, out: U8, at: Int, size: Int) -> None:
    """Unsigned, because a negative index would mean the array's end, and LLVM could not copy in large steps."""
    here, there = np.uint64(start), np.uint64(at)
    for n in range(np.uint64(size)):
        out[there + n] = source[here + n]


@inlined
def _halves(word: int) -> int:
    """The sum of a word's 16-bit quarters."""
    return (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48 & 0xFFFF)


# -- lengths ----------------------------------------------------------------------------------------------------------


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
def measure(
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


# -- numbers ----------------------------------------------------------------------------------------------------------


@kernel
def number(sa_index: I32, payload: I32, time: U64, counts: U64, seq64: U64, verdict: U8) -> None:
    """RFC 4303 3.3.3: each row its SA's next number, in arrival order; SEQ_OVERFLOW. What gets one is counted.

    `time` is what SINCE shall be for an SA that was never used.
    """
    rows = len(verdict)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(counts, max(sa_index[i + AHEAD], 0))
        seq64[i] = _0
        if verdict[i] != SEALED:
            continue
        sa = sa_index[i]
        last = counts[sa, 0]
        if last < counts[sa, 1]:
            last += _1
        elif counts[sa, 2] != _0:
            last = _0
        else:
            verdict[i] = SEQ_OVERFLOW
            continue
        counts[sa, 0] = seq64[i] = last
        counts[sa, 3] += _1
        counts[sa, 4] += np.uint64(payload[i])
        if counts[sa, 5] == _0:
            counts[sa, 5], counts[sa, 6] = _2, time[i]


# -- the packet -------------------------------------------------------------------------------------------------------


@kernel
def lay_out(verdict: U8, out_length: I32, sa_index: I32, facts: I64, out_at: I64) -> tuple[int, int]:
    """Where each row's packet begins in `out`, one after the other; (bytes of all, how many need a random IV)."""
    end = random = 0
    for i in range(len(verdict)):
        out_at[i] = 0
        if verdict[i] != SEALED:
            continue
        out_at[i] = end
        end += (np.int64(out_length[i]) + ALIGN - 1) // ALIGN * ALIGN
        random += facts[sa_index[i], 7] & RANDOM_IV != 0
    return end, random


@inlined
def _tunnel4(row: U8, length: int, proto: int, tos: int, ident: int, facts: I64, sa: Int) -> None:
    """An IPv4 header with its checksum; an `ident` below 0 is DF, and 0 on the wire."""
    flags = 0 if ident >= 0 else 0x4000
    ident = max(ident, 0)
    src, dst = facts[sa, 1], facts[sa, 3]
    total = (0x4500 | tos) + length + ident + flags + (_TTL << 8 | proto) + _halves(src) + _halves(dst)
    put16(row, 0, 0x4500 | tos)
    put16(row, 2, length)
    put16(row, 4, ident)
    put16(row, 6, flags)
    put16(row, 8, _TTL << 8 | proto)
    put16(row, 10, ~fold(total) & 0xFFFF)
    put32(row, 12, src)
    put32(row, 16, dst)


@inlined
def _tunnel6(row: U8, length: int, proto: int, tos: int, label: int, facts: I64, sa: Int) -> None:
    """An IPv6 header."""
    put32(row, 0, 6 << 28 | tos << 20 | label)
    put16(row, 4, length - 40)
    put16(row, 6, proto << 8 | _TTL)
    put64(row, 8, facts[sa, 0])
    put64(row, 16, facts[sa, 1])
    put64(row, 24, facts[sa, 2])
    put64(row, 32, facts[sa, 3])


@inlined
def _tunnel(
    arena: U8, at: Int, v4: bool, out: U8, to: Int, length: int, proto: int, seq64: int, facts: I64, sa: Int
) -> int:
    """RFC 4301 5.1.2; where the outer header ends."""
    form = facts[sa, 7]
    first, second = np.int64(arena[at]), np.int64(arena[at + 1])
    inner = second if v4 else (first & 15) << 4 | second >> 4
    ecn = inner & 3
    ecn = 0 if form & NO_ECN else 2 if ecn == 3 else ecn
    tos = (0 if form & NO_DSCP else inner & 0xFC) | ecn
    if form & OUTER4:
        keeps = not v4 or arena[at + 6] & 0x40 != 0
        _tunnel4(out[to : to + 20], length, proto, tos, -1 if keeps and not form & NO_DF else seq64 & 0xFFFF, facts, sa)
        return to + 20
    label = 0 if v4 else (second & 15) << 16 | be16(arena, at + 2)
    _tunnel6(out[to : to + 40], length, proto, tos, label, facts, sa)
    return to + 40


@inlined
def _transport(
    arena: U8, at: Int, v4: bool, out: U8, to: Int, length: int, proto: int, headers: Int, pointer: Int
) -> int:
    """The packet's own headers with another length, next header and checksum; where they end."""
    _copy(arena, at, out, to, headers)
    out[to + pointer] = proto
    if not v4:
        put16(out, to + 4, length - 40)
        return to + headers
    put16(out, to + 2, length)
    put16(out, to + 10, 0)
    total = 0
    for n in range(0, headers, 2):
        total += be16(out, to + n)
    put16(out, to + 10, ~fold(total) & 0xFFFF)
    return to + headers


@inlined
def _inside(
    arena: U8, at: Int, size: int, plain: int, least: int, next_header: Int, out: U8, to: Int
) -> None:  # fmt: skip
    """Payload, TFC padding, padding 1, 2, 3 ..., pad length, next header."""
    _copy(arena, at, out, to, size)
    padded = max(size, least)
    for n in range(size, padded):
        out[to + n] = 0
    pad = plain - 2 - padded
    for n in range(pad):
        out[to + padded + n] = n + 1
    out[to + plain - 2], out[to + plain - 1] = pad, next_header


@kernel
def encap(
    arena: U8, offset: I64, family: U8, sa_index: I32, headers: I32, pointer: I32, next_header: U8, payload: I32,
    plain_length: I32, out_at: I64, out_length: I32, seq64: I64, verdict: U8, facts: I64, ivs: U8,
    out: U8, esp_at: I64, end_at: I64,
) -> None:  # fmt: skip
    """Write every row without a verdict into `out`, all but ciphertext and ICV; `esp_at`, `end_at` are the engine's.

    `seq64` is a signed view of that column; `ivs` has IV_ROOM random bytes for each row that needs them, in order.
    """
    rows, drawn = len(verdict), 0
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(facts, max(sa_index[i + AHEAD], 0))
        esp_at[i] = end_at[i] = 0
        if verdict[i] != SEALED:
            continue
        sa, at, to, length = sa_index[i], offset[i], out_at[i], np.int64(out_length[i])
        form, ports, v4, stay = facts[sa, 7], facts[sa, 5], family[i] == 4, np.int64(headers[i])
        proto = PROTO_UDP if form & UDP else PROTO_ESP
        if form & TUNNEL:
            here = _tunnel(arena, at, v4, out, to, length, proto, seq64[i], facts, sa)
        else:
            here = _transport(arena, at, v4, out, to, length, proto, stay, pointer[i])
        if form & UDP:
            row = out[here : here + 8]
            put32(row, 0, ports >> 32)
            put32(row, 4, (to + length - here) << 16)
            here += 8
        esp_at[i], end_at[i] = here, to + length
        row = out[here : here + 16]
        put32(row, 0, facts[sa, 4])
        put32(row, 4, seq64[i])
        here += 8
        if form & RANDOM_IV:
            _copy(ivs, drawn * IV_ROOM, out, here, form >> 16 & 0xFF)
            drawn += 1
            here += form >> 16 & 0xFF
        elif form >> 16 & 0xFF:
            put64(row, 8, facts[sa, 6] ^ seq64[i])
            here += 8
        _inside(
            arena, at + stay, np.int64(payload[i]), np.int64(plain_length[i]), ports & 0xFFFFFFFF, next_header[i],
            out, here,
        )  # fmt: skip


@inlined
def _sum16(out: U8, at: Int, size: Int) -> int:
    """The sum of big-endian 16-bit words; of an odd last byte that and a zero."""
    high = low = np.uint64(0)
    here = np.uint64(at)
    for n in range(np.uint64(size) >> _1):
        high += np.uint64(out[here + _2 * n])
        low += np.uint64(out[here + _2 * n + _1])
    if size & 1:
        high += np.uint64(out[at + size - 1])
    return (np.int64(high) << 8) + np.int64(low)


@kernel
def checksum(verdict: U8, sa_index: I32, facts: I64, esp_at: I64, end_at: I64, out: U8) -> None:
    """UDP's checksum in sealed packets over IPv6 (RFC 8200 8.1); over IPv4 it stays 0 (RFC 3948 2.1)."""
    for i in range(len(verdict)):
        if verdict[i] != SEALED:
            continue
        sa = sa_index[i]
        if facts[sa, 7] & (UDP | OUTER4) != UDP:
            continue
        at = esp_at[i] - 8
        size = end_at[i] - at
        total = size + PROTO_UDP + _sum16(out, at, size)
        for word in range(4):
            total += _halves(facts[sa, word])
        found = ~fold(total) & 0xFFFF
        put16(out, at + 6, found if found else 0xFFFF)
