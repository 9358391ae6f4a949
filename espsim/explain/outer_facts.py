"""The facts of a packet's outer headers for an audit log: addresses, flow label, SPI and sequence number.

A fragment after the first has no SPI and no sequence number.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from espsim.core.address import Address
from espsim.core.numbers import PROTO_FRAGMENT
from espsim.reference.outer import parse_outer
from espsim.wire import esp, ipv4, ipv6, ipv6_fragment


class OuterFacts(NamedTuple):
    """`flow` is IPv6's flow label, None for IPv4. Addresses are empty where there is no IP header."""

    src: Address = b""
    dst: Address = b""
    flow: int | None = None
    spi: int | None = None
    seq: int | None = None

    @classmethod
    def of(cls, packet: bytes, ports: Collection[int]) -> OuterFacts:
        """The facts of a packet, which starts at its IP header. `ports`: the UDP ports that carry ESP."""
        version = packet[0] >> 4 if packet else 0
        if version == 4 and len(packet) >= ipv4.HEADER_LENGTH:
            facts = cls(packet[ipv4.SRC], packet[ipv4.DST])
        elif version == 6 and len(packet) >= ipv6.HEADER_LENGTH:
            facts = cls(packet[ipv6.SRC], packet[ipv6.DST], ipv6.flow_label(packet))
        else:
            return cls()
        outer = parse_outer(packet, ports)
        if outer is None or _later(packet, outer.next_header_at) or outer.end - outer.esp < esp.HEADER_LENGTH:
            return facts
        spi, seq = esp.parse(packet, outer.esp)
        return facts._replace(spi=spi, seq=seq)


def _later(packet: bytes, next_header_at: int) -> bool:
    """Whether it is a fragment after the first. `next_header_at` is in IPv6's fragment header, if it has one."""
    if packet[0] >> 4 == 4:
        return bool(ipv4.flags(packet) & ipv4.OFFSET_MASK)
    at, kind = ipv6.HEADER_LENGTH, packet[ipv6.NEXT_HEADER]
    while at <= next_header_at:
        if kind == PROTO_FRAGMENT:
            return ipv6_fragment.parse(packet, at).offset != 0
        kind, at = packet[at], at + ipv6.extension_length(packet, at)
    return False
