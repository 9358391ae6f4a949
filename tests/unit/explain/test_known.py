"""What is known of SAs at a run's beginning stays known, however far they have moved when a packet is explained."""

from __future__ import annotations

from espsim.explain.facts import Top
from espsim.explain.known import Known
from espsim.sad.association import ReplayState
from tests.support import gcm_sa, new_sad

HALF = 7
SEQ = 5
STARTED = ReplayState(seq=1000, seq_hi=HALF, stated=True)


def test_a_number_is_inferred_by_where_the_window_stood():
    sad = new_sad(gcm_sa(window=64, flags=frozenset({"esn"}), replay=STARTED))
    (entry,) = sad
    known = Known(sad)
    (top,) = known.tops().values()
    assert not top.known  # it begins anew, in the half that was stated
    first = known.number_under(entry, top, SEQ)
    assert first >> 32 in (HALF, HALF + 1)
    entry.window.advance((HALF + 3) << 32)
    assert entry.window.resume is None
    assert known.number_under(entry, top, SEQ) == first
    assert known.number_under(entry, Top((HALF + 3) << 32), SEQ) == (HALF + 3) << 32 | SEQ
