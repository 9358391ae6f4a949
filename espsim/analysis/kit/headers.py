"""Modes, outer headers and UDP encapsulation: which parts of the outer header reach the inner packet.

Sources: RFC 4301 5.1.2 (headers), RFC 3948 (UDP), RFC 4303 3.3.3 and 2.7 (padding, TFC); for Linux's ECN and DSCP,
net/xfrm/xfrm_input.c. A receiver copies neither DF nor the flow label into the inner packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espsim.analysis.kit.packets import (
    CBC_SHA256,
    ENDS,
    INSIDE,
    Case,
    CaseSealer,
    clear,
    datagram,
    make_case,
    make_sa,
)
from espsim.core.numbers import PROTO_DSTOPTS, PROTO_HOP_BY_HOP, PROTO_UDP
from espsim.sad.association import Direction, Mode
from espsim.wire import ipv4

DF = ipv4.DF


def modes() -> Iterator[Case]:
    """Tunnels with each family inside and outside, and transport mode."""
    for inner, outer in ((4, 4), (6, 6), (4, 6), (6, 4)):
        sa = make_sa(outer=outer, label=f"{inner}in{outer}")
        seal = CaseSealer(sa)
        frames = [seal.packet(n, clear(f"tunnel {inner}in{outer} {n}", inner, size=100 * n)) for n in (1, 2, 3)]
        yield make_case(
            f"tunnel-ipv{inner}-in-ipv{outer}",
            f"Tunnel IPv{inner} in IPv{outer}",
            "Three sizes through a tunnel.",
            sa,
            frames,
        )
    for version in (4, 6):
        yield _transport(version)
    yield _transport_options()
    yield _transport_extensions()
    yield _padding()
    sa = make_sa(suite=CBC_SHA256, label="tfc")
    seal = CaseSealer(sa)
    frames = [seal.packet(1, clear("tfc 1") + bytes(200), 4), seal.packet(2, clear("tfc 2"))]
    yield make_case(
        "tfc-padding",
        "Tunnel, traffic flow confidentiality padding",
        "200 bytes after the inner packet are cut off (RFC 4303 2.7).",
        sa,
        frames,
    )


def _transport(version: int) -> Case:
    sa = make_sa(outer=version, mode=Mode.TRANSPORT, label="transport")
    seal = CaseSealer(sa)
    frames = [
        seal.packet(n, datagram(f"transport {n}", version, ends=ENDS[version], size=100 * n), PROTO_UDP)
        for n in (1, 2, 3)
    ]
    return make_case(
        f"transport-ipv{version}",
        f"Transport IPv{version}",
        "ESP is removed; length, protocol and checksum of the IP header are set.",
        sa,
        frames,
    )


def _transport_options() -> Case:
    sa = make_sa(mode=Mode.TRANSPORT, label="options")
    seal = CaseSealer(sa)
    frames = [
        seal.packet(n, datagram(f"options {n}", ends=ENDS[4]), PROTO_UDP, options=b"\x01" * (4 * n), tos=0xB8)
        for n in (1, 2)
    ]
    return make_case(
        "transport-ipv4-options",
        "Transport IPv4, IP options",
        "IP options and TOS stay in the delivered packet's header.",
        sa,
        frames,
    )


def _transport_extensions() -> Case:
    sa = make_sa(outer=6, mode=Mode.TRANSPORT, label="extensions")
    seal = CaseSealer(sa)
    pad = bytes((1, 4)) + bytes(4)
    esp_after = bytes((50, 0)) + pad
    hop: dict[str, Any] = {"options": esp_after, "proto": PROTO_HOP_BY_HOP}
    both: dict[str, Any] = {"options": bytes((PROTO_DSTOPTS, 0)) + pad + esp_after, "proto": PROTO_HOP_BY_HOP}
    frames = [
        seal.packet(1, datagram("hop-by-hop", 6, ends=ENDS[6]), PROTO_UDP, **hop),
        seal.packet(2, datagram("two headers", 6, ends=ENDS[6]), PROTO_UDP, **both),
    ]
    return make_case(
        "transport-ipv6-extensions",
        "Transport IPv6, extension headers",
        "Hop-by-hop and destination options before ESP stay.",
        sa,
        frames,
    )


def _padding() -> Case:
    sa = make_sa(label="padding")
    seal = CaseSealer(sa)
    inner = [clear(f"padding {n}", size=10 + n) for n in range(4)]
    tails = [bytes((9, 9, 2, 4)), bytes(255) + bytes((255, 4)), bytes((0, 4)), bytes((7,)) * 7 + bytes((7, 4))]
    frames = [
        seal.packet(n, one, plaintext=one + tail) for n, (one, tail) in enumerate(zip(inner, tails, strict=True), 1)
    ]
    return make_case(
        "padding",
        "Tunnel, odd padding",
        "Padding that is not 1, 2, 3, has 255 bytes, or is not aligned: Linux checks only its length.",
        sa,
        frames,
    )


# -- outer header fields ----------------------------------------------------------------------------------------------


def dont_fragment() -> Iterator[Case]:
    """DPDK's DF tests, seen from the receiver: the inner bit stays what it is."""
    sa = make_sa(label="df")
    seal = CaseSealer(sa)
    names = {
        (0, 0): "copy DF (inner 0)",
        (1, 1): "copy DF (inner 1)",
        (0, 1): "set DF 0 (inner 1)",
        (1, 0): "set DF 1 (inner 0)",
    }
    for (outer, inner), name in names.items():
        frames = [seal.packet(n, clear(f"df {name} {n}", flags=DF * inner), flags=DF * outer) for n in (1, 2)]
        yield make_case(
            f"outer-{outer}-inner-{inner}",
            f"Tunnel header {name}",
            "The inner DF bit is delivered as it was sealed.",
            sa,
            frames,
        )


def dscp_and_ecn() -> Iterator[Case]:
    """DSCP with and without `decap-dscp`, and every pair of ECN values."""
    for version in (4, 6):
        for flags, name in (((), "set DSCP, inner stays"), (("decap-dscp",), "copy DSCP to the inner header")):
            sa = make_sa(outer=version, label=name, flags=flags)
            seal = CaseSealer(sa)
            frames = [
                seal.packet(n, clear(f"dscp {n}", version, tos=inner << 2), tos=outer << 2)
                for n, (outer, inner) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0), (46, 10)), 1)
            ]
            which = "decap-dscp" if flags else "plain"
            yield make_case(
                f"dscp-ipv{version}-{which}",
                f"Tunnel header IPv{version} {name}",
                "DSCP 0 and 1 outside and inside; the SA's flag decides.",
                sa,
                frames,
            )
        for ecn_flags in ((), ("noecn",)):
            yield _ecn(version, ecn_flags)


def _ecn(version: int, flags: tuple[str, ...]) -> Case:
    sa = make_sa(outer=version, label="ecn", flags=flags)
    seal = CaseSealer(sa)
    pairs = [(outer, inner) for outer in range(4) for inner in range(4)]
    frames = [
        seal.packet(n, clear(f"ecn {outer} {inner}", version, tos=inner), tos=outer)
        for n, (outer, inner) in enumerate(pairs, 1)
    ]
    which = "noecn" if flags else "plain"
    about = "Outer CE marks an inner ECT packet CE; an inner packet without ECT stays, and is delivered."
    return make_case(f"ecn-ipv{version}-{which}", f"Tunnel header IPv{version} ECN ({which})", about, sa, frames)


def flow_label() -> Iterator[Case]:
    """DPDK's flow label tests, seen from the receiver: the inner label stays what it is."""
    sa = make_sa(outer=6, label="flow")
    seal = CaseSealer(sa)
    names = {
        (0, 0): "copy FLABEL (inner 0)",
        (1, 1): "copy FLABEL (inner 1)",
        (0, 1): "set FLABEL 0 (inner 1)",
        (1, 0): "set FLABEL 1 (inner 0)",
    }
    for (outer, inner), name in names.items():
        frames = [
            seal.packet(n, clear(f"flow {name} {n}", 6, flow=inner * 0x12345), flow=outer * 0xABCDE) for n in (1, 2)
        ]
        yield make_case(
            f"outer-{outer}-inner-{inner}",
            f"Tunnel header IPv6 {name}",
            "The inner flow label is delivered as it was sealed.",
            sa,
            frames,
        )


def ttl() -> Iterator[Case]:
    """A receiver leaves the inner TTL as it is: forwarding counts it down."""
    for version, field in ((4, "TTL"), (6, "hop limit")):
        sa = make_sa(outer=version, label="ttl")
        seal = CaseSealer(sa)
        frames = [
            seal.packet(n, clear(f"ttl {n}", version, ttl=inner), ttl=outer)
            for n, (outer, inner) in enumerate(((64, 1), (1, 64), (255, 0)), 1)
        ]
        yield make_case(
            f"ttl-ipv{version}",
            f"Tunnel header IPv{version} inner {field}",
            f"The inner {field} is delivered as it was sealed.",
            sa,
            frames,
        )


# -- UDP --------------------------------------------------------------------------------------------------------------


def encapsulation() -> Iterator[Case]:
    """RFC 3948, and packets with another encapsulation than their SA's."""
    for version in (4, 6):
        sa = make_sa(outer=version, natt=(4500, 4500), label="natt")
        seal = CaseSealer(sa)
        frames = [seal.packet(n, clear(f"udp {n}", version)) for n in (1, 2)]
        frames.append(seal.packet(3, clear("udp moved", version), natt=(31002, 4500)))
        yield make_case(
            f"udp-ipv{version}",
            f"UDP encapsulation (IPv{version})",
            "Port 4500. A peer with a new source port is still accepted.",
            sa,
            frames,
        )
    sa = make_sa(natt=(4650, 4660), label="custom ports")
    seal = CaseSealer(sa)
    yield make_case(
        "udp-custom-ports",
        "UDP encapsulation with custom ports",
        "Ports 4650 and 4660, as the SA states.",
        sa,
        [seal.packet(n, clear(f"custom {n}")) for n in (1, 2)],
    )
    sa = make_sa(natt=(4500, 4500), mode=Mode.TRANSPORT, label="natt transport")
    seal = CaseSealer(sa)
    yield make_case(
        "udp-transport",
        "UDP encapsulation, transport mode",
        "UDP and ESP are removed.",
        sa,
        [seal.packet(n, datagram(f"{n}", ends=ENDS[4]), PROTO_UDP) for n in (1, 2)],
    )
    wrapped, bare = make_sa(0x1001, natt=(4500, 4500), label="with"), make_sa(0x1002, label="without")
    first, second = CaseSealer(wrapped), CaseSealer(bare)
    frames = [
        first.packet(1, clear("verify 1")),
        first.packet(2, clear("verify bare"), natt=None),
        second.packet(1, clear("verify 2")),
        second.packet(2, clear("verify in udp"), natt=(4500, 4500)),
        first.packet(3, clear("verify 3")),
    ]
    yield make_case(
        "udp-mismatch",
        "UDP encapsulation ports verification test",
        "A bare packet for an SA with encapsulation, and the reverse, are refused.",
        (wrapped, bare),
        frames,
    )


def own_traffic() -> Iterator[Case]:
    """A capture taken on the host itself: it also has the packets that the host sent."""
    ours, theirs = ENDS[4][1], ENDS[4][0]
    inbound = make_sa(0x1001, label="in", dir=Direction.IN)
    outbound = make_sa(0x2002, label="out", dir=Direction.OUT, src=ours, dst=theirs, window=0)
    receive, send = CaseSealer(inbound), CaseSealer(outbound)
    frames = [
        send.packet(7, clear("own 7", ends=INSIDE[4][::-1])),
        receive.packet(1, clear("received 1")),
        send.packet(8, clear("own 8", ends=INSIDE[4][::-1])),
        send.packet(7, clear("own 7", ends=INSIDE[4][::-1])),
        receive.packet(1, clear("received 1")),
        send.packet(9, clear("from elsewhere", ends=INSIDE[4][::-1]), src="203.0.113.9"),
        receive.packet(2, clear("received 2")),
    ]
    about = (
        "What the host sent is opened under its outbound SA (`dir out`), no window is asked and no counter moves; the"
        " outbound SA opens nothing that came from elsewhere."
    )
    yield make_case("both-directions", "Own traffic in the capture", about, (inbound, outbound), frames)


def tunnel_addresses() -> Iterator[Case]:
    """The questions of DPDK's tunnel header checks, with Linux's answers."""
    sa = make_sa(label="addresses")
    seal = CaseSealer(sa)
    frames = [
        seal.packet(1, clear("dst 1")),
        seal.packet(2, clear("dst wrong"), dst="192.0.2.9"),
        seal.packet(3, clear("dst 3")),
    ]
    yield make_case(
        "destination",
        "Tunnel dst addr verification",
        "An SA is found by SPI and destination: another destination finds none.",
        sa,
        frames,
    )
    frames = [seal.packet(1, clear("src 1")), seal.packet(2, clear("src other"), src="203.0.113.77")]
    yield make_case(
        "source",
        "Tunnel src and dst addr verification",
        "Another source is accepted: the ICV shows who sealed it (RFC 4301 4.1: unicast needs no source).",
        sa,
        frames,
    )
    ends = INSIDE[4]
    about = "One SPI, two peers, two local addresses: each packet meets the keys of its own destination."
    pair = (make_sa(0x55, label="a"), make_sa(0x55, label="b", src="198.51.100.2", dst="192.0.2.2"))
    a, b = map(CaseSealer, pair)
    frames = [
        a.packet(1, clear("to a", ends=ends)),
        b.packet(1, clear("to b")),
        a.packet(2, clear("to a again")),
        b.packet(2, clear("to b again")),
    ]
    yield make_case("two-destinations", "Tunnel dst addr verification, one SPI twice", about, pair, frames)
