"""Other people's programs on the same work. Each peer says why it can't run where it can't."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence

from bench.workloads import Workload
from espsim.core.address import format_address


def scapy_opener(workload: Workload) -> Callable[[Sequence[bytes]], int]:
    """scapy's SecurityAssociation.decrypt on packets already parsed by scapy's IP class: the number opened.

    Parsing is inside the timed call, as it is inside ours. Raises ImportError where scapy isn't installed.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        from scapy.layers.inet import IP
        from scapy.layers.ipsec import ESP, SecurityAssociation

    sa = workload.sa
    key = sa.algorithms[0].key
    peer = SecurityAssociation(
        ESP, spi=sa.spi, crypt_algo="AES-GCM", crypt_key=key,
        tunnel_header=IP(src=format_address(sa.src), dst=format_address(sa.dst)),
    )  # fmt: skip

    def run(packets: Sequence[bytes]) -> int:
        opened = 0
        for packet in packets:
            opened += len(bytes(peer.decrypt(IP(packet)))) == workload.size
        return opened

    return run
