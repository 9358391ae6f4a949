"""The parts of cases: SAs, clear packets, and packets sealed under an SA, right or wrong.

Every byte is derived from names, so that any two kits are equal: keys from the SA's label, IVs from the SA and the
sequence number. Everyone can read the keys in the kit. Never use them for anything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.suites import Algorithm, pack_seq_hi
from espsim.core.address import format_address, parse_address
from espsim.core.numbers import PROTO_ESP, PROTO_IPIP, PROTO_IPV6, PROTO_UDP
from espsim.sad.association import Encap, Mode, ReplayState, SecurityAssociation
from espsim.wire import esp, ipv4, ipv6, udp
from espsim.wire.checksum import internet_checksum

ENDS = {4: ("198.51.100.1", "192.0.2.1"), 6: ("2001:db8:1::1", "2001:db8:2::1")}
"""The peer and this host, by IP version."""

INSIDE = {4: ("10.1.0.1", "10.2.0.1"), 6: ("2001:db8:a::1", "2001:db8:b::1")}
"""The source and destination of the clear packets in tunnels, by IP version."""

_LOW = 0xFFFFFFFF
GCM = (("aead", "rfc4106(gcm(aes))", 20, 128),)
CBC_SHA256 = (("enc", "cbc(aes)", 16, 0), ("auth-trunc", "hmac(sha256)", 32, 128))

Words = tuple[tuple[str, str, int, int], ...]
"""Algorithms: (kind, Linux name, bytes of key and salt, ICV bits)."""


def make_key(length: int, label: str) -> bytes:
    """A test key. It is public, and always the same for a label."""
    return hashlib.shake_256(f"espsim kit, a key that everyone knows: {label}".encode()).digest(length)


def make_sa(
    spi: int = 0x1001,
    outer: int = 4,
    suite: Words = GCM,
    *,
    label: str = "",
    src: str = "",
    dst: str = "",
    start: int = 0,
    natt: tuple[int, int] | None = None,
    flags: Iterable[str] = (),
    window: int = 64,
    mode: Mode = Mode.TUNNEL,
    **options: Any,
) -> SecurityAssociation:
    """An inbound SA. `start`: with ESN, the receiver starts with the high half of this 64-bit number."""
    named = f"{label} {spi}"
    algorithms = tuple(
        Algorithm(kind, name, make_key(size, f"{named} {kind}"), bits) for kind, name, size, bits in suite
    )
    return SecurityAssociation(
        parse_address(src or ENDS[outer][0]),
        parse_address(dst or ENDS[outer][1]),
        spi,
        mode=mode,
        algorithms=algorithms,
        window=window,
        flags=frozenset(flags),
        replay=ReplayState(seq_hi=start >> 32, stated=True),
        encap=Encap("espinudp", *natt, bytes(4)) if natt else None,
        **options,
    )


# -- clear packets ----------------------------------------------------------------------------------------------------


def datagram(
    text: str, version: int = 4, *, ends: tuple[str, str] | None = None, ports: tuple[int, int] = (7, 9), size: int = 0
) -> bytes:
    """UDP with its checksum around a text, at least `size` bytes. The text makes every clear packet of a kit unique."""
    src, dst = map(parse_address, ends or INSIDE[version])
    payload = text.encode().ljust(size, b".")
    if version == 6:
        return udp.emit(*ports, payload, (src, dst))
    bare = udp.emit(*ports, payload)
    checksum = internet_checksum(src + dst + bytes((0, PROTO_UDP)) + bare[4:6] + bare) or 0xFFFF
    return bare[:6] + checksum.to_bytes(2) + bare[8:]


def clear(
    text: str,
    version: int = 4,
    *,
    tos: int = 0,
    flags: int = 0,
    flow: int = 0,
    ttl: int = 63,
    ends: tuple[str, str] | None = None,
    ports: tuple[int, int] = (7, 9),
    size: int = 0,
) -> bytes:
    """A whole clear packet: IP, UDP, and a text that names the case and the packet."""
    body = datagram(text, version, ends=ends, ports=ports, size=size)
    return wrap_ip(body, PROTO_UDP, *(ends or INSIDE[version]), tos=tos, flags=flags, flow=flow, ttl=ttl)


def wrap_ip(
    body: bytes,
    proto: int,
    src: str,
    dst: str,
    *,
    tos: int = 0,
    flags: int = 0,
    flow: int = 0,
    ttl: int = 63,
    ident: int = 1,
    options: bytes = b"",
) -> bytes:
    """An IP header before a body. `options`: IPv4 options, or IPv6 extension headers already chained to `proto`."""
    ends = parse_address(src), parse_address(dst)
    if len(ends[0]) == 16:
        head = ipv6.emit(
            traffic_class=tos,
            flow=flow,
            payload_length=len(options) + len(body),
            next_header=proto,
            hops=ttl,
            src=ends[0],
            dst=ends[1],
        )
        return head + options + body
    length = len(options) + len(body)
    head = ipv4.emit(
        tos=tos, payload_length=length, ident=ident, flags=flags, ttl=ttl, proto=proto, src=ends[0], dst=ends[1]
    )
    if options:
        head = ipv4.with_checksum(bytes((0x45 + len(options) // 4,)) + head[1:] + options)
    return head + body


# -- sealed packets ---------------------------------------------------------------------------------------------------


class CaseSealer:
    """Seals packets under one SA, right or wrong."""

    def __init__(self, sa: SecurityAssociation) -> None:
        if sa.keys is None:
            raise ValueError(f"{sa.name} has no keys")
        self.sa, self._keys = sa, sa.keys
        self._transform = CryptographyEngine().transform(sa.keys)
        self._mask = int.from_bytes(hashlib.sha256(f"espsim kit iv {sa.name}".encode()).digest()[:8])

    def esp(self, seq64: int, plaintext: bytes) -> bytes:
        """ESP from SPI to ICV, for any plaintext with its trailer."""
        header = esp.emit(self.sa.spi, seq64 & _LOW)
        iv = (self._mask ^ seq64).to_bytes(8)
        size = self._keys.suite.iv_length
        iv = hashlib.sha256(iv).digest()[:size] if size > 8 else iv[:size]
        seq_hi = pack_seq_hi(seq64) if self.sa.esn else b""
        return header + iv + self._transform.seal(header, seq_hi, iv, plaintext)

    def packet(
        self, seq64: int, inner: bytes, next_header: int | None = None, *, plaintext: bytes | None = None, **outer: Any
    ) -> bytes:
        """A whole packet. `plaintext` replaces payload and trailer. `outer` sets fields of the outer header."""
        if plaintext is None:
            if next_header is None:
                next_header = PROTO_IPIP if inner[0] >> 4 == 4 else PROTO_IPV6
            plaintext = inner + esp.emit_trailer(len(inner), next_header, self.sa.aligned)
        return self.around(self.esp(seq64, plaintext), **outer)

    def around(self, sealed: bytes, *, natt: tuple[int, int] | Literal["sa"] | None = "sa", **outer: Any) -> bytes:
        """ESP with its outer headers. `natt`: the UDP ports; None: no UDP; "sa": as the SA states."""
        encap = self.sa.encap
        ports = natt if natt != "sa" else (encap.sport, encap.dport) if encap is not None else None
        ends = {"src": format_address(self.sa.src), "dst": format_address(self.sa.dst)} | outer
        proto = PROTO_ESP
        if ports is not None:
            addresses = (parse_address(ends["src"]), parse_address(ends["dst"]))
            sealed = udp.emit(*ports, sealed, addresses if len(self.sa.dst) == 16 else None)
            proto = PROTO_UDP
        return wrap_ip(sealed, ends.pop("proto", proto), **{"ttl": 64, **ends})


# -- cases ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One command of a case's SAs: `add` an SA, or `delete` one."""

    verb: Literal["add", "delete"]
    sa: SecurityAssociation


@dataclass(frozen=True, slots=True)
class Case:
    """Packets, the SAs that they meet, and what the case asks.

    `name` is DPDK's name of the test if it has this test. `ident` is the folder's name. `frames` are whole IP packets.
    `waits` has, by index, the seconds before a frame (else a millisecond). `known` has, by index, the inner packet that
    is published. `devices` are the models that the case is about.
    """

    ident: str
    name: str
    about: str
    steps: tuple[CaseStep, ...]
    frames: tuple[bytes, ...]
    source: str = ""
    waits: dict[int, float] = field(default_factory=dict)
    known: dict[int, bytes] = field(default_factory=dict)
    devices: tuple[str, ...] = ()


def make_case(
    ident: str,
    name: str,
    about: str,
    sas: SecurityAssociation | Iterable[SecurityAssociation],
    frames: Iterable[bytes],
    **more: Any,
) -> Case:
    """A case whose SAs are all added before its first packet."""
    each = (sas,) if isinstance(sas, SecurityAssociation) else sas
    return Case(ident, name, about, tuple(CaseStep("add", sa) for sa in each), tuple(frames), **more)


def deleting(case: Case, *sas: SecurityAssociation) -> Case:
    """The case with some SAs deleted before its first packet."""
    return replace(case, steps=(*case.steps, *(CaseStep("delete", sa) for sa in sas)))
