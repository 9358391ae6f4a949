"""What a frame that is not ESP is: one closed list of kinds, named by the innermost layer that was reached."""

from __future__ import annotations

from enum import IntEnum

IN_TCP = 0x10
"""Of the `link` column, a bit of rows that have a packet: ESP out of a TCP stream, whose header is not here."""
MAY_JOIN = 0x20
"""Of the `link` column, while a batch is read: what the joiner may have to put together with others."""
PART = 0x40
"""Of the `link` column, where a row has no packet: an outer fragment that completes no datagram in this frame."""
OUTGOING = 0x80
"""Of the `link` column, a bit of rows that have a packet: the capture says that this host sent the frame."""


class Layer(IntEnum):
    """The innermost kind of a frame that was ignored. Kernels write these numbers (kernels/layers.py)."""

    OTHER = 0  # not IP, and none of the following
    ARP = 1
    IP = 2  # IP with some other protocol (ICMP, IP in IP), or with a damaged header
    TCP = 3
    UDP = 4
    AH = 5
    GRE = 6
    KEEPALIVE = 7  # UDP, one byte 0xff on a port of ESP in UDP (RFC 3948 2.3)
    IKE = 8  # UDP port 500, or the non-ESP marker on a port of ESP in UDP (RFC 3948 2.2)
    VXLAN = 9
    GENEVE = 10
    GTP_U = 11

    @property
    def label(self) -> str:
        """Its name in results: `gtp-u`."""
        return self.name.lower().replace("_", "-")
