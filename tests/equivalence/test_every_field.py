"""Bad input: every field of every header changed. A verdict, nothing raised, both paths equal, no plaintext."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.api import open_packet, seal_packet
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.outbound.order import OutboundPipeline
from espsim.core.address import parse_address
from espsim.core.inbound_batch import InboundBatch
from espsim.core.verdict import PASSED, POLICED, OutboundVerdict, Verdict
from espsim.explain.outer_facts import OuterFacts
from espsim.reference.inbound import Inbound
from espsim.reference.layers import layer_of
from espsim.reference.outbound import Outbound
from espsim.reference.policies import Policies
from espsim.sad.association import Mode, Selector
from espsim.sad.sad import Sad
from espsim.xfrm.policy_file import policies_of
from tests.equivalence.inbound_traffic import shown
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.outbound_traffic import constant
from tests.equivalence.test_pipeline_outbound import shown as shown_out
from tests.examples import examples
from tests.kinds import CLEAR, KINDS, MARK, Change, Kind, changed
from tests.support import gcm_sa, new_sad

AUTHENTIC = PASSED | POLICED | {Verdict.TRAILER, Verdict.MODE, Verdict.POLICY}
VALUES = st.one_of(
    st.sampled_from([0, 1, 2, 4, 5, 6, 15, 17, 41, 44, 50, 59, 60, 0x7F, 0x80, 0xFF, 0x1FFF, 0xFFFF, 1 << 31]),
    st.integers(0, 90),
    st.integers(0, (1 << 128) - 1),
)
CHANGES = st.lists(st.builds(Change, st.booleans(), st.integers(0, 200), VALUES), min_size=1, max_size=2)
SPD = policies_of("ip xfrm policy add dir in tmpl proto esp mode tunnel\nip xfrm policy add dir in proto icmp\n").spd


def judged(kind: Kind, packet: bytes) -> Verdict | None:
    """The packet's verdict, by both paths. Nothing else that is said of it may raise, or show plaintext."""
    for policies in (None, Policies(SPD, clear=True)):
        reference = Inbound(kind.sad(), own_traffic=True, policies=policies)
        want = reference.receive(packet)
        if policies is None:
            batch = InboundBatch.of([packet], 0.0, 0)
            with InboundPipeline(Inbound(kind.sad(), own_traffic=True), "cryptography", debug=True) as path:
                path.run(batch)
                assert [shown(one) for one in path.answers(batch)] == [shown(want)]
            if want is not None and want.verdict not in AUTHENTIC and kind.hides:
                assert MARK not in batch.arena.tobytes(), "plaintext of a packet that failed"
        assert want is None or (want.inner is not None) is (want.verdict in PASSED)
    steps: list[Any] = []
    found = open_packet(kind.sad(), packet, trace=steps.append)
    told = json.dumps([step.as_dict() for step in steps])
    if found is not None and found.verdict not in AUTHENTIC and kind.hides:
        assert MARK.hex() not in told
        assert MARK.decode() not in told
    OuterFacts.of(packet, reference.ports)
    layer_of(packet, reference.ports)
    return None if found is None else found.verdict


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_packet_of_each_kind_is_delivered_as_it_is(kind):
    assert judged(kind, kind.built()) is Verdict.DELIVERED


@settings(deadline=None, max_examples=20 if UNJITTED else examples(120))
@given(st.sampled_from(KINDS), CHANGES, st.sampled_from([0, 0, 0, 1, 17, 60]), st.just(0) | st.integers(0, 60))
def test_any_field_gets_a_verdict(kind, changes, cut, short):
    judged(kind, kind.built(changes, cut=cut, short=min(short, len(kind.inner))))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_field_once(kind):
    """Every field of the outer headers with all bits set, with none, and incremented."""
    for field, value in itertools.product(range(40), (0, (1 << 128) - 1)):
        packet = kind.built([Change(False, field, value)])
        reference = Inbound(kind.sad(), own_traffic=True)
        want = reference.receive(packet)
        assert want is None or (want.inner is not None) is (want.verdict in PASSED)
        OuterFacts.of(packet, reference.ports)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_length_inside_and_outside(kind):
    asked = Policies(SPD, clear=True)
    packets = [kind.built(short=short) for short in range(len(kind.inner) + 1)]
    packets += [kind.built(cut=cut) for cut in range(len(packets[0]) + 1)]
    for packet in packets:
        want = Inbound(kind.sad(), own_traffic=True, policies=asked).receive(packet)
        assert want is None or (want.inner is not None) is (want.verdict in PASSED)
        OuterFacts.of(packet, frozenset({4500}))


def senders() -> Sad:
    """SAs of both families and modes that take any clear packet."""
    beet = Selector(parse_address("10.1.0.1"), 32, parse_address("10.2.0.1"), 32)
    return new_sad(
        gcm_sa(spi=1), gcm_sa("2001:db8::1", "2001:db8::2", 2, selector=Selector(b"", 0, bytes(16), 1)),
        gcm_sa("10.1.0.1", "10.2.0.1", 3, mode=Mode.TRANSPORT, selector=Selector(proto=17)),
        gcm_sa("2001:db8:1::1", "2001:db8:2::1", 4, mode=Mode.TRANSPORT, selector=Selector(proto=17)),
        gcm_sa("192.0.2.7", "192.0.2.8", 5, mode=Mode.BEET, selector=beet),
    )  # fmt: skip


@settings(deadline=None, max_examples=15 if UNJITTED else examples(80))
@given(st.sampled_from(CLEAR), CHANGES, st.sampled_from([None, 68, 576, 1280]), st.sampled_from([0, 0, 0, 1, 20, 45]))
def test_any_field_of_a_clear_packet(one, changes, mtu, cut):
    packet, places = one
    packet = changed(packet, places, changes)
    packet = packet[: len(packet) - cut]

    def outbound() -> Outbound:
        return Outbound(senders(), constant, mtu=mtu or 1500, keeps_mtu=mtu is not None)

    want = outbound().send(packet)
    with OutboundPipeline(outbound(), "cryptography", debug=True) as path:
        assert [shown_out(one) for one in path.send([packet])] == [shown_out(want)]
    assert want is None or want.verdict in set(OutboundVerdict)
    steps: list[Any] = []
    told = seal_packet(senders(), packet, trace=steps.append)
    assert (told is None) is (want is None)
    json.dumps([step.as_dict() for step in steps])
