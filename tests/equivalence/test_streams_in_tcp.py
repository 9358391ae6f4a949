"""Captures with ESP in TCP: both readers and both paths, whatever the segments, batches and workers."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.stats import InboundStats
from espsim.batch.run.workers import shared_zeros
from espsim.core.numbers import PART
from espsim.core.verdict import Verdict
from espsim.io.batches import open_batches
from espsim.io.capture import open_capture
from espsim.io.fragments import Joiner
from espsim.io.rows.classic import LONGEST
from espsim.io.tcp import streams_of
from espsim.reference.inbound import Inbound
from espsim.reference.layers import judge, layer_of
from espsim.sad.association import Encap, Limits, Mode
from tests.equivalence.collecting import collect, cut
from tests.equivalence.inbound_traffic import shown, state_of
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.test_fragments import laid_out
from tests.examples import examples
from tests.fragments import fragments
from tests.support import Peer, gcm_sa, ipv4, new_sad, udp
from tests.unit.io.test_tcp import SYN, message, segment

TCP = Encap("espintcp", 40_000, 4500, bytes(16))
SAS = (
    gcm_sa(spi=0x1001, key_byte=1, encap=TCP), gcm_sa(spi=0x1002, key_byte=2, encap=TCP, window=0, mode=Mode.TRANSPORT),
    gcm_sa(spi=0x1003, key_byte=3), gcm_sa(spi=0x1004, key_byte=4, encap=Encap("espinudp", 4500, 4500, bytes(16))),
    gcm_sa(spi=0x1005, key_byte=5, encap=TCP, limits=Limits(hard_packets=2)),
)  # fmt: skip


def joiner_for(one):
    return Joiner(judge(one.ports), streams=streams_of(one.sad))


def by_reference(path, sad):
    one, stats, answers = Inbound(sad), InboundStats(), []
    with open_capture(path, joiner_for(one)) as reader:
        for frame in reader:
            if frame.part:
                continue
            received = None if frame.ip is None else one.receive(frame.ip, frame.time_ns / 1e9, in_tcp=frame.in_tcp)
            layer = frame.link if frame.ip is None else layer_of(frame.ip, one.ports)
            stats.count(received, layer)
            answers.append((frame.number, shown(received), None if received is not None else layer))
    return answers, stats.as_dict()


def in_batches(path, sad, workers):
    path_ = InboundPipeline(Inbound(sad), "cryptography")
    counts = InboundCounts(path_.columns.entries, shared_zeros)

    def facts(piece):
        counts.count(piece.batch, path_.nested_in(piece.batch))
        batch = piece.batch
        rows = zip(piece.frames.tolist(), path_.answers(batch), batch.kind.tolist(), batch.verdict, strict=True)
        return [
            (number, shown(answer), None if answer is not None else kind)
            for number, answer, kind, verdict in rows if verdict != PART
        ]  # fmt: skip

    with open_batches(path, joiner_for(path_.one)) as reader:
        answers = [answer for some in collect(reader, InboundLane(path_), workers, facts) for answer in some]
    return answers, counts.stats().as_dict()


@st.composite
def captures(draw: st.DrawFn) -> list[bytes]:
    """Streams of some connections, cut into segments at any place, among other packets."""
    frames: list[bytes] = []
    for number in range(draw(st.integers(1, 3))):
        ports = (40_000 + number, draw(st.sampled_from([4500, 4500, 443])))
        text = b"IKETCP" if ports[1] != 4500 or draw(st.booleans()) else b""
        for n in range(draw(st.integers(1, 8))):
            sa = draw(st.sampled_from(SAS))
            data = Peer(sa).esp(n + 1, ipv4(udp(bytes(draw(st.sampled_from([1, 90, 1300]))))) + b"\1\1\4")
            text += message(draw(st.sampled_from([data, data, data, data[:7], bytes(40), b"\xff" * 30])))
        cuts = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=8)))
        ends = [0, *cuts, len(text)]
        parts = [(start, text[start:end]) for start, end in itertools.pairwise(ends)]
        if draw(st.booleans()):
            parts.pop(draw(st.integers(0, len(parts) - 1)))
        if draw(st.booleans()):
            random.Random(draw(st.integers(0, 99))).shuffle(parts)
        start = [segment(1, flags=SYN, ports=ports)] if draw(st.booleans()) else []
        frames += start + [segment(2 + at, part, ports=ports) for at, part in parts]
    others = [
        Peer(SAS[2]).packet(1, ipv4(bytes(30))), Peer(SAS[3]).packet(1, ipv4(bytes(30))), ipv4(bytes(30), proto=6),
        Peer(SAS[2]).packet(2, ipv4(bytes(30)), dst="192.0.2.2"), segment(1, b"GET / HTTP/1.1", ports=(99, 80)),
        ipv4(Peer(SAS[0]).esp(60, ipv4(bytes(30)) + b"\0\4"), src="192.0.2.1", dst="192.0.2.2", proto=50),
        *fragments(Peer(SAS[2]).packet(3, ipv4(bytes(200))), [64, 128]),
    ]  # fmt: skip
    for other in draw(st.lists(st.sampled_from(others), max_size=6)):
        frames.insert(draw(st.integers(0, len(frames))), other)
    return frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("streams")


@pytest.mark.parametrize("workers", [1, 2])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(15), suppress_health_check=list(HealthCheck))
@given(frames=captures(), rows=st.sampled_from([1, 3, 64]), arena=st.sampled_from([LONGEST, 1 << 17]))
def test_equal_for_any_segments(folder, workers, frames, rows, arena):
    path = laid_out(folder / f"{workers}.pcap", frames)
    sad, other = new_sad(*SAS), new_sad(*SAS)
    entries, others = list(sad), list(other)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows, arena)
        want, found = by_reference(path, sad), in_batches(path, other, workers)
    assert found == want
    assert state_of(other, others) == state_of(sad, entries)
    numbers = [number for number, *_ in want[0]]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_sa_takes_what_comes_in_its_encapsulation(folder, workers):
    """xfrm_input compares the SA's encapsulation with that of the path: three SAs, each three ways."""
    bodies = [Peer(sa).esp(1, ipv4(bytes(30)) + b"\0\4") for sa in (SAS[0], SAS[2], SAS[3])]
    text = b"".join(map(message, bodies))
    ends: dict[str, Any] = {"src": "192.0.2.1", "dst": "192.0.2.2"}
    frames = [segment(1, flags=SYN), segment(2, text)]
    frames += [ipv4(body, proto=50, **ends) for body in bodies]
    frames += [ipv4(udp(body, 4500, 4500), **ends) for body in bodies]
    path, sad = laid_out(folder / "encap.pcap", frames), new_sad(*SAS)
    answers, stats = in_batches(path, sad, workers) if workers else by_reference(path, sad)
    right, wrong = Verdict.DELIVERED, Verdict.ENCAP_MISMATCH
    verdicts = [answer[0] for _, answer, _ in answers if answer is not None]
    assert verdicts == [right, wrong, wrong, wrong, right, wrong, wrong, wrong, right]
    assert stats["linux_counters"] == {"XfrmInStateMismatch": 6}
    assert [number for number, *_ in answers] == [1, 2, 2, 2, 3, 4, 5, 6, 7, 8]


def test_more_packets_in_a_segment_than_a_batch_has_rows(folder):
    """A segment as large as in a capture on the sending host."""
    text = b"".join(message(struct.pack("!II", 0x9999, n)) for n in range(6000))
    path = laid_out(folder / "many.pcap", [segment(1, flags=SYN), segment(2, text), ipv4(bytes(9), proto=1)])
    answers, stats = in_batches(path, new_sad(*SAS), 1)
    assert [answer[3] for _, answer, _ in answers if answer is not None] == list(range(6000))
    assert (stats["packets"], stats["ignored"]) == (6000, 2)
    assert (answers, stats) == by_reference(path, new_sad(*SAS))
