"""A capture sealed through the batch path, by one worker or several, against the reference path."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.outbound.order import OutboundPipeline
from espsim.batch.run.capture import run
from espsim.batch.run.lanes import OutboundLane
from espsim.batch.run.stats import OutboundStats
from espsim.cli.encap import Epochs, SealedTaker
from espsim.core.numbers import LINKTYPE_RAW
from espsim.io.batches import BatchWriter, open_batches
from espsim.io.capture import CaptureWriter, open_capture
from espsim.reference.outbound import Outbound
from tests.equivalence.collecting import Way, cut
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.outbound_traffic import SUITES, TRAFFIC, constant, make, sads, state_of, timed
from tests.examples import examples
from tests.support import gcm_sa, ipv4, new_sad


def by_reference(path, out, sad, mtu):
    stats, one, epochs = OutboundStats(), Outbound(sad, constant, mtu=mtu), Epochs()
    with open_capture(path) as reader, CaptureWriter(out) as writer:
        for frame in reader:
            sent = one.send(frame.ip, frame.time_ns / 1e9) if frame.ip is not None else None
            stats.count(sent)
            if sent is not None and sent.packet is not None and sent.entry is not None:
                writer.write(sent.packet, frame.time_ns)
                epochs.note(sent.entry, sent.seq64 or 0)
        writer.commit()
    return stats.as_dict(), one.ambiguous, vars(epochs)


def in_batches(path, out, sad, mtu, workers, before=BatchWriter.before):
    path_out = OutboundPipeline(Outbound(sad, constant, mtu=mtu), "cryptography")
    lane, epochs = OutboundLane(path_out, before), Epochs()
    with open_batches(path) as reader, BatchWriter(out) as writer:
        taker = SealedTaker(lane, epochs, writer, lambda at: None, several=workers > 1)
        run(reader, lane, taker, Way(workers))
        writer.commit()
    return taker.counts.stats().as_dict(), lane.ambiguous, vars(epochs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("captures")


@pytest.mark.parametrize("workers", [1, 2, 3])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(8))
@given(
    chosen=sads(), traffic=TRAFFIC, rows=st.sampled_from([1, 5, 64]), mtu=st.sampled_from([576, 1500, 65535]),
    before=st.sampled_from([0, BatchWriter.before]),
)  # fmt: skip
def test_equal_for_any_number_of_workers(folder, workers, chosen, traffic, rows, mtu, before):
    packets, times = timed(traffic)
    path, outs = str(folder / f"{workers}-in"), [folder / f"{workers}-want", folder / f"{workers}-found"]
    with CaptureWriter(path, nanosecond=True) as writer:
        for packet, now in zip(packets, times, strict=True):
            writer.write(packet, round(now * 1e9))
        writer.commit()
    sad, other = make(chosen), make(chosen)
    entries, others = list(sad), list(other)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        want: Any = by_reference(path, str(outs[0]), sad, mtu)
        found: Any = in_batches(path, str(outs[1]), other, mtu, workers, before)
    assert found == want
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert state_of(other, others) == state_of(sad, entries)


def records(packets):
    """A classic pcap: 16 bytes between two frames."""
    made = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, LINKTYPE_RAW)
    return made + b"".join(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet for packet in packets)


def simple_blocks(packets):
    """A pcapng of simple packet blocks: 16 bytes between two frames, and padding to words."""
    made = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    made += struct.pack("<IIHHII", 1, 20, LINKTYPE_RAW, 0, 0, 20)
    for packet in packets:
        pad = -len(packet) % 4
        total = 16 + len(packet) + pad
        made += struct.pack("<III", 3, total, len(packet)) + packet + bytes(pad) + struct.pack("<I", total)
    return made


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("capture", [records, simple_blocks])
def test_no_trailer_touches_the_next_frame_where_frames_are_nearest(tmp_path, capture, workers):
    """With 16-byte blocks trailers have 2 to 17 bytes: the longest has no room after its frame."""
    packets = [ipv4(bytes([n % 251]) * n) for n in range(1, 70)]
    path, outs = tmp_path / "in", [str(tmp_path / "want"), str(tmp_path / "found")]
    path.write_bytes(capture(packets))
    sa = replace(gcm_sa(), algorithms=SUITES["cbc(aes)-hmac(sha1)-96"])
    want = by_reference(str(path), outs[0], new_sad(sa), 1500)
    found: Any = in_batches(str(path), outs[1], new_sad(sa), 1500, workers)
    assert found == want
    assert found[0]["sealed"] == len(packets)
    assert Path(outs[0]).read_bytes() == Path(outs[1]).read_bytes()
