"""ESP in ESP: the batch path against the reference path, in kernels and one by one, cut anywhere, by several workers,
with a device, and in what is said of a run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.device.order import OffloadedPipeline
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run.lanes import InboundLane
from espsim.core.address import parse_address
from espsim.core.inbound_batch import InboundBatch
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.sad.association import Direction, Limits, Mark, Mode, ReplayState, SecurityAssociation, Selector
from tests.equivalence.collecting import cut
from tests.equivalence.device_models import load
from tests.equivalence.inbound_traffic import DATA, WRAP, make, shown, state_of
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.nested_traffic import RUNS, nesting, packets_of
from tests.equivalence.test_pipeline_inbound import both
from tests.equivalence.test_pipeline_offloaded import _known, offloaded
from tests.equivalence.test_stream_inbound import capture
from tests.equivalence.test_why import by_batches, by_reference
from tests.examples import examples
from tests.support import Peer, engines_there, gcm_sa, ipv4, new_sad

CHOSEN = st.lists(nesting(), min_size=2, max_size=5)
EXAMPLES = settings(deadline=None, max_examples=15 if UNJITTED else examples(15))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nested")


@pytest.mark.parametrize("engine", engines_there())
def test_equal_for_any_nesting(engine):
    seen: Counter[tuple[int, Verdict]] = Counter()

    @EXAMPLES
    @given(CHOSEN, RUNS, st.sampled_from([1, 2, 5, 1000]), st.sampled_from([0, 0, 5, None]), st.booleans(),
           st.booleans())  # fmt: skip
    def check(chosen, nests, size, mark, write_back, own):
        packets, times, outgoing = packets_of(make(chosen), nests)
        options: dict[str, Any] = {"outgoing": outgoing} if own else {}
        answers = both(
            lambda: make(chosen), packets, times, cut=size, engine=engine, mark=mark, write_back=write_back, **options
        )
        seen.update((answer.depth, answer.verdict) for answer in answers if answer is not None)

    check()
    assert len({verdict for depth, verdict in seen if depth > 1}) >= 2, seen
    assert max(depth for depth, _ in seen) >= 2, seen


@pytest.mark.parametrize("workers", [1, 3])
@settings(deadline=None, max_examples=6 if UNJITTED else examples(6))
@given(CHOSEN, RUNS, st.sampled_from([1, 3, 64]), st.booleans())
def test_all_that_is_said_is_equal(folder, workers, chosen, nests, rows, own):
    """Causes, notes and lines; with workers pieces are on their way when the first nested packet comes."""
    packets, times, _ = packets_of(make(chosen), nests)
    path = capture(folder / "in.pcap", packets, times)
    sad, other = make(chosen), make(chosen)
    entries, others = list(sad), list(other)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        want = by_reference(path, folder, Inbound(sad, own_traffic=own))
        assert by_batches(path, folder, Inbound(other, own_traffic=own), "cryptography", workers) == want
    assert state_of(other, others) == state_of(sad, entries)


@settings(deadline=None, max_examples=8 if UNJITTED else examples(10))
@given(CHOSEN, RUNS, st.sampled_from(["nvidia-mlx5-linux-packet", "sw-linux-xfrm", "netdevsim-linux"]),
       st.integers(0, 99), st.sampled_from([1, 3, 1000]))  # fmt: skip
def test_equal_with_a_device(chosen, nests, name, seed, size):
    packets, times, _ = packets_of(make(chosen), nests)
    one, other = (offloaded(chosen, load(name), seed, 0) for _ in range(2))
    entries, others = _known(one), _known(other)
    want = [one.receive(packet, now) for packet, now in zip(packets, times, strict=True)]
    found: list[Any] = []
    with OffloadedPipeline(other, "cryptography", debug=True) as batches:
        for at in range(0, len(packets), size):
            found += batches.receive(packets[at : at + size], times[at : at + size])
    assert [shown(answer) for answer in found] == [shown(answer) for answer in want]
    assert state_of(other.sad, others) == state_of(one.sad, entries)


# -- orders that chance seldom makes ----------------------------------------------------------------------------------


def chain(*sas: SecurityAssociation, numbers: tuple[int, ...]) -> bytes:
    """A packet under tunnel SAs, the innermost first."""
    packet = ipv4(DATA)
    for sa, seq64 in zip(sas, numbers, strict=True):
        packet = Peer(sa).packet(seq64, packet)
    return packet


def test_a_row_that_opens_only_when_its_turn_comes():
    """Its ESN number is guessed wrong before the batch, so what it holds is known only when it is settled."""
    start, esn = WRAP // 2, frozenset({"esn"})
    outer = gcm_sa(spi=1, key_byte=1, window=64, flags=esn, replay=ReplayState(start))
    inner = gcm_sa(spi=2, key_byte=2)
    packets = [
        chain(inner, numbers=(1,)),
        chain(outer, numbers=(WRAP - 10,)),
        chain(inner, outer, numbers=(2, WRAP + start + 100)),
        chain(inner, numbers=(2,)),
        chain(inner, numbers=(3,)),
    ]
    chosen = [(outer, True), (inner, False)]
    answers = both(lambda: make(chosen), packets, [0.0] * 5)
    assert [(a.verdict, a.depth) for a in answers] == [
        (Verdict.DELIVERED, 1), (Verdict.DELIVERED, 1), (Verdict.DELIVERED, 2), (Verdict.REPLAY_DUPLICATE, 1),
        (Verdict.DELIVERED, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 5])
def test_an_outbound_sa_inside_that_is_found_once_a_newer_one_is_gone(size):
    """A packet before removes the newer SA. Whether the outer packet holds one of this host is asked before that."""
    outer = gcm_sa(spi=1, key_byte=1, dir=Direction.OUT)
    inner = gcm_sa(spi=2, key_byte=2, dir=Direction.OUT, mark=Mark(5, 7))
    newer = gcm_sa("192.0.2.9", spi=2, key_byte=3, limits=Limits(hard_add=10))
    packets = [
        chain(outer, numbers=(1,)), chain(newer, numbers=(1,)), chain(inner, outer, numbers=(1, 2)),
        chain(outer, numbers=(3,)), chain(inner, outer, numbers=(2, 4)),
    ]  # fmt: skip
    sas = [(sa, False) for sa in (outer, inner, newer)]
    answers = both(lambda: make(sas), packets, [0.0, 20.0, 21.0, 22.0, 23.0], mark=5, cut=size, outgoing=[False] * 5)
    assert [answer.depth for answer in answers] == [1, 1, 2, 1, 2]


@pytest.mark.parametrize("order", ["ssseee", "sseese", "sesese"])
def test_batches_that_are_under_way(order):
    """As workers run them: a later batch may be settled (s) before an earlier one has ended (e)."""
    outer, inner = gcm_sa(spi=1, key_byte=1), gcm_sa(spi=2, key_byte=2)
    pair = Selector(parse_address("10.1.0.1"), 32, parse_address("10.2.0.1"), 32)
    beet = gcm_sa(spi=3, key_byte=3, mode=Mode.BEET, selector=pair)
    some = [
        [Peer(beet).packet(1, DATA, 17), chain(inner, numbers=(1,)), chain(outer, numbers=(1,))],
        [
            chain(inner, numbers=(2,)), chain(outer, numbers=(2,)), chain(inner, outer, numbers=(3, 3)),
            chain(inner, numbers=(3,)), chain(outer, numbers=(3,)), Peer(beet).packet(2, DATA, 17),
        ],
        [chain(inner, numbers=(4,)), chain(inner, outer, numbers=(5, 4)), chain(inner, numbers=(5,))],
    ]  # fmt: skip
    sad, other = (new_sad(outer, inner, beet) for _ in range(2))
    one = Inbound(sad)
    want = [shown(one.receive(packet)) for packets in some for packet in packets]
    path = InboundPipeline(Inbound(other), "cryptography")
    lane, batches = InboundLane(path), [InboundBatch.of(packets) for packets in some]
    for batch in batches:
        lane.ahead(batch)
    settled, ended = iter(batches), iter(batches)
    for what in order:
        if what == "s":
            lane.settle(next(settled))
        else:
            batch = next(ended)
            lane.after(batch)
            lane.end(batch)
    lane.close()
    assert [shown(answer) for batch in batches for answer in path.answers(batch)] == want
    assert state_of(other, list(other)) == state_of(sad, list(sad))


def test_kernels_run_what_comes_before_it():
    """Kernels run two rows; from the nested one on the reference path runs all."""
    outer, inner = gcm_sa(spi=1, key_byte=1), gcm_sa(spi=2, key_byte=2)
    packets = [chain(inner, numbers=(1,)), chain(outer, numbers=(1,)), chain(inner, outer, numbers=(2, 2))]
    with InboundPipeline(Inbound(new_sad(outer, inner)), "cryptography") as batches:
        batches.receive(packets)
        assert dict(batches.alone) == {0: 1, 1: 1}
        batches.receive([chain(inner, numbers=(3,))])
        assert dict(batches.alone) == {0: 1, 1: 2}


def test_esp_for_another_host_stays_in_kernels():
    through, outer = gcm_sa("203.0.113.1", "203.0.113.2", 5, key_byte=5), gcm_sa(spi=1, key_byte=1)
    with InboundPipeline(Inbound(new_sad(outer)), "cryptography") as batches:
        answers = batches.receive([chain(through, outer, numbers=(n, n)) for n in range(1, 9)])
        assert [answer.inner for answer in answers if answer] == [chain(through, numbers=(n,)) for n in range(1, 9)]
        assert not batches.alone
