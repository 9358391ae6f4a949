"""Outer fragments (RFC 4303 3.4.1: they are put together before ESP is read), and fragments inside.

Sources: RFC 791 3.2, RFC 8200 4.5, RFC 5722 (overlapping fragments are dropped). DPDK's reassembly tests have fragments
only inside ESP; here they are inside and outside.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from espsim.analysis.kit.packets import Case, CaseSealer, clear, make_case, make_sa
from espsim.core.numbers import PROTO_FRAGMENT
from espsim.wire import ipv4, ipv6

_IDENT = 0x3001


def split(packet: bytes, pieces: int, *, ident: int = _IDENT, first: int = 0) -> list[bytes]:
    """A packet in `pieces` fragments, in order. `first`: bytes of the first one's payload; 0: equal shares."""
    head = ipv4.HEADER_LENGTH if packet[0] >> 4 == 4 else ipv6.HEADER_LENGTH
    body = packet[head:]
    share = (len(body) // pieces + 7) // 8 * 8
    cuts = [0, *((first or share) + share * n for n in range(pieces - 1))]
    ends = [*cuts[1:], len(body)]
    return [fragment(packet, start, end, end < len(body), ident) for start, end in zip(cuts, ends, strict=True)]


def fragment(packet: bytes, start: int, end: int, more: bool, ident: int) -> bytes:
    """The fragment of a packet with the payload's bytes from `start` (a multiple of 8) to `end`."""
    if packet[0] >> 4 == 4:
        head, body = packet[: ipv4.HEADER_LENGTH], packet[ipv4.HEADER_LENGTH :]
        field = (ipv4.MF if more else 0) | start // 8
        length = ipv4.HEADER_LENGTH + end - start
        head = head[:2] + struct.pack("!HHH", length, ident, field) + head[8:]
        return ipv4.with_checksum(head) + body[start:end]
    head, body = packet[: ipv6.HEADER_LENGTH], packet[ipv6.HEADER_LENGTH :]
    extension = struct.pack("!BBHI", head[ipv6.NEXT_HEADER], 0, start | more, ident)
    length = len(extension) + end - start
    head = head[:4] + struct.pack("!HB", length, PROTO_FRAGMENT) + head[7:]
    return head + extension + body[start:end]


def outer_fragments() -> Iterator[Case]:
    """ESP packets in pieces."""
    for count in (2, 4, 5):
        for version in (4, 6):
            yield _pieces(
                f"ipv{version}-{count}-fragments",
                f"IPv{version} Reassembly with {count} fragments",
                "In order.",
                version,
                count,
                order=range(count),
            )
    yield _pieces(
        "ipv4-out-of-order",
        "IPv4 Reassembly with out of order fragments",
        "The last fragment comes first.",
        4,
        4,
        order=(3, 1, 0, 2),
    )
    yield _pieces(
        "ipv6-out-of-order",
        "IPv6 Reassembly with out of order fragments",
        "The last fragment comes first.",
        6,
        4,
        order=(3, 1, 0, 2),
    )
    yield _pieces(
        "ipv4-incomplete",
        "IPv4 Reassembly with incomplete fragments",
        "One fragment never comes.",
        4,
        4,
        order=(0, 1, 3),
    )
    yield _pieces(
        "ipv4-first-of-8-bytes",
        "IPv4 Reassembly, first fragment of 8 bytes",
        "The first fragment has only the ESP header.",
        4,
        3,
        order=range(3),
        first=8,
    )
    yield _overlapping()
    yield _burst()
    yield _encapsulated()


def _pieces(
    ident: str, name: str, about: str, version: int, count: int, *, order: Sequence[int], first: int = 0
) -> Case:
    sa = make_sa(outer=version, label=ident)
    seal = CaseSealer(sa)
    parts = split(seal.packet(2, clear(f"{ident} 2", size=900)), count, first=first)
    frames = [seal.packet(1, clear(f"{ident} 1")), *(parts[n] for n in order), seal.packet(3, clear(f"{ident} 3"))]
    return make_case(ident, name, f"{about} Whole packets before and after.", sa, frames)


def _overlapping() -> Case:
    sa = make_sa(label="overlap")
    seal = CaseSealer(sa)
    packet = seal.packet(2, clear("overlap 2", size=900))
    end = len(packet) - ipv4.HEADER_LENGTH
    parts = [
        fragment(packet, 0, 400, True, _IDENT),
        fragment(packet, 320, 640, True, _IDENT),
        fragment(packet, 640, end, False, _IDENT),
    ]
    frames = [seal.packet(1, clear("overlap 1")), *parts, seal.packet(3, clear("overlap 3"))]
    return make_case(
        "ipv4-overlapping",
        "IPv4 Reassembly with overlapping fragments",
        "Fragments that overlap are dropped.",
        sa,
        frames,
    )


def _burst() -> Case:
    sa = make_sa(label="burst")
    seal = CaseSealer(sa)
    sets = [split(seal.packet(n, clear(f"burst {n}", size=900)), 4, ident=_IDENT + n) for n in (1, 2, 3)]
    frames = [parts[n] for n in range(4) for parts in sets]
    return make_case(
        "ipv4-burst",
        "IPv4 Reassembly with burst of 4 fragments",
        "Three packets; their fragments come in turn.",
        sa,
        [*frames, seal.packet(4, clear("burst 4"))],
    )


def _encapsulated() -> Case:
    sa = make_sa(natt=(4500, 4500), label="natt fragments")
    seal = CaseSealer(sa)
    parts = split(seal.packet(1, clear("natt fragments 1", size=900)), 3)
    return make_case(
        "ipv4-udp-fragments",
        "IPv4 Reassembly of UDP-encapsulated ESP",
        "Only the first fragment has the ports.",
        sa,
        [*parts, seal.packet(2, clear("natt 2"))],
    )


def inner_fragments() -> Iterator[Case]:
    """Fragments inside: a tunnel delivers each one unchanged, and puts nothing together."""
    for version in (4, 6):
        sa = make_sa(outer=version, label="inside")
        seal = CaseSealer(sa)
        parts = split(clear("inside", version, size=900), 3)
        frames = [seal.packet(n, part) for n, part in enumerate(parts, 1)]
        yield make_case(
            f"inner-ipv{version}",
            f"Fragmented packet (IPv{version})",
            "A fragment inside a tunnel is a packet like any other.",
            sa,
            frames,
        )
