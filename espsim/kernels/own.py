"""Packets that this host sent itself, by the rules of sad/sent.py.

    find    the flag OWN
    tell    the verdict SENT, at their end

Their numbers are the kernels' of replay.py.
"""

from __future__ import annotations

import numpy as np

from espsim.core.arrays import I32, U8, U64
from espsim.core.numbers import DELIVERED, NOT_ESP, OUTGOING, OWN, SENT
from espsim.jit.compiling import kernel

INWARD, UNDIRECTED, OUTWARD = np.uint8(0), np.uint8(1), np.uint8(2)
"""What an SA says of its direction."""

_0 = np.uint64(0)


@kernel
def find(
    sa_index: I32, saddr: U64, daddr: U64, link: U8, verdict: U8, direction: U8, ends: U64, flags: U8
) -> None:  # fmt: skip
    """Set OWN. `direction` (SAs) as above; `ends` (SAs, 4): source and destination, high and low, as the packets'.

    Where no SA was found, or a packet has a verdict already, `link` decides alone.
    """
    for i in range(len(sa_index)):
        if verdict[i] == NOT_ESP:
            continue
        mine, sa = link[i] & OUTGOING != 0, sa_index[i]
        if sa >= 0 and mine:
            mine = direction[sa] != INWARD
        elif sa >= 0 and direction[sa] == OUTWARD:
            other = (saddr[i, 0] ^ ends[sa, 0]) | (saddr[i, 1] ^ ends[sa, 1])
            other |= (daddr[i, 0] ^ ends[sa, 2]) | (daddr[i, 1] ^ ends[sa, 3])
            mine = other == _0
        if mine:
            flags[i] |= OWN


@kernel
def tell(flags: U8, verdict: U8) -> None:
    """SENT for rows without a verdict that this host sent."""
    for i in range(len(verdict)):
        if verdict[i] == DELIVERED and flags[i] & OWN:
            verdict[i] = SENT
