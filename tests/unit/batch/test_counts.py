"""The counts of SAs: packets of whole batches, and packets one by one, give the counts that `InboundStats` makes."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.batch.run import counting
from espsim.batch.run.counts import SaTally
from espsim.batch.run.stats import ENGINE_VERDICTS, InboundStats
from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.sad.association import SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.window import Window

ENTRIES = [SadEntry(7 * n, SecurityAssociation(bytes(4), bytes(4), 1), State.VALID, Window(0)) for n in range(5)]
packets = st.lists(
    st.tuples(st.integers(-1, 4), st.sampled_from([Verdict.DELIVERED, Verdict.SENT, Verdict.INTEGRITY, Verdict.NO_SA]))
)


@given(packets, st.booleans())
@settings(deadline=None)
def test_counts_of_sas(rows: list[tuple[int, Verdict]], one_by_one: bool) -> None:
    tally, stats = SaTally(ENTRIES, len(Verdict), np.zeros), InboundStats()
    for row, verdict in rows:
        entry = ENTRIES[row] if row >= 0 else None
        stats.count(Received(verdict, None, entry=entry, used=entry))
        if one_by_one:
            tally.add(row, verdict)
    if not one_by_one:
        found, sa = np.array([v for _, v in rows], np.uint8), np.array([row for row, _ in rows], np.int32)
        counting.sent(found, sa, np.zeros(256, np.int64), tally.counts, tally.drops, tally.order)
    by_sa = tally.by_sa(list(Verdict))
    assert list(by_sa.items()) == list(stats.by_sa.items())
    opened = {index: count.passed for index, count in tally.opened(by_sa).items()}
    assert opened == {index: count.passed for index, count in stats.opened.items()}


def test_rows_of_drops_are_given_out_in_turn() -> None:
    tally = SaTally(ENTRIES, len(Verdict), np.zeros)
    for row in (3, 3, 1, 3):
        tally.add(row, Verdict.INTEGRITY if row == 1 else Verdict.DELIVERED)
    tally.add(3, Verdict.TRAILER)
    assert tally.counts[:, counting.DROPS].tolist() == [0, 1, 0, 2, 0]
    assert tally.drops[0, 0] == 2
    assert Verdict.TRAILER in ENGINE_VERDICTS
    assert tally.by_sa(list(Verdict))[21].dropped == Counter({"TRAILER": 1})
