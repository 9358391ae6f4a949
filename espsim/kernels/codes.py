"""The numbers that kernels write into a verdict column: those of `core.verdict.Verdict` (a test holds them equal).

Kernels know arrays only, so the numbers stand here a second time.
"""

from __future__ import annotations

import numpy as np

DELIVERED = np.uint8(0)
HEADER = np.uint8(1)
FRAGMENT = np.uint8(2)
NO_SA = np.uint8(3)
ENCAP_MISMATCH = np.uint8(7)
REPLAY_DUPLICATE = np.uint8(8)
REPLAY_TOO_OLD = np.uint8(9)
REPLAY_ZERO = np.uint8(10)
TRAILER = np.uint8(14)
SENT = np.uint8(17)

NOT_ESP = np.uint8(255)
"""Of the verdict column alone: the packet is not ESP, and nobody counts it."""
PART = np.uint8(253)
"""Of the verdict column alone: an outer fragment that completes no datagram in this frame."""

OWN = np.uint8(2)
"""Flag of a packet: this host sent it. The other one is parse.CUT."""
OUTGOING = np.uint8(0x80)
"""core.layers.OUTGOING: of the link column."""
IN_TCP = np.uint8(0x10)
"""core.layers.IN_TCP: of the link column."""
