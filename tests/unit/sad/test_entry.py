"""The verbs by which an entry moves."""

from __future__ import annotations

from collections import Counter

import pytest

from espsim.core.verdict import Verdict
from espsim.sad.entry import SadEntry, SaStats
from tests.support import gcm_sa, new_sad


def entry_of(**options) -> SadEntry:
    return next(iter(new_sad(gcm_sa(**options))))


def test_only_the_first_use_counts():
    entry = entry_of()
    for now in (3.0, 2.0, 9.0):
        entry.first_used(now)
    assert entry.used == 3.0


def test_a_refused_packet_counts_where_xfrm_stats_does():
    entry = entry_of()
    for verdict in Verdict:
        entry.refused(verdict)
    assert (entry.stats, entry.packets, entry.window.top) == (SaStats(1, 1, 1), 0, 0)


def test_an_accepted_packet_moves_the_window_where_it_is_asked():
    entry = entry_of()
    entry.accepted(10, 5)
    entry.accepted(7, None)
    assert (entry.packets, entry.bytes, entry.window.top) == (2, 17, 5)


@pytest.mark.parametrize("flags", [frozenset(), frozenset({"esn"})])
def test_numbers_end_and_never_repeat(flags):
    entry, last = entry_of(flags=flags), (1 << (64 if flags else 32)) - 1
    assert entry.next_number() == 1
    entry.send_next(last)
    assert [entry.next_number() for _ in range(3)] == [last, None, None]


def test_the_batch_path_tells_in_one_step_what_packets_would_one_by_one():
    one, other = entry_of(), entry_of()
    for now in (1.0, 2.0):
        one.sent(10, now)
    one.send_next(8)
    for verdict, times in Counter({Verdict.INTEGRITY: 2, Verdict.REPLAY_TOO_OLD: 1}).items():
        for _ in range(times):
            one.refused(verdict)
    other.ran(2, 20, 1.0, oseq=7, refused=SaStats(0, 1, 2))
    assert one.moved()[2:] == other.moved()[2:]
