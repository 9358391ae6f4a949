"""What fits a path's MTU (Linux xfrm4_tunnel_check_size, __xfrm6_output), and what leaves in its place."""

from __future__ import annotations

import struct

import pytest

from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.explain.joining import joiner_for
from espsim.reference.fitting import inner_mtu, state_mtu
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Limits, Mode, ReplayState, SecurityAssociation
from tests.support import gcm_sa, ipv4, ipv6, new_sad, suites, udp

DF = 0x4000
V6 = ("2001:db8::1", "2001:db8::2")
NATT = Encap("espinudp", 4500, 4500, bytes(16))
SUITES = suites()


def outbound(sa: SecurityAssociation, mtu: int) -> Outbound:
    return Outbound(new_sad(sa), bytes, mtu=mtu, keeps_mtu=True)


def send(sa: SecurityAssociation, packet: bytes, mtu: int):
    path = outbound(sa, mtu)
    sent = path.send(packet)
    assert sent is not None
    return sent, next(iter(path.sad))


def of(size: int, **how) -> bytes:
    """An IPv4 packet of so many bytes."""
    return ipv4(udp(bytes(size - 28)), **how)


def six(size: int, kind: int = 17) -> bytes:
    return ipv6(bytes(20) + bytes(size - 60), next_header=kind) if kind != 17 else ipv6(udp(bytes(size - 48)))


@pytest.mark.parametrize("mtu", [68, 576, 1280, 1400, 1500, 9000])
@pytest.mark.parametrize("encap", [None, NATT], ids=["bare", "udp"])
def test_the_largest_that_fits_is_the_largest(mtu, encap):
    """With every suite."""
    for name, algorithms in SUITES.items():
        sa = gcm_sa(encap=encap)
        sa = SecurityAssociation(sa.src, sa.dst, sa.spi, mode=sa.mode, algorithms=algorithms, window=64, encap=encap)
        most = inner_mtu(sa, mtu)
        assert most == max(state_mtu(sa, mtu), 0), name
        if most >= 28:
            sent, entry = send(sa, of(most, flags=DF), mtu)
            assert sent.verdict is OutboundVerdict.SEALED, name
            assert len(sent.packet) <= mtu < len(sent.packet) + sa.aligned, name
            assert not sent.pieces, name
        refused, entry = send(sa, of(max(most + 1, 28), flags=DF), mtu)
        what = refused.verdict, refused.counter, refused.packet
        assert what == (OutboundVerdict.PMTU, "XfrmOutStateModeError", None), name
        assert entry.oseq == 0, f"{name}: a packet that is refused uses up no number"


def kinds(sent) -> tuple[OutboundVerdict, int, int]:
    """(verdict, ESP packets, fragments of the first)."""
    return sent.verdict, bool(sent.packet) + len(sent.also), len(sent.pieces)


TUNNEL44, TUNNEL66, TUNNEL46, TUNNEL64 = gcm_sa(), gcm_sa(*V6), gcm_sa(*V6), gcm_sa()
TRANSPORT4 = gcm_sa("10.1.0.1", "10.2.0.1", mode=Mode.TRANSPORT)
TRANSPORT6 = gcm_sa("2001:db8:1::1", "2001:db8:2::1", mode=Mode.TRANSPORT)
SEALED, PMTU, SENDER = OutboundVerdict.SEALED, OutboundVerdict.PMTU, OutboundVerdict.PMTU_SENDER


@pytest.mark.parametrize(
    ("sa", "packet", "mtu", "want"),
    [
        (TUNNEL44, of(1446, flags=DF), 1500, (SEALED, 1, 0)),
        (TUNNEL44, of(1447, flags=DF), 1500, (PMTU, 0, 0)),
        (TUNNEL44, of(1447), 1500, (SEALED, 1, 2)),
        (TUNNEL44, of(4000), 1500, (SEALED, 1, 3)),
        (TUNNEL44, of(100), 68, (SEALED, 1, 3)),
        (TUNNEL44, of(28, flags=DF), 68, (PMTU, 0, 0)),
        (gcm_sa(flags=frozenset({"nopmtudisc"})), of(1447, flags=DF), 1500, (PMTU, 0, 0)),
        # IPv6 outside: never below 1280, neither inside nor outside.
        (TUNNEL46, of(1280, flags=DF), 1280, (SEALED, 1, 2)),
        (TUNNEL46, of(1281, flags=DF), 1280, (PMTU, 0, 0)),
        (TUNNEL46, of(1280, flags=DF), 68, (SEALED, 1, 2)),
        (TUNNEL46, of(4000), 1500, (SEALED, 1, 3)),
        # IPv6 inside a tunnel is cut before it is sealed.
        (TUNNEL66, six(1426), 1500, (SEALED, 1, 0)),
        (TUNNEL66, six(1427), 1500, (SEALED, 2, 0)),
        (TUNNEL66, six(4000), 1500, (SEALED, 3, 0)),
        (TUNNEL66, six(1427, 6), 1500, (SENDER, 0, 0)),
        (TUNNEL64, six(1447), 1500, (SEALED, 2, 0)),
        (TUNNEL64, six(100), 68, (SENDER, 0, 0)),
        (TUNNEL66, ipv6(bytes([17, 0, 0, 1]) + bytes(1496), next_header=44), 1500, (SENDER, 0, 0)),
        # Transport mode.
        (TRANSPORT4, of(1466, flags=DF), 1500, (SEALED, 1, 0)),
        (TRANSPORT4, of(1467, flags=DF), 1500, (SENDER, 0, 0)),
        (TRANSPORT4, of(1467), 1500, (SEALED, 1, 2)),
        (TRANSPORT4, of(200), 68, (SEALED, 1, 5)),
        (TRANSPORT6, six(1466), 1500, (SEALED, 1, 0)),
        (TRANSPORT6, six(1467), 1500, (SEALED, 1, 2)),
        (TRANSPORT6, six(1467, 6), 1500, (SENDER, 0, 0)),
    ],
)
def test_the_table(sa, packet, mtu, want):
    sent, entry = send(sa, packet, mtu)
    assert kinds(sent) == want
    assert entry.oseq == want[1]
    assert all(len(packet) <= max(mtu, 1280 if len(sa.dst) == 16 else 0) for packet in sent.wire())


@pytest.mark.parametrize(
    ("sa", "packet", "mtu"),
    [
        (TUNNEL44, of(4000), 68), (TUNNEL46, of(5000), 1400), (TRANSPORT6, six(5000), 1500), (TRANSPORT4, of(999), 576),
        (gcm_sa(encap=NATT), of(2000), 576), (gcm_sa(*V6, encap=NATT), of(4000), 1280),
    ],
)  # fmt: skip
def test_the_receiver_puts_fragments_together(sa, packet, mtu):
    sent, _ = send(sa, packet, mtu)
    assert len(sent.pieces) > 1
    assert opened(sa, list(sent.wire())) == [packet]


def opened(sa: SecurityAssociation, wire: list[bytes]) -> list[bytes]:
    """What a receiver delivers."""
    inbound = Inbound(new_sad(sa))
    joiner, found = joiner_for(inbound), []
    for number, packet in enumerate(wire, 1):
        taken = joiner.take(packet, number, 0)
        for whole in (packet,) if taken is None else taken.packets:
            received = inbound.receive(whole)
            assert received is not None
            assert received.verdict is Verdict.DELIVERED
            assert received.inner is not None
            found.append(received.inner)
    return found


def test_datagrams_cut_inside_are_fragments_of_one():
    packet = six(4000)
    sent, entry = send(TUNNEL66, packet, 1500)
    inside = opened(TUNNEL66, list(sent.wire()))
    assert entry.packets == 3
    assert [s.seq64 for s in (sent, *sent.also)] == [1, 2, 3]
    assert len({inner[44:48] for inner in inside}) == 1
    assert b"".join(inner[48:] for inner in inside) == packet[40:]
    assert [struct.unpack_from("!H", inner, 42)[0] for inner in inside] == [1, 1376 | 1, 2752]


def test_where_a_fragment_fails_none_follows_and_those_before_have_left():
    sa = gcm_sa(*V6, replay=ReplayState(oseq=0xFFFFFFFE))
    sent, entry = send(sa, six(4000), 1500)
    assert (sent.verdict, sent.packet, len(sent.also)) == (OutboundVerdict.SEQ_OVERFLOW, None, 1)
    assert len(list(sent.wire())) == 1
    assert list(sent.numbers()) == [(entry, 0xFFFFFFFF)]
    limited = gcm_sa(*V6, limits=Limits(hard_packets=2))
    ended = outbound(limited, 1500).send(six(4000))
    assert ended is not None
    assert (ended.verdict, len(list(ended.wire()))) == (OutboundVerdict.EXPIRED, 2)


def test_without_an_mtu_nothing_is_too_long():
    path = Outbound(new_sad(TUNNEL44), bytes)
    sent = path.send(of(9000, flags=DF))
    assert sent is not None
    assert kinds(sent) == (SEALED, 1, 0)
