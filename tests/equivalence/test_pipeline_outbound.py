"""The batch path outbound against the reference path: any SAs, any packets, any cut into batches, every engine."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.engine import EngineError
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.outbound.order import OutboundPipeline
from espsim.core.address import parse_address
from espsim.core.errors import InputError
from espsim.core.numbers import NOT_IP, ONE_BY_ONE
from espsim.core.outbound_batch import OutboundBatch
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Encap, Limits, Mode, ReplayState, SecurityAssociation, Selector
from espsim.sad.sad import Sad
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.outbound_traffic import (
    LONG,
    LONG_TRAFFIC,
    SUITES,
    TRAFFIC,
    constant,
    make,
    sads,
    sas,
    state_of,
    timed,
)
from tests.examples import examples
from tests.support import engines_there, extension, fragment_header, gcm_sa, ipv4, ipv6, new_sad, sealed_packet, udp

ENGINES = engines_there()
CUTS = (1, 2, 3, 7, 1000)
OVERHEAD = 40 + 8 + 8 + 16 + 15 + 2 + 64 + 15
"""The most bytes of `out` that sealing adds to a packet (or to what TFC padding makes of it): tunnel header, UDP, ESP,
IV, padding, trailer, ICV, and what is left free before the next one."""
V4, V6 = ipv4(udp(b"hello")), ipv6(udp(b"hello"))


def shown(sent: Any) -> Any:
    if sent is None:
        return None
    sa = None if sent.entry is None else sent.entry.sa_index
    also = [shown(other) for other in sent.also]
    return sent.verdict, sent.counter, sa, sent.seq64, sent.packet, sent.pieces, also


def both(
    make_sad,
    packets,
    times=None,
    *,
    cut=1000,
    engine="cryptography",
    write_back=False,
    mtu=1500,
    handed=None,
    keeps_mtu=False,
    rfc6040=False,
) -> list[Any]:
    """Run both paths, compare all that can be seen, and return the reference's answers.

    `handed` gets the number of SAs that moved from kernels to the reference path.
    """
    times = [0.0] * len(packets) if times is None else times
    sad, other = make_sad(), make_sad()
    events, other_events = [], []
    sad.listener = lambda *event: events.append((event[1].sa_index, event[0], event[2]))
    other.listener = lambda *event: other_events.append((event[1].sa_index, event[0], event[2]))
    entries, others = list(sad), list(other)
    reference, one = (
        Outbound(of, constant, mtu=mtu, keeps_mtu=keeps_mtu, rfc6040=rfc6040) for of in (sad, other)
    )  # fmt: skip
    want = [reference.send(packet, now) for packet, now in zip(packets, times, strict=True)]
    found = []
    with OutboundPipeline(one, engine, debug=True) as batches:
        for at in range(0, len(packets), cut):
            found += batches.send(packets[at : at + cut], times[at : at + cut])
            if write_back:
                batches.close()
    assert [shown(s) for s in found] == [shown(s) for s in want]
    assert state_of(other, others) == state_of(sad, entries)
    assert batches.ambiguous == reference.ambiguous
    # The order in which a listener hears of different SAs may differ.
    assert sorted(other_events, key=lambda e: e[0]) == sorted(events, key=lambda e: e[0])
    if handed is not None:
        sealed = Counter(s.entry.sa_index for s in want if s and s.entry and s.verdict is OutboundVerdict.SEALED)
        handed.append(sum(0 < alone < sealed[index] for index, alone in batches.alone.items()))
    return want


# -- any SAs, any packets ---------------------------------------------------------------------------------------------

EXAMPLES = settings(deadline=None, max_examples=20 if UNJITTED else examples(35))


@pytest.mark.parametrize("engine", ENGINES)
@EXAMPLES
@given(sads(), TRAFFIC, st.sampled_from(CUTS), st.booleans(), st.sampled_from([576, 1500]), st.booleans())
def test_equal_for_any_sas_and_packets(engine, chosen, traffic, cut, write_back, mtu, rfc6040):
    packets, times = timed(traffic)
    both(
        lambda: make(chosen), packets, times, cut=cut, engine=engine, write_back=write_back, mtu=mtu, rfc6040=rfc6040
    )  # fmt: skip


@settings(deadline=None, max_examples=15 if UNJITTED else examples(30))
@given(sads(most=3), TRAFFIC, st.lists(LONG, max_size=6), st.sampled_from(CUTS),
       st.sampled_from([68, 576, 1280, 1300, 1500]))  # fmt: skip
def test_equal_under_an_mtu(chosen, traffic, long, cut, mtu):
    """Packets that do not fit are refused, cut or fragmented. Kernels run earlier batches."""
    packets, times = timed(traffic)
    packets, times = packets + long, times + [times[-1] if times else 0.0] * len(long)
    for sent in both(lambda: make(chosen), packets, times, cut=cut, mtu=mtu, keeps_mtu=True):
        if sent is not None:
            most = max(mtu, 1280 if sent.entry and len(sent.entry.sa.dst) == 16 else 0)
            assert all(len(packet) <= most for packet in sent.wire())


@pytest.mark.parametrize("cut", CUTS)
def test_equal_where_each_thing_happens_to_what_is_too_long(cut):
    six = [ipv6(udp(bytes(size))) for size in (100, 3000, 2000, 100)]
    tcp = ipv6(bytes(2000), next_header=6)
    four = [ipv4(udp(bytes(size)), flags=flags) for size, flags in ((100, 0), (2000, 0), (2000, 0x4000), (9, 0x4000))]
    sas = gcm_sa(selector=Selector(parse_address("10.0.0.0"), 8)), gcm_sa("2001:db8::1", "2001:db8::2", 2)
    packets = [*four, *six, tcp, *four, *six]
    sent = both(lambda: new_sad(*sas), packets, cut=cut, mtu=1400, keeps_mtu=True)
    assert {s.verdict for s in sent} == {OutboundVerdict.SEALED, OutboundVerdict.PMTU, OutboundVerdict.PMTU_SENDER}
    assert sum(bool(s.pieces) for s in sent) == 2
    assert [len(s.also) for s in sent if s.also] == [2, 1, 2, 1]


@EXAMPLES
@given(sads(limited=1), TRAFFIC, st.sampled_from(CUTS))
def test_equal_where_many_sas_expire(chosen, traffic, cut):
    packets, times = timed(traffic)
    both(lambda: make(chosen), packets, times, cut=cut)


def test_equal_where_sas_are_handed_over_in_mid_run():
    """Limits beyond the first batches: kernels run an SA first, then the reference path, with the same counter."""
    handed: list[int] = []

    @settings(deadline=None, max_examples=8 if UNJITTED else examples(50))
    @given(sads(most=4, late=True), LONG_TRAFFIC, st.sampled_from([2, 3, 5, 7]), st.sampled_from([False, False, True]))
    def check(chosen, traffic, cut, write_back):
        packets, times = timed(traffic)
        both(lambda: make(chosen), packets, times, cut=cut, write_back=write_back, handed=handed)

    check()
    assert sum(map(bool, handed)) >= 2, handed


@EXAMPLES
@given(sas().filter(lambda sa: sa.keys is not None), TRAFFIC, st.sampled_from(CUTS))
def test_equal_for_one_sa_and_all_packets(sa, traffic, cut):
    """No selector: it takes every packet, in transport mode every packet between its two addresses."""
    packets, times = timed(traffic)
    both(lambda: make([replace(sa, selector=Selector(), dir=None)]), packets, times, cut=cut)


# -- what is sealed opens again ---------------------------------------------------------------------------------------

LONGER = udp(bytes(range(200)))
CLEAR = [
    V4, V6, ipv4(LONGER, tos=0xB9, flags=0x4000), ipv4(LONGER, options=b"\x01" * 8),
    ipv6(extension(17) + LONGER, next_header=0),
    ipv6(extension(60) + extension(17, 16) + LONGER, next_header=43, traffic_class=2, flow=77),
]  # fmt: skip


NATT = Encap("espinudp", 4500, 4500, bytes(16))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", [Mode.TUNNEL, Mode.TRANSPORT])
@pytest.mark.parametrize(
    ("encap_", "flags"),
    [
        pytest.param(None, frozenset(), id="plain-bare"),
        pytest.param(NATT, frozenset({"esn"}), id="esn-udp"),
        pytest.param(NATT, frozenset(), id="plain-udp", marks=pytest.mark.long),
        pytest.param(None, frozenset({"esn"}), id="esn-bare", marks=pytest.mark.long),
    ],
)
def test_what_is_sealed_opens_again(engine, mode, encap_, flags):
    chosen = [
        SecurityAssociation(
            parse_address(src), parse_address(dst), 0x1000 + 16 * n + family, mode=mode, algorithms=algorithms,
            window=64, flags=flags, encap=encap_, replay=ReplayState(oseq=(1 << 32) - 3 if flags else 9),
            selector=Selector(parse_address(src), bits, parse_address(dst), bits),
        )
        for n, algorithms in enumerate(SUITES.values())
        for family, bits, src, dst in ((4, 32, "10.1.0.1", "10.2.0.1"), (6, 128, "2001:db8:1::1", "2001:db8:2::1"))
    ]  # fmt: skip
    for pair in zip(chosen[::2], chosen[1::2], strict=True):
        with OutboundPipeline(Outbound(new_sad(*pair), os.urandom), engine) as sender:
            sent = sender.send(CLEAR * 2)
        packets = [s.packet for s in sent if s is not None and s.packet is not None]
        hearing = InboundPipeline(Inbound(new_sad(*pair)), engine)
        heard = hearing.receive(packets)
        assert [h.verdict for h in heard if h is not None] == [Verdict.DELIVERED] * 12
        assert [h.inner for h in heard if h is not None] == CLEAR * 2
        assert [h.seq64 for h in heard if h is not None] == [s.seq64 for s in sent if s is not None]


def test_where_esp_goes_among_extension_headers():
    """Up to three of them in any order, cut everywhere."""
    ends: dict[str, Any] = {"src": "2001:db8:1::1", "dst": "2001:db8:2::1"}
    packets = []
    for kinds in itertools.chain(*(itertools.product([0, 43, 60, 44], repeat=n) for n in range(4))):
        payload, following = udp(b"data"), 17
        for kind in reversed(kinds):
            payload, following = (fragment_header if kind == 44 else extension)(following) + payload, kind
        whole = ipv6(payload, next_header=following)
        packets += [whole, *(ipv6(payload[:n], next_header=following) for n in range(0, len(payload), 3))]
    sent = both(lambda: new_sad(gcm_sa(mode=Mode.TRANSPORT, **ends)), packets)
    assert {s.verdict.name for s in sent} == {"SEALED", "FRAGMENT"}


# -- numbers and IVs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("flags", "top"), [(frozenset(), 1 << 32), (frozenset({"esn"}), 1 << 64)])
def test_overflow_in_mid_batch(flags, top, cut):
    last = top - 3
    sa = gcm_sa(flags=flags, replay=ReplayState(oseq=last & 0xFFFFFFFF, oseq_hi=last >> 32))
    sent = both(lambda: new_sad(sa), [V4] * 5, cut=cut)
    assert [s.verdict.name for s in sent] == ["SEALED"] * 2 + ["SEQ_OVERFLOW"] * 3


@pytest.mark.parametrize(("suite", "wraps"), [("cbc(aes)-hmac(sha1)-96", True), ("rfc4106(gcm(aes))-128-128", False)])
def test_oseq_may_wrap_where_the_iv_is_no_counter(suite, wraps):
    extra, start = frozenset({"oseq-may-wrap"}), ReplayState(oseq=(1 << 32) - 2)
    sa = replace(gcm_sa(extra_flags=extra, replay=start), algorithms=SUITES[suite])
    sent = both(lambda: new_sad(sa), [V4] * 4, cut=3)
    assert [s.seq64 for s in sent] == [(1 << 32) - 1, *([0, 1, 2] if wraps else [None] * 3)]


@pytest.mark.parametrize("cut", CUTS)
def test_what_is_refused_uses_up_no_number(cut):
    sa = gcm_sa(mode=Mode.TRANSPORT, src="10.1.0.1", dst="10.2.0.1")
    sent = both(lambda: new_sad(sa), [V4, ipv4(b"", flags=1), ipv4(bytes(65515)), V4], cut=cut)
    assert [(s.verdict.name, s.seq64) for s in sent] == [
        ("SEALED", 1), ("FRAGMENT", None), ("TOO_BIG", None), ("SEALED", 2)
    ]  # fmt: skip


def test_an_iv_is_never_used_twice_whichever_path_seals():
    """Counters under one mask for as long as the Outbound lives; those of CBC are drawn for each packet."""
    gcm, cbc = gcm_sa(), replace(gcm_sa(spi=7), algorithms=SUITES["cbc(aes)-hmac(sha1)-96"])
    for sa, size in ((gcm, 8), (cbc, 16)):
        one = Outbound(new_sad(sa), os.urandom)
        packets: list[Any] = [one.send(V4)]
        for _ in range(3):
            with OutboundPipeline(one) as batches:
                packets += batches.send([V4] * 20)
                packets += batches.send([V6] * 20)
            packets.append(one.send(V4))
        ivs = [s.packet[28 : 28 + size] for s in packets]
        numbers = [s.seq64 for s in packets]
        assert numbers == list(range(1, 125))
        assert len(set(ivs)) == len(ivs) == 124
        if size == 8:
            assert len({int.from_bytes(iv) ^ n for iv, n in zip(ivs, numbers, strict=True)}) == 1


def test_every_sa_has_a_mask_of_its_own():
    sad = new_sad(*(gcm_sa(spi=n, selector=Selector(dst=bytes((10, 2, 0, n)), dst_prefix=32)) for n in range(1, 9)))
    with OutboundPipeline(Outbound(sad, os.urandom)) as batches:
        sent = batches.send([ipv4(b"", dst=f"10.2.0.{n}") for n in range(1, 9)])
    ivs = {s.packet[28:36] for s in sent if s is not None and s.packet is not None}
    assert len(ivs) == 8


# -- SAs that the reference path keeps -------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
def test_an_sa_behind_one_that_expires(cut):
    """In mid-batch its packets turn to the older SA, whose counter the kernels must not have moved meanwhile."""
    older, other = gcm_sa(), gcm_sa(spi=9, selector=Selector(proto=1))
    newer = gcm_sa(spi=8, limits=Limits(hard_packets=2))
    packets = [V4, V4, ipv4(bytes(8), proto=1), V4, V4, V6, V4]
    sent = both(lambda: new_sad(older, other, newer), packets, cut=cut)
    assert [(s.verdict.name, s.entry and s.entry.sa.spi, s.seq64) for s in sent] == [
        ("SEALED", 8, 1), ("SEALED", 8, 2), ("SEALED", 9, 1), ("EXPIRED", 8, None), ("SEALED", 0x1001, 1),
        ("SEALED", 0x1001, 2), ("SEALED", 0x1001, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
def test_no_tie_with_an_sa_that_is_gone(cut):
    """Both take a packet equally well; but when the first such packet comes, one has expired."""
    by_src, by_dst = (
        Selector(src=bytes((10, 1, 0, 0)), src_prefix=16),
        Selector(dst=bytes((10, 2, 0, 0)), dst_prefix=16),
    )
    older, newer = gcm_sa(spi=1, selector=by_src), gcm_sa(spi=2, selector=by_dst, limits=Limits(hard_packets=1))
    elsewhere = ipv4(b"", src="11.0.0.1")
    sent = both(lambda: new_sad(older, newer), [elsewhere, elsewhere, V4], cut=cut)
    assert [s.verdict.name for s in sent] == ["SEALED", "EXPIRED", "SEALED"]
    reference = Outbound(new_sad(older, newer), constant)
    assert [reference.send(p) for p in (elsewhere, elsewhere, V4)]
    assert not reference.ambiguous


def alone(*chosen: SecurityAssociation) -> list[bool]:
    """The reference path runs an SA from a batch in which its limit of five packets may be met, and not before."""
    columns = OutboundPipeline(Outbound(new_sad(*chosen), constant), "cryptography").columns
    columns.begin(OutboundBatch.of([V4] * 4))
    assert ONE_BY_ONE not in columns.standing.tolist()
    columns.begin(OutboundBatch.of([V4] * 5))
    return [standing == ONE_BY_ONE for standing in columns.standing.tolist()]


def test_who_goes_one_by_one():
    ends: dict[str, Any] = {"mode": Mode.TRANSPORT, "src": "10.1.0.1", "dst": "10.2.0.1"}
    wide, narrow = Selector(dst=bytes((10, 0, 0, 0)), dst_prefix=8), Selector(dst=bytes((10, 2, 0, 0)), dst_prefix=16)
    end = Limits(hard_packets=5)
    assert alone(gcm_sa(spi=1), gcm_sa(spi=2, selector=narrow)) == [False, False]
    assert alone(gcm_sa(spi=1), gcm_sa(spi=2, selector=narrow), gcm_sa(spi=3, selector=wide, limits=end)) == [
        True, False, True
    ]  # fmt: skip
    other = gcm_sa(spi=3, mode=Mode.TRANSPORT, src="10.1.0.1", dst="10.2.0.2")
    assert alone(gcm_sa(spi=1, limits=end), gcm_sa(spi=2, **ends), other) == [True, False, False]
    assert alone(gcm_sa(spi=1, selector=narrow), gcm_sa(spi=2, **ends), other, gcm_sa(spi=4, limits=end, **ends)) == [
        True, True, False, True
    ]  # fmt: skip


def test_sealed_packets_of_both_paths_are_in_one_arena():
    sad = new_sad(gcm_sa(limits=Limits(hard_packets=3)), gcm_sa(spi=9, selector=Selector(proto=1)))
    path = OutboundPipeline(Outbound(sad, constant))
    batch = OutboundBatch.of([V4, ipv4(bytes(8), proto=1), ipv4(bytes(900))])
    path.run(batch)
    sealed = [sealed_packet(batch, row) for row in range(3)]
    assert [s.packet for s in path.answers(batch) if s is not None] == sealed
    assert [int.from_bytes(packet[20:24]) for packet in sealed] == [0x1001, 9, 0x1001]


# -- limits -----------------------------------------------------------------------------------------------------------


def largest(v4: bool) -> list[bytes]:
    """Packets around the longest that fits, up to the longest that there is."""
    most = 65535 - (20 if v4 else 0)
    return [(ipv4 if v4 else ipv6)(bytes(n)) for n in range(most - OVERHEAD, most + 1, 20 if UNJITTED else 1)]


@pytest.mark.parametrize("mode", [Mode.TUNNEL, Mode.TRANSPORT])
@pytest.mark.parametrize("suite", ["rfc4106(gcm(aes))-128-128", "cbc(aes)-hmac(sha512)-512"])
@pytest.mark.parametrize("v4", [True, False])
def test_the_largest_packets(mode, suite, v4):
    ends = ("10.1.0.1", "10.2.0.1") if v4 else ("2001:db8:1::1", "2001:db8:2::1")
    for encap_ in (None, Encap("espinudp", 4500, 4500, bytes(16))):
        sa = replace(gcm_sa(*ends, mode=mode, encap=encap_), algorithms=SUITES[suite])
        sent = both(lambda sa=sa: new_sad(sa), largest(v4), cut=100)
        verdicts = [key for key, _ in itertools.groupby(s.verdict for s in sent)]
        assert verdicts == [OutboundVerdict.SEALED, OutboundVerdict.TOO_BIG]


def test_no_packets_and_no_sas():
    path = OutboundPipeline(Outbound(new_sad(), constant))
    assert path.send([]) == []
    assert [shown(s) for s in path.send([V4, b"", b"\x00", V6[:39]])] == [
        (OutboundVerdict.NO_SA, "XfrmOutNoStates", None, None, None, (), []), None, None, None
    ]  # fmt: skip
    assert not path.ambiguous
    assert OutboundPipeline(Outbound(new_sad(gcm_sa()), constant)).send([]) == []


def test_rows_past_the_arena_and_rows_that_overlap():
    path = OutboundPipeline(Outbound(new_sad(gcm_sa()), constant))
    arena, size = np.frombuffer(bytearray(V4), np.uint8), len(V4)
    offset = np.array([0, 1, -1, 1 << 62, size, 0, 3] * 9, np.int64)
    length = np.array([size, size, 20, 20, 0, size - 1, -5] * 9, np.int32)
    batch = OutboundBatch(arena, offset, length, np.zeros(63))
    path.run(batch)
    assert batch.verdict.tolist() == [0, NOT_IP, NOT_IP, NOT_IP, NOT_IP, 0, NOT_IP] * 9
    assert arena.tobytes() == V4
    with pytest.raises(ValueError, match="one length"):
        OutboundBatch(arena, offset, length[:3], np.zeros(63))


def test_an_arena_that_is_given_is_used_while_it_is_large_enough():
    path = OutboundPipeline(Outbound(new_sad(gcm_sa()), constant))
    room = np.full(len(V4) + OVERHEAD, 0x5A, np.uint8)
    batch = OutboundBatch.of([V4], out=room)
    path.run(batch)
    assert batch.out is room
    assert len(sealed_packet(batch, 0)) <= batch.out_end <= len(room)
    larger = OutboundBatch.of([V4, V4, V4], out=room)
    path.run(larger)
    assert len(larger.out) > len(room)
    part = larger.head(2)
    path.run(part)
    assert part.out is larger.out
    assert [row.seq64 for row in path.answers(part) if row is not None] == [5, 6]


@EXAMPLES
@given(sads(most=4), TRAFFIC)
def test_overhead_is_room_enough(chosen, traffic):
    """The arena size that callers must provide."""
    chosen = [replace(sa, limits=Limits()) for sa in chosen]
    path = OutboundPipeline(Outbound(make(chosen), constant, mtu=1500))
    batch = OutboundBatch.of([packet for packet, _ in traffic])
    path.run(batch)
    least = 1500 if any(sa.tfcpad for sa in chosen) else 0
    assert batch.out_end <= int((np.maximum(batch.length, least) + OVERHEAD).sum())


def test_a_batch_may_run_again_with_other_packets():
    path = OutboundPipeline(Outbound(new_sad(gcm_sa(limits=Limits())), constant), "cryptography")
    batch = OutboundBatch.of([V4, bytes(len(V4)), V4])
    path.run(batch)
    first = path.answers(batch)
    batch.arena[:] = OutboundBatch.of([bytes(len(V4)), V4, V4]).arena
    path.run(batch)
    second = path.answers(batch)
    fresh = OutboundPipeline(Outbound(new_sad(gcm_sa()), constant), "cryptography")
    fresh.send([V4, bytes(len(V4)), V4])
    assert [shown(s) for s in second] == [shown(s) for s in fresh.send([bytes(len(V4)), V4, V4])]
    assert [s and s.seq64 for s in first] == [1, None, 2]


@pytest.mark.parametrize("room", range(18))
def test_only_the_room_after_a_packet_is_written(room):
    """Trailers go into it where they fit; the next packet, and what is after the room, stay as they came."""
    sizes = range(40, 60)
    packets = [V4[:2] + size.to_bytes(2) + V4[4:20] + bytes([7] * (size - 20)) for size in sizes]
    whole = bytes([0xEE] * room).join([*packets, b""])
    offset = np.array([40 * n + sum(range(n)) + room * n for n in range(20)], np.int64)
    arena = np.frombuffer(bytearray(whole), np.uint8)
    batch = OutboundBatch(arena, offset, np.array(sizes, np.int32), np.zeros(20), room=room)
    path = OutboundPipeline(Outbound(new_sad(gcm_sa()), constant), "cryptography")
    path.run(batch)
    assert [batch.packet(row) for row in range(20)] == packets
    assert (batch.clear_at >= 0).tolist() == [-(size + 2) % 4 + 2 <= room for size in sizes]
    fresh = OutboundPipeline(Outbound(new_sad(gcm_sa()), constant), "cryptography")
    assert [shown(s) for s in path.answers(batch)] == [shown(s) for s in fresh.send(packets)]
    gaps = [arena[at + size : at + size + room] for at, size in zip(offset.tolist(), sizes, strict=True)]
    after = [gap[-(size + 2) % 4 + 2 :] for gap, size in zip(gaps, sizes, strict=True)]
    assert all((rest == 0xEE).all() for rest in after)


def test_an_engine_that_is_not_there():
    with pytest.raises(InputError, match="no such engine"):
        OutboundPipeline(Outbound(new_sad(), constant), "abacus")


def test_an_engine_that_breaks_down():
    path = OutboundPipeline(Outbound(new_sad(gcm_sa()), constant))

    class Broken:
        def seal(self, arena, esp, end, slot, seq64, result, clear=None):
            result[result == 255] = 254

    path.columns.sealer = Broken()
    with pytest.raises(EngineError, match="gave up on 2 packets"):
        path.send([V4, V4])


def test_windows_stay_as_they_are():
    """An SA may be used both ways; sealing moves no window."""
    sad: Sad = new_sad(gcm_sa())
    with OutboundPipeline(Outbound(sad, constant)) as path:
        path.send([V4] * 5)
    (entry,) = sad
    assert (entry.oseq, entry.window.top, entry.stats.replay) == (5, 0, 0)


def test_an_sa_that_was_used_the_other_way_first():
    sad: Sad = new_sad(gcm_sa())
    (entry,) = sad
    with OutboundPipeline(Outbound(sad, constant)) as path:
        path.send([V4], 5.0)
        entry.used = 3.0  # InboundPipeline has written back
    assert (entry.used, entry.packets) == (3.0, 1)
