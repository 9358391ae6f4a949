"""Encap: all of a packet but ciphertext and ICV: headers, IV, payload, trailer.

    lay_out     where each packet goes
    write       `reference/outbound.py`, _wrap and _tunnel_header, over columns

Sources: RFC 4303 3.3.2, RFC 4301 5.1.2, RFC 3948.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.facts import (
    AHEAD,
    NO_DF,
    NO_DSCP,
    NO_ECN,
    OUTER4,
    RANDOM_IV,
    RFC_6040,
    TUNNEL,
    UDP,
    halves,
)
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    PROTO_ESP,
    PROTO_UDP,
    SEALED,
)
from espsim.core.out_batch import OutBatch
from espsim.jit.bytes import be16, fold, put16, put32, put64
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.out_columns import OutColumns

ALIGN = 16
"""Sealed packets begin at multiples of this."""
IV_ROOM = 16
"""Bytes of the longest CBC IV, AES's; 3DES's has 8."""

_TTL = 64
_ESP, _UDP = 50, 17


@inlined
def _copy(source: U8, start: Int, out: U8, at: Int, size: Int) -> None:
    """Unsigned, because a negative index would mean the array's end, and LLVM could not copy in large steps."""
    here, there = np.uint64(start), np.uint64(at)
    for n in range(np.uint64(size)):
        out[there + n] = source[here + n]


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
    total = (0x4500 | tos) + length + ident + flags + (_TTL << 8 | proto) + halves(src) + halves(dst)
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
    ecn = 0 if form & NO_ECN else 2 if ecn == 3 and not form & RFC_6040 else ecn
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
def write(
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


def encap(batch: OutBatch, columns: OutColumns) -> None:
    """RFC 4303 3.3.2, RFC 4301 5.1.2, RFC 3948: headers, IV, payload and trailer, in `out`, which grows if need be."""
    end, random = lay_out(batch.verdict, batch.out_length, batch.sa_index, columns.facts, batch.out_at)
    batch.out_end = 0
    batch.make_room(end)
    batch.out_end = end
    ivs = np.frombuffer(columns.random_bytes(random * IV_ROOM) if random else b"", np.uint8)
    write(
        batch.arena, batch.offset, batch.family, batch.sa_index, batch.headers, batch.pointer, batch.next_header,
        batch.payload, batch.plain_length, batch.out_at, batch.out_length, batch.seq64.view(np.int64), batch.verdict,
        columns.facts, ivs, batch.out, batch.esp_at, batch.end_at,
    )  # fmt: skip


STAGE = Stage("encap", encap, frozenset({"out", "out_at", "esp_at", "end_at"}), objects=False)
