"""What outbound kernels read of an SA, and what they count for it: two rows of 64 bytes, a cache line each.

A row of `facts` (int64, 8 words; an unsigned value keeps its 64-bit pattern):

    SRC_HIGH, SRC_LOW    source of the outer header; IPv4 in the low word
    DST_HIGH, DST_LOW    its destination
    SPI                  in the low 32 bits
    PORTS                UDP source port << 48 | destination port << 32 | shortest payload (TFC padding)
    MASK                 an IV from a counter is the sequence number XOR this mask
    FORM                 the bits below | IV length << 16 | ICV length << 24 | alignment << 32

The alignment is what payload and trailer together are a multiple of: a power of 2.

A row of `counts` (uint64, 8 words):

    LAST                 the last number that was sent
    LIMIT                the last number that may be sent
    WRAPS                not 0: 0 follows LIMIT; else the SA stops there
    PACKETS, BYTES       what was sent in this run
    USED, SINCE          first use, as in batch/inbound/count.py
"""

from __future__ import annotations

from espsim.core.arrays import I64, Int
from espsim.jit.compiling import inlined

SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, SPI, PORTS, MASK, FORM = range(8)
"""Words of a row of `facts`."""

TUNNEL, OUTER4, UDP, NO_ECN, NO_DSCP, NO_DF, RANDOM_IV, RFC_6040 = (1 << n for n in range(8))
"""Bits of FORM: tunnel mode; the outer header is IPv4; ESP in UDP; the flags noecn, dont-encap-dscp and nopmtudisc; the
IV is random (CBC); the outer header says CE where the inner one does (Linux says ECT(0))."""

LAST, LIMIT, WRAPS, PACKETS, BYTES, USED, SINCE = range(7)
"""Words of a row of `counts`."""

AHEAD = 16
"""Rows between the prefetch of a cache line and its use."""


@inlined
def shortest_payload(facts: I64, sa: Int) -> int:
    """In bytes: a shorter payload gets TFC padding up to this."""
    least: int = facts[sa, PORTS] & 0xFFFFFFFF
    return least


@inlined
def iv_length(form: int) -> int:
    """In bytes."""
    return form >> 16 & 0xFF


@inlined
def icv_length(form: int) -> int:
    """In bytes."""
    return form >> 24 & 0xFF


@inlined
def alignment(form: int) -> int:
    """In bytes, a power of 2."""
    return form >> 32


@inlined
def halves(word: int) -> int:
    """The sum of a word's 16-bit quarters, for a checksum."""
    return (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48 & 0xFFFF)
