"""The batch path with a device against the reference path: every model, any SAs, any packets, any cut into batches."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.device.order import OffloadedPipeline
from espsim.batch.run.stats import InboundStats
from espsim.core.errors import UnknownReached
from espsim.core.verdict import DeviceOutcome, Surfacing, Verdict
from espsim.offload.device import Device
from espsim.offload.model import Model, shipped_models
from espsim.reference.offloaded import OffloadedInbound
from espsim.sad.association import Encap, Limits, Mark, Mode, ReplayState, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.window import RingWindow, Window
from tests.equivalence import own_traffic
from tests.equivalence.device_models import SHAPES, filled, load, twin
from tests.equivalence.inbound_traffic import DATA, M32, M64, RUNS, WRAP, Sent, make, packets_of, sas, shown, state_of
from tests.equivalence.kernel_settings import UNJITTED
from tests.examples import examples
from tests.support import Peer, engines_there, gcm_sa, ipv4

CUTS = (1, 2, 7, 1000)
ENGINES = engines_there()
Chosen = tuple[SecurityAssociation, bool]


@st.composite
def plain_sas(draw: st.DrawFn) -> Chosen:
    """SAs that devices take, with SPIs so close that they meet in a table."""
    esn = draw(st.sampled_from([False, False, True]))
    start = draw(st.sampled_from([0, 1, 40, 1000, WRAP - 40, WRAP - 1, WRAP, WRAP + 20, M64 - 3]))
    start = start if esn else start & M32
    ports = draw(st.sampled_from([None] * 5 + [(4500, 4500), (4500, 7)]))
    six = draw(st.sampled_from([False, False, False, True]))
    src, dst = ("2001:db8::{}", "2001:db8:9::{}") if six else ("192.0.2.{}", "198.51.100.{}")
    sa = gcm_sa(
        src.format(draw(st.integers(1, 2))), dst.format(draw(st.integers(1, 3))),
        draw(st.sampled_from([1, 1, 2, 0x101, 0x1000001])), key_byte=draw(st.sampled_from([7, 7, 8, 9])),
        mode=draw(st.sampled_from([Mode.TUNNEL, Mode.TRANSPORT])), reqid=draw(st.integers(0, 1)),
        window=draw(st.sampled_from([32, 64, 100] if esn else [0, 32, 33, 64, 64])),
        flags=frozenset({"esn"} if esn else ()),
        encap=Encap("espinudp", *ports, bytes(4)) if ports is not None else None,
        mark=draw(st.sampled_from([Mark()] * 6 + [Mark(5, 7)])), replay=ReplayState(start & M32, start >> 32),
        limits=draw(st.sampled_from([Limits()] * 9 + [Limits(hard_packets=3), Limits(hard_add=4)])),
    )  # fmt: skip
    return sa, draw(st.booleans())


CHOSEN = st.lists(st.one_of(plain_sas(), plain_sas(), plain_sas(), sas()), min_size=2, max_size=7)


def offloaded(
    chosen: list[Chosen], model: Model, seed: int, mark: int, *, own_traffic: bool = False
) -> OffloadedInbound:  # fmt: skip
    """A SAD, and a device with the SAs that it takes. Some SAs are then deleted from one of the two."""
    inbound = OffloadedInbound(make(chosen), Device(model, seed=seed), mark=mark, own_traffic=own_traffic)
    entries, rng = list(inbound.sad), random.Random(seed)
    for entry in entries:
        if entry.sa.keys is not None and rng.random() < 0.9:
            inbound.offload(entry)
    for entry in entries[1:]:
        if rng.random() < 0.1:
            inbound.withdraw(entry)
        elif rng.random() < 0.1:
            inbound.sad.kill(entry)
    inbound.refresh_ports()
    return inbound


def both(
    chosen: list[Chosen], arrivals: list[Any], model: Model, *, seed: int = 0, cut: int = 1000, mark: int = 0,
    engine: str = "cryptography", own: bool = False,
) -> list[Any]:  # fmt: skip
    """Run both paths, compare all that can be seen, and return the reference's answers. `own`: of own_traffic.RUNS."""
    packets, times = (own_traffic.capture_of if own else packets_of)(make(chosen), arrivals)[:2]
    outgoing = [own and arrival.outgoing for arrival in arrivals]
    one, other = (offloaded(chosen, model, seed, mark, own_traffic=own) for _ in range(2))
    entries, others = (_known(inbound) for inbound in (one, other))
    shown_as = zip(packets, times, outgoing, strict=True)
    want = [one.receive(packet, now, outgoing=sent) for packet, now, sent in shown_as]
    found: list[Any] = []
    try:
        with OffloadedPipeline(other, engine, debug=True) as batches:
            for at in range(0, len(packets), cut):
                found += batches.receive(packets[at : at + cut], times[at : at + cut], outgoing[at : at + cut])
    except UnknownReached as reached:
        raise AssertionError("the reference did not need this") from reached
    assert [shown(r) for r in found] == [shown(r) for r in want]
    assert state_of(other.sad, others) == state_of(one.sad, entries)
    return want


def _known(inbound: OffloadedInbound) -> list[SadEntry]:
    """The SAs of the SAD, and those that only the device still knows."""
    found = {entry.sa_index: entry for entry in inbound.sad} | inbound._contexts
    return [found[index] for index in sorted(found)]


EXAMPLES = settings(deadline=None, max_examples=4 if UNJITTED else examples(5))
WHOLE = (CHOSEN, RUNS, st.sampled_from(CUTS), st.sampled_from([0, 0, 5]), st.integers(0, 99))


@pytest.mark.parametrize("ident", shipped_models())
@EXAMPLES
@given(*WHOLE, st.integers(0, 1 << 30))
def test_equal_under_every_shipped_model(ident, chosen, arrivals, cut, mark, seed, pick):
    filled(load(ident), pick, lambda model: both(chosen, arrivals, model, seed=seed, cut=cut, mark=mark))


@pytest.mark.parametrize("shape", SHAPES)
@EXAMPLES
@given(*WHOLE)
def test_equal_under_every_shape_of_table(shape, chosen, arrivals, cut, mark, seed):
    filled(SHAPES[shape](), 0, lambda model: both(chosen, arrivals, model, seed=seed, cut=cut, mark=mark))


@pytest.mark.parametrize("engine", ENGINES)
@EXAMPLES
@given(*WHOLE)
def test_equal_with_every_engine(engine, chosen, arrivals, cut, mark, seed):
    def run(model: Model) -> list[Any]:
        return both(chosen, arrivals, model, seed=seed, cut=cut, mark=mark, engine=engine)

    filled(load("marvell-cn10k-dpdk-alg4"), 0, run)


@pytest.mark.parametrize("shape", SHAPES)
@EXAMPLES
@given(st.lists(st.one_of(own_traffic.both_ways(), plain_sas()), min_size=2, max_size=7), own_traffic.RUNS, *WHOLE[2:])
def test_equal_for_own_traffic(shape, chosen, arrivals, cut, mark, seed):
    def run(model: Model) -> list[Any]:
        return both(chosen, arrivals, model, seed=seed, cut=cut, mark=mark, own=True)

    filled(SHAPES[shape](), 0, run)


# -- by hand ----------------------------------------------------------------------------------------------------------

ONE_SLOT = "mask, nobody minds"
"""A table whose index is the SPI's low two bits, and whose device compares nothing: SPIs 4 apart share a context."""


def two(spi: int, **options: Any) -> list[Chosen]:
    """Two SAs with one key, to two destinations: a packet of one opens with the other's context."""
    return [(gcm_sa("192.0.2.1", f"198.51.100.{n}", spi * n, window=64, **options), False) for n in (1, 2)]


def steps(*of: tuple[int, int, str]) -> list[Sent]:
    """(SA, step, harm) each."""
    return [Sent(sa, step, 0, None, 0, harm, 0, 0.0) for sa, step, harm in of]


@pytest.mark.parametrize("cut", CUTS)
class TestByHand:
    def test_a_device_decrypts_before_anyone_asks_the_window(self, cut):
        arrivals = steps((0, 5, ""), (0, 0, ""), (0, 0, "flip"), (0, -4, "dummy"), (0, 1, ""))
        device = both(two(4), arrivals, SHAPES[ONE_SLOT](), cut=cut)
        assert [a.verdict.name for a in device] == [
            "DELIVERED", "REPLAY_DUPLICATE", "INTEGRITY", "TRAILER", "DELIVERED",
        ]  # fmt: skip
        software = both(two(4), arrivals, load("sw-linux-xfrm"), cut=cut)
        assert software[2].verdict is Verdict.REPLAY_DUPLICATE

    def test_nobody_asks_the_window(self, cut):
        sas = [(gcm_sa(mode=Mode.TRANSPORT, window=64, flags=frozenset({"esn"})), False)]
        model = SHAPES["nobody checks replays"]()
        answers = both(sas, steps((0, 5, ""), (0, 0, ""), (0, 0, "flip"), (0, 0, "dummy")), model, cut=cut)
        assert [a.verdict.name for a in answers] == ["DELIVERED", "DELIVERED", "INTEGRITY", "TRAILER"]

    def test_one_window_for_the_packets_of_two(self, cut):
        arrivals = steps((0, 1, ""), (1, 1, ""), (1, 1, ""), (0, 1, ""), (0, 1, ""))
        answers = both(two(4), arrivals, SHAPES[ONE_SLOT](), cut=cut)
        assert [a.verdict.name for a in answers] == [
            "DELIVERED", "REPLAY_DUPLICATE", "DELIVERED", "REPLAY_DUPLICATE", "DELIVERED",
        ]  # fmt: skip
        assert [a.device.name for a in answers] == ["HIT", "WRONG_SA", "WRONG_SA", "HIT", "HIT"]

    def test_an_sa_that_is_lent_to_one_near_its_end(self, cut):
        """The second SA should expire with its third packet, but the first one's context counts them all."""
        near = two(4)[0], (gcm_sa(dst="198.51.100.2", spi=8, window=64, limits=Limits(hard_add=3)), False)
        arrivals = [replace(sent, wait=1.0) for sent in steps(*[(n % 2, 1 + n % 2, "") for n in range(12)])]
        answers = both(list(near), arrivals, SHAPES[ONE_SLOT](), cut=cut)
        assert {a.used.sa_index for a in answers} == {0}
        assert None in {a.entry and a.entry.sa_index for a in answers}  # the second one's time is over by then
        assert {a.verdict.name for a in answers} == {"DELIVERED", "REPLAY_DUPLICATE"}


def test_counts_are_those_of_the_reference():
    model, arrivals = SHAPES[ONE_SLOT](), steps((0, 1, ""), (1, 2, ""), (1, 1, "flip"), (0, 0, "fragment"))
    packets, times = packets_of(make(two(4)), arrivals)
    one, other = (offloaded(two(4), model, 0, 0) for _ in range(2))
    want, found = InboundStats(), InboundStats()
    for packet, now in zip(packets, times, strict=True):
        want.count(one.receive(packet, now))
    for answer in OffloadedPipeline(other).receive(packets, times):
        found.count(answer)
    assert found.as_dict() == want.as_dict()
    assert found.wrong_keys


def test_the_device_may_change_between_batches():
    inbound = offloaded(two(4), SHAPES[ONE_SLOT](), 0, 0)
    peer, path = Peer(two(4)[0][0]), OffloadedPipeline(inbound)
    (answer,) = path.receive([peer.packet(1, ipv4(DATA))])
    assert answer is not None
    assert answer.device is DeviceOutcome.HIT
    for entry in inbound.sad:
        inbound.withdraw(entry)
    path.refresh()
    (answer,) = path.receive([peer.packet(2, ipv4(DATA))])
    assert answer is not None
    assert (answer.device, answer.verdict, answer.surfacing) == (
        DeviceOutcome.EMPTY_SLOT, Verdict.NO_SA, Surfacing.DEVICE_DROP
    )  # fmt: skip


def test_what_is_not_public_stops_the_run():
    inbound = offloaded(two(4), load("intel-82599-linux"), 0, 0)
    path = OffloadedPipeline(inbound)
    peer = Peer(two(4)[0][0])
    path.receive([peer.packet(1, ipv4(DATA))])
    one = OffloadedInbound(inbound.sad, Device(load("intel-iavf")))
    with pytest.raises(UnknownReached) as first:
        one.receive(peer.packet(2, ipv4(DATA)))
    with pytest.raises(UnknownReached) as second:
        OffloadedPipeline(one).receive([peer.packet(2, ipv4(DATA))])
    assert first.value.key == second.value.key


def test_a_batch_without_packets():
    path = OffloadedPipeline(offloaded(two(4), SHAPES[ONE_SLOT](), 0, 0))
    assert path.receive([]) == []
    assert path.receive([ipv4(DATA)]) == [None]


def checking(caps: str) -> Model:
    """A device with such capabilities that finds SAs by (destination, SPI)."""
    return twin("exact", 'key = ["dst", "spi"]', base="marvell-cn10k-linux-v5", more=f"[caps]\nesn = true\n{caps}")


BY_DEVICE = checking('replay = { where = "hw", max = 128 }')
BY_HOST = checking('offload = ["crypto"]\nreplay = { where = "none" }')


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    ("model", "kind"), [(BY_DEVICE, Window), (BY_HOST, RingWindow), (load("sw-linux-xfrm"), RingWindow)]
)
def test_a_window_that_the_device_checks_is_never_linuxs_ring(model, kind, cut):
    """If the host checks the window (crypto offload, or no device), it is Linux's ring, which passes one duplicate."""
    sas = [(gcm_sa(mode=Mode.TRANSPORT, window=33), False)]
    (entry,) = offloaded(sas, model, 1, 0).sad
    assert type(entry.window) is kind
    answers = both(sas, steps((0, 1, ""), (0, 0, ""), (0, 0, "")), model, cut=cut, seed=1)
    second = "REPLAY_DUPLICATE" if kind is Window else "DELIVERED"
    assert [(a.device.name, a.verdict.name) for a in answers] == [
        ("HIT", "DELIVERED"), ("HIT", second), ("HIT", "REPLAY_DUPLICATE"),
    ]  # fmt: skip


def test_a_window_that_changes_hands_in_mid_run_keeps_what_it_has_seen():
    sa = gcm_sa(mode=Mode.TRANSPORT, window=100)
    inbound = OffloadedInbound(make([(sa, False)]), Device(BY_DEVICE))
    peer, path = Peer(sa), OffloadedPipeline(inbound)
    (entry,) = inbound.sad
    found = path.receive([peer.packet(n, DATA, 17) for n in (7, 7, 150, 9)])
    inbound.offload(entry)
    path.refresh()
    found += path.receive([peer.packet(n, DATA, 17) for n in (150, 149, 149)])
    path.close()
    assert [(row.device.name, row.verdict.name) for row in found if row is not None and row.device is not None] == [
        ("MISS", "DELIVERED"), ("MISS", "DELIVERED"), ("MISS", "DELIVERED"), ("MISS", "REPLAY_TOO_OLD"),
        ("HIT", "REPLAY_DUPLICATE"), ("HIT", "DELIVERED"), ("HIT", "REPLAY_DUPLICATE"),
    ]  # fmt: skip
    assert type(entry.window) is Window
    assert (entry.window.top, entry.window.bitmap) == (150, 0b11)
