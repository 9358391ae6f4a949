"""Admit: whether an SA's selector takes what was inside, `Selector.matches` (sad/association.py) over columns. POLICY.


A row of `selectors` (uint64, 12 words): masks of source (high, low) and destination (high, low) and of
`protocol << 32 | sport << 16 | dport`, the five values under them, the families that it takes (bits FAMILY_4 and
FAMILY_6), and one to spare. An IPv4 address is in the low word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espsim.batch.outbound.policy import ports_of, upper
from espsim.batch.rule import Stage
from espsim.core.arrays import I32, I64, U8, U64, Int
from espsim.core.batch import PacketBatch
from espsim.core.numbers import DELIVERED, POLICY
from espsim.jit.bytes import be32, be64
from espsim.jit.compiling import inlined, kernel
from espsim.sad.association import Selector

if TYPE_CHECKING:
    from espsim.batch.columns import SadColumns

FAMILY_4, FAMILY_6 = np.uint64(1), np.uint64(2)

_0, _16, _32 = (np.uint64(n) for n in (0, 16, 32))


@inlined
def _takes(arena: U8, at: Int, size: Int, rule: U64) -> bool:
    """Whether one inner packet fits; without an IP header it fits none."""
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
    differ = (s0 & rule[0] ^ rule[5]) | (s1 & rule[1] ^ rule[6]) | (d0 & rule[2] ^ rule[7]) | (d1 & rule[3] ^ rule[8])
    return bool(differ | (words & rule[4] ^ rule[9]) == _0 and rule[10] & family != _0)


@kernel
def admit_rows(
    arena: U8, inner_at: I64, inner_length: I32, sa_index: I32, selector_of: I32, selectors: U64, verdict: U8
) -> None:
    """POLICY for every delivered row that its SA's selector refuses; `selector_of` (SAs) is a row, or -1 for any."""
    for i in range(len(verdict)):
        if verdict[i] != DELIVERED:
            continue
        rule = selector_of[sa_index[i]]
        if rule >= 0 and not _takes(arena, inner_at[i], np.int64(inner_length[i]), selectors[rule]):
            verdict[i] = POLICY


_M64 = 0xFFFFFFFFFFFFFFFF
_FAMILIES = {4: int(FAMILY_4), 16: int(FAMILY_6)}


def mask_of(length: int, bits: int) -> int:
    """The first `bits` of an address of `length` bytes, as a number; of IPv4 in the low 32 bits."""
    width = 8 * length
    return (1 << width) - (1 << width - bits) if bits else 0


def selector_words(selector: Selector) -> tuple[int, ...]:
    """A row of `selectors` (batch/inbound/admit.py)."""
    families = _FAMILIES[4] | _FAMILIES[16]
    masks, values = [], []
    for address, bits in ((selector.src, selector.src_prefix), (selector.dst, selector.dst_prefix)):
        families &= _FAMILIES[len(address)] if bits else families
        mask = mask_of(len(address), min(bits, 8 * len(address)))
        masks += [mask >> 64, mask & _M64]
        values += [(int.from_bytes(address) & mask) >> 64, int.from_bytes(address) & mask & _M64]
    ports = (0xFF if selector.proto else 0) << 32 | selector.sport_mask << 16 | selector.dport_mask
    wanted = (selector.proto << 32 | selector.sport << 16 | selector.dport) & ports
    return (*masks, ports, *values, wanted, families, 0)


def admit(batch: PacketBatch, columns: SadColumns) -> None:
    """The SA's selector is asked about the inner packet (__xfrm_policy_check)."""
    if len(columns.selectors):
        admit_rows(
            batch.arena, batch.inner_at, batch.inner_length, batch.sa_index, columns.selector_of, columns.selectors,
            batch.verdict,
        )  # fmt: skip


STAGE = Stage("admit", admit)
