"""Tunnel headers in both directions: ECN, DSCP, DF, TTL, flow label (RFC 4301 5.1.2 as Linux 6.1.192 does it)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from tests.support import Peer, checksum, gcm_sa, ipv4, ipv6, new_sad, udp

ADDRESSES = {"v4": ("192.0.2.1", "192.0.2.2"), "v6": ("2001:db8::1", "2001:db8::2")}
FAMILIES = list(itertools.product(["v4", "v6"], ["v4", "v6"]))
ECN = list(itertools.product(range(4), range(4)))
AF11, EF = 0x28, 0xB8


def packet_of(kind, tos=0, **fields):
    return ipv4(udp(b"data"), tos=tos, **fields) if kind == "v4" else ipv6(udp(b"data"), traffic_class=tos, **fields)


def tos_of(packet):
    return packet[1] if packet[0] >> 4 == 4 else (packet[0] << 4 | packet[1] >> 4) & 0xFF


def opened(outer, inner, outer_tos, packet, **options):
    sa = gcm_sa(*ADDRESSES[outer], **options)
    fields = {"tos": outer_tos} if outer == "v4" else {"traffic_class": outer_tos}
    received = Inbound(new_sad(sa)).receive(Peer(sa).packet(1, packet, **fields))
    assert received is not None
    assert received.verdict is Verdict.DELIVERED
    assert received.inner is not None
    if inner == "v4":
        assert checksum(received.inner[:20]) == 0
    return received.inner


def sealed(outer, packet, **options):
    sent = Outbound(new_sad(gcm_sa(*ADDRESSES[outer], **options)), bytes).send(packet)
    assert sent is not None
    assert sent.packet is not None
    return sent.packet


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
@pytest.mark.parametrize(("outside", "inside"), ECN)
class TestDecapsulation:
    def test_congestion_is_carried_in_and_nothing_else(self, outer, inner, outside, inside):
        """CE outside makes ECT(0) and ECT(1) CE; a packet without ECN stays so and is not dropped."""
        got = opened(outer, inner, EF | outside, packet_of(inner, AF11 | inside))
        assert got == packet_of(inner, AF11 | (3 if outside == 3 and inside else inside))

    def test_noecn(self, outer, inner, outside, inside):
        before = packet_of(inner, AF11 | inside)
        assert opened(outer, inner, EF | outside, before, flags=frozenset({"noecn"})) == before

    def test_decap_dscp(self, outer, inner, outside, inside):
        got = opened(outer, inner, EF | outside, packet_of(inner, AF11 | inside), flags=frozenset({"decap-dscp"}))
        assert got == packet_of(inner, EF | (3 if outside == 3 and inside else inside))
        both = frozenset({"decap-dscp", "noecn"})
        assert opened(outer, inner, EF | outside, packet_of(inner, inside), flags=both) == packet_of(inner, EF | inside)


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
@pytest.mark.parametrize(("inside", "outside"), [(0, 0), (1, 1), (2, 2), (3, 2)])
class TestEncapsulation:
    def test_dscp_is_copied_and_ce_goes_out_as_ect_0(self, outer, inner, inside, outside):
        assert tos_of(sealed(outer, packet_of(inner, EF | inside))) == EF | outside

    def test_noecn(self, outer, inner, inside, outside):
        assert tos_of(sealed(outer, packet_of(inner, EF | inside), flags=frozenset({"noecn"}))) == EF

    def test_dont_encap_dscp_leaves_ecn(self, outer, inner, inside, outside):
        options = {"extra_flags": frozenset({"dont-encap-dscp"})}
        assert tos_of(sealed(outer, packet_of(inner, EF | inside), **options)) == outside

    def test_the_inner_packet_is_untouched(self, outer, inner, inside, outside):
        sa = gcm_sa(*ADDRESSES[outer])
        before = packet_of(inner, EF | inside)
        received = Inbound(new_sad(sa)).receive(sealed(outer, before))
        assert received is not None
        assert received.inner == before


@pytest.mark.parametrize("outer", ["v4", "v6"])
@pytest.mark.parametrize("ttl", [1, 64, 255])
def test_ttl_and_hop_limit_are_64(outer, ttl):
    assert sealed(outer, ipv4(udp(b""), ttl=ttl))[8 if outer == "v4" else 7] == 64
    assert sealed(outer, ipv6(udp(b""), hops=ttl))[8 if outer == "v4" else 7] == 64


@pytest.mark.parametrize(
    ("packet", "df"),
    [(packet_of("v4"), 0), (packet_of("v4", flags=0x4000), 0x40), (packet_of("v4", flags=0x2000), 0),
     (packet_of("v6"), 0x40)],
    ids=["v4", "v4-DF", "v4-fragment", "v6"],
)  # fmt: skip
def test_df_is_copied_set_for_ipv6_and_cleared_by_nopmtudisc(packet, df):
    outer = sealed("v4", packet)
    assert (outer[6], outer[7]) == (df, 0)
    assert sealed("v4", packet, flags=frozenset({"nopmtudisc"}))[6:8] == b"\0\0"


def test_the_flow_label_is_copied_from_ipv6_alone():
    assert sealed("v6", ipv6(udp(b""), flow=0xABCDE))[1:4] == b"\x0a\xbc\xde"
    assert sealed("v6", ipv4(udp(b"")))[:4] == b"\x60\0\0\0"
    assert sealed("v6", ipv6(udp(b""), flow=0xABCDE, traffic_class=0xFD))[:4] == b"\x6f\xda\xbc\xde"


def test_outer_ipv4_headers_are_sound():
    outbound = Outbound(new_sad(gcm_sa()), bytes)
    idents = []
    for _ in range(5):
        sent = outbound.send(packet_of("v4"))
        assert sent is not None
        assert sent.packet is not None
        assert checksum(sent.packet[:20]) == 0
        assert int.from_bytes(sent.packet[2:4]) == len(sent.packet)
        assert sent.packet[9] == 50
        idents.append(sent.packet[4:6])
    assert len(set(idents)) == 5  # without DF the outer packet may be fragmented on its way


def test_outer_ipv6_length_counts_what_follows_the_header():
    packet = sealed("v6", packet_of("v4"))
    assert int.from_bytes(packet[4:6]) == len(packet) - 40
    assert packet[6] == 50


# -- RFC 6040, where it is asked for ----------------------------------------------------------------------------------

NOT_ECT, ECT_1, ECT_0, CE = range(4)
FIGURE_4: dict[int, dict[int, int | None]] = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT_0: NOT_ECT, ECT_1: NOT_ECT, CE: None},
    ECT_0: {NOT_ECT: ECT_0, ECT_0: ECT_0, ECT_1: ECT_1, CE: CE},
    ECT_1: {NOT_ECT: ECT_1, ECT_0: ECT_1, ECT_1: ECT_1, CE: CE},
    CE: {NOT_ECT: CE, ECT_0: CE, ECT_1: CE, CE: CE},
}
"""By the inner ECN, then the outer: what goes on. None: dropped."""


def packet_with_ecn(sa, outer, inner, outside, inside, number=1):
    fields: dict[str, Any] = {"tos": EF | outside} if outer == "v4" else {"traffic_class": EF | outside}
    return Peer(sa).packet(number, packet_of(inner, AF11 | inside), **fields)


def as_figure_4_says(found, inner, outside, inside):
    want = FIGURE_4[inside][outside]
    assert (found.verdict, found.counter) == (Verdict.ECN if want is None else Verdict.DELIVERED, None)
    assert found.inner == (None if want is None else packet_of(inner, AF11 | want))


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
@pytest.mark.parametrize("outside", range(4))
@pytest.mark.parametrize("inside", range(4))
def test_rfc_6040_figure_4(outer, inner, outside, inside):
    """Batches: tests/equivalence/test_pipeline_inbound.py."""
    sa = gcm_sa(*ADDRESSES[outer])
    inbound = Inbound(new_sad(sa), rfc6040=True)
    as_figure_4_says(inbound.receive(packet_with_ecn(sa, outer, inner, outside, inside)), inner, outside, inside)
    assert next(iter(inbound.sad)).packets == 1


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
@pytest.mark.parametrize("inside", range(4))
def test_rfc_6040_on_the_way_out(outer, inner, inside):
    """Normal mode: the outer header has the inner one's ECN; `noecn` still clears it."""
    for flags, want in ((frozenset(), inside), (frozenset({"noecn"}), 0)):
        sad = new_sad(gcm_sa(*ADDRESSES[outer], flags=flags))
        sent = Outbound(sad, bytes, rfc6040=True).send(packet_of(inner, AF11 | inside))
        assert sent is not None
        assert sent.packet is not None
        assert tos_of(sent.packet) == AF11 | want


def test_noecn_is_left_alone_by_rfc_6040():
    sa = gcm_sa(flags=frozenset({"noecn"}))
    packet = Peer(sa).packet(1, packet_of("v4", AF11), tos=EF | CE)
    received = Inbound(new_sad(sa), rfc6040=True).receive(packet)
    assert received is not None
    assert received.inner == packet_of("v4", AF11)
