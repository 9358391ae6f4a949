"""The sums of a batch, added to what SAs and groups have, against counting row by row: `tally`, `received`, `sift`.

Several batches follow one another over the same SAs, so that a sum meets what earlier batches left.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.batch.inbound import sift
from espsim.batch.inbound.count import BEFORE, NEVER, USED, tally, tally_sums
from espsim.batch.inbound.sums import BITS, OTHERS, SAS, TOOK, TOP, Sums
from espsim.batch.inbound.triple import NO_PORT, TCP_PORT
from espsim.batch.run import counting
from espsim.core.inbound_batch import InboundBatch
from espsim.core.layers import Layer
from espsim.core.numbers import NOT_ESP, ONE_BY_ONE, OWN, PART
from espsim.core.verdict import Verdict
from tests.equivalence.kernel_settings import quick

STATES = 4
M64 = (1 << 64) - 1
_NO_SPI = (Verdict.HEADER, Verdict.FRAGMENT, Verdict.NO_SA)


class Row(NamedTuple):
    verdict: int
    sa: int
    flags: int = 0
    seq64: int = 1
    odd: int = 0
    payload: int = 100
    time: float = 1.0
    kind: int = 0
    spi: int = 0x100
    family: int = 4
    port: int = int(NO_PORT)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    usual = st.sampled_from([Verdict.DELIVERED] * 6 + [Verdict.SENT, Verdict.REPLAY_DUPLICATE, Verdict.INTEGRITY])
    verdict = int(draw(st.one_of(usual, st.sampled_from([*map(int, Verdict), NOT_ESP, PART]))))
    sa = -1 if verdict in _NO_SPI or verdict >= PART else draw(st.integers(0, STATES - 1))
    number = draw(st.sampled_from([1, 5, 1 << 32, (1 << 64) - 3])) + draw(st.integers(0, 2))
    return Row(
        verdict, sa, draw(st.sampled_from([0, 0, 1, OWN, 3])), number, draw(st.integers(0, 1)), draw(st.integers(0, 9)),
        draw(st.sampled_from([0.0, 1.5, -2.0])), draw(st.integers(0, len(Layer) - 1)), draw(st.integers(0, 2)),
        draw(st.sampled_from([4, 6])), draw(st.sampled_from([int(NO_PORT), int(TCP_PORT), 4500])),
    )  # fmt: skip


def batch_of(of: list[Row]) -> InboundBatch:
    batch = InboundBatch.of([bytes(20)] * len(of), [row.time for row in of])
    for at, row in enumerate(of):
        batch.verdict[at], batch.sa_index[at], batch.flags[at] = row.verdict, row.sa, row.flags
        batch.seq64[at], batch.odd_padding[at], batch.payload[at] = row.seq64, row.odd, row.payload
        batch.kind[at], batch.spi[at], batch.family[at], batch.dport[at] = row.kind, row.spi, row.family, row.port
        batch.daddr[at] = row.kind, row.payload
    return batch


class Told:
    """What the turn TELL changes."""

    def __init__(self, used: list[int], flags: list[int], tops: list[int], full: bool, looks: int = 1) -> None:
        self.counts = np.zeros((STATES, 8), np.int64)
        self.counts[:, USED] = used
        self.verdicts, self.ignored = np.zeros((256, 4), np.int64), np.zeros(len(Layer), np.int64)
        self.by_sa, self.order = np.zeros((STATES, 3), np.int64), np.zeros(STATES + 1, np.int64)
        self.drops = np.zeros((STATES + 1, len(Verdict)), np.int64)
        self.state = np.zeros((STATES, 4), np.uint64)
        self.state[:, sift.TOP], self.state[:, sift.FLAGS] = tops, flags
        self.keys, self.slots = np.zeros((sift.GROUPS, 3), np.uint64), np.zeros(sift.SLOTS, np.int32)
        self.groups, self.used = np.zeros((sift.GROUPS, 2), np.int64), np.zeros(1, np.int64)
        self.groups[:, sift.ROOM] = looks
        self.used[0] = sift.GROUPS if full else 0
        self.looks: list[int] = []

    def by_rows(self, batch: InboundBatch) -> None:
        time = batch.time.view(np.int64)
        tally(batch.verdict, batch.flags, batch.sa_index, batch.payload, time, self.counts)
        facts = (batch.verdict, batch.flags, batch.kind, batch.sa_index)
        counting.received(*facts, self.verdicts, self.ignored, self.by_sa, self.drops, self.order)
        self.sift(batch)

    def sift(self, batch: InboundBatch) -> None:
        own, row, group_of = batch.sa_index, -1, np.zeros(len(batch), np.int32)
        columns = (batch.verdict, batch.flags, batch.sa_index, own, batch.seq64, batch.odd_padding, batch.family)
        facts = (*columns, batch.spi, batch.daddr, batch.dport, self.state, self.keys, self.slots)
        while (row := sift.sift(row + 1, *facts, self.groups, self.used, group_of)) >= 0:
            self.looks.append(row)

    def by_sums(self, batch: InboundBatch, sums: Sums) -> bool:
        tally_sums(sums.sums, sums.used, self.counts)
        counting.received_sums(
            sums.sums, sums.others, sums.verdicts, sums.ignored, sums.used, batch.verdict, batch.sa_index,
            self.verdicts, self.ignored, self.by_sa, self.drops, self.order,
        )  # fmt: skip
        facts = (batch.verdict, batch.sa_index, batch.family, batch.spi, batch.daddr, batch.dport)
        groups = (self.state, self.keys, self.slots, self.groups, self.used)
        done: bool = sift.pass_sums(sums.sums, sums.others, sums.used, *facts, *groups)
        if not done:
            self.sift(batch)
        return done

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told) and all(np.array_equal(a, b) for a, b in self.pairs(other))

    def pairs(self, other: Told) -> list[tuple[Any, Any]]:
        return [(mine, vars(other)[name]) for name, mine in vars(self).items()]

    __hash__ = None  # type: ignore[assignment]


@given(
    st.lists(st.lists(rows(), max_size=12), min_size=1, max_size=4),
    st.lists(st.sampled_from([NEVER, BEFORE]), min_size=STATES, max_size=STATES),
    st.lists(st.integers(0, 3), min_size=STATES, max_size=STATES),
    st.lists(st.sampled_from([0, 3, 1 << 32, M64]), min_size=STATES, max_size=STATES),
    st.booleans(),
)
@quick
def test_sums_leave_what_rows_leave(batches, used, flags, tops, full):
    one, other, sums = (*(Told(used, flags, tops, full) for _ in range(2)), Sums(STATES))
    for of in batches:
        batch, looked = batch_of(of), len(one.looks)
        one.by_rows(batch)
        assert sums.of(batch) is sums
        assert other.by_sums(batch, sums) == (len(one.looks) == looked), "it sifts row by row just where a row needs it"
        assert one == other


def drawn_once(rng: random.Random, first: int) -> Row:
    """A row of all that there may be, each SA with numbers around one of its own, from `first` on."""
    verdict = int(rng.choice([*map(int, Verdict), *[int(Verdict.DELIVERED)] * 9, NOT_ESP, PART]))
    sa = -1 if verdict in _NO_SPI or verdict >= PART else rng.randrange(-1, STATES)
    number = ((1, M64 - 20, 1 << 63, 1 << 32)[sa] + first + rng.randrange(40)) & M64
    return Row(
        verdict, sa, rng.choice([0, 0, 0, 1, OWN, 4 | OWN]), number, rng.randrange(2), rng.randrange(9), rng.random(),
        rng.randrange(len(Layer)), rng.randrange(2), rng.choice([4, 6]), rng.choice([int(NO_PORT), 4500]),
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 12])
def test_the_same_traffic_in_every_run(size):
    start = [NEVER, BEFORE, NEVER, NEVER], [0, int(sift.RESUMED), 0, int(sift.AUTHENTIC)], [0, 5, 1 << 63, 1 << 32]
    for seed in range(40):
        rng = random.Random(seed)
        one, other, sums = Told(*start, full=False), Told(*start, full=False), Sums(STATES)
        for first in (0, 30, 60):
            batch = batch_of([drawn_once(rng, first) for _ in range(size)])
            one.by_rows(batch)
            sums.of(batch)
            other.by_sums(batch, sums)
            assert one == other


def test_a_batch_with_a_row_of_the_reference_path_has_no_sums():
    batch = batch_of([Row(Verdict.DELIVERED, 0), Row(ONE_BY_ONE, 1)])
    assert Sums(STATES).of(batch) is None


def test_the_sums_of_the_batch_before_are_forgotten():
    sums = Sums(STATES)
    sums.of(batch_of([Row(Verdict.DELIVERED, 2), Row(Verdict.INTEGRITY, 1)]))
    assert sums.used.tolist() == [2, 1]
    sums.of(batch_of([Row(Verdict.DELIVERED, 2)] * 3))
    assert sums.used[SAS] == 1
    assert sums.used[OTHERS] == 0
    assert sums.sums[0, :3].tolist() == [2, 3, 300]
    assert not sums.place[1]


@pytest.mark.parametrize(
    ("tops", "highest"),
    [
        ((7, 9, 8), 9),
        ((M64, 0, 1), 1),
        ((1, M64), 1),
        ((1, 1 + (1 << 63)), 1),
        ((1 + (1 << 63), 1), 1 + (1 << 63)),
    ],
)
def test_the_highest_number_is_counted_around(tops, highest):
    sums = Sums(STATES)
    sums.of(batch_of([Row(Verdict.DELIVERED, 0, seq64=top) for top in tops]))
    row = sums.sums[0]
    assert row[BITS] & TOOK
    assert int(row.view(np.uint64)[TOP]) == highest


@pytest.mark.parametrize(
    ("rows", "highest"),
    [
        ([(Verdict.POLICY, 7), (Verdict.DELIVERED, 5)], 7),
        ([(Verdict.DELIVERED, 5), (Verdict.POLICY, 7)], 7),
        ([(Verdict.DELIVERED, 7), (Verdict.POLICY, 5)], 7),
        ([(Verdict.POLICY, 5), (Verdict.POLICY, 3)], 5),
        ([(Verdict.TRAILER, 9), (Verdict.DELIVERED, 5)], 5),
        ([(Verdict.SENT, 9), (Verdict.POLICY, M64)], M64),
        ([(Verdict.SENT, 9), (Verdict.DELIVERED, M64)], M64),
    ],
)
def test_a_window_takes_the_number_of_what_is_refused_inside_and_of_no_other(rows, highest):
    sums = Sums(STATES)
    sums.of(batch_of([Row(verdict, 0, OWN * (verdict is Verdict.SENT), number) for verdict, number in rows]))
    row = sums.sums[0]
    assert row[BITS] & TOOK
    assert int(row.view(np.uint64)[TOP]) == highest


FAILED = [
    Row(Verdict.INTEGRITY, 0), Row(Verdict.INTEGRITY, 1), Row(Verdict.REPLAY_DUPLICATE, 1), Row(Verdict.HEADER, -1),
    Row(Verdict.NO_SA, -1, spi=1), Row(Verdict.NO_SA, -1, spi=2), Row(Verdict.NO_SA, -1, spi=1, family=6),
    Row(Verdict.NO_SA, -1, spi=1, port=4500), Row(Verdict.NO_SA, -1, spi=1, kind=1),
    Row(Verdict.NO_SA, -1, spi=1, payload=1),
]  # fmt: skip
OTHERS_TOO = [Row(Verdict.DELIVERED, 2), Row(Verdict.SENT, 3, OWN), Row(Verdict.DELIVERED, 3, OWN)]


@pytest.mark.parametrize(("full", "looks"), [(False, 1), (False, 2), (True, 1)])
def test_rows_of_known_groups_are_counted_without_a_look(full, looks):
    """`full`: there is no room for their groups. Each group gets `looks`, and no more."""
    start = [NEVER] * STATES, [0] * STATES, [0] * STATES
    one, other = (Told(*start, full=full, looks=looks) for _ in range(2))
    for time in range(4):
        batch, sums = batch_of([*FAILED[time:], *OTHERS_TOO, *FAILED[: time + 1]]), Sums(STATES)
        one.by_rows(batch)
        sums.of(batch)
        done = other.by_sums(batch, sums)
        assert one == other
        if time == 0:
            assert done is full
    assert done
    assert full or one.groups[: len(FAILED), sift.PACKETS].tolist() == [5] * 4 + [4] * 6


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_group_with_room_gets_its_look(looks):
    other, batch, sums = (
        Told([0] * STATES, [0] * STATES, [0] * STATES, full=False, looks=looks),
        batch_of(FAILED),
        Sums(4),
    )
    sums.of(batch)
    assert [other.by_sums(batch, sums) for _ in range(4)] == [False] * looks + [True] * (4 - looks)
