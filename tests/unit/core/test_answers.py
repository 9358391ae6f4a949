"""core.answers: what an answer shows of itself is one line without keys or packets."""

from __future__ import annotations

import pytest

from espsim.core.answers import Received, Sent
from espsim.core.verdict import DeviceOutcome, OutboundVerdict, Surfacing, Verdict
from espsim.sad.entry import SadEntry
from tests.support import gcm_sa, new_sad


@pytest.fixture
def entry() -> SadEntry:
    return next(iter(new_sad(gcm_sa())))


def test_an_answer_in_a_line(entry):
    received = Received(Verdict.DELIVERED, None, 0x1000, 5, 5, entry, entry, bytes(84))
    assert repr(received) == "Received(DELIVERED spi=0x1000 seq=5 inner=84 bytes)"
    assert repr(Received(Verdict.FRAGMENT, None)) == "Received(FRAGMENT)"
    sent = Sent(OutboundVerdict.SEALED, entry, 7, bytes(120))
    assert repr(sent) == f"Sent(SEALED spi=0x{entry.sa.spi:x} seq=7 packet=120 bytes)"
    assert repr(Sent(OutboundVerdict.NO_SA)) == "Sent(NO_SA)"


def test_the_longest_ones_fit_a_line(entry):
    """An inner packet is there where nothing failed; then nothing had to surface."""
    numbers = 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
    mismatch, drop = DeviceOutcome.SA_MISMATCH, Surfacing.DEVICE_DROP
    for verdict in Verdict:
        whole = Received(verdict, None, *numbers, entry, entry, bytes(65535), device=mismatch)
        failed = Received(verdict, None, *numbers, entry, entry, None, device=mismatch, surfacing=drop)
        assert max(len(repr(whole)), len(repr(failed))) <= 120
