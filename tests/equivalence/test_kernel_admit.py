"""The selector kernel against `Selector.matches`, and SAs with lifetimes that stay in kernels until a limit is near."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.inbound.admit import admit_rows, selector_words
from espsim.batch.inbound.order import InboundPipeline
from espsim.core.numbers import ONE_BY_ONE, POLICY
from espsim.reference.inbound import Inbound
from espsim.reference.inner import selector_refuses
from espsim.sad.association import Limits, Selector
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.outbound_traffic import PACKETS, selectors
from tests.examples import examples
from tests.support import Peer, gcm_sa, ipv4, new_sad

CLEAR = ipv4(bytes(60))


@settings(deadline=None, max_examples=10 if UNJITTED else examples(60))
@given(st.lists(selectors(), min_size=1, max_size=4), st.lists(PACKETS, min_size=1, max_size=20), st.data())
def test_admit_is_the_selector(chosen, packets, data):
    lengths = np.array([len(p) for p in packets], np.int32)
    at = np.cumsum(lengths, dtype=np.int64) - lengths
    arena = np.frombuffer(bytearray(b"".join(packets)), np.uint8)
    sa_index = np.array([data.draw(st.integers(0, len(chosen))) for _ in packets], np.int32)
    before = np.array([data.draw(st.sampled_from([0, 0, 0, 8, 255])) for _ in packets], np.uint8)
    words = np.array([selector_words(s) for s in chosen], np.uint64)
    verdict = before.copy()
    admit_rows(arena, at, lengths, sa_index, np.array([-1, *range(len(chosen))], np.int32), words, verdict)
    for row, packet in enumerate(packets):
        sa = sa_index[row]
        refused = not before[row] and sa > 0 and selector_refuses(chosen[sa - 1], packet)
        assert verdict[row] == (POLICY if refused else before[row])


def one(limits, **options):
    sa = gcm_sa(limits=limits, **options)
    batches = InboundPipeline(Inbound(new_sad(sa)))
    return sa, batches


@pytest.mark.parametrize(
    ("limits", "rows", "times"),
    [
        (Limits(hard_packets=20), [9, 9, 9], [0.0, 0.0, 0.0]),
        (Limits(soft_packets=20, hard_packets=1000), [9, 9, 9], [0.0, 0.0, 0.0]),
        (Limits(hard_bytes=2600), [9, 9, 9], [0.0, 0.0, 0.0]),
        (Limits(hard_add=10), [1, 1, 1], [0.0, 9.0, 10.0]),
        (Limits(hard_use=10), [1, 1, 1], [5.0, 14.0, 15.0]),
    ],
    ids=["packets", "soft", "bytes", "added", "used"],
)
def test_an_sa_leaves_the_kernels_before_the_batch_in_which_a_limit_may_be_met(limits, rows, times):
    sa, batches = one(limits)
    peer, number, alone = Peer(sa), 0, []
    for count, now in zip(rows, times, strict=True):
        batches.receive([peer.packet(number + n + 1, CLEAR) for n in range(count)], now)
        number += count
        alone.append(bool(batches.columns.standing[0] == ONE_BY_ONE))
    assert alone == [False, False, True]
    batches.close()
    assert [entry.packets for entry in batches.one.sad] in ([sum(rows)], [])  # expired, else it counts on


def test_all_that_share_an_spi_leave_the_kernels_together():
    first, mate = gcm_sa(limits=Limits(hard_packets=3)), gcm_sa(dst="192.0.2.9")
    other = gcm_sa(spi=0x2002)
    batches = InboundPipeline(Inbound(new_sad(first, mate, other)))
    batches.receive([Peer(other).packet(1, CLEAR)] * 3)
    assert (batches.columns.standing == ONE_BY_ONE).tolist() == [True, True, False]


def test_far_limits_and_selectors_are_no_reason_to_leave_the_kernels():
    sa, batches = one(
        Limits(hard_packets=10**9, hard_bytes=10**12, hard_add=3600, soft_add=3000),
        selector=Selector(bytes((10, 1, 0, 0)), 16, bytes((10, 2, 0, 0)), 16),
    )
    peer = Peer(sa)
    answers = batches.receive([peer.packet(n, CLEAR) for n in range(1, 50)], 1.0)
    assert {a.verdict.name for a in answers if a} <= {"DELIVERED", "POLICY"}
    assert not (batches.columns.standing == ONE_BY_ONE).any()
