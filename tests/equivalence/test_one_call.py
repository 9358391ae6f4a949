"""The steps from parse to trailer in one call against the separate stages: every column, any traffic, any cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.inbound import one_call
from espsim.batch.inbound.order import AHEAD, InboundPipeline
from espsim.core.inbound_batch import COLUMNS, InboundBatch
from espsim.core.numbers import OUTGOING
from espsim.reference.inbound import Inbound
from tests.equivalence import own_traffic
from tests.equivalence.inbound_traffic import RUNS, make, packets_of, sas
from tests.examples import examples
from tests.support import engines_there, gcm_sa, new_sad

pytestmark = pytest.mark.skipif("ipsec-mb" not in engines_there(), reason="one call is for ipsec-mb")
CUTS = st.sampled_from([1, 2, 3, 7, 1000])


def equal(make_sad, packets, times, outgoing, cut, mark, *, own) -> None:
    """Both ways, batch after batch. What a column held before must not be seen after, so each has other bytes first."""
    ways = [
        InboundPipeline(Inbound(make_sad(), mark=mark, own_traffic=own), "ipsec-mb", debug=debug)
        for debug in (True, False)
    ]
    for at in range(0, len(packets), cut):
        rows = slice(at, at + cut)
        batches = [batch_of(packets[rows], times[rows], outgoing[rows], mark or 0, byte) for byte in (0xA5, 0x5A)]
        for path, batch in zip(ways, batches, strict=True):
            path.columns.begin(batch)
            assert one_call.suits(batch, path.columns)
            path.run_some(batch, AHEAD)
        separate, together = (columns_of(batch) for batch in batches)
        for name, column in separate.items():
            np.testing.assert_array_equal(together[name], column, name)
        for path, batch in zip(ways, batches, strict=True):
            path.run_some(batch, slice(AHEAD.stop, None))
            path.run_alone(batch)


def batch_of(packets, times, outgoing, mark, byte) -> InboundBatch:
    batch = InboundBatch.of(packets, times, mark)
    for name in COLUMNS:
        getattr(batch, name).view(np.uint8)[:] = byte
    batch.link[:] = np.where(outgoing, OUTGOING, 0)
    return batch


def columns_of(batch) -> dict[str, Any]:
    """All columns that some step has written by then, and the packets' bytes."""
    return {name: column for name, column in vars(batch).items() if name not in {"inner_at", "inner_length", "_free"}}


@settings(deadline=None, max_examples=examples(30))
@given(st.lists(sas(), min_size=1, max_size=6), RUNS, CUTS, st.sampled_from([0, 0, 5]))
def test_any_sas_and_packets(chosen, arrivals, cut, mark):
    packets, times = packets_of(make(chosen), arrivals)
    equal(lambda: make(chosen), packets, times, [False] * len(packets), cut, mark, own=False)


@settings(deadline=None, max_examples=examples(30))
@given(own_traffic.WAYS, own_traffic.RUNS, CUTS, st.sampled_from([0, 5, None]))
def test_any_traffic_of_the_host_itself(chosen, arrivals, cut, mark):
    packets, times, outgoing = own_traffic.capture_of(make(chosen), arrivals)
    equal(lambda: make(chosen), packets, times, outgoing, cut, mark, own=True)


@settings(deadline=None, max_examples=examples(15))
@given(st.lists(st.binary(max_size=90), max_size=9), CUTS)
def test_any_bytes(packets, cut):
    equal(lambda: new_sad(gcm_sa()), packets, [0.0] * len(packets), [True] * len(packets), cut, 0, own=True)
