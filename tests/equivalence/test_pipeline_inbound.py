"""The batch path inbound against the reference path: any SAs, any packets, any cut into batches, every engine."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.run.counts import InboundCounts
from espsim.batch.run.stats import ENGINE_VERDICTS
from espsim.core.address import parse_address
from espsim.core.errors import InputError
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import NOT_ESP
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.sad.association import Direction, Limits, Mode, ReplayState, SecurityAssociation
from espsim.sad.longest import LONGEST, LongestLookup
from espsim.sad.sad import Sad
from espsim.sad.spi import SPI_RULES
from tests.equivalence import own_traffic
from tests.equivalence.inbound_traffic import (
    DATA,
    LASTING,
    LONG_RUNS,
    RUNS,
    SUITES,
    make,
    packets_of,
    sas,
    shown,
    state_of,
)
from tests.equivalence.kernel_settings import UNJITTED
from tests.examples import examples
from tests.support import Peer, engines_there, gcm_sa, ipv4, new_sad, udp
from tests.unit.reference.test_tunnel_fields import ADDRESSES, ECN, FAMILIES, as_figure_4_says, packet_with_ecn

ENGINES = engines_there()
CUTS = (1, 2, 3, 7, 1000)
M32, WRAP = 0xFFFFFFFF, 1 << 32


def both(
    make_sad,
    packets,
    times,
    *,
    cut=1000,
    engine="cryptography",
    mark=0,
    write_back=False,
    handed=None,
    outgoing=None,
    rfc6040=False,
) -> list[Any]:
    """Run both paths, compare all that can be seen, and return the reference's answers.

    `handed` gets the number of SAs that moved from kernels to the reference path. `outgoing`:
    the host's own traffic is looked for, and what the capture says of each packet.
    """
    own, outgoing = outgoing is not None, outgoing or [False] * len(packets)
    sad, other = make_sad(), make_sad()
    events, other_events = [], []
    sad.listener = lambda *event: events.append((event[1].sa_index, event[0], event[2]))
    other.listener = lambda *event: other_events.append((event[1].sa_index, event[0], event[2]))
    entries, others = list(sad), list(other)
    reference, one = (Inbound(of, mark=mark, own_traffic=own, rfc6040=rfc6040) for of in (sad, other))
    arrivals = list(zip(packets, times, outgoing, strict=True))
    want = [reference.receive(packet, now, outgoing=sent) for packet, now, sent in arrivals]
    found = []
    # With ipsec-mb the steps run in one call, as in a command; the others check the rule of columns.
    with InboundPipeline(one, engine, debug=engine != "ipsec-mb") as batches:
        for at in range(0, len(packets), cut):
            found += batches.receive(packets[at : at + cut], times[at : at + cut], outgoing[at : at + cut])
            if write_back:
                batches.close()
    if reference.sent is not None and one.sent is not None:
        assert one.sent.highest == reference.sent.highest
    assert [shown(r) for r in found] == [shown(r) for r in want]
    assert state_of(other, others) == state_of(sad, entries)
    # The order in which a listener hears of different SAs may differ.
    assert sorted(other_events, key=lambda e: e[0]) == sorted(events, key=lambda e: e[0])
    if handed is not None:
        opened = Counter(r.entry.sa_index for r in want if r is not None and r.entry and r.verdict in ENGINE_VERDICTS)
        handed.append(sum(0 < alone < opened[index] for index, alone in batches.alone.items()))
    return want


EXAMPLES = settings(deadline=None, max_examples=25 if UNJITTED else examples(50))


@pytest.mark.parametrize("engine", ENGINES)
@EXAMPLES
@given(st.lists(sas(), min_size=1, max_size=6), RUNS, st.sampled_from(CUTS), st.sampled_from([0, 0, 5]), st.booleans())
def test_equal_for_any_sas_and_packets(engine, chosen, arrivals, cut, mark, write_back):
    packets, times = packets_of(make(chosen), arrivals)
    how: dict[str, Any] = {"cut": cut, "engine": engine, "mark": mark, "write_back": write_back}
    both(lambda: make(chosen), packets, times, **how, rfc6040=len(packets) % 2 == 1)


def test_equal_where_sas_are_handed_over_in_mid_run():
    """Limits beyond the first batches: kernels run an SA first, then the reference path, with the same state."""
    handed: list[int] = []

    @settings(deadline=None, max_examples=8 if UNJITTED else examples(50))
    @given(st.lists(LASTING, min_size=1, max_size=3), LONG_RUNS, st.sampled_from([2, 3, 5, 7]),
           st.sampled_from([False, False, True]), st.sampled_from(["rfc4301", "full-4301"]))  # fmt: skip
    def check(chosen, arrivals, cut, write_back, policy):
        packets, times = packets_of(make(chosen, policy), arrivals)
        both(lambda: make(chosen, policy), packets, times, cut=cut, write_back=write_back, handed=handed)

    check()
    assert sum(map(bool, handed)) >= 2, handed


@EXAMPLES
@given(sas().filter(lambda s: s[0].keys is not None and s[0].window and s[0].dir is not Direction.OUT), RUNS,
       st.sampled_from(CUTS))  # fmt: skip
def test_equal_for_one_sa_and_all_of_its_packets(one, arrivals, cut):
    """Every packet has the same SA, so the window decides much."""
    sa = one[0]
    sa = SecurityAssociation(
        sa.src, sa.dst, sa.spi, mode=sa.mode, algorithms=sa.algorithms, window=sa.window, flags=sa.flags,
        replay=sa.replay,
    )  # fmt: skip
    packets, times = packets_of(make([(sa, one[1])]), arrivals)
    both(lambda: make([(sa, one[1])]), packets, times, cut=cut)


@pytest.mark.parametrize(("policy", "port_key"), [*product(SPI_RULES, [False]), ("rfc4301", True)])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(8))
@given(st.lists(sas(), min_size=1, max_size=6), RUNS, st.sampled_from(CUTS))
def test_equal_under_every_policy(policy, port_key, chosen, arrivals, cut):
    packets, times = packets_of(make(chosen, policy, port_key), arrivals)
    both(lambda: make(chosen, policy, port_key), packets, times, cut=cut)


@EXAMPLES
@given(st.lists(st.binary(max_size=90), max_size=9), st.sampled_from(CUTS))
def test_equal_for_any_bytes(packets, cut):
    sa = gcm_sa()
    both(lambda: new_sad(sa), packets, [0.0] * len(packets), cut=cut)


@pytest.mark.parametrize(("outer", "inner"), FAMILIES)
def test_rfc_6040_figure_4(outer, inner):
    sa = gcm_sa(*ADDRESSES[outer])
    packets = [packet_with_ecn(sa, outer, inner, *ecn, number) for number, ecn in enumerate(ECN, 1)]
    answers = both(lambda: new_sad(sa), packets, [0.0] * len(packets), rfc6040=True)
    for (outside, inside), found in zip(ECN, answers, strict=True):
        as_figure_4_says(found, inner, outside, inside)


# -- both directions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@EXAMPLES
@given(own_traffic.WAYS, own_traffic.RUNS, st.sampled_from(CUTS), st.sampled_from([0, 0, 5, None]), st.booleans())
def test_equal_for_any_traffic_of_the_host_itself(engine, chosen, arrivals, cut, mark, write_back):
    packets, times, outgoing = own_traffic.capture_of(make(chosen), arrivals)
    options = {"cut": cut, "engine": engine, "mark": mark, "write_back": write_back, "outgoing": outgoing}
    both(lambda: make(chosen), packets, times, **options)


@pytest.mark.parametrize("policy", [*SPI_RULES, LONGEST])
@settings(deadline=None, max_examples=5 if UNJITTED else examples(8))
@given(own_traffic.WAYS, own_traffic.RUNS, st.sampled_from(CUTS))
def test_equal_for_own_traffic_under_every_policy(policy, chosen, arrivals, cut):
    def sad() -> Sad:
        made = make(chosen, "rfc4301" if policy == LONGEST else policy)
        made.policy = LongestLookup(made.policy) if policy == LONGEST else made.policy
        return made

    packets, times, outgoing = own_traffic.capture_of(sad(), arrivals)
    both(sad, packets, times, cut=cut, outgoing=outgoing)


def out_sa(oseq: int = 0, **options: Any) -> SecurityAssociation:
    replay = ReplayState(oseq=oseq & M32, oseq_hi=oseq >> 32)
    return gcm_sa(dir=Direction.OUT, window=0, replay=replay, **options)


def own_verdicts(sa: SecurityAssociation, numbers: list[int], engine: str, cut: int) -> list[str]:
    """The high halves of packets that this host sent with these numbers."""
    packets = [Peer(sa).packet(n, ipv4(DATA)) for n in numbers]
    answers = both(
        lambda: new_sad(sa), packets, [0.0] * len(packets), cut=cut, engine=engine, outgoing=[False] * len(packets)
    )
    return [answer.verdict.name for answer in answers]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", CUTS)
class TestOwnTraffic:
    ESN = frozenset({"esn"})

    def test_no_window_is_asked(self, engine, cut):
        assert own_verdicts(out_sa(), [5, 5, 1, 0, 900, 2], engine, cut) == ["SENT"] * 6

    def test_across_the_wrap(self, engine, cut):
        numbers = [*range(WRAP - 70, WRAP + 70), WRAP + 3, WRAP - 2, WRAP, WRAP - 1]
        assert own_verdicts(out_sa(WRAP - 71, flags=self.ESN), numbers, engine, cut) == ["SENT"] * 144

    def test_another_high_half_by_then(self, engine, cut):
        numbers = [1 << 31, WRAP - 10, WRAP + 990]
        assert own_verdicts(out_sa(1000, flags=self.ESN), numbers, engine, cut) == ["SENT"] * 3

    def test_opened_at_first_and_not_authentic_by_then(self, engine, cut):
        """The last one's nearest number is in the next 2^32 by then."""
        numbers = [1 << 31, WRAP - 1, WRAP + 2000, 1001]
        found = own_verdicts(out_sa(1000, flags=self.ESN), numbers, engine, cut)
        assert found == ["SENT", "SENT", "SENT", "INTEGRITY"]

    def test_the_first_one_seen_counts_more_than_the_dump(self, engine, cut):
        """A capture older than its dump: the second number is nearer to the first than to the dump's."""
        start = 3 * WRAP
        numbers = [start + 7 - WRAP // 2, start + 3 - WRAP // 2]
        assert own_verdicts(out_sa(start + 6, flags=self.ESN), numbers, engine, cut) == ["SENT", "SENT"]

    def test_the_high_half_alone_is_stated(self, engine, cut):
        assert own_verdicts(out_sa(3 * WRAP, flags=self.ESN), [4 * WRAP - 1, 4 * WRAP + 1], engine, cut) == ["SENT"] * 2

    def test_an_sa_with_limits_that_an_inbound_one_of_its_spi_meets(self, engine, cut):
        """Because of the inbound SA's limits the reference path runs both, and keeps the numbers sent."""
        out = out_sa(WRAP - 3, flags=self.ESN, limits=Limits(hard_packets=1))
        back = gcm_sa("192.0.2.2", "192.0.2.1", limits=Limits(hard_add=3))
        packets = [Peer(out).packet(WRAP - 2 + n, ipv4(DATA)) for n in range(6)]
        packets[2:2] = [Peer(back).packet(n, ipv4(DATA)) for n in (1, 2)]
        answers = both(
            lambda: new_sad(back, out), packets, [float(n) for n in range(8)], cut=cut, engine=engine,
            outgoing=[False] * 8,
        )  # fmt: skip
        assert [a.verdict.name for a in answers] == ["SENT", "SENT", "DELIVERED", "NO_SA", *["SENT"] * 4]


# -- within one batch -------------------------------------------------------------------------------------------------


def esn_sa(**options) -> SecurityAssociation:
    return gcm_sa(flags=frozenset({"esn"}), **options)


def verdicts(
    sa: SecurityAssociation, numbers: list[int], *, engine: str = "cryptography", cut: int = 1000
) -> list[str]:
    packets = [Peer(sa).packet(n, ipv4(DATA)) for n in numbers]
    answers = both(lambda: new_sad(sa, keep_window=True), packets, [0.0] * len(packets), cut=cut, engine=engine)
    return [answer.verdict.name for answer in answers]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cut", CUTS)
class TestWithinABatch:
    def test_across_the_wrap(self, engine, cut):
        numbers = [*range(WRAP - 70, WRAP + 70), WRAP + 3, WRAP - 2]
        sa = esn_sa(replay=ReplayState(seq=WRAP - 71))
        found = verdicts(sa, numbers, engine=engine, cut=cut)
        # a number left of the window is taken for one of the next 2^32
        assert found == ["DELIVERED"] * 140 + ["INTEGRITY", "INTEGRITY"]

    def test_the_same_number_twice(self, engine, cut):
        assert verdicts(gcm_sa(), [1, 1, 3, 2, 3, 2], engine=engine, cut=cut) == [
            "DELIVERED", "REPLAY_DUPLICATE", "DELIVERED", "DELIVERED", "REPLAY_DUPLICATE", "REPLAY_DUPLICATE"
        ]  # fmt: skip

    def test_another_high_half_by_then(self, engine, cut):
        """With the window at 10 the second number would lie before the first 2^32."""
        sa = esn_sa(replay=ReplayState(seq=10))
        assert verdicts(sa, [1 << 31, WRAP - 10], engine=engine, cut=cut) == ["DELIVERED", "DELIVERED"]

    def test_another_high_half_of_a_packet_that_was_cut(self, engine, cut):
        sa = esn_sa(replay=ReplayState(seq=10))
        packets = [Peer(sa).packet(1 << 31, ipv4(DATA)), Peer(sa).packet(WRAP - 10, ipv4(DATA))[:-1]]
        answers = both(lambda: new_sad(sa, keep_window=True), packets, [0.0, 0.0], cut=cut, engine=engine)
        assert [(a.verdict, a.counter) for a in answers] == [(Verdict.DELIVERED, None), (Verdict.TRUNCATED, None)]

    def test_refused_at_first_and_not_by_then(self, engine, cut):
        sa = esn_sa(replay=ReplayState(seq=1000, bitmap=1 << 10))
        numbers = [1 << 31, WRAP - 10, WRAP + 990]
        assert verdicts(sa, numbers, engine=engine, cut=cut) == ["DELIVERED"] * 3

    def test_opened_at_first_and_not_authentic_by_then(self, engine, cut):
        sa = esn_sa(replay=ReplayState(seq=1000))
        numbers = [1 << 31, WRAP - 1, WRAP + 2000, 1001]
        assert verdicts(sa, numbers, engine=engine, cut=cut) == [*["DELIVERED"] * 3, "INTEGRITY"]

    def test_without_an_icv_every_number_opens(self, engine, cut):
        sa = SecurityAssociation(
            parse_address("192.0.2.1"), parse_address("192.0.2.2"), 7, mode=Mode.TUNNEL, window=64,
            algorithms=SUITES["cbc(aes)-digest_null-0"], flags=frozenset({"esn"}), replay=ReplayState(seq=1000),
        )  # fmt: skip
        numbers = [1 << 31, WRAP - 1, WRAP + 2000, 1001]
        assert verdicts(sa, numbers, engine=engine, cut=cut) == ["DELIVERED"] * 4


@pytest.mark.parametrize("engine", ENGINES)
def test_no_plaintext_of_a_packet_that_failed_its_icv_stays(engine):
    """Forged packets, and one that was opened under a wrong number."""
    sa, secret = esn_sa(replay=ReplayState(seq=1000)), b"never to be seen"
    plain, hidden = ipv4(udp(b"for everyone to see")), ipv4(udp(secret * 3))
    packets = [Peer(sa).packet(n, plain) for n in (1 << 31, WRAP - 1, WRAP + 2000)]
    packets += [Peer(sa).packet(1001, hidden), Peer(sa).packet(1002, hidden)[:-1] + b"?"]
    path = InboundPipeline(Inbound(new_sad(sa, keep_window=True)), engine)
    batch = InboundBatch.of(packets)
    path.run(batch)
    assert batch.verdict.tolist() == [0, 0, 0, Verdict.INTEGRITY, Verdict.INTEGRITY]
    assert b"for everyone to see" in batch.arena.tobytes()
    assert secret not in batch.arena.tobytes()


@pytest.mark.parametrize("cut", CUTS)
def test_an_sa_behind_one_that_expires(cut):
    """full-4301 finds by SPI alone: when the newer SA is gone, the older one gets its packets, in mid-batch too."""
    older, newer = gcm_sa(dst="192.0.2.3"), gcm_sa(limits=Limits(hard_packets=2))
    packets = [Peer(newer).packet(n, ipv4(DATA)) for n in (1, 2, 3, 4, 4, 5, 4)]
    answers = both(lambda: make([(older, False), (newer, False)], "full-4301"), packets, [0.0] * 7, cut=cut)
    assert [a.verdict.name for a in answers] == [
        "DELIVERED", "DELIVERED", "EXPIRED", "DELIVERED", "REPLAY_DUPLICATE", "DELIVERED", "REPLAY_DUPLICATE"
    ]  # fmt: skip


def test_an_sa_of_an_odd_family_is_not_found():
    def odd() -> Sad:
        sad = new_sad()
        sad.newsa(gcm_sa(), af=10)
        return sad

    (answer,) = both(odd, [Peer(gcm_sa()).packet(1, ipv4(DATA))], [0.0])
    assert answer.verdict is Verdict.NO_SA


@pytest.mark.parametrize("counts", [True, False])
def test_what_the_reference_path_calls_no_esp_leaves_no_sa_in_the_row(counts):
    """The kernels had found an SA for it, but the reference path runs that SA."""
    sa = gcm_sa(limits=Limits(hard_packets=1))
    inbound = Inbound(new_sad(sa))
    if not counts:
        inbound.receive = lambda packet, now, outgoing, in_tcp: None  # type: ignore[method-assign, assignment, misc]
    path = InboundPipeline(inbound, "cryptography", debug=True)
    batch = InboundBatch.of([Peer(sa).packet(1, ipv4(DATA))])
    path.run(batch)
    assert (batch.verdict[0], batch.sa_index[0]) == ((Verdict.DELIVERED, 0) if counts else (NOT_ESP, -1))
    tally = InboundCounts(path.columns.entries)
    tally.count(batch)
    assert (tally.stats().ignored, len(tally.stats().by_sa)) == (int(not counts), int(counts))
    assert path.answers(batch)[0] is None or counts


# -- limits -----------------------------------------------------------------------------------------------------------


def test_the_largest_packets_and_none():
    sa = gcm_sa(mode=Mode.TUNNEL)
    inner = ipv4(udp(bytes(65535 - 20 - 8 - 84)))
    packets = [Peer(sa).packet(n, inner) for n in (1, 2)]
    assert len(packets[0]) > 65500
    both(lambda: new_sad(sa), packets, [0.0, 1.0])
    assert InboundPipeline(Inbound(new_sad())).receive([]) == []
    assert shown(InboundPipeline(Inbound(new_sad())).receive(packets[:1])[0])[0] is Verdict.NO_SA


def test_rows_past_the_arena_and_rows_that_overlap():
    sa = gcm_sa()
    packet = Peer(sa).packet(1, ipv4(DATA))
    path = InboundPipeline(Inbound(new_sad(sa)))
    arena = np.frombuffer(bytearray(packet), np.uint8)
    offset = np.array([0, 1, -1, 1 << 62, len(packet), 0], np.int64)
    length = np.array([len(packet), len(packet), 20, 20, 0, len(packet) - 1], np.int32)
    batch = InboundBatch(arena, offset, length, np.zeros(6), np.zeros(6, np.uint32))
    path.run(batch)
    header = Verdict.HEADER
    assert batch.verdict[:5].tolist() == [Verdict.DELIVERED, header, header, header, NOT_ESP]
    with pytest.raises(ValueError, match="one length"):
        InboundBatch(arena, offset, length[:3], np.zeros(6), np.zeros(6, np.uint32))


def test_an_engine_that_is_not_there():
    with pytest.raises(InputError, match="no such engine"):
        InboundPipeline(Inbound(new_sad()), "abacus")
