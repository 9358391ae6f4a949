"""A capture sealed through the batch path, by one worker or several, against the reference path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.outbound.order import OutboundPipeline
from espsim.batch.run.capture import run
from espsim.batch.run.lanes import OutboundLane
from espsim.batch.run.stats import OutboundStats
from espsim.cli.encap import Epochs, SealedTaker
from espsim.io.batches import BatchWriter, open_batches
from espsim.io.capture import CaptureWriter, open_capture
from espsim.reference.outbound import Outbound
from tests.equivalence.collecting import Way, cut
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.outbound_traffic import TRAFFIC, constant, make, sads, state_of, timed
from tests.examples import examples


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


def in_batches(path, out, sad, mtu, workers):
    lane, epochs = OutboundLane(OutboundPipeline(Outbound(sad, constant, mtu=mtu), "cryptography")), Epochs()
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
    chosen=sads(), traffic=TRAFFIC, rows=st.sampled_from([1, 5, 64]), mtu=st.sampled_from([576, 1500, 65535])
)  # fmt: skip
def test_equal_for_any_number_of_workers(folder, workers, chosen, traffic, rows, mtu):
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
        found: Any = in_batches(path, str(outs[1]), other, mtu, workers)
    assert found == want
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert state_of(other, others) == state_of(sad, entries)
