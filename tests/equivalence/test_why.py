"""Why packets failed, notes and lines: both paths say the same, for any cut, engine and number of workers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.explain import trials
from espsim.explain.facts import CAUSES
from espsim.explain.known import Known
from espsim.explain.run import Files, one_by_one
from espsim.explain.run_batches import in_batches
from espsim.io.atomic import Outputs
from espsim.offload.model import Model, shipped_models
from espsim.reference.inbound import Inbound
from espsim.sad.association import ReplayState, SecurityAssociation
from tests.equivalence.collecting import Way, cut
from tests.equivalence.device_models import SHAPES, filled, load
from tests.equivalence.inbound_traffic import RUNS, SUITES, make, packets_of, sas
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.test_pipeline_offloaded import CHOSEN, offloaded
from tests.equivalence.test_stream_inbound import capture
from tests.examples import examples
from tests.support import Peer, engines_there, gcm_sa, ipv4, udp

Chosen = tuple[SecurityAssociation, bool]
EXAMPLES = settings(deadline=None, max_examples=8 if UNJITTED else examples(15))


@st.composite
def mistaken(draw: st.DrawFn, chosen: list[Chosen]) -> list[Chosen]:
    """The same SAs with a typical mistake: ESN, its high half, the length of the ICV, a key."""
    return [(_mistaken(draw, sa), keep) for sa, keep in chosen]


def _mistaken(draw: st.DrawFn, sa: SecurityAssociation) -> SecurityAssociation:
    change = draw(st.sampled_from(["", "", "esn", "high", "algorithms"]))
    if change == "esn" and sa.window:
        return replace(sa, flags=sa.flags ^ {"esn"}, replay=ReplayState(sa.replay.seq))
    if change == "high" and sa.esn:
        high = sa.replay.seq_hi + draw(st.integers(1, 99)) & 0xFFFFFFFF
        return replace(sa, replay=replace(sa.replay, seq_hi=high))
    if change == "algorithms" and sa.keys is not None:
        return replace(sa, algorithms=SUITES[draw(st.sampled_from(sorted(SUITES)))])
    return sa


def answers(path, folder, run) -> Any:
    """The whole report of a run."""
    lines = folder / "lines"
    with Outputs() as outputs:
        ran = run(Files(path, None, str(lines), outputs.text(str(lines)), outputs))
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    for one in ran.why:
        assert one["cause"] is None or one["cause"] in CAUSES
        assert 0 <= one["tried"] <= one["packets"]
    assert sum(one["packets"] for one in ran.why) == ran.stats.failed
    return ran.why, ran.notes, told


def by_reference(path, folder, inbound):
    known = Known(inbound.sad, (), inbound.mark)
    return answers(path, folder, lambda files: one_by_one(files, inbound, known, lambda now: None))


def by_batches(path, folder, inbound, engine="cryptography", workers=1):
    known = Known(inbound.sad, (), inbound.mark)
    way = Way(workers, engine)
    return answers(path, folder, lambda files: in_batches(files, inbound, known, lambda now: None, way))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("why")


@pytest.mark.parametrize(("engine", "workers"), [*((name, 1) for name in engines_there()), ("cryptography", 3)])
def test_both_paths_say_the_same(folder, engine, workers):
    causes: set[str | None] = set()

    @EXAMPLES
    @given(st.data(), st.lists(sas(), min_size=1, max_size=6), RUNS, st.sampled_from([1, 3, 64]), st.booleans())
    def check(data, chosen, arrivals, rows, own):
        packets, times = packets_of(make(chosen), arrivals)
        path = capture(folder / "in.pcap", packets, times)
        had = data.draw(mistaken(chosen))
        with pytest.MonkeyPatch.context() as patch:
            cut(patch, rows)
            want = by_reference(path, folder, Inbound(make(had), own_traffic=own))
            assert by_batches(path, folder, Inbound(make(had), own_traffic=own), engine, workers) == want
        causes.update(one["cause"] for one in want[0])

    check()
    assert len(causes) >= 8, causes


@EXAMPLES
@given(st.lists(sas(), min_size=1, max_size=3), RUNS, st.integers(0, 3000), st.sampled_from([1, 3, 64]))
def test_the_same_where_the_budget_is_used_up(folder, chosen, arrivals, budget, rows):
    packets, times = packets_of(make(chosen), arrivals)
    path = capture(folder / "in.pcap", packets, times)
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        patch.setattr(trials, "BUDGET", budget)
        want = by_reference(path, folder, Inbound(make(chosen)))
        assert by_batches(path, folder, Inbound(make(chosen))) == want


@settings(deadline=None, max_examples=8 if UNJITTED else examples(20))
@given(CHOSEN, RUNS, st.sampled_from([*shipped_models(), *SHAPES]), st.integers(0, 9), st.sampled_from([1, 7, 64]))
def test_the_same_with_a_device(folder, chosen, arrivals, name, seed, rows):
    packets, times = packets_of(make(chosen), arrivals)
    path = capture(folder / "in.pcap", packets, times)

    def check(model: Model) -> None:
        want = by_reference(path, folder, offloaded(chosen, model, seed, 0))
        assert by_batches(path, folder, offloaded(chosen, model, seed, 0)) == want

    with pytest.MonkeyPatch.context() as patch:
        cut(patch, rows)
        filled(SHAPES[name]() if name in SHAPES else load(name), seed, check)


@pytest.mark.parametrize(
    ("numbers", "failed"),
    [
        ([(5, (1 << 32) - 10), (5, (1 << 31) + 100), (5, (1 << 32) - 9)], ("INTEGRITY", "late")),
        ([(5, (1 << 32) - 10), (6, (1 << 31) + 100), (5, (1 << 31) + 100)], ("REPLAY_DUPLICATE", "duplicate")),
    ],
    ids=["opened again", "refused"],
)
def test_an_implicit_iv_is_put_back_under_the_number_that_it_had(folder, numbers, failed):
    """A packet of the previous epoch opens at the batch's start, but not in its turn. Its cause is found then."""
    algorithms = (Algorithm("aead", "iiv(rfc4106(gcm(aes)))", bytes(20), 128),)
    sa = gcm_sa(window=64, flags=frozenset({"esn"}), replay=ReplayState(1 << 31, 5))
    sa = replace(sa, algorithms=algorithms)
    packets = [Peer(sa).packet(high << 32 | low, ipv4(udp(bytes(20)))) for high, low in numbers]
    path = capture(folder / "in.pcap", packets, [0.0, 1.0, 2.0])
    want = by_reference(path, folder, Inbound(make([(sa, True)])))
    assert [(one["verdict"], one["cause"]) for one in want[0]] == [failed]
    assert by_batches(path, folder, Inbound(make([(sa, True)]))) == want
