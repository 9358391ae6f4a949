"""Seal and open: every suite, mode, family, ESN and encapsulation, one packet and streams around 2^32."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.address import format_address, parse_address
from espsim.core.verdict import REPLAY_VERDICTS, OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, IptfsOptions, Mode, ReplayState, SecurityAssociation, Selector
from tests.examples import examples
from tests.support import each_suite, gcm_sa, ipv4, ipv6, new_sad, suites, udp

SUITES = suites()
ADDRESSES = {"v4": ("192.0.2.1", "192.0.2.2"), "v6": ("2001:db8::1", "2001:db8::2")}
ENCAP = Encap("espinudp", 4500, 31002, bytes(16))
SHAPES = [
    (mode, outer, inner)
    for mode, outer, inner in itertools.product((Mode.TRANSPORT, Mode.TUNNEL, Mode.BEET), ADDRESSES, ADDRESSES)
    if mode is not Mode.TRANSPORT or outer == inner
]
INSIDE = {"v4": (parse_address("10.1.0.1"), parse_address("10.2.0.1"), 32),
          "v6": (parse_address("fd00::1"), parse_address("fd00::2"), 128)}  # fmt: skip


def make_sa(suite, mode, outer, *, esn, encap, oseq=0, inner="v4"):
    src, dst = map(parse_address, ADDRESSES[outer])
    one, other, bits = INSIDE[inner]
    return SecurityAssociation(
        src, dst, 0x1001, mode=mode, algorithms=SUITES[suite], window=64,
        flags=frozenset({"esn"} if esn else ()), encap=ENCAP if encap else None,
        replay=ReplayState(oseq=oseq & 0xFFFFFFFF, oseq_hi=oseq >> 32),
        selector=Selector(one, bits, other, bits) if mode is Mode.BEET else Selector(),
        iptfs=IptfsOptions(init_delay=200_000) if mode is Mode.IPTFS else None,
    )  # fmt: skip


def inner_packet(mode, kind, payload):
    pair = ADDRESSES[kind] if mode is Mode.TRANSPORT else tuple(map(format_address, INSIDE[kind][:2]))
    ends: dict[str, Any] = dict(zip(("src", "dst"), pair, strict=True)) if mode is not Mode.TUNNEL else {}
    return ipv4(udp(payload), **ends) if kind == "v4" else ipv6(udp(payload), **ends)


def told(packet, shape):
    """The packet; of one in BEET mode that an IPv6 header brought, what of its IPv4 header is not made anew."""
    return packet[:4] + packet[8:10] + packet[12:] if shape == (Mode.BEET, "v6", "v4") else packet


@pytest.mark.parametrize("suite", each_suite())
def test_what_is_sealed_opens(suite):
    for shape, esn, encap in itertools.product(SHAPES, (False, True), (False, True)):
        mode, outer, inner = shape
        start = (1 << 32) - 2 if esn else 0
        sa = make_sa(suite, mode, outer, esn=esn, encap=encap, oseq=start, inner=inner)
        outbound, inbound = Outbound(new_sad(sa), random.Random(3).randbytes), Inbound(new_sad(sa))
        for n in range(1, 5):
            packet = inner_packet(mode, inner, bytes(range(n)))
            sent = outbound.send(packet)
            assert sent is not None
            assert sent.packet is not None
            received = inbound.receive(sent.packet)
            assert received is not None
            assert received.verdict is Verdict.DELIVERED
            assert told(received.inner, shape) == told(packet, shape)
            assert received.seq64 == sent.seq64 == start + n


@pytest.mark.parametrize("outer", list(ADDRESSES))
@pytest.mark.parametrize("suite", each_suite())
def test_iptfs_delivers_what_it_took(suite, outer):
    """Packets of both families, gathered and cut over outer ones (RFC 9347), whichever suite seals them."""
    clear = [inner_packet(Mode.TUNNEL, kind, bytes(range(n))) for n in (1, 250, 0, 97, 250) for kind in ADDRESSES]
    for esn, encap in itertools.product((False, True), (False, True)):
        sa = make_sa(suite, Mode.IPTFS, outer, esn=esn, encap=encap, oseq=(1 << 32) - 2 if esn else 0)
        sender = Outbound(new_sad(sa, keep_window=True), random.Random(3).randbytes, mtu=500)
        assert [sent and sent.verdict for sent in map(sender.send, clear)] == [OutboundVerdict.SEALED] * len(clear)
        outers = [packet for leaves in sender.senders.elapse(math.inf) for packet in leaves.packets]
        inbound = Inbound(new_sad(sa))
        answers = [inbound.receive(packet) for packet in outers]
        assert [answer and answer.verdict for answer in answers] == [Verdict.DELIVERED] * len(outers)
        assert [inner for answer in answers if answer is not None for inner in answer.packets] == clear
        assert 1 < len(outers) < len(clear)


@given(
    st.sampled_from(list(SUITES)), st.sampled_from(SHAPES), st.booleans(), st.booleans(), st.binary(max_size=300),
    st.integers(0, 1 << 34),
)  # fmt: skip
@settings(max_examples=examples(60), deadline=None)
def test_any_payload_at_any_number(suite, shape, esn, encap, payload, oseq):
    mode, outer, inner = shape
    sa = make_sa(suite, mode, outer, esn=esn, encap=encap, oseq=oseq if esn else oseq & 0x7FFFFFFF, inner=inner)
    packet = inner_packet(mode, inner, payload)
    sent = Outbound(new_sad(sa), random.Random(3).randbytes).send(packet)
    assert sent is not None
    assert sent.packet is not None
    received = Inbound(new_sad(sa)).receive(sent.packet)
    assert received is not None
    assert (received.verdict, received.seq64) == (Verdict.DELIVERED, sent.seq64)
    assert told(received.inner, shape) == told(packet, shape)


@pytest.mark.parametrize("suite", each_suite("digest_null-0"))
def test_another_key_opens_nothing(suite):
    sa = make_sa(suite, Mode.TUNNEL, "v4", esn=False, encap=False)
    last = SUITES[suite][-1]
    other = type(last)(last.kind, last.name, bytes((last.key[0] ^ 1,)) + last.key[1:], last.bits)
    stranger = SecurityAssociation(
        sa.src, sa.dst, sa.spi, mode=sa.mode, algorithms=(*SUITES[suite][:-1], other), window=64
    )
    sent = Outbound(new_sad(sa), random.Random(3).randbytes).send(ipv4(udp(b"data")))
    assert sent is not None
    assert sent.packet is not None
    received = Inbound(new_sad(stranger)).receive(sent.packet)
    assert received is not None
    assert (received.verdict, received.inner) == (Verdict.INTEGRITY, None)


@given(st.sampled_from([32, 64, 1024]), st.integers(-80, 80), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_streams_that_are_reordered_and_doubled_deliver_each_packet_at_most_once(window, around, seed, esn):
    """Around 2^32 with ESN. Within the window everything arrives; a late or doubled one never does."""
    start = max((1 << 32) + around, 0) if esn else 1000 + around
    sa = gcm_sa(window=window, flags=frozenset({"esn"} if esn else ()), replay=ReplayState(
        oseq=start & 0xFFFFFFFF, oseq_hi=start >> 32))  # fmt: skip
    outbound, inbound = Outbound(new_sad(sa), random.Random(3).randbytes), Inbound(new_sad(sa))
    sent: list[Any] = [outbound.send(ipv4(udp(n.to_bytes(2)))) for n in range(100)]
    rng = random.Random(seed)
    order = sorted(range(100), key=lambda n: n + rng.uniform(0, 30))
    order += rng.sample(order, 20)
    seen: set[int] = set()
    top = 0
    for n in order:
        received: Any = inbound.receive(sent[n].packet)
        fresh = n not in seen and sent[n].seq64 > top - window
        if fresh:
            assert received.verdict is Verdict.DELIVERED
            assert received.inner == ipv4(udp(n.to_bytes(2)))
            seen.add(n)
        else:
            assert received.verdict in REPLAY_VERDICTS or (esn and received.verdict is Verdict.INTEGRITY)
            assert received.inner is None
        top = max(top, received.seq64 if fresh else 0)
    (entry,) = inbound.sad
    assert entry.packets == len(seen)
