"""Opening a row once more: what was opened under a number that turns out to be another is ciphertext again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from espsim.aead.engine import EngineError
from espsim.batch.inbound.open import close_row, open_again
from espsim.batch.inbound.order import InboundPipeline
from espsim.core.inbound_batch import InboundBatch
from espsim.core.numbers import BROKEN, CUT, OWN, WAITING
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.sad.association import ReplayState
from tests.support import Peer, gcm_sa, ipv4, new_sad, suites, udp

SUITES = suites()
NUMBER, OTHER = 5 << 32 | 9, 6 << 32 | 9
INNER = ipv4(udp(b"for everyone to see, and longer than a block"))
NAMES = ["rfc4106(gcm(aes))-128-128", "rfc4543(gcm(aes))-128-128", "cbc(aes)-hmac(sha256)-128",
         "rfc7539esp(chacha20,poly1305)-256-128", "iiv(rfc4106(gcm(aes)))-128-128"]  # fmt: skip
NO_ICV = "cbc(aes)-digest_null-0"


class Opened:
    """A batch of three packets of one SA that were opened; the second row is the one that is opened again."""

    def __init__(self, suite: str, *, esn: bool = True) -> None:
        sa = gcm_sa(flags=frozenset({"esn"} if esn else ()), replay=ReplayState(seq=1, seq_hi=5 if esn else 0))
        sa = replace(sa, algorithms=SUITES[suite])
        self.packets = [Peer(sa).packet(number, INNER) for number in (NUMBER - 1, NUMBER, NUMBER + 1)]
        self.path = InboundPipeline(Inbound(new_sad(sa, keep_window=True)), "cryptography")
        self.batch = InboundBatch.of(self.packets)
        self.path.run(self.batch)
        assert self.batch.verdict.tolist() == [0, 0, 0]
        self.plaintexts = [self.arena(row) for row in range(3)]
        self.batch.opened[2] = WAITING

    def arena(self, row: int) -> bytes:
        at = int(self.batch.offset[row])
        return self.batch.arena[at : at + len(self.packets[row])].tobytes()

    def again(self, number: int) -> int:
        before, self.batch.seq64[1] = int(self.batch.seq64[1]), number
        open_again(self.batch, self.path.columns, 1, before)
        assert [self.arena(row) for row in (0, 2)] == self.plaintexts[::2]
        assert self.batch.opened[::2].tolist() == [0, WAITING]
        return int(self.batch.opened[1])


@pytest.mark.parametrize("suite", NAMES)
@pytest.mark.parametrize("was", [Verdict.DELIVERED, Verdict.TRAILER])
def test_the_ciphertext_is_put_back_and_opens_under_the_right_number(suite, was):
    rows = Opened(suite)
    rows.batch.opened[1] = was
    assert rows.again(OTHER) == Verdict.INTEGRITY
    assert rows.arena(1) == rows.packets[1]
    assert rows.again(OTHER) == Verdict.INTEGRITY
    assert rows.again(NUMBER) == Verdict.DELIVERED
    assert rows.arena(1) == rows.plaintexts[1]


@pytest.mark.parametrize("was", [Verdict.DELIVERED, Verdict.TRAILER])
def test_without_an_icv_what_was_opened_stays(was):
    rows = Opened(NO_ICV)
    rows.batch.opened[1] = was
    assert rows.again(OTHER) == Verdict.DELIVERED
    assert rows.arena(1) == rows.plaintexts[1]


def test_without_the_keys_at_hand_zeros_are_put_there():
    rows = Opened(NAMES[0])
    at, size = int(rows.batch.plain_at[1] - rows.batch.offset[1]), int(rows.batch.plain_length[1])
    rows.path.columns.entries = []
    assert rows.again(OTHER) == Verdict.INTEGRITY
    assert rows.arena(1) == rows.packets[1][:at] + bytes(size) + rows.packets[1][at + size :]


def test_a_packet_that_was_cut_is_not_opened():
    rows = Opened(NAMES[0])
    assert rows.again(OTHER) == Verdict.INTEGRITY
    rows.batch.flags[1] = OWN
    assert rows.again(NUMBER) == Verdict.DELIVERED
    assert rows.again(OTHER) == Verdict.INTEGRITY
    rows.batch.flags[1] |= CUT
    assert rows.again(NUMBER) == Verdict.TRUNCATED
    assert rows.arena(1) == rows.packets[1]


def test_an_engine_that_gives_up_is_an_error():
    rows = Opened(NAMES[0])
    assert rows.again(OTHER) == Verdict.INTEGRITY

    def give_up(*columns: Any) -> None:
        columns[-1][:] = BROKEN

    rows.path.columns.opener = SimpleNamespace(open=give_up)
    with pytest.raises(EngineError, match="the engine gave up on 1 packets of a batch"):
        rows.again(NUMBER)
    assert np.count_nonzero(rows.batch.opened == BROKEN) == 1


@pytest.mark.parametrize("esn", [True, False])
def test_where_the_number_is_the_iv_it_has_to_be_the_one_that_opened_the_row(esn):
    rows = Opened("iiv(rfc4106(gcm(aes)))-128-128", esn=esn)
    close_row(rows.batch, rows.path.columns, 1, NUMBER if esn else NUMBER & 0xFFFFFFFF)
    assert rows.arena(1) == rows.packets[1]
    assert rows.arena(0) == rows.plaintexts[0]
