"""What no other suite asks: SAs whose SPIs meet, in software and in modelled devices.

The kit's right answers are those of software. A case also has the answers of each device that it names, computed by the
device's model. hwmodels/ has every model's sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from espsim.analysis.kit.packets import Case, CaseSealer, CaseStep, datagram, deleting, make_case
from espsim.analysis.kit.packets import make_sa as make_any_sa
from espsim.core.address import format_address
from espsim.core.numbers import PROTO_UDP
from espsim.sad.association import Mode, SecurityAssociation

DIRECT = ("marvell-cn10k-dpdk", "marvell-cn10k-vpp", "marvell-cn10k-linux-v5")
KEYED = ("intel-82599-linux", "intel-82599-dpdk", "nvidia-mlx5-linux-packet")
EVERY = (*DIRECT, *KEYED)

_MASK = 0x100  # the direct tables here take an SPI's lowest 8 bits


def _sa(spi: int, label: str, src: str = "", dst: str = "") -> SecurityAssociation:
    """An SA in transport mode with a window of 64, which all these devices take."""
    return make_any_sa(spi, label=label, mode=Mode.TRANSPORT, src=src, dst=dst)


class _Peer(CaseSealer):
    """Sends texts under one SA."""

    def send(self, seq: int, text: str) -> bytes:
        """A datagram with the text."""
        ends = format_address(self.sa.src), format_address(self.sa.dst)
        return self.packet(seq, datagram(text, ends=ends), PROTO_UDP)


def _twins(label: str) -> tuple[SecurityAssociation, SecurityAssociation]:
    """Two SAs with one SPI, from two peers to two local addresses."""
    return _sa(0x55, f"{label} a"), _sa(0x55, f"{label} b", src="198.51.100.2", dst="192.0.2.2")


def _in_turn(name: str, *sas: SecurityAssociation, rounds: int = 3) -> list[bytes]:
    seals = [_Peer(sa) for sa in sas]
    return [seal.send(n, f"{name} {which} {n}") for n in range(1, rounds + 1) for which, seal in enumerate(seals)]


def duplicates() -> Iterator[Case]:
    """One SPI on two local addresses, and what deleting one SA does to the other."""
    about = "Two peers chose one SPI for two local addresses: each packet belongs to its own destination's SA."
    pair = _twins("duplicate")
    yield make_case("duplicate-spi", "Duplicate SPI", about, pair, _in_turn("duplicate", *pair), devices=EVERY)
    pair = _twins("same window")
    first, second = map(_Peer, pair)
    frames = [
        first.send(5, "a 5"),
        second.send(5, "b 5"),
        first.send(5, "a 5"),
        second.send(1, "b 1"),
        second.send(6, "b 6"),
    ]
    yield make_case(
        "duplicate-spi-windows",
        "Duplicate SPI, replay windows",
        "Each of the two has a window of its own: equal numbers are duplicates within one SA only.",
        pair,
        frames,
        devices=EVERY,
    )
    for ident, gone, about in (
        ("twin-deleted-newer", 1, "The newer of two SAs with one SPI is deleted: the older goes on."),
        ("twin-deleted-older", 0, "The older of two SAs with one SPI is deleted: the newer goes on."),
    ):
        pair = _twins(ident)
        case = make_case(ident, "Delete of a twin", about, pair, _in_turn(ident, *pair), devices=EVERY)
        yield deleting(case, pair[gone])


def aliases() -> Iterator[Case]:
    """Different SPIs that a masked table cannot tell apart."""
    about = "Two SPIs whose lowest 8 bits are equal, one destination: a table indexed by them has one slot for both."
    pair = _sa(0x1001, "alias a"), _sa(0x1001 + _MASK, "alias b")
    yield make_case("alias", "Alias of an SPI", about, pair, _in_turn("alias", *pair), devices=EVERY)
    three = _sa(0x1001, "alias one")
    stranger = _Peer(_sa(0x1001 + 3 * _MASK, "alias none"))
    seal = _Peer(three)
    frames = [seal.send(1, "alias own"), stranger.send(1, "alias stranger"), seal.send(2, "alias own 2")]
    yield make_case(
        "alias-of-none",
        "Alias of an SPI that no SA has",
        "No SA has the packet's SPI, but one has its lowest 8 bits: the packet has no SA.",
        three,
        frames,
        devices=EVERY,
    )


def full_tables() -> Iterator[Case]:
    """More SAs than a table has rows."""
    for count, devices in ((260, DIRECT[:2]), (1030, KEYED[:2])):
        sas = [_sa(0x1000 + n, "full") for n in range(count)]
        chosen = (0, 1, count // 2, count - 6, count - 5, count - 2, count - 1)
        frames = [_Peer(sas[n]).send(1, f"full {n}") for n in chosen]
        yield make_case(
            f"full-table-{count}",
            f"Full table ({count} SAs)",
            "Software takes every SA; a device's table is full before the last ones.",
            sas,
            frames,
            devices=devices,
        )


def rekeys() -> Iterator[Case]:
    """A new SA and the old one: packets of both arrive in turn while both are there."""
    for ident, step, about in (
        ("rekey-overlap", 1, "Old and new SA overlap: late packets of the old one are delivered beside the new one's."),
        ("rekey-overlap-alias", _MASK, "The same, and the new SPI is the old one's alias in a table of 8 bits."),
    ):
        old, new = _sa(0x1201, f"{ident} old"), _sa(0x1201 + step, f"{ident} new")
        first, second = _Peer(old), _Peer(new)
        frames = [first.send(n, f"{ident} old {n}") for n in (1, 2, 4)]
        frames += [
            second.send(1, f"{ident} new 1"),
            first.send(3, f"{ident} late"),
            second.send(2, f"{ident} new 2"),
            first.send(5, f"{ident} old 5"),
            second.send(1, f"{ident} new 1"),
        ]
        yield make_case(ident, "Rekey overlap", about, (old, new), frames, devices=EVERY)
    old, new = _sa(0x1201, "break old"), _sa(0x1201 + _MASK, "break new")
    first, second = _Peer(old), _Peer(new)
    frames = [second.send(1, "break new 1"), first.send(7, "break late"), second.send(2, "break new 2")]
    case = make_case(
        "rekey-old-deleted",
        "Rekey, the old SA deleted",
        "The old SA is gone when its last packet arrives late.",
        (old, new),
        frames,
        devices=EVERY,
    )
    yield deleting(case, old)
    same = _sa(0x1201, "first keys"), _sa(0x1201, "second keys")
    frames = [
        _Peer(same[1]).send(1, "reuse new"),
        _Peer(same[0]).send(9, "reuse old"),
        _Peer(same[1]).send(2, "reuse new 2"),
    ]
    case = deleting(
        make_case(
            "rekey-spi-reused",
            "Rekey, the SPI used again",
            "The old SA is deleted and its SPI used again with other keys: old packets fail.",
            same[0],
            frames,
            devices=EVERY,
        ),
        same[0],
    )
    yield replace(case, steps=(*case.steps, CaseStep("add", same[1])))
