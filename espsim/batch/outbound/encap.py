"""Encap: writes all of a packet but ciphertext and ICV: headers, IV, payload, trailer.

    lay_out     where each packet goes in `out`
    write       its bytes; reference/outbound.py, _wrap and _tunnel_header, over columns

The bytes of a packet:

    outer IP headers        20 (IPv4), 40 (IPv6); in transport mode the packet's own
    UDP header              0 or 8
    SPI, sequence number    4, 4; at `esp_at`
    IV                      0, 8 or 16
    payload, TFC padding, padding 1, 2, 3 ..., pad length, next header; `plain_length` bytes, which `seal` encrypts
    ICV                     up to `end_at`; `seal` writes it

The payload is copied only where it must be. If padding and trailer fit into the room after it in `arena`, they are
written there, and `seal` reads the plaintext from there (`clear_at`).

What this does not do: it makes no fragments and keeps no path MTU, and writes no BEET or IP-TFS headers. The reference
path seals packets that need any of these (batch/outbound/columns.py).

Sources: RFC 4303 3.3.2, RFC 4301 5.1.2, RFC 3948.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.facts import (
    AHEAD,
    DST_HIGH,
    DST_LOW,
    FORM,
    MASK,
    NO_DF,
    NO_DSCP,
    NO_ECN,
    OUTER4,
    PORTS,
    RANDOM_IV,
    RFC_6040,
    SPI,
    SRC_HIGH,
    SRC_LOW,
    TUNNEL,
    UDP,
    halves,
    iv_length,
    shortest_payload,
)
from espsim.batch.stages import Stage
from espsim.core.arrays import I32, I64, U8, Int
from espsim.core.numbers import (
    PROTO_ESP,
    PROTO_UDP,
    SEALED,
)
from espsim.core.outbound_batch import OutboundBatch
from espsim.jit.bytes import be16, copy, fold, put16, put32, put64
from espsim.jit.compiling import inlined, kernel
from espsim.jit.prefetch import prefetch

if TYPE_CHECKING:
    from espsim.batch.outbound.columns import OutboundColumns

ALIGN = 16
"""Sealed packets begin at multiples of this, where a writer needs no room before them."""
IV_ROOM = 16
"""Bytes of the longest CBC IV, AES's; 3DES's has 8."""

_TTL = 64
_DF = 0x4000
_CE, _ECT0 = 3, 2
_NO_IDENT = -1


@kernel
def lay_out(
    verdict: U8, out_length: I32, sa_index: I32, facts: I64, before: int, out_at: I64
) -> tuple[int, int]:  # fmt: skip
    """Fill `out_at`: where each packet begins in `out`, one after the other. (bytes of all, how many random IVs.)

    `before`: bytes left free before each packet, for the header of its record in a capture. Records follow each other
    without room; packets without records begin at multiples of ALIGN.
    """
    align = 1 if before > 0 else ALIGN
    end = random = 0
    for i in range(len(verdict)):
        out_at[i] = 0
        if verdict[i] != SEALED:
            continue
        out_at[i] = end + before
        end += before + (np.int64(out_length[i]) + align - 1 & -align)
        random += facts[sa_index[i], FORM] & RANDOM_IV != 0
    return end, random


@inlined
def _tunnel4(row: U8, length: int, proto: int, tos: int, ident: int, facts: I64, sa: Int) -> None:
    """An IPv4 header with its checksum; _NO_IDENT sets DF, and the identification is 0 then."""
    flags = _DF if ident == _NO_IDENT else 0
    ident = max(ident, 0)
    src, dst = facts[sa, SRC_LOW], facts[sa, DST_LOW]
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
    put64(row, 8, facts[sa, SRC_HIGH])
    put64(row, 16, facts[sa, SRC_LOW])
    put64(row, 24, facts[sa, DST_HIGH])
    put64(row, 32, facts[sa, DST_LOW])


@inlined
def _tunnel(
    arena: U8, at: Int, v4: bool, out: U8, to: Int, length: int, proto: int, seq64: int, facts: I64, sa: Int
) -> int:
    """Write the outer header (RFC 4301 5.1.2); where it ends.

    1. DSCP is the inner one, or 0 (dont-encap-dscp).
    2. ECN is 0 (noecn), or the inner one; of CE Linux makes ECT(0), RFC 6040 leaves it.
    3. IPv4: DF is the inner packet's, always set for IPv6 inside, never with nopmtudisc. Without DF the identification
       is the low half of the sequence number.
    4. IPv6: the flow label is the inner one, 0 for IPv4 inside.
    """
    form = facts[sa, FORM]
    first, second = np.int64(arena[at]), np.int64(arena[at + 1])
    inner = second if v4 else (first & 15) << 4 | second >> 4
    ecn = inner & 3
    ecn = 0 if form & NO_ECN else _ECT0 if ecn == _CE and not form & RFC_6040 else ecn
    tos = (0 if form & NO_DSCP else inner & 0xFC) | ecn
    if form & OUTER4:
        keeps_df = not v4 or arena[at + 6] & 0x40 != 0
        ident = _NO_IDENT if keeps_df and not form & NO_DF else seq64 & 0xFFFF
        _tunnel4(out[to : to + 20], length, proto, tos, ident, facts, sa)
        return to + 20
    label = 0 if v4 else (second & 15) << 16 | be16(arena, at + 2)
    _tunnel6(out[to : to + 40], length, proto, tos, label, facts, sa)
    return to + 40


@inlined
def _transport(
    arena: U8, at: Int, v4: bool, out: U8, to: Int, length: int, proto: int, headers: Int, pointer: Int
) -> int:
    """Copy the packet's own headers with another length, next header and checksum; where they end."""
    copy(out, to, arena, at, headers)
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
def _end(out: U8, end: int, plain: int, padded: int, next_header: Int) -> None:
    """Write padding 1, 2, 3 ..., pad length and next header, up to `end`, after `padded` of `plain` bytes."""
    pad = plain - 2 - padded
    for n in range(pad):
        out[end - 2 - pad + n] = n + 1
    out[end - 2], out[end - 1] = pad, next_header


@inlined
def _inside(
    arena: U8, at: Int, size: int, plain: int, least: int, next_header: Int, room: int, out: U8, to: Int
) -> int:  # fmt: skip
    """Write what follows the payload, and return where the plaintext lies: its offset in `arena`, or -1 for `out`.

    1. Padding and trailer fit into `room` bytes after the payload: they are written there, and nothing is copied.
    2. Else payload, zeros (TFC padding) up to `least` bytes, padding and trailer are written to `to` in `out`.
    """
    padded = max(size, least)
    if padded == size and plain - size <= room and at + plain <= len(arena):
        _end(arena, at + plain, plain, padded, next_header)
        return at
    copy(out, to, arena, at, size)
    for n in range(size, padded):
        out[to + n] = 0
    _end(out, to + plain, plain, padded, next_header)
    return -1


@kernel
def write(
    arena: U8, offset: I64, family: U8, sa_index: I32, headers: I32, pointer: I32, next_header: U8, payload: I32,
    plain_length: I32, out_at: I64, out_length: I32, seq64: I64, verdict: U8, facts: I64, ivs: U8, room: int,
    out: U8, esp_at: I64, end_at: I64, clear_at: I64,
) -> None:  # fmt: skip
    """Write every row without a verdict into `out`, all but ciphertext and ICV.

    1. The outer IP header, or in transport mode the packet's own headers.
    2. UDP with checksum 0 (RFC 3948 2.1), where the SA says so.
    3. SPI and the low half of the sequence number. ESP begins here (`esp_at`) and ends with the packet (`end_at`).
    4. The IV: random, or the number under the SA's mask, or none.
    5. The plaintext that `seal` encrypts: payload, padding, trailer. `clear_at`: its offset in `arena`; -1: it is in
       `out`, after the IV.

    `room`: how many bytes after each packet in `arena` may be written.
    `seq64` is a signed view of that column; `ivs` has IV_ROOM random bytes for each row that needs them, in order.
    """
    rows, drawn = len(verdict), 0
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(facts, max(sa_index[i + AHEAD], 0))
        esp_at[i] = end_at[i] = 0
        clear_at[i] = -1
        if verdict[i] != SEALED:
            continue
        sa, at, to, length = sa_index[i], offset[i], out_at[i], np.int64(out_length[i])
        form, v4, stay = facts[sa, FORM], family[i] == 4, np.int64(headers[i])
        proto = PROTO_UDP if form & UDP else PROTO_ESP
        if form & TUNNEL:
            here = _tunnel(arena, at, v4, out, to, length, proto, seq64[i], facts, sa)
        else:
            here = _transport(arena, at, v4, out, to, length, proto, stay, pointer[i])
        if form & UDP:
            row = out[here : here + 8]
            put32(row, 0, facts[sa, PORTS] >> 32)
            put32(row, 4, (to + length - here) << 16)
            here += 8
        esp_at[i], end_at[i] = here, to + length
        row = out[here : here + 16]
        put32(row, 0, facts[sa, SPI])
        put32(row, 4, seq64[i])
        here += 8
        if form & RANDOM_IV:
            copy(out, here, ivs, drawn * IV_ROOM, iv_length(form))
            drawn += 1
            here += iv_length(form)
        elif iv_length(form):
            put64(row, 8, facts[sa, MASK] ^ seq64[i])
            here += 8
        clear_at[i] = _inside(
            arena, at + stay, np.int64(payload[i]), np.int64(plain_length[i]), shortest_payload(facts, sa),
            next_header[i], room, out, here,
        )  # fmt: skip


def encap(batch: OutboundBatch, columns: OutboundColumns) -> None:
    """Write headers, IV, payload and trailer into `out`, which grows where it is too small."""
    end, random = lay_out(
        batch.verdict, batch.out_length, batch.sa_index, columns.facts, batch.before, batch.out_at
    )  # fmt: skip
    batch.out_end = 0
    batch.make_room(end)
    batch.out_end = end
    ivs = np.frombuffer(columns.random_bytes(random * IV_ROOM) if random else b"", np.uint8)
    write(
        batch.arena, batch.offset, batch.family, batch.sa_index, batch.headers, batch.pointer, batch.next_header,
        batch.payload, batch.plain_length, batch.out_at, batch.out_length, batch.seq64.view(np.int64), batch.verdict,
        columns.facts, ivs, batch.room, batch.out, batch.esp_at, batch.end_at, batch.clear_at,
    )  # fmt: skip


STAGE = Stage("encap", encap, frozenset({"out", "out_at", "esp_at", "end_at", "clear_at"}), objects=False)
