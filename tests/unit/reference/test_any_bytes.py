"""Any bytes at all: a verdict or None, never an exception, and no plaintext of a packet that failed."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.core.answers import Received
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Mode, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from tests.examples import examples
from tests.support import Peer, each_suite, extension, gcm_sa, ipv4, ipv6, new_sad, suites, udp

SUITES = suites()
NATTED = Encap("espinudp", 4500, 4500, bytes(16))
V4_ENDS, V6_ENDS = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
DATA = udp(b"some data in a packet")
MANY = settings(max_examples=examples(100), deadline=None)


def every_kind_of_sa(**options):
    """SAs that differ in family, mode and encapsulation; SPI 0x1001 on."""
    for n, (ends, mode, encap) in enumerate(
        (e, m, c) for e in (V4_ENDS, V6_ENDS) for m in (Mode.TRANSPORT, Mode.TUNNEL) for c in (None, NATTED)
    ):
        yield gcm_sa(*ends, 0x1001 + n, mode=mode, encap=encap, **options)


SAS = list(every_kind_of_sa())
PEERS = [Peer(sa) for sa in SAS]


def sound(received: Received[SadEntry] | None) -> None:
    """What holds of every answer."""
    if received is not None:
        assert isinstance(received.verdict, Verdict)
        assert (received.inner is None) is (received.verdict is not Verdict.DELIVERED)
        assert received.counter in (received.verdict.counter, None)


@given(st.binary(max_size=120))
@MANY
def test_as_an_ip_packet(data):
    sound(Inbound(new_sad(*SAS)).receive(data))


@given(st.sampled_from([50, 17]), st.binary(max_size=24), st.binary(max_size=80), st.integers(0, 0xFFFF))
@MANY
def test_behind_an_ipv4_header(proto, options, payload, flags):
    options = options[: len(options) // 4 * 4]
    sound(Inbound(new_sad(*SAS)).receive(ipv4(payload, dst=V4_ENDS[1], proto=proto, options=options, flags=flags)))


@given(st.sampled_from([50, 17, 0, 43, 44, 60]), st.binary(max_size=100), st.integers(0, 200))
@MANY
@example(0, b"\x00\x00" * 40, 80)
@example(44, b"\x2c" * 64, 64)
def test_behind_an_ipv6_header(next_header, payload, length):
    sound(Inbound(new_sad(*SAS)).receive(ipv6(payload, dst=V6_ENDS[1], next_header=next_header, length=length)))


@given(st.integers(0, len(SAS) - 1), st.integers(0, 0xFFFFFFFF), st.binary(max_size=80))
@MANY
def test_as_the_esp_payload_behind_a_valid_spi(n, seq, data):
    peer = PEERS[n]
    packet = peer.around(peer.sa.spi.to_bytes(4) + seq.to_bytes(4) + data)
    received = Inbound(new_sad(*SAS)).receive(packet)
    sound(received)
    if received is not None:  # a short datagram is the IKE daemon's
        assert received.verdict in (Verdict.INTEGRITY, Verdict.TRUNCATED, Verdict.REPLAY_ZERO)


INNER = st.one_of(
    st.binary(max_size=120),
    st.builds(lambda tail, pad, following: tail + bytes((pad, following)), st.binary(max_size=100),
              st.integers(0, 60), st.sampled_from([4, 41, 6, 17, 59, 0, 44, 50])),
    st.builds(lambda at, value, following: mutated(ipv4(DATA), at, value) + bytes((0, following)),
              st.integers(0, 40), st.integers(0, 255), st.sampled_from([4, 41])),
    st.builds(lambda at, value, following: mutated(ipv6(extension(17) + DATA, next_header=0), at, value)
              + bytes((0, following)), st.integers(0, 60), st.integers(0, 255), st.sampled_from([4, 41])),
)  # fmt: skip


def mutated(data: bytes, at: int, value: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes((value,)) + data[at + 1 :]


@given(st.integers(0, len(SAS) - 1), INNER, st.integers(0, 255), st.booleans())
@settings(max_examples=examples(240), deadline=None)
def test_as_plaintext_sealed_with_the_right_key(n, plaintext, tos, selective):
    """Trailer, mode, decapsulation and selector see garbage that is authentic."""
    flags = frozenset({"decap-dscp"} if tos & 4 else ())
    base = SAS[n]
    selector = Selector(proto=17, sport=1, sport_mask=0xF, src=base.src, src_prefix=1) if selective else Selector()
    sa = SecurityAssociation(
        base.src, base.dst, base.spi, mode=base.mode, algorithms=base.algorithms, window=64, encap=base.encap,
        flags=flags, selector=selector,
    )  # fmt: skip
    field = {"tos": tos} if len(sa.dst) == 4 else {"traffic_class": tos}
    received = Inbound(new_sad(sa)).receive(Peer(sa).packet(1, b"", 0, plaintext=plaintext, **field))
    assert received is not None
    sound(received)
    nested = (Verdict.NO_SA, Verdict.HEADER, Verdict.INTEGRITY, Verdict.TRUNCATED) if received.around else ()
    assert received.verdict in (Verdict.DELIVERED, Verdict.TRAILER, Verdict.MODE, Verdict.POLICY, *nested)


@given(st.binary(max_size=8).map(lambda b: b * 16))
@settings(max_examples=40, deadline=None)
def test_as_blocks_of_cbc(blocks):
    sa = SecurityAssociation(
        SAS[0].src, SAS[0].dst, 1, mode=Mode.TUNNEL, algorithms=SUITES["cbc(aes)-hmac(sha1)-96"], window=64
    )
    sound(Inbound(new_sad(sa)).receive(Peer(sa).packet(1, b"", 0, plaintext=blocks)))


@pytest.mark.parametrize("peer", PEERS, ids=lambda p: f"{p.sa.mode.value}-{p.sa.family}-{p.sa.encap is not None}")
def test_every_bit_flipped(peer):
    """From the SPI on no flipped packet is delivered; before it, only what ESP does not protect may change."""
    inner = DATA if peer.sa.mode is Mode.TRANSPORT else ipv4(DATA)
    packet = peer.packet(77, inner, 17 if peer.sa.mode is Mode.TRANSPORT else 4)
    esp = (20 if len(peer.sa.dst) == 4 else 40) + (8 if peer.sa.encap else 0)
    for bit in range(8 * len(packet)):
        flipped = bytearray(packet)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        received = Inbound(new_sad(peer.sa)).receive(bytes(flipped))
        sound(received)
        if bit // 8 >= esp:
            assert received is None or received.verdict is not Verdict.DELIVERED, bit
        elif received is not None and received.inner is not None:
            assert received.inner.endswith(DATA)


@pytest.mark.parametrize("suite", each_suite("digest_null-0"))
@pytest.mark.parametrize("esn", [False, True])
def test_every_bit_of_every_suite(suite, esn):
    sa = SecurityAssociation(
        parse_address(V4_ENDS[0]), parse_address(V4_ENDS[1]), 0x1001, mode=Mode.TUNNEL, window=64,
        algorithms=SUITES[suite], flags=frozenset({"esn"} if esn else ()),
    )  # fmt: skip
    peer = Peer(sa)
    packet = peer.packet(77, ipv4(b"x"))
    sad = new_sad(sa)
    (entry,) = sad
    inbound = Inbound(sad)
    for bit in range(8 * 20, 8 * len(packet)):
        flipped = bytearray(packet)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        received = inbound.receive(bytes(flipped))
        assert received is not None
        assert received.verdict is (Verdict.NO_SA if bit < 8 * 24 else Verdict.INTEGRITY), bit
    assert entry.stats.integrity_failed == 8 * (len(packet) - 24)
    assert (entry.packets, entry.bytes, entry.window.top) == (0, 0, 0)
    last = inbound.receive(packet)
    assert last is not None
    assert last.verdict is Verdict.DELIVERED


OUTGOING = st.one_of(
    st.binary(max_size=90),
    st.builds(lambda at, value: mutated(ipv4(DATA, src=V4_ENDS[0], dst=V4_ENDS[1]), at, value), st.integers(1, 60),
              st.integers(0, 255)),
    st.builds(lambda at, value, first: mutated(
        ipv6(extension(60) + extension(17) + DATA, src=V6_ENDS[0], dst=V6_ENDS[1], next_header=first), at, value),
              st.integers(0, 80), st.integers(0, 255), st.sampled_from([0, 43, 44, 60])),
)  # fmt: skip


@given(OUTGOING, st.integers(0, len(SAS) - 1))
@settings(max_examples=examples(160), deadline=None)
def test_as_a_packet_to_be_sealed(data, n):
    sad = new_sad(SAS[n])
    sent = Outbound(sad, random.Random(1).randbytes).send(data)
    if sent is None or sent.packet is None:
        assert sent is None or sent.verdict is not OutboundVerdict.SEALED
        return
    received = Inbound(new_sad(SAS[n])).receive(sent.packet)
    assert received is not None, "what was sealed is not found again"
    sound(received)
    assert (received.spi, received.seq) == (SAS[n].spi, 1)
