"""The receiver of IP-TFS: order, reassembly, what Linux counts (XFRM_NEW 8), and the clock."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.verdict import Verdict
from espsim.reference import iptfs_order
from espsim.reference.inbound import Inbound
from espsim.sad.association import Direction, IptfsOptions, Mode, Selector
from tests.aggfrag import INNERS, cut, payload
from tests.examples import examples
from tests.support import Peer, gcm_sa, ipv4, ipv6, new_sad, udp

AGGFRAG = 144
A, B, C = (ipv4(udp(text), ident=n) for n, text in enumerate((b"first", b"second one", b"the third"), 1))
BIG = ipv4(udp(bytes(range(200))))


class Bench:
    """A receiver, and the peer that sends to it."""

    def __init__(self, window: int = 3, drop_time: int = 1_000_000, **options: Any) -> None:
        options = {"mode": Mode.IPTFS, "iptfs": IptfsOptions(drop_time, window), **options}
        self.sa = gcm_sa(**options)
        self.peer = Peer(self.sa)
        self.inbound = Inbound(new_sad(self.sa))
        self.counters = self.inbound.tunnels.counters

    def send(self, seq, data, now=0.0, next_header=AGGFRAG):
        received = self.inbound.receive(self.peer.packet(seq, data, next_header), now)
        assert received is not None
        assert received.inner is None
        assert received.counter == received.verdict.counter
        return received.verdict, list(received.packets)

    def late(self, now):
        return [packet for late in self.inbound.tunnels.elapse(now) for packet in late.packets]

    @property
    def told(self):
        told = self.inbound.tunnels.as_dict()
        assert told is not None
        return told


DELIVERED = Verdict.DELIVERED

# -- what a payload holds ---------------------------------------------------------------------------------------------


def test_several_packets_of_both_families_in_one():
    six = ipv6(udp(b"six"))
    assert Bench().send(1, payload(A + six + B)) == (DELIVERED, [A, six, B])


def test_padding_ends_a_payload():
    bench = Bench()
    assert bench.send(1, payload(A + b"\x00" + B)) == (DELIVERED, [A])
    assert bench.send(2, payload(b"")) == (DELIVERED, [])
    assert bench.told["padding"] == 1 + len(B)


def test_sub_type_1_has_a_longer_header():
    assert Bench().send(1, payload(A, sub_type=1)) == (DELIVERED, [A])


@pytest.mark.parametrize(("data", "verdict", "counter"), [
    (b"\x00\x00\x00", Verdict.IPTFS_BUFFER, "XfrmInBufferError"),
    (b"\x01\x00\x00\x00" + bytes(19), Verdict.IPTFS_BUFFER, "XfrmInBufferError"),
    (payload(A, flags=1), Verdict.IPTFS_HEADER, "XfrmInHdrError"),
    (payload(A, sub_type=1, flags=2), Verdict.IPTFS_HEADER, "XfrmInHdrError"),
    (payload(A, sub_type=2), Verdict.IPTFS_HEADER, "XfrmInHdrError"),
    (payload(A + b"\x50" + B), Verdict.IPTFS_BUFFER, "XfrmInBufferError"),
    (payload(A + ipv4(b"", total=19) + B), Verdict.IPTFS_HEADER, "XfrmInHdrError"),
    (payload(A + b"\x4f" + B[1:]), Verdict.IPTFS_HEADER, "XfrmInHdrError"),
])  # fmt: skip
def test_errors_and_nothing_of_that_payload_is_used(data, verdict, counter):
    bench = Bench()
    assert bench.send(1, data) == (verdict, [])
    assert verdict.counter == counter
    assert bench.send(2, payload(C)) == (DELIVERED, [C])  # the window has moved, and the next one is taken
    assert not bench.counters


def test_another_next_header_does_not_fit_the_mode_and_this_one_no_tunnel():
    assert Bench().send(1, A, next_header=4) == (Verdict.MODE, [])
    assert Bench(mode=Mode.TUNNEL, iptfs=None).send(1, payload(A)) == (Verdict.MODE, [])


def test_a_cut_packet_goes_on_in_the_next_payloads():
    bench = Bench()
    assert bench.send(1, payload(A + BIG[:50])) == (DELIVERED, [A])
    assert bench.send(2, payload(BIG[50:120], len(BIG) - 50)) == (DELIVERED, [])
    assert bench.send(3, payload(BIG[120:] + B, len(BIG) - 120)) == (DELIVERED, [BIG, B])
    assert (bench.told["fragments"], bench.told["inner"]) == (3, 3)


@pytest.mark.parametrize("packet", [BIG, ipv6(udp(bytes(100)))])
@pytest.mark.parametrize("first", [1, 3, 5, 6, 19])
def test_a_first_part_of_a_few_bytes(packet, first):
    bench = Bench()
    assert bench.send(1, payload(A + packet[:first])) == (DELIVERED, [A])
    assert bench.send(2, payload(packet[first:], len(packet) - first)) == (DELIVERED, [packet])


def test_a_payload_of_padding_comes_between():
    bench = Bench()
    bench.send(1, payload(BIG[:50]))
    assert bench.send(2, payload(bytes(9))) == (DELIVERED, [])
    assert bench.send(3, payload(b"")) == (DELIVERED, [])
    assert bench.send(4, payload(BIG[50:], len(BIG) - 50)) == (DELIVERED, [BIG])


def test_a_payload_that_begins_anew_is_not_swallowed():
    bench = Bench()
    bench.send(1, payload(BIG[:50]))
    assert bench.send(2, payload(A + B)) == (Verdict.IPTFS_LOST, [A, B])  # 7.3.4 takes it for padding
    assert bench.told["incomplete"] == 1


def test_a_missing_middle_part():
    bench = Bench(window=0)
    bench.send(1, payload(BIG[:50]))
    assert bench.send(3, payload(BIG[120:] + A, len(BIG) - 120)) == (Verdict.IPTFS_LOST, [A])
    assert bench.send(4, payload(B)) == (DELIVERED, [B])


def test_an_offset_that_is_too_small_for_the_rest():
    bench = Bench()
    bench.send(1, payload(BIG[:50]))
    assert bench.send(2, payload(BIG[50:], 20)) == (Verdict.IPTFS_LOST, [])
    assert bench.counters == {"XfrmInBufferError": 1}  # at the offset there is no block
    assert bench.told["incomplete"] == 1


@pytest.mark.parametrize("offset", [30, 31, 0xFFFF])
def test_an_offset_past_the_payload_with_nothing_begun(offset):
    bench = Bench()
    assert bench.send(1, payload(bytes(30), offset)) == (DELIVERED, [])
    assert bench.send(2, payload(A)) == (DELIVERED, [A])


def test_a_packet_of_64_kb_over_hundreds_of_payloads():
    bench, rng = Bench(window=0), random.Random(1)
    huge = ipv6(rng.randbytes(65535))
    parts = cut([A, huge, B], [150])
    assert len(parts) > 400
    found = [packet for n, (data, _) in enumerate(parts, 1) for packet in bench.send(n, data)[1]]
    assert found == [A, huge, B]


def test_a_selector_is_asked_about_each_inner_packet():
    bench = Bench(selector=Selector(dport=53, dport_mask=0xFFFF, proto=17))
    dns = ipv4(udp(b"", 7, 53))
    assert bench.send(1, payload(A + dns + B)) == (DELIVERED, [dns])
    assert bench.counters == {"XfrmInStateMismatch": 2}
    assert bench.told["refused"] == 2


def test_nothing_of_the_outer_header_goes_inside():
    bench = Bench(flags=frozenset({"decap-dscp"}))
    ect = ipv4(udp(b"x"), tos=2)
    received = bench.inbound.receive(bench.peer.packet(1, payload(ect), AGGFRAG, tos=0xBB))
    assert received is not None
    assert received.packets == (ect,)


# -- order ------------------------------------------------------------------------------------------------------------


def test_a_gap_is_filled():
    bench = Bench()
    assert bench.send(1, payload(A)) == (DELIVERED, [A])
    assert bench.send(3, payload(C)) == (DELIVERED, [])
    assert bench.send(2, payload(B)) == (DELIVERED, [B, C])
    assert (bench.told["reordered"], bench.told["lost"]) == (1, 0)


def test_the_window_moves_past_a_gap():
    bench = Bench(window=3)
    bench.send(1, payload(A))
    for seq in (3, 4, 5):
        assert bench.send(seq, payload(B)) == (DELIVERED, [])
    assert bench.send(6, payload(C)) == (DELIVERED, [B, B, B, C])
    assert bench.send(2, payload(A)) == (Verdict.IPTFS_LATE, [])
    assert Verdict.IPTFS_LATE.counter is None
    assert (bench.told["lost"], bench.told["late"]) == (1, 1)


def test_a_jump_hands_on_what_was_held():
    bench = Bench(window=3)
    bench.send(1, payload(A))
    bench.send(3, payload(B))
    assert bench.send(50, payload(C)) == (DELIVERED, [B])
    assert bench.late(math.inf) == [C]
    assert bench.told["lost"] == 1 + 46


def test_the_first_packet_says_what_is_wanted():
    bench = Bench()
    assert bench.send(7, payload(A)) == (DELIVERED, [A])
    assert bench.send(6, payload(B)) == (Verdict.IPTFS_LATE, [])


def test_without_a_window_each_is_taken_as_it_comes():
    bench = Bench(window=0)
    assert [bench.send(seq, payload(A))[1] for seq in (1, 4, 2)] == [[A]] * 3


def test_after_the_wrap_of_an_esn_nothing_is_lost():
    bench = Bench(flags=frozenset({"esn"}), window=3)
    inbound = bench.inbound
    (entry,) = inbound.sad
    entry.window.set_numbers((1 << 32) - 3, 1)
    numbers = [(1 << 32) + n for n in (-2, -1, 1, 0, 2)]
    found = [bench.send(number, payload(A))[1] for number in numbers]
    assert found == [[A], [A], [], [A, A], [A]]


def test_what_is_held_has_a_bound(monkeypatch):
    monkeypatch.setattr(iptfs_order, "HELD", 3000)
    bench = Bench(window=60000)
    bench.send(1, payload(A))
    found = [packet for seq in range(3, 40) for packet in bench.send(seq, payload(BIG))[1]]
    assert len(found) > 20
    assert bench.told["lost"] == 1


# -- the clock --------------------------------------------------------------------------------------------------------


def test_the_drop_time_ends_the_waiting_for_a_gap():
    bench = Bench(drop_time=500_000)
    bench.send(1, payload(A), 10.0)
    bench.send(3, payload(B), 10.2)
    assert bench.late(10.69) == []
    (late,) = bench.inbound.tunnels.elapse(11.0)
    assert (late.time_ns, late.packets) == (10_700_000_000, (B,))
    assert bench.send(4, payload(C), 11.0) == (DELIVERED, [C])
    assert bench.told["waiting_ms"] == {"mean": pytest.approx(500 / 3), "max": pytest.approx(500)}


def test_an_own_packet_moves_the_clock_where_no_one_else_does():
    bench = Bench(drop_time=500_000)
    bench.send(1, payload(A), 10.0)
    bench.send(3, payload(B), 10.2)
    assert bench.send(4, payload(C), 11.0) == (DELIVERED, [B, C])


def test_two_gaps_have_a_time_each():
    bench = Bench(window=9)
    for seq, now in ((1, 0.0), (3, 1.0), (6, 1.5)):
        bench.send(seq, payload(A), now)
    assert [bench.late(now) for now in (1.9, 2.0, 2.4, 2.5)] == [[], [A], [], [A]]
    assert bench.send(7, payload(B), 2.6) == (DELIVERED, [B])


def test_the_drop_time_ends_the_waiting_for_a_rest_and_nothing_is_counted():
    bench = Bench(drop_time=100)
    bench.send(1, payload(BIG[:50]), 1.0)
    assert bench.send(2, payload(BIG[50:] + A, len(BIG) - 50), 1.2) == (DELIVERED, [A])
    assert bench.told["incomplete"] == 1
    assert not bench.counters


def test_what_goes_wrong_in_a_held_packet_is_counted_when_its_turn_comes():
    bench = Bench()
    bench.send(1, payload(A))
    assert bench.send(3, payload(b"\xf0")) == (DELIVERED, [])
    assert not bench.counters
    assert bench.send(2, payload(B)) == (DELIVERED, [B])
    assert bench.counters == {"XfrmInBufferError": 1}


def test_this_hosts_own_packets_move_no_counter():
    sa = gcm_sa(mode=Mode.IPTFS, dir=Direction.OUT)
    inbound, peer = Inbound(new_sad(sa), own_traffic=True), Peer(sa)
    found = [inbound.receive(peer.packet(n, data, AGGFRAG)) for n, data in ((1, payload(A)), (2, payload(b"\x90")))]
    assert [(r.verdict, r.counter, r.packets) for r in found if r is not None] == [
        (Verdict.SENT, None, (A,)), (Verdict.IPTFS_BUFFER, None, ()),
    ]  # fmt: skip


# -- any traffic ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(60))
@given(INNERS, st.lists(st.integers(1, 150), min_size=1, max_size=6), st.sampled_from([0, 1]), st.data())
def test_any_cut_gives_the_packets_back(inners, sizes, sub_type, data):
    """In order, and in any order that the window allows; of what is lost, only the packets that had a part in it."""
    parts = cut(inners, sizes, sub_type=sub_type)
    bench = Bench(window=0)
    assert [p for n, (part, _) in enumerate(parts, 1) for p in bench.send(n, part)[1]] == inners
    window = data.draw(st.integers(1, 6))
    order = sorted(range(1, len(parts)), key=lambda n: n + data.draw(st.integers(0, window)))
    bench = Bench(window=window)
    assert [p for n in [0, *order] for p in bench.send(n + 1, parts[n][0])[1]] == inners
    gone = data.draw(st.sets(st.integers(1, len(parts)), max_size=3)) - {1}
    hurt = {inner for n in gone if n <= len(parts) for inner in parts[n - 1][1]}
    bench = Bench(window=window)
    found = [p for n, (part, _) in enumerate(parts, 1) if n not in gone for p in bench.send(n, part)[1]]
    found += bench.late(math.inf)
    assert found == [inner for n, inner in enumerate(inners) if n not in hurt]


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.tuples(st.integers(1, 12), st.binary(max_size=60), st.floats(0, 3)), max_size=12))
def test_any_bytes_get_a_verdict(arrivals):
    bench, now = Bench(window=2), 0.0
    for seq, data, later in arrivals:
        now += later
        received = bench.inbound.receive(bench.peer.packet(seq, data or b"x", AGGFRAG), now)
        assert received is not None
    bench.late(math.inf)
    assert bench.inbound.tunnels.due == math.inf
