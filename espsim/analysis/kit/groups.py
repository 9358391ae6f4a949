"""The groups of a kit, in order. A group has DPDK's inline IPsec tests of one kind, or a kind that DPDK does not test.

Names: app/test/test_security_inline_proto.c and test_cryptodev_security_ipsec.c of DPDK.

What this does not do: test sealing. Of DPDK's sealing tests it has those with a question for a receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from espsim.analysis.kit import devices, fragments, headers, known, numbers, refusals
from espsim.analysis.kit.packets import Case


@dataclass(frozen=True, slots=True)
class CaseGroup:
    """Cases of one kind. `dpdk`: whether DPDK has tests of it."""

    ident: str
    title: str
    dpdk: bool
    makers: tuple[Callable[[], Iterator[Case]], ...]

    def cases(self) -> Iterator[Case]:
        """The cases, in order."""
        for maker in self.makers:
            yield from maker()


GROUPS = (
    CaseGroup("known-vectors", "Inbound known vectors", True, (known.known_vectors,)),
    CaseGroup("algorithms", "Combined test alg list", True, (known.algorithms,)),
    CaseGroup("modes", "Tunnel and transport", True, (headers.modes,)),
    CaseGroup("udp", "UDP encapsulation", True, (headers.encapsulation,)),
    CaseGroup("icv", "ICV corruption", True, (known.icv_corruption,)),
    CaseGroup("tunnel-header", "Tunnel addr verification", True, (headers.tunnel_addresses, known.unknown_spi)),
    CaseGroup("df", "Tunnel header DF", True, (headers.dont_fragment,)),
    CaseGroup("dscp", "Tunnel header DSCP and ECN", True, (headers.dscp_and_ecn,)),
    CaseGroup("flow-label", "Tunnel header FLABEL", True, (headers.flow_label,)),
    CaseGroup("ttl", "Tunnel header TTL and hop limit", True, (headers.ttl,)),
    CaseGroup("lifetimes", "SA soft and hard expiry", True, (refusals.lifetimes,)),
    CaseGroup("windows", "Antireplay", True, (numbers.windows, refusals.transport_refusals)),
    CaseGroup("esn", "ESN and Antireplay", True, (numbers.extended,)),
    CaseGroup("fragments", "Fragments", True, (fragments.outer_fragments, fragments.inner_fragments)),
    CaseGroup("own-traffic", "Own traffic in a capture", False, (headers.own_traffic,)),
    CaseGroup("malformed", "Malformed packets", False, (refusals.malformed,)),
    CaseGroup("duplicates", "Duplicate SPI and delete of a twin", False, (devices.duplicates,)),
    CaseGroup("aliases", "Alias of an SPI", False, (devices.aliases,)),
    CaseGroup("full-table", "Full table", False, (devices.full_tables,)),
    CaseGroup("rekey", "Rekey overlap", False, (devices.rekeys,)),
)
