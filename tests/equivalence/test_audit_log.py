"""The audit log: both paths write the same lines, for any SAs, packets, cut and number of workers."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.run.stats import InboundStats
from espsim.explain import auditable
from espsim.explain.auditable import AuditLog
from espsim.explain.known import Known
from espsim.explain.run import Files, one_by_one
from espsim.explain.run_batches import in_batches
from espsim.io.atomic import Outputs
from espsim.reference.inbound import Inbound
from espsim.sad.sad import Sad
from tests.equivalence.collecting import Way, cut
from tests.equivalence.inbound_traffic import RUNS, make, packets_of, sas
from tests.equivalence.kernel_settings import UNJITTED
from tests.equivalence.test_stream_inbound import capture
from tests.examples import examples


def logged(path, sad: Sad, workers: int = 0, *, reassemble: bool) -> tuple[str, dict[str, Any], InboundStats]:
    out = io.StringIO()
    with Outputs() as outputs:
        audit = AuditLog(out)
        files = Files(path, None, None, None, outputs, reassemble=reassemble, audit=audit)
        inbound = Inbound(sad, own_traffic=True)
        known = Known(sad, (), 0)
        if workers:
            ran = in_batches(files, inbound, known, lambda now: None, Way(workers, "cryptography"))
        else:
            ran = one_by_one(files, inbound, known, lambda now: None)
    return out.getvalue(), audit.as_dict(), ran.stats


@pytest.mark.parametrize("workers", [1, 3])
def test_both_paths_write_the_same(tmp_path_factory, workers):
    folder, events = tmp_path_factory.mktemp("audit"), set()

    @settings(deadline=None, max_examples=8 if UNJITTED else examples(15 if workers == 1 else 8))
    @given(st.lists(sas(), min_size=1, max_size=4), RUNS, st.integers(1, 3), st.booleans(), st.sampled_from([1, 7, 64]))
    def check(chosen, arrivals, limit, reassemble, rows):
        packets, times = packets_of(make(chosen), arrivals)
        path = capture(folder / "in.pcap", packets, times)
        with pytest.MonkeyPatch.context() as patch:
            cut(patch, rows)
            patch.setattr(auditable, "LIMIT", limit)
            want, counts, stats = logged(path, make(chosen), reassemble=reassemble)
            assert logged(path, make(chosen), workers, reassemble=reassemble)[:2] == (want, counts)
        lines = [json.loads(line) for line in want.splitlines()]
        assert sum(counts["events"].values()) == len([line for line in lines if "of" not in line]) + counts["left_out"]
        assert counts["left_out"] == sum(line["count"] for line in lines if "of" in line)
        if not reassemble:
            assert counts["events"].get("fragment", 0) == stats.verdicts["FRAGMENT"]
        events.update(counts["events"])

    check()
    assert events or workers > 1
