"""What outbound kernels know of an SA, and what it counts: two rows of 64 bytes, a cache line each.

A row of `facts` (int64, 8 words, a cache line an SA; 64-bit patterns where they are unsigned):

    0, 1 source (high, low; IPv4 in the low one)    2, 3 destination    4 SPI
    5    UDP source port << 48 | destination port << 32 | shortest payload (TFC padding)
    6    the mask under which the sequence number is a counter-mode IV
    7    form | IV's length << 16 | ICV's << 24 | what payload and trailer are a multiple of (a power of 2) << 32

and of `counts` (uint64, likewise): LAST sent, LIMIT that it stays at, WRAPS to 0 there instead, what the SA counted:
PACKETS, BYTES, and first use as in batch/inbound/count.py (USED: 0 never, 1 before this run, 2 in it, first at SINCE).
"""

from __future__ import annotations

from espsim.jit.compiling import inlined

TUNNEL, OUTER4, UDP, NO_ECN, NO_DSCP, NO_DF, RANDOM_IV, RFC_6040 = (1 << n for n in range(8))
"""Bits of `form`: tunnel mode, IPv4 outside, ESP in UDP, the flags noecn, dont-encap-dscp, nopmtudisc, a CBC IV, and
congestion inside marked outside (Linux: ECT(0))."""

LAST, LIMIT, WRAPS, PACKETS, BYTES, USED, SINCE = range(7)
"""Words of a row of `counts`."""

AHEAD = 16
"""Rows between asking for a cache line and reading it."""


@inlined
def halves(word: int) -> int:
    """The sum of a word's 16-bit quarters."""
    return (word & 0xFFFF) + (word >> 16 & 0xFFFF) + (word >> 32 & 0xFFFF) + (word >> 48 & 0xFFFF)
