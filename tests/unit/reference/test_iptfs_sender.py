"""The sender of IP-TFS: the same cut as Linux 7.3.4's captures have, its options, and the clock."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.address import parse_address
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.iptfs_out import payloads, room
from espsim.reference.outbound import Outbound
from espsim.reference.trace import OutboundTrace
from espsim.sad.association import Direction, Encap, IptfsOptions, Limits, Mode, ReplayState
from tests.aggfrag import INNERS
from tests.examples import examples
from tests.support import ethernet_frames, gcm_sa, ipv4, ipv6, new_sad, udp
from tests.unit.reference.test_iptfs_captures import FOLDER, SUITES, sad_of

A, B, BIG = ipv4(udp(b"first")), ipv4(udp(b"second one")), ipv4(udp(bytes(range(250)) * 2))
SEALED = OutboundVerdict.SEALED


class Payloads(OutboundTrace):
    """The payloads that were sealed."""

    def __init__(self):
        self.found = []

    def padded(self, entry, payload, next_header, plaintext):
        assert next_header == 144
        self.found.append(payload)


class Bench:
    """A sender, and a receiver that opens what it sends."""

    def __init__(self, mtu=1500, dst="192.0.2.2", src="192.0.2.1", **options):
        fields = {name: options.pop(name) for name in list(options) if name in IptfsOptions.__dataclass_fields__}
        self.sa = gcm_sa(src, dst, mode=Mode.IPTFS, iptfs=IptfsOptions(**fields), **options)
        self.sad = new_sad(self.sa, keep_window=True)
        self.outbound = Outbound(self.sad, random.Random(1).randbytes, mtu=mtu)
        self.receiver = Inbound(new_sad(replace(self.sa, dir=None, limits=Limits())))

    def send(self, packet, now=0.0):
        sent = self.outbound.send(packet, now)
        assert sent is not None
        assert sent.packet is None
        return sent.verdict, [len(one) for one in tuple(sent.wire())]

    def inner(self, outers):
        """The inner packets that a receiver makes of outer ones."""
        found: list[bytes] = []
        for outer in outers:
            received = self.receiver.receive(outer)
            assert received is not None
            found += received.packets
        return found

    def leave(self, now=math.inf):
        return [packet for leaves in self.outbound.senders.elapse(now) for packet in leaves.packets]


# -- the captures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES, ids=[suite["name"] for suite in SUITES])
def test_the_payloads_are_cut_as_linux_cuts_them(suite):
    frames = ethernet_frames(FOLDER / suite["file"])
    for item in suite["sas"]:
        (entry,) = (e for e in sad_of(suite) if e.sa.spi == item["spi"])
        trace, sad = Payloads(), new_sad(replace(entry.sa, iptfs=IptfsOptions(**item["iptfs"])))
        outbound = Outbound(sad, random.Random(1).randbytes, trace=trace)
        lengths = []
        for n, inner in enumerate(one for one in suite["inner"] if one["dir"] == item["dir"]):
            # What leaves in one burst came within one delay: a burst's first number says which.
            now = float(_burst(suite, inner)) + n * 1e-6
            lengths += [len(one) for leaves in outbound.senders.elapse(now) for one in leaves.packets]
            sent = outbound.send(bytes.fromhex(inner["inner_hex"]), now)
            assert sent is not None
            lengths += [len(one) for one in tuple(sent.wire())]
        lengths += [len(one) for leaves in outbound.senders.elapse(math.inf) for one in leaves.packets]
        here = [n for n, one in enumerate(suite["packets"]) if one["dir"] == item["dir"]]
        assert [payload.hex() for payload in trace.found] == [suite["packets"][n]["payload_hex"] for n in here]
        assert lengths == [len(frames[n]) for n in here]


def _burst(suite, inner):
    """The number of the burst in which an inner packet left: in a capture with a delay gaps in its times say which."""
    if not any(sa["iptfs"].get("init_delay") for sa in suite["sas"]):
        return inner["packets"][0]
    times = _times(FOLDER / suite["file"])
    first = times[inner["packets"][0]]
    return sum(1 for before, after in itertools.pairwise(times) if after - before > 0.1 and after <= first)


def _times(path):
    data, at, times = path.read_bytes(), 24, []
    while at < len(data):
        seconds, part, length = (int.from_bytes(data[at + n : at + n + 4], "little") for n in (0, 4, 8))
        times.append(seconds + part / 1e9)
        at += 16 + length
    return times


# -- the rules --------------------------------------------------------------------------------------------------------


def test_without_a_delay_each_leaves_at_once():
    bench = Bench(pkt_size=300)
    sent = bench.outbound.send(A, 1.0)
    assert sent is not None
    assert (sent.verdict, sent.seq64, len(tuple(sent.wire()))) == (SEALED, 1, 1)
    assert bench.inner(tuple(sent.wire())) == [A]
    assert bench.outbound.senders.due == math.inf


def test_packets_of_one_delay_are_joined():
    bench = Bench(init_delay=200_000)
    assert [bench.send(p, now) for p, now in ((A, 1.0), (B, 1.1))] == [(SEALED, [])] * 2
    assert bench.leave(1.19) == []
    (leaves,) = bench.outbound.senders.elapse(1.3)
    assert leaves.time_ns == 1_200_000_000
    assert len(leaves.packets) == 1
    assert bench.inner(leaves.packets) == [A, B]
    told = bench.outbound.senders.as_dict()
    assert told is not None
    assert told["waiting_ms"] == {"mean": pytest.approx(150), "max": pytest.approx(200)}
    assert told["overhead"] == len(leaves.packets[0]) - len(A + B)


def test_a_packet_that_comes_when_the_delay_is_over_begins_another():
    bench = Bench(init_delay=200_000)
    bench.send(A, 1.0)
    sent = bench.outbound.send(B, 1.5)
    assert sent is not None
    assert bench.inner(tuple(sent.wire())) == [A]
    assert bench.inner(bench.leave()) == [B]


def test_what_does_not_fit_the_rest_begins_the_next_and_only_what_is_larger_is_cut():
    assert payloads([b"a" * 60, b"b" * 50, b"c" * 40], 100) == [
        bytes(4) + b"a" * 60, bytes(4) + b"b" * 50 + b"c" * 40,
    ]  # fmt: skip
    assert payloads([b"a" * 60, b"b" * 250, b"c" * 10], 100) == [
        bytes(4) + b"a" * 60, bytes(4) + b"b" * 100, bytes.fromhex("00000096") + b"b" * 100,
        bytes.fromhex("00000032") + b"b" * 50, bytes(4) + b"c" * 10,
    ]  # fmt: skip
    assert payloads([b"a" * 100, b"b" * 100], 100) == [bytes(4) + b"a" * 100, bytes(4) + b"b" * 100]
    assert payloads([], 100) == []


@pytest.mark.parametrize(("options", "mtu", "blocks"), [
    ({"pkt_size": 300}, 1500, 300 - 20 - 8 - 8 - 4),
    ({"pkt_size": 300, "src": "2001:db8::1", "dst": "2001:db8::2"}, 1500, 300 - 40 - 8 - 8 - 4),
    ({"pkt_size": 300, "encap": Encap("espinudp", 4500, 4500, bytes(4))}, 1500, 300 - 20 - 8 - 8 - 8 - 4),
    ({}, 1500, 1442), ({"pkt_size": 9000}, 1500, 1442), ({}, 68, 10), ({"pkt_size": 41}, 1500, 1),
])  # fmt: skip
def test_room(options, mtu, blocks):
    bench = Bench(mtu, **options)
    assert room(bench.sa, mtu) == blocks
    verdict, lengths = bench.send(BIG)
    assert verdict is SEALED
    assert len(lengths) == math.ceil(len(BIG) / blocks)
    if not options:
        assert max(lengths) <= mtu


def test_a_path_without_room():
    bench = Bench(56)
    assert bench.send(A) == (OutboundVerdict.IPTFS_TOO_BIG, [])
    assert OutboundVerdict.IPTFS_TOO_BIG.counter == "XfrmOutError"


def test_dont_frag_refuses_what_is_too_large():
    bench = Bench(pkt_size=300, dont_frag=True)
    fits = ipv4(bytes(room(bench.sa, 1500) - 20))
    assert [bench.send(packet)[0] for packet in (fits, fits + b"x", A)] == [SEALED, SEALED, SEALED]  # x: no part of it
    assert bench.send(ipv4(bytes(room(bench.sa, 1500) - 19))) == (OutboundVerdict.IPTFS_TOO_BIG, [])


def test_a_queue_that_is_full():
    bench = Bench(init_delay=1000, max_qsize=len(A) + len(B))
    assert [bench.send(packet)[0] for packet in (A, B, A)] == [SEALED, SEALED, OutboundVerdict.IPTFS_QUEUE]
    assert OutboundVerdict.IPTFS_QUEUE.counter == "XfrmOutNoQueueSpace"
    assert bench.inner(bench.leave()) == [A, B]


@pytest.mark.parametrize("make", [
    lambda tos: ipv4(udp(b"x" * 20), tos=tos), lambda tos: ipv6(udp(b"x" * 20), traffic_class=tos),
])  # fmt: skip
def test_a_queue_that_is_nearly_full_marks_congestion(make):
    bench = Bench(init_delay=1000, max_qsize=2 * len(make(0)))
    for tos in (1, 0xB9):
        bench.send(make(tos))
    assert bench.inner(bench.leave()) == [make(1), make(0xBB)]
    bench.send(make(0), 9.0)
    bench.send(make(0), 9.0)
    assert bench.inner(bench.leave()) == [make(0), make(0)]


@pytest.mark.parametrize(("src", "dst"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
def test_the_outer_header_has_nothing_of_the_inner_one(src, dst):
    bench = Bench(src=src, dst=dst)
    sent = bench.outbound.send(ipv4(udp(b"x"), tos=0xB9, ident=5))
    assert sent is not None
    (outer,) = tuple(sent.wire())
    if ":" in dst:
        assert outer[:4] == bytes.fromhex("60000000")
        assert outer[24:40] == parse_address(dst)
    else:
        assert outer[1] == 0
        assert outer[4:9] == bytes.fromhex("0000400040")
        assert outer[16:20] == parse_address(dst)


def test_numbers_run_out_in_a_queue():
    bench = Bench(init_delay=1000, pkt_size=60, replay=ReplayState(oseq=0xFFFFFFFD, stated=True))
    assert bench.send(BIG) == (SEALED, [])
    assert len(bench.leave()) == 2
    assert bench.outbound.senders.counters == {"XfrmOutStateSeqError": 1}
    assert bench.send(A, 5.0) == (SEALED, [])
    assert bench.leave() == []
    told = bench.outbound.senders.as_dict()
    assert told is not None
    assert (told["dropped"], told["inner"]) == (2, 0)


def test_a_hard_limit_ends_a_burst():
    bench = Bench(pkt_size=60, limits=Limits(hard_packets=3))
    verdict, lengths = bench.send(BIG)
    assert (verdict, len(lengths)) == (OutboundVerdict.EXPIRED, 3)


@settings(deadline=None, max_examples=examples(40))
@given(INNERS, st.integers(41, 400), st.booleans(), st.sampled_from([None, Direction.OUT]))
def test_what_is_sent_is_received(inners, size, delayed, direction):
    bench = Bench(pkt_size=size, init_delay=1000 * delayed, dir=direction, flags=frozenset({"esn"}))
    outers: list[bytes] = []
    for packet in inners:
        sent = bench.outbound.send(packet)
        assert sent is not None
        outers += tuple(sent.wire())
    outers += bench.leave()
    assert bench.inner(outers) == inners
    told = bench.outbound.senders.as_dict()
    received = bench.receiver.tunnels.as_dict()
    assert told is not None
    assert received is not None
    for name in ("packets", "outer_bytes", "inner", "inner_bytes", "fragments", "overhead"):
        assert told[name] == received[name], name
    again = [bench.receiver.receive(outer) for outer in outers[-3:]]
    assert {one.verdict for one in again if one is not None} == {Verdict.REPLAY_DUPLICATE}
