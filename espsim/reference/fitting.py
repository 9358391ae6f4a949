"""Path MTU: whether a packet fits, and what Linux's xfrm output does with one that doesn't, decided before sealing.

    IPv4 with DF, tunnel or BEET     PMTU: EMSGSIZE, XfrmOutStateModeError (xfrm4_tunnel_check_size)
    IPv4 with DF, transport          PMTU_SENDER: the sender gets the error, xfrm never sees the packet
    IPv4 without DF                  sealed whole, then the outer packet is fragmented
    IPv6, tunnel                     cut inside, and each fragment is sealed by itself (__xfrm6_output);
                                     PMTU_SENDER for TCP, and for a packet that is a fragment already
    IPv6, transport or BEET          sealed whole, then fragmented outside; PMTU_SENDER for TCP

The host that seals is assumed to be the sender. Outer fragments are as long as the MTU allows.

What fits inside is __xfrm_state_mtu (net/xfrm/xfrm_state.c). With an outer IPv6 header it is at least 1280, the least
MTU of a link (RFC 8200 5); outer fragments are not made for a smaller MTU either.

What this does not do: it learns no MTU from ICMP. A local sender's IPv4 datagram reaches Linux in parts that fit
inside, and leaves in those parts; here it is cut as any other packet.
"""

from __future__ import annotations

from dataclasses import dataclass

from espsim.core.numbers import PROTO_TCP
from espsim.core.verdict import OutboundVerdict
from espsim.reference.inner import flow
from espsim.sad.association import Mode, SecurityAssociation
from espsim.wire import esp, ipv4, ipv6, ipv6_fragment
from espsim.wire.split import split4, split6

LEAST6 = 1280
"""IPV6_MIN_MTU."""
_BEET_PSEUDO_HEADER = 8
_LOW = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Fit:
    """How a packet leaves. `verdict`: why it may not; None: it may. `inside`: parts that are sealed instead."""

    verdict: OutboundVerdict | None = None
    inside: tuple[bytes, ...] = ()


FITS = Fit()


def state_mtu(sa: SecurityAssociation, mtu: int) -> int:
    """__xfrm_state_mtu: the largest inner packet whose sealed packet is not longer than `mtu`; below 1: none fits."""
    if sa.keys is None:
        return mtu
    outer = 20 if len(sa.dst) == 4 else 40
    header = esp.HEADER_LENGTH + sa.keys.suite.iv_length + (8 if sa.encap else 0)
    tunnel = outer if sa.mode is Mode.TUNNEL else 0
    if sa.mode is Mode.BEET and sa.inner_ends is not None and len(sa.inner_ends[0]) == 4:
        tunnel = _BEET_PSEUDO_HEADER + (outer - 20)
    net_adjust = 0 if sa.mode is Mode.TUNNEL else outer
    return ((mtu - header - tunnel - sa.keys.icv_length - net_adjust) & ~(sa.aligned - 1)) + net_adjust - 2


def outer_mtu(sa: SecurityAssociation, mtu: int) -> int:
    """The longest packet that leaves in one piece."""
    return mtu if len(sa.dst) == 4 else max(mtu, LEAST6)


def inner_mtu(sa: SecurityAssociation, mtu: int) -> int:
    """The largest inner packet that fits, as a sender sees it (xfrm_state_mtu, xfrm_init_pmtu); 0: none fits."""
    found = state_mtu(sa, outer_mtu(sa, mtu))
    if len(sa.dst) == 16:
        found = max(found, LEAST6)
    return min(max(found, 0), outer_mtu(sa, mtu))


def fit(sa: SecurityAssociation, packet: bytes, total: int, mtu: int, ident: int) -> Fit:
    """How a clear packet leaves. `total`: the bytes of its sealed packet. `ident`: the identification of its
    fragments."""
    around = sa.mode in (Mode.TUNNEL, Mode.BEET)
    if packet[0] >> 4 == 4:
        too_long = len(packet) > inner_mtu(sa, mtu) if around else total > mtu
        if not too_long or not ipv4.flags(packet) & ipv4.DF:
            return FITS
        return Fit(OutboundVerdict.PMTU if around else OutboundVerdict.PMTU_SENDER)
    if sa.mode is not Mode.TUNNEL:
        most = outer_mtu(sa, mtu)
        whole = total <= most or (len(sa.dst) == 16 and not _is_tcp(packet) and _can_be_cut(packet, most))
        return FITS if whole else Fit(OutboundVerdict.PMTU_SENDER)
    most = inner_mtu(sa, mtu)
    if len(packet) <= most:
        return FITS
    inside = [] if _is_tcp(packet) else split6(packet, most, ident)
    return Fit(inside=tuple(inside)) if inside else Fit(OutboundVerdict.PMTU_SENDER)


def pieces(sa: SecurityAssociation, wire: bytes, mtu: int, ident: int) -> tuple[bytes, ...]:
    """The fragments in which a sealed packet leaves; empty where it leaves whole."""
    most = outer_mtu(sa, mtu)
    if len(wire) <= most:
        return ()
    return tuple(split4(wire, most) if len(sa.dst) == 4 else split6(wire, most, ident))


def ident_of(sa: SecurityAssociation, number: int) -> int:
    """The identification of fragments: another one for each sequence number."""
    return number + sa.spi & _LOW


def _can_be_cut(packet: bytes, most: int) -> bool:
    """Whether each IPv6 fragment has room for 8 bytes, after the headers that all have and the fragment header."""
    place = ipv6.transport_insertion(packet)
    return place is not None and place[0] + ipv6_fragment.HEADER_LENGTH + 8 <= most


def _is_tcp(packet: bytes) -> bool:
    facts = flow(packet)
    return facts is not None and facts[2] == PROTO_TCP
