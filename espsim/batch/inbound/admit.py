"""Admit: whether the SA's selector takes the inner packet. It gives POLICY.

`Selector.matches` (sad/association.py) over columns. A row of `selectors` (uint64, 12 words):

    0, 1    mask of the source, high and low word; IPv4 in the low one
    2, 3    mask of the destination
    4       mask of protocol << 32 | source port << 16 | destination port
    5-9     the values that the five words must have under these masks (VALUES)
    10      families that it takes: FAMILY_4 | FAMILY_6 (FAMILIES)
    11      free

What this does not do: it asks no policies of an SPD; policies.py does.
Sources: RFC 4301 5.2 step 4; Linux __xfrm_policy_check (net/xfrm/xfrm_policy.c).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.policy import ports_of, upper
from espsim.batch.stages import Stage
from espsim.core.address import Address
from espsim.core.arrays import I32, I64, U8, U64, Int
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import DELIVERED, POLICY
from espsim.jit.bytes import be32, be64
from espsim.jit.compiling import inlined, kernel
from espsim.sad.association import Selector

if TYPE_CHECKING:
    from espsim.batch.inbound.columns import InboundColumns

SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, PORTS, VALUES = range(6)
FAMILIES = 10
"""Words of a row of `selectors`: masks, the first of the values, and the families."""
FAMILY_4, FAMILY_6 = np.uint64(1), np.uint64(2)
"""Bits of FAMILIES."""

_0, _16, _32 = (np.uint64(n) for n in (0, 16, 32))


@inlined
def _takes(arena: U8, at: Int, size: Int, wanted: U64) -> bool:
    """Whether a selector takes one inner packet; without an IP header none does. A later fragment has ports 0."""
    version, kind, here, later = upper(arena, at, size)
    if version == 0:
        return False
    ports = (0, 0)
    if not later:
        ports = ports_of(arena, at + here, size - here, kind)
    s0 = d0 = _0
    if version == 4:
        s1, d1, family = be32(arena, at + 12), be32(arena, at + 16), FAMILY_4
    else:
        s0, s1, family = be64(arena, at + 8), be64(arena, at + 16), FAMILY_6
        d0, d1 = be64(arena, at + 24), be64(arena, at + 32)
    words = np.uint64(kind) << _32 | np.uint64(ports[0]) << _16 | np.uint64(ports[1])
    differ = (s0 & wanted[SRC_HIGH] ^ wanted[VALUES + SRC_HIGH]) | (s1 & wanted[SRC_LOW] ^ wanted[VALUES + SRC_LOW])
    differ |= (d0 & wanted[DST_HIGH] ^ wanted[VALUES + DST_HIGH]) | (d1 & wanted[DST_LOW] ^ wanted[VALUES + DST_LOW])
    differ |= words & wanted[PORTS] ^ wanted[VALUES + PORTS]
    return bool(differ == _0 and wanted[FAMILIES] & family != _0)


@kernel
def admit_rows(
    arena: U8, inner_at: I64, inner_length: I32, sa_index: I32, selector_of: I32, selectors: U64, verdict: U8
) -> None:
    """POLICY for every row without a verdict that its SA's selector refuses.

    `selector_of` (SAs): the row of `selectors`; -1: the SA takes any packet.
    """
    for i in range(len(verdict)):
        if verdict[i] != DELIVERED:
            continue
        row = selector_of[sa_index[i]]
        if row >= 0 and not _takes(arena, inner_at[i], np.int64(inner_length[i]), selectors[row]):
            verdict[i] = POLICY


_M64 = 0xFFFFFFFFFFFFFFFF
_FAMILIES = {4: int(FAMILY_4), 16: int(FAMILY_6)}


@functools.cache
def mask_of(length: int, bits: int) -> int:
    """The mask of a prefix of `bits` bits in an address of `length` bytes; IPv4's in the low 32 bits."""
    width = 8 * length
    return (1 << width) - (1 << width - bits) if bits else 0


def selector_words(selector: Selector) -> tuple[int, ...]:
    """A row of `selectors`, as above."""
    src, src_values, src_families = _side(selector.src, selector.src_prefix)
    dst, dst_values, dst_families = _side(selector.dst, selector.dst_prefix)
    ports = (0xFF if selector.proto else 0) << 32 | selector.sport_mask << 16 | selector.dport_mask
    wanted = (selector.proto << 32 | selector.sport << 16 | selector.dport) & ports
    return (*src, *dst, ports, *src_values, *dst_values, wanted, src_families & dst_families, 0)


def _side(address: Address, bits: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """A prefix: its mask and value, high and low word each, and the families that it takes."""
    if not bits:
        return (0, 0), (0, 0), _FAMILIES[4] | _FAMILIES[16]
    mask = mask_of(len(address), min(bits, 8 * len(address)))
    value = int.from_bytes(address) & mask
    return (mask >> 64, mask & _M64), (value >> 64, value & _M64), _FAMILIES[len(address)]


def admit(batch: InboundBatch, columns: InboundColumns) -> None:
    """RFC 4301 5.2 step 4: the SA's selector must take the inner packet."""
    if len(columns.selectors):
        admit_rows(
            batch.arena, batch.inner_at, batch.inner_length, batch.sa_index, columns.selector_of, columns.selectors,
            batch.verdict,
        )  # fmt: skip


STAGE = Stage("admit", admit)
