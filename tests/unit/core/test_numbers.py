"""core.numbers: the sentinels of a verdict column are not verdicts."""

from __future__ import annotations

from espsim.core import numbers
from espsim.core.verdict import OutboundVerdict, Verdict


def test_sentinels_of_the_verdict_columns_are_no_verdicts():
    assert {numbers.PART, numbers.ONE_BY_ONE, numbers.NOT_ESP}.isdisjoint(set(Verdict))
    assert {numbers.ONE_BY_ONE, numbers.NOT_IP}.isdisjoint(set(OutboundVerdict))


def test_what_an_engine_says_of_a_row_is_told_apart():
    says = [numbers.OTHERWISE, numbers.UNOPENED, numbers.BROKEN, numbers.WAITING]
    assert len({*says, *Verdict}) == len(says) + len(Verdict)
    assert numbers.DONE == Verdict.DELIVERED


def test_bits_of_a_column_are_bits():
    link = (numbers.IN_TCP, numbers.MAY_JOIN, numbers.LINK_PART, numbers.OUTGOING)
    for bits in ((numbers.CUT, numbers.OWN), link):
        assert all(bit.bit_count() == 1 for bit in bits)
        assert sum(bits).bit_count() == len(bits)
