"""Packets that must not be delivered, among others that must; and lifetimes.

Sources: RFC 4303 2.4 to 2.6, 3.4.4; RFC 4301 4.4.2.1 (lifetimes), 5.2; net/xfrm/xfrm_input.c, net/ipv4/esp4.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from espsim.analysis.kit.packets import CBC_SHA256, ENDS, Case, CaseSealer, clear, datagram, make_case, make_sa, wrap_ip
from espsim.core.address import parse_address
from espsim.core.numbers import PROTO_NONE, PROTO_UDP
from espsim.sad.association import Limits, Mode, SecurityAssociation, Selector
from espsim.wire import esp


def malformed() -> Iterator[Case]:
    """Trailers, lengths and modes that do not fit."""
    yield _trailers()
    yield _dummies()
    yield _lengths()
    yield _block_lengths()
    yield _modes()
    yield _selector()


def _between(seal: CaseSealer, name: str, harmed: list[bytes]) -> list[bytes]:
    """The harmed packets, with a right one before each and after the last."""
    frames: list[bytes] = []
    for n, packet in enumerate(harmed):
        frames += [seal.packet(100 + 2 * n, clear(f"{name} {n}")), packet]
    return [*frames, seal.packet(100 + 2 * len(harmed), clear(f"{name} end"))]


def _trailers() -> Case:
    sa = make_sa(label="trailer")
    seal = CaseSealer(sa)
    inner = clear("trailer")
    plaintexts = [
        inner + bytes((len(inner) + 1, 4)),  # a pad length of one more than everything before it
        inner + bytes((255, 4)),
        bytes((1, 2, 2, 4)),  # nothing inside
        inner + bytes((1, 2, 2, 59)),  # a dummy packet (RFC 4303 2.6)
    ]
    harmed = [seal.packet(101 + 2 * n, b"", plaintext=each) for n, each in enumerate(plaintexts)]
    about = "Padding longer than the packet, an empty payload, and a dummy packet (next header 59)."
    return make_case("trailer", "Negative test: trailer", about, sa, _between(seal, "trailer", harmed))


def _dummies() -> Case:
    sa = make_sa(mode=Mode.TRANSPORT, label="dummies")
    seal = CaseSealer(sa)
    frames = []
    for n in range(1, 6):
        body = datagram(f"dummies {n}", ends=ENDS[4])
        frames.append(seal.packet(n, body, PROTO_UDP if n % 2 else PROTO_NONE))
    about = "Every second packet is a dummy (next header 59), which is dropped (RFC 4303 2.6)."
    return make_case("dummies", "Dummy packets in transport mode", about, sa, frames)


def _lengths() -> Case:
    sa = make_sa(label="lengths")
    seal = CaseSealer(sa)
    whole = seal.esp(101, clear("lengths") + bytes((0, 4)))
    harmed = [seal.around(whole[:size]) for size in (7, 8, 15, 31)]
    about = "ESP of 7, 8, 15 and 31 bytes: no room for a header, an IV, an ICV."
    return make_case("lengths", "Negative test: truncated ESP", about, sa, _between(seal, "lengths", harmed))


def _block_lengths() -> Case:
    sa = make_sa(suite=CBC_SHA256, label="blocks")
    seal = CaseSealer(sa)
    inner = clear("blocks")
    whole = seal.esp(101, inner + esp.emit_trailer(len(inner), 4, sa.aligned))
    harmed = [seal.around(whole[:-n]) for n in (1, 16)]
    about = "AES-CBC packets that are cut by a byte, and by a block."
    return make_case("block-lengths", "Negative test: truncated AES-CBC", about, sa, _between(seal, "blocks", harmed))


def _modes() -> Case:
    sa = make_sa(label="mode")
    seal = CaseSealer(sa)
    body = datagram("a datagram without an IP header", ends=ENDS[4])
    harmed = [
        seal.packet(101, body, PROTO_UDP),
        seal.packet(103, clear("mode")[:19], 4),
        seal.packet(105, clear("mode", 6)[:39], 41),
    ]
    about = "In a tunnel: a datagram without an IP header, and inner packets shorter than one."
    return make_case(
        "mode", "Negative test: inner packet does not fit the mode", about, sa, _between(seal, "mode", harmed)
    )


def _selector() -> Case:
    selector = Selector(parse_address("10.1.0.0"), 16, parse_address("10.2.0.0"), 16, 17, dport=9, dport_mask=0xFFFF)
    sa = make_sa(label="selector", selector=selector)
    seal = CaseSealer(sa)
    harmed = [
        seal.packet(101, clear("other source", ends=("10.3.0.1", "10.2.0.1"))),
        seal.packet(103, clear("other port", ports=(7, 10))),
        seal.packet(105, wrap_ip(b"not UDP", 253, "10.1.0.1", "10.2.0.1")),
    ]
    about = "An inner source, a port and a protocol that the SA's selector refuses (RFC 4301 5.2)."
    return make_case("selector", "Negative test: selector", about, sa, _between(seal, "selector", harmed))


# -- lifetimes --------------------------------------------------------------------------------------------------------


def lifetimes() -> Iterator[Case]:
    """After a soft limit packets are still delivered. The packet at a hard limit is dropped, and the SA is gone."""
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "packet-soft": ("SA soft expiry with packet limit", {"soft_packets": 3}),
        "byte-soft": ("SA soft expiry with byte limit", {"soft_bytes": 150}),
        "packet-hard": ("SA hard expiry with packet limit", {"hard_packets": 3}),
        "byte-hard": ("SA hard expiry with byte limit", {"hard_bytes": 150}),
    }
    for ident, (name, limits) in kinds.items():
        yield _limited(ident, name, Limits(**limits), {})
    clock = "The times of the capture are the clock, and the SA is added at its first frame."
    yield _limited(
        "add-time-hard", "SA hard expiry with time since added", Limits(hard_add=5), {6: 3.0, 8: 3.0}, about=clock
    )
    yield _limited(
        "use-time-hard",
        "SA hard expiry with time since first use",
        Limits(hard_use=5),
        {4: 3.0, 8: 3.0},
        about=clock,
        first=2,
    )


def _limited(
    ident: str, name: str, limits: Limits, waits: dict[int, float], *, about: str = "", first: int = 0
) -> Case:
    """Packets of a limited SA and of one without limits, in turn. Those of the limited SA begin at frame `first`."""
    limited, other = make_sa(0x1001, label=ident, limits=limits), make_sa(0x1002, label=f"{ident} other")
    seal, beside = CaseSealer(limited), CaseSealer(other)
    frames = []
    for n in range(6):
        if 2 * n >= first:
            frames.append(seal.packet(100 + n, clear(f"{ident} {n}")))
        else:
            frames.append(beside.packet(2 * n + 1, clear(f"{ident} {n}")))
        frames.append(beside.packet(2 * n + 2, clear(f"{ident} other {n}")))
    sentence = "An SA with a limit and one without; the second is not affected."
    return make_case(ident, name, f"{sentence} {about}".strip(), (limited, other), frames, waits=waits)


def transport_refusals() -> Iterator[Case]:
    """Transport mode: a sealed packet sent again, and to another destination."""
    sa: SecurityAssociation = make_sa(mode=Mode.TRANSPORT, label="spoof")
    seal = CaseSealer(sa)
    body = datagram("spoof", ends=ENDS[4])
    frames = [
        seal.packet(1, body, PROTO_UDP),
        seal.packet(1, body, PROTO_UDP),
        seal.packet(2, body, PROTO_UDP, dst="192.0.2.9"),
        seal.packet(2, datagram("2", ends=ENDS[4]), PROTO_UDP),
    ]
    yield make_case(
        "transport-replay",
        "Negative test: replay in transport mode",
        "A packet twice, and to another destination.",
        sa,
        frames,
    )
