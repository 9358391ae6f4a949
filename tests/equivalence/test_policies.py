"""Policies after decapsulation: the batch path and the reference path say the same, for any SAs, packets and cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.core.verdict import POLICED
from espsim.reference.inbound import Inbound
from espsim.reference.policies import Policies
from espsim.xfrm.policy_file import policies_of
from tests.equivalence.collecting import cut
from tests.equivalence.inbound_traffic import RUNS, make, packets_of, sas
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.test_stream_inbound import capture
from tests.equivalence.test_why import by_batches, by_reference, folder  # noqa: F401 - a fixture
from tests.examples import examples

SELECTORS = st.sampled_from(["", "", "src 10.1.0.0/16 ", "dst 10.9.0.0/16 ", "proto udp ", "src ::/0 dst ::/0 "])
TEMPLATES = st.lists(
    st.sampled_from([
        " tmpl proto esp mode tunnel", " tmpl proto esp mode tunnel level use", " tmpl proto esp mode transport",
        " tmpl src 192.0.2.77 dst 192.0.2.2 proto esp mode tunnel", " tmpl proto esp mode transport level use",
    ]),
    max_size=2,
).map("".join)  # fmt: skip
POLICIES = st.lists(
    st.tuples(
        SELECTORS, st.sampled_from(["in", "in", "fwd", "out"]), st.integers(0, 3),
        st.sampled_from(["", "", "", " action block"]), st.sampled_from(["", "", " mark 5 mask 7"]), TEMPLATES,
    ),
    min_size=1, max_size=5,
)  # fmt: skip


def spd_text(chosen, *, block: bool) -> str:
    rows = [
        f"ip xfrm policy update {select}dir {where} priority {priority}{action}{mark}{templates}\n"
        for select, where, priority, action, mark, templates in chosen
        if where != "out" or "use" not in templates
    ]
    return "".join(rows) + f"ip xfrm policy setdefault in {'block' if block else 'accept'}\n"


@pytest.mark.parametrize("workers", [1, 3])
def test_both_paths_say_the_same(folder, workers):  # noqa: F811
    verdicts: set[str] = set()

    @settings(deadline=None, max_examples=8 if UNJITTED else examples(20 if workers == 1 else 8))
    @given(st.lists(sas(), min_size=1, max_size=4), RUNS, POLICIES, st.booleans(), st.sampled_from([0, 5, None]),
           st.sampled_from([1, 7, 64]))  # fmt: skip
    def check(chosen, arrivals, policies, block, mark, rows):
        packets, times = packets_of(make(chosen), arrivals)
        path = capture(folder / "in.pcap", packets, times)

        def inbound() -> Inbound:
            asked = Policies(policies_of(spd_text(policies, block=block)).spd)
            return Inbound(make(chosen), mark=mark, own_traffic=True, policies=asked)

        with pytest.MonkeyPatch.context() as patch:
            cut(patch, rows)
            want = by_reference(path, folder, inbound())
            assert by_batches(path, folder, inbound(), workers=workers) == want
        verdicts.update(line["verdict"] for line in want[2])

    check()
    # Of a few examples no more can be asked.
    assert workers > 1 or verdicts & {verdict.name for verdict in POLICED}, verdicts
