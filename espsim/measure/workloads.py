"""Named, seeded workloads, shared by the benchmarks and the tests, so that both use the same packets."""

from __future__ import annotations

import random
from dataclasses import dataclass

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.numbers import PROTO_UDP
from espsim.reference.outbound import Outbound
from espsim.sad.association import Mode, SecurityAssociation
from espsim.sad.sad import Sad
from espsim.wire import ipv4, udp


@dataclass(frozen=True, slots=True)
class Workload:
    """`packets`: sealed IPv4 packets of one SA, in order, each around an IPv4 packet of `size` bytes."""

    name: str
    sa: SecurityAssociation
    size: int
    packets: tuple[bytes, ...]
    clear: tuple[bytes, ...]


def gcm_tunnel(size: int, count: int) -> Workload:
    """AES-128-GCM with a 128-bit ICV in tunnel mode, IPv4 in IPv4, window 64. `size`: bytes of the inner packet."""
    rng = random.Random(4106)
    sa = SecurityAssociation(
        parse_address("192.0.2.1"),
        parse_address("192.0.2.2"),
        0x1001,
        mode=Mode.TUNNEL,
        window=64,
        algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", rng.randbytes(20), 128),),
    )
    sad = Sad()
    entry = sad.newsa(sa)
    outbound = Outbound(sad, rng.randbytes)
    clear = tuple(_datagram(rng, size) for _ in range(count))
    packets = tuple(outbound.send_with(entry, packet).packet or b"" for packet in clear)
    return Workload(f"gcm-tunnel-{size}", sa, size, packets, clear)


def _datagram(rng: random.Random, size: int) -> bytes:
    datagram = udp.emit(7777, 5555, rng.randbytes(size - ipv4.HEADER_LENGTH - udp.HEADER_LENGTH))
    header = ipv4.emit(
        tos=0, payload_length=len(datagram), ident=0, flags=ipv4.DF, ttl=64, proto=PROTO_UDP,
        src=parse_address("10.1.0.1"), dst=parse_address("10.2.0.1"),
    )  # fmt: skip
    return header + datagram
