"""Any outbound SAs and any clear packets, over few addresses, so that selectors overlap."""

from __future__ import annotations

import contextlib
import random
from typing import Any

from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.core.errors import XfrmError
from espsim.sad.association import Direction, Encap, Limits, Mark, Mode, ReplayState, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from tests.equivalence.any_traffic import LATE_LIMITS
from tests.support import extension, fragment_header, ipv4, ipv6, suites, udp

SUITES = suites()
NAMES = [
    "rfc4106(gcm(aes))-128-128", "rfc4106(gcm(aes))-256-64", "rfc4543(gcm(aes))-128-128", "rfc4309(ccm(aes))-128-96",
    "rfc7539esp(chacha20,poly1305)-256-128", "cbc(aes)-hmac(sha1)-96", "cbc(aes)-digest_null-0",
    "ecb(cipher_null)-hmac(sha256)-128", "cbc(aes)-hmac(sha512)-512", "cbc(des3_ede)-hmac(md5)-96",
    "rfc3686(ctr(aes))-xcbc(aes)-96", "rfc3686(ctr(aes))-digest_null-0", "cbc(camellia)-cmac(aes)-96",
    "iiv(rfc4106(gcm(aes)))-128-128", "iiv(rfc7539esp(chacha20,poly1305))-256-128",
]  # fmt: skip
V4 = ["10.1.0.1", "10.1.0.2"]
V6 = ["2001:db8:1::1", "2001:db8:1::2"]
M32, WRAP = 0xFFFFFFFF, 1 << 32


def constant(size: int) -> bytes:
    """Every draw gives the same bytes, so that the order in which paths draw does not matter."""
    return b"\xa7" * size


# -- SAs --------------------------------------------------------------------------------------------------------------


PREFIXES = {4: [0, 0, 0, 16, 1, 30, 31, 32], 16: [0, 0, 0, 16, 1, 64, 65, 126, 127, 128]}
PORTS = st.sampled_from([(0, 0), (0, 0), (0, 0), (1000, 0xFFFF), (8, 0xFF00), (0x03FF, 0xFFFF), (1000, 0xFE00)])


@st.composite
def selectors(draw: st.DrawFn) -> Selector:
    if draw(st.booleans()):
        return Selector()
    names = draw(st.sampled_from([V4, V4, V6]))
    src, dst = (parse_address(draw(st.sampled_from(names))) for _ in range(2))
    if draw(st.integers(0, 15)) == 15:
        dst = parse_address(draw(st.sampled_from(V4 + V6)))
    bits = [draw(st.sampled_from(PREFIXES[len(address)])) for address in (src, dst)]
    sport, dport = draw(PORTS), draw(PORTS)
    if dport[0] == 1000:
        dport = (2000, dport[1])
    return Selector(src, bits[0], dst, bits[1], draw(st.sampled_from([0, 0, 0, 17, 1, 6])), *sport, *dport)


LIMITS = st.sampled_from(
    [Limits(hard_packets=2, soft_packets=1), Limits(hard_bytes=99), Limits(hard_add=4), Limits(hard_use=2),
     Limits(soft_bytes=50)]
)  # fmt: skip
ENCAPS = st.sampled_from(
    [None] * 4 + [Encap("espinudp", 4500, 4500, bytes(16)), Encap("espinudp", 1000, 2000, bytes(16)),
                  Encap("espintcp", 9, 9, bytes(16))]
)  # fmt: skip
FLAGS: list[set[str]] = [set(), set(), {"noecn"}, {"nopmtudisc"}, {"noecn", "nopmtudisc"}]
EXTRA: list[set[str]] = [set(), set(), {"dont-encap-dscp"}, {"oseq-may-wrap"}, {"dont-encap-dscp", "oseq-may-wrap"}]
ANY_MODE = [Mode.TUNNEL, Mode.TUNNEL, Mode.TUNNEL, Mode.TRANSPORT, Mode.TRANSPORT, Mode.BEET, Mode.ANY]


@st.composite
def sas(draw: st.DrawFn, *, limited: int = 8, spi: int = 0x1001, late: bool = False) -> SecurityAssociation:
    """An SA. One in `limited` has a lifetime; with `late` every one has, and it ends after some batches."""
    mode = draw(st.sampled_from(ANY_MODE if draw(st.integers(0, 7)) == 7 else ANY_MODE[:5]))
    names = draw(st.sampled_from([V4, V4, V6]))
    esn = draw(st.booleans())
    top = WRAP * WRAP if esn else WRAP
    oseq = draw(st.sampled_from([0, 5, 0, 7, top - 1, top - 2, top - 6, WRAP - 3, WRAP // 2]))
    return SecurityAssociation(
        parse_address(draw(st.sampled_from(names))), parse_address(draw(st.sampled_from(names))), spi, mode=mode,
        algorithms=SUITES[draw(st.sampled_from(NAMES))] if draw(st.integers(0, 19)) != 19 else (),
        dir=draw(st.sampled_from([None] * 6 + [Direction.OUT, Direction.IN])),
        mark=draw(st.sampled_from([Mark()] * 9 + [Mark(5, 7)])),
        window=32, flags=frozenset(({"esn"} if esn else set()) | draw(st.sampled_from(FLAGS))),
        extra_flags=frozenset(draw(st.sampled_from(EXTRA))), encap=draw(ENCAPS),
        tfcpad=draw(st.sampled_from([0, 0, 0, 1, 90, 4000])) if mode is Mode.TUNNEL else 0,
        selector=draw(selectors()),
        limits=draw(LATE_LIMITS) if late else draw(LIMITS) if draw(st.integers(0, limited)) == 1 else Limits(),
        replay=ReplayState(oseq=oseq & M32, oseq_hi=oseq >> 32),
    )  # fmt: skip


def sads(*, limited: int = 8, most: int = 6, late: bool = False) -> st.SearchStrategy[list[SecurityAssociation]]:
    """Lists of SAs, each with an SPI of its own."""
    return (
        st.integers(1 if late else 0, most)
        .flatmap(lambda n: st.tuples(*(sas(limited=limited, spi=0x1001 + k, late=late) for k in range(n))))
        .map(list)
    )


def make(chosen: list[SecurityAssociation]) -> Sad:
    """The same SAD every time."""
    sad = Sad(rng=random.Random(1))
    for sa in chosen:
        with contextlib.suppress(XfrmError):
            sad.newsa(sa)
    return sad


def state_of(sad: Sad, entries: list[SadEntry]) -> list[Any]:
    """Everything that packets may move, SA by SA."""
    return [(e in sad, e.state, e.oseq, e.packets, e.bytes, e.used, e.dying, e.window.top) for e in entries]


# -- packets ----------------------------------------------------------------------------------------------------------


@st.composite
def ipv4_packets(draw: st.DrawFn) -> bytes:
    proto = draw(st.sampled_from([17, 17, 1, 6, 58, 132, 99]))
    body = draw(st.sampled_from([udp(b"some data"), udp(b"", 8, 0), bytes(1), b"", udp(bytes(70), 0x03FF, 2001)]))
    options = b"\x01" * draw(st.sampled_from([0, 0, 0, 4, 40]))
    total = draw(st.sampled_from([None] * 6 + [20, 19, 0, 30, 900]))
    packet = ipv4(
        body, src=draw(st.sampled_from(V4)), dst=draw(st.sampled_from(V4)), proto=proto,
        tos=draw(st.sampled_from([0, 1, 2, 3, 0xB9, 0xFF])), options=options, total=total,
        flags=draw(st.sampled_from([0, 0, 0, 0x4000, 0x4000, 0x4000, 0x2000, 0x0005, 0x6001, 0x8000])),
    )  # fmt: skip
    return draw(harmed(packet))


@st.composite
def ipv6_packets(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([17, 17, 58, 6, 59, 99]))
    payload = draw(st.sampled_from([udp(b"some data"), udp(b"", 8, 0), b"", bytes(3), udp(bytes(70), 0x03FF, 2001)]))
    for header in draw(st.lists(st.sampled_from([0, 43, 60, 60, 44]), max_size=4)):
        if header == 44:
            payload = fragment_header(kind, draw(st.sampled_from([0, 0, 3])), more=draw(st.booleans())) + payload
        else:
            payload = extension(kind, draw(st.sampled_from([8, 16]))) + payload
        kind = header
    packet = ipv6(
        payload, src=draw(st.sampled_from(V6)), dst=draw(st.sampled_from(V6)), next_header=kind,
        traffic_class=draw(st.sampled_from([0, 3, 0xB9])), flow=draw(st.sampled_from([0, 0xFFFFF, 0x12345])),
        length=draw(st.sampled_from([None] * 6 + [0, 3, 20, 900])),
    )  # fmt: skip
    return draw(harmed(packet))


@st.composite
def harmed(draw: st.DrawFn, packet: bytes) -> bytes:
    """Mostly the packet unchanged; else padded by a link layer, cut, or with a changed byte."""
    harm, at = draw(st.sampled_from([""] * 6 + ["pad", "cut", "byte"])), draw(st.integers(0, max(len(packet) - 1, 0)))
    if harm == "pad":
        return packet + bytes(at % 20)
    if harm == "cut":
        return packet[:at]
    return packet[:at] + bytes((draw(st.integers(0, 255)),)) + packet[at + 1 :] if harm == "byte" else packet


PACKETS = st.integers(0, 11).flatmap(
    lambda n: ipv4_packets() if n < 7 else ipv6_packets() if n < 11 else st.binary(max_size=70)
)
WAITS = st.sampled_from([0.0, 0.0, 0.25, 1.5])
TRAFFIC = st.lists(st.tuples(PACKETS, WAITS), min_size=5, max_size=40)
PLAIN = st.builds(
    lambda src, dst, size: ipv4(udp(bytes(size)), src=src, dst=dst), st.sampled_from(V4), st.sampled_from(V4),
    st.integers(0, 60),
)  # fmt: skip
LONG_TRAFFIC = st.lists(
    st.tuples(st.one_of(PLAIN, PLAIN, PLAIN, PACKETS), st.sampled_from([0.25, 0.5, 0.0])), min_size=50, max_size=60
)
"""Packets that some SA mostly takes: so that limits which are not near are met."""


def timed(traffic: list[tuple[bytes, float]]) -> tuple[list[bytes], list[float]]:
    """Packets, and the times at which they are sent."""
    times, now = [], 0.0
    for _, wait in traffic:
        now += wait
        times.append(now)
    return [packet for packet, _ in traffic], times


LONG = st.builds(
    lambda kind, size, df, extra: (
        ipv4(udp(bytes(size), 1000, 2000), src=V4[0], dst=V4[1], flags=0x4000 * df, options=b"\x01" * (4 * extra))
        if kind == 4
        else ipv6(udp(bytes(size), 1000, 2000) if not extra else bytes(20 + size), src=V6[0], dst=V6[1],
                  next_header=6 if extra else 17)
    ),
    st.sampled_from([4, 6]), st.integers(0, 4000) | st.integers(1180, 1470), st.booleans(), st.integers(0, 1),
)  # fmt: skip
"""Packets around the path's MTU."""
