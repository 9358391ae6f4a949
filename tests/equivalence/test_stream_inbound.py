"""A capture through the batch path, by one worker or several, against the reference path one packet at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.lanes import InboundLane
from espsim.batch.run.stats import InboundStats
from espsim.batch.run.workers import WorkerFailedError, shared_zeros
from espsim.core.layers import Layer
from espsim.io.batches import open_batches
from espsim.io.capture import CaptureCut, CaptureWriter, open_capture
from espsim.reference.inbound import Inbound
from espsim.reference.layers import layer_of
from tests.equivalence import own_traffic
from tests.equivalence.collecting import collect, cut
from tests.equivalence.inbound_traffic import RUNS, make, packets_of, sas, shown, state_of
from tests.equivalence.kernel_settings import UNJITTED
from tests.examples import examples
from tests.support import Peer, gcm_sa, ipv4, new_sad, udp


def capture(path, packets, times):
    with CaptureWriter(str(path), nanosecond=True) as writer:
        for packet, now in zip(packets, times, strict=True):
            writer.write(packet, round(now * 1e9))
        writer.commit()
    return str(path)


def by_reference(path, sad, own_traffic=False):
    stats, answers = InboundStats(), []
    one = Inbound(sad, own_traffic=own_traffic)
    with open_capture(path) as reader:
        for frame in reader:
            received = None
            if frame.ip is not None:
                received = one.receive(frame.ip, frame.time_ns / 1e9, outgoing=frame.outgoing)
            layer = frame.link if frame.ip is None else layer_of(frame.ip, one.ports)
            stats.count(received, layer)
            answers.append((shown(received), layer if received is None else Layer.OTHER))
    return answers, stats.as_dict(), {index: count.passed for index, count in stats.opened.items()}


def in_batches(path, sad, workers, own_traffic=False):
    batches = InboundPipeline(Inbound(sad, own_traffic=own_traffic), "cryptography")
    lane = InboundLane(batches)
    counts = InboundCounts(batches.columns.entries, shared_zeros)

    def facts(piece):
        counts.count(piece.batch, batches.nested_in(piece.batch))
        answers = zip(map(shown, batches.answers(piece.batch)), piece.batch.kind.tolist(), strict=True)
        return piece.frames.tolist(), list(answers)

    with open_batches(path) as reader:
        found = collect(reader, lane, workers, facts)
    answers: list[Any] = [answer for _, some in found for answer in some]
    numbers = [number for some, _ in found for number in some]
    assert numbers == list(range(1, len(answers) + 1))
    stats = counts.stats()
    opened = {index: count.passed for index, count in stats.opened.items()}
    assert all(0 < alone <= opened[index] for index, alone in lane.alone.items())
    return answers, stats.as_dict(), opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("captures")


@pytest.mark.parametrize("workers", [1, 2, 3])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(8))
@given(chosen=st.lists(sas(), min_size=1, max_size=6), arrivals=RUNS, rows=st.sampled_from([1, 5, 64]))
def test_equal_for_any_number_of_workers(folder, workers, chosen, arrivals, rows):
    packets, times = packets_of(make(chosen), arrivals)
    path = capture(folder / f"{workers}.pcap", packets, times)
    sad, other = make(chosen), make(chosen)
    entries, others = list(sad), list(other)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)  # so that a small capture is many pieces
        want, found = by_reference(path, sad), in_batches(path, other, workers)
    assert found == want
    assert state_of(other, others) == state_of(sad, entries)


@pytest.mark.parametrize("workers", [1, 2, 3])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(8))
@given(chosen=own_traffic.WAYS, arrivals=own_traffic.RUNS, rows=st.sampled_from([1, 5, 64]))
def test_equal_for_own_traffic_and_any_number_of_workers(folder, workers, chosen, arrivals, rows):
    """A cooked capture, which says of each frame whether it is outgoing."""
    packets, times, outgoing = own_traffic.capture_of(make(chosen), arrivals)
    path = str(folder / f"own{workers}.pcap")
    with CaptureWriter(path, linktype=276, nanosecond=True) as writer:
        for packet, now, sent in zip(packets, times, outgoing, strict=True):
            ethertype = b"\x86\xdd" if packet[:1] >= b"\x60" else b"\x08\0"
            header = ethertype + bytes(6) + b"\0\1" + bytes((4 if sent else 0, 6)) + bytes(8)
            writer.write(header + packet, round(now * 1e9))
        writer.commit()
    sad, other = make(chosen), make(chosen)
    entries, others = list(sad), list(other)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        want, found = by_reference(path, sad, own_traffic=True), in_batches(path, other, workers, own_traffic=True)
    assert found == want
    assert state_of(other, others) == state_of(sad, entries)


def many(path, sad, count):
    """Packets of every SA in turn, and their capture."""
    peers = [Peer(entry.sa) for entry in sad]
    inner = ipv4(bytes(60))
    packets = [peers[n % len(peers)].packet(n // len(peers) + 1, inner) for n in range(count)]
    return capture(path, packets, [n / 1000 for n in range(count)])


def some_sad(sas=8):
    return new_sad(*(gcm_sa(spi=0x1000 + n, key_byte=n) for n in range(sas)))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_not_esp_is_named_by_every_path(tmp_path, workers):
    """Ethernet: ARP, LLDP, and one packet of each kind beside ESP."""
    ethernet = bytes(12) + b"\x08\x00"
    packets = [
        ipv4(bytes(28), proto=proto) if isinstance(proto, int) else ipv4(udp(*proto)) for proto in
        (1, 6, 47, 51, (b"\xff", 4500, 4500), (bytes(40), 4500, 4500), (bytes(28), 500, 500), (b"x" * 20, 9, 4789),
         (b"x" * 20, 9, 6081), (b"x" * 20, 9, 2152), (b"x" * 20, 9, 53))
    ]  # fmt: skip
    packets = [packet[:9] + b"\x11" + packet[10:] if n >= 4 else packet for n, packet in enumerate(packets)]
    frames = [bytes(12) + b"\x08\x06" + bytes(28), bytes(12) + b"\x88\xcc" + bytes(28)]
    frames += [ethernet + packet for packet in (*packets, Peer(gcm_sa()).packet(1, ipv4(bytes(60))))]
    path = str(tmp_path / "in.pcap")
    with CaptureWriter(path, linktype=1) as writer:
        for n, frame in enumerate(frames):
            writer.write(frame, n)
        writer.commit()
    want, found = by_reference(path, new_sad(gcm_sa())), in_batches(path, new_sad(gcm_sa()), workers)
    assert found == want
    stats = found[1]
    assert stats["ignored_by"] == {layer.label: 1 for layer in Layer} | {"ike": 2}
    assert stats["ignored"] == sum(stats["ignored_by"].values()) == len(frames) - 1
    assert stats["delivered"] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_whole_of_a_cut_capture_comes_before_the_error(tmp_path, workers):
    path = many(tmp_path / "in.pcap", some_sad(), 100)
    data = (tmp_path / "in.pcap").read_bytes()
    (tmp_path / "in.pcap").write_bytes(data[:-3])
    sad = some_sad()
    with open_batches(path) as reader, pytest.raises(CaptureCut):
        collect(reader, InboundLane(InboundPipeline(Inbound(sad))), workers, lambda piece: None)
    assert sum(entry.packets for entry in sad) == 99


def test_the_first_frame_is_told_before_anything_runs(tmp_path):
    """A lifetime of two seconds counts from there, in workers as well."""
    sa = replace(gcm_sa(), limits=replace(gcm_sa().limits, hard_add=2))
    path = capture(tmp_path / "in.pcap", [Peer(sa).packet(n, ipv4(bytes(60))) for n in (1, 2)], [1000.5, 1001.5])
    for workers in (1, 2):
        sad = new_sad(sa)
        (entry,) = sad
        heard: list[float] = []

        def begin(now, entry=entry, heard=heard):
            entry.added = now
            heard.append(now)

        with open_batches(path) as reader:
            lane = InboundLane(InboundPipeline(Inbound(sad)))
            (verdicts,) = collect(reader, lane, workers, lambda piece: piece.batch.verdict.tolist(), begin)
        assert (heard, verdicts) == ([1000.5], [0, 0])


def test_no_failed_plaintext_in_shared_memory(tmp_path):
    """A forged packet's bytes are what they were, also where workers share them."""
    sa = gcm_sa(spi=0x1000, key_byte=0)
    secret = b"no one may read this"
    good = Peer(sa).packet(1, ipv4(secret * 3))
    path = capture(tmp_path / "in.pcap", [good[:-1] + bytes((good[-1] ^ 1,))], [0.0])

    def facts(piece):
        return piece.batch.verdict.tolist(), secret in piece.batch.arena.tobytes()

    with open_batches(path) as reader:
        assert collect(reader, InboundLane(InboundPipeline(Inbound(some_sad()))), 2, facts) == [([13], False)]


def test_a_worker_that_is_lost_ends_the_run(tmp_path):
    path = many(tmp_path / "in.pcap", some_sad(), 100)

    class Dying(InboundLane):
        def ahead(self, batch):
            if batch.frame[0] > 20:
                raise MemoryError("no room")
            super().ahead(batch)

    with pytest.MonkeyPatch.context() as patch:
        cut(patch, 10)
        with open_batches(path) as reader, pytest.raises(WorkerFailedError, match="of 2 failed: MemoryError"):
            collect(reader, Dying(InboundPipeline(Inbound(some_sad()))), 2, lambda piece: None)
