"""What a frame that is not ESP is: one closed list of kinds, named by the innermost layer that was reached."""

from __future__ import annotations

from enum import IntEnum


class Layer(IntEnum):
    """The innermost kind of a frame that was ignored. Kernels write these numbers (core/numbers.py)."""

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
