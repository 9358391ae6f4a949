"""Selectors as kernels compare them: addresses as two words under masks, protocol and ports as one."""

from __future__ import annotations

from espsim.kernels.admit import FAMILY_4, FAMILY_6
from espsim.sad.association import Selector

_M64 = 0xFFFFFFFFFFFFFFFF
_FAMILIES = {4: int(FAMILY_4), 16: int(FAMILY_6)}


def mask_of(length: int, bits: int) -> int:
    """The first `bits` of an address of `length` bytes, as a number; of IPv4 in the low 32 bits."""
    width = 8 * length
    return (1 << width) - (1 << width - bits) if bits else 0


def selector_words(selector: Selector) -> tuple[int, ...]:
    """A row of `selectors` (kernels/admit.py)."""
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
