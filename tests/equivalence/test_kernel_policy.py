"""The kernels that choose an SA, each alone, against selectors tried one by one. Whole packets: test_kernel_select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from espsim.batch.outbound import policy
from espsim.core.arrays import U64
from espsim.core.numbers import NOT_IP, ONE_BY_ONE, OUT_NO_SA, SEALED
from tests.equivalence.kernel_settings import plain

M64 = (1 << 64) - 1
V6 = 0x20010DB8_00000001_80000000_00000009


@dataclass(frozen=True)
class Group:
    """Selectors of one shape: masks of source, destination and ports, and the family (0: both)."""

    src: int
    dst: int
    ports: int
    family: int
    rank: int


@dataclass(frozen=True)
class Packet:
    family: int
    src: int
    dst: int
    proto: int = 17
    sport: int = 1000
    dport: int = 2000
    verdict: int = SEALED

    def under(self, group: Group) -> tuple[int, int, int]:
        ports = self.proto << 32 | self.sport << 16 | self.dport
        return self.src & group.src, self.dst & group.dst, ports & group.ports


def bits(count: int, of: int = 128) -> int:
    return ((1 << count) - 1) << (of - count)


PROTO, SPORT, DPORT = 0xFF << 32, 0xFFFF << 16, 0xFFFF
GROUPS = [
    Group(bits(128), bits(128), 0, 6, 1256), Group(bits(32, 32), bits(32, 32), 0, 4, 1064),
    Group(bits(64), bits(65), PROTO, 6, 137), Group(bits(16, 32), bits(24, 32), DPORT, 4, 56),
    Group(bits(24, 32), bits(16, 32), SPORT, 4, 56), Group(0, 0, PROTO | SPORT | DPORT, 0, 40),
    Group(0, bits(32, 32), 0, 4, 32), Group(0, bits(32), 0, 6, 32), Group(bits(1), 0, 0, 6, 1), Group(0, 0, 0, 0, 0),
]  # fmt: skip
"""The highest rank first. Two groups have the same rank, also with different families."""

A, B = 0x0A010001, 0x0A020001
SELECTED = [
    (9, Packet(4, A, B)), (0, Packet(6, V6, V6 + 1)), (1, Packet(4, A, B)), (2, Packet(6, V6, V6 + 1)),
    (3, Packet(4, A, B)), (4, Packet(4, A + 1, B)), (3, Packet(4, A, B + 0x100)), (5, Packet(4, A, B, 6, 7, 8)),
    (6, Packet(4, A, B + 2)), (7, Packet(6, V6, V6)), (8, Packet(6, V6, V6)), (8, Packet(6, 1 << 127, 0)),
    (4, Packet(4, A, B + 0x100)), (6, Packet(4, A, B + 5)), (1, Packet(4, A + 9, B)), (6, Packet(4, A, B + 5)),
]  # fmt: skip
"""Each SA, oldest first: its group, and a packet that it takes."""

PACKETS = [
    Packet(4, A, B), Packet(4, A + 1, B), Packet(4, A + 1, B, dport=2001), Packet(4, A + 1, B, sport=1001),
    Packet(4, A + 0x100, B), Packet(4, A, B + 0x100), Packet(4, A + 0x10000, B + 2), Packet(4, 5, B + 5),
    Packet(4, A + 9, B), Packet(4, 5, 6, 6, 7, 8), Packet(4, 5, 6, 6, 7, 9), Packet(4, 5, 6, 7, 7, 8), Packet(4, 5, 6),
    Packet(6, V6, V6 + 1), Packet(6, V6 + 1, V6 + 1), Packet(6, V6 + 1, V6 + 1, proto=6), Packet(6, V6 + 2, V6 + 5),
    Packet(6, V6 + (1 << 64), V6 + 1), Packet(6, V6, V6 + (1 << 64)), Packet(6, V6, V6 ^ 1 << 127),
    Packet(6, V6 ^ 1 << 127, V6 ^ 1 << 127), Packet(6, V6, V6 ^ 1 << 63), Packet(6, A, B), Packet(6, 5, 6, 6, 7, 8),
    Packet(0, 0, 0, 0, 0, 0, NOT_IP), Packet(4, A, B, verdict=ONE_BY_ONE), Packet(6, V6 | 1 << 127, 0),
]  # fmt: skip


def halves(numbers):
    return np.array([(n >> 64, n & M64) for n in numbers], np.uint64).reshape(-1, 2)


def group_words(groups: list[Group]) -> U64:
    words = [(g.src >> 64, g.src & M64, g.dst >> 64, g.dst & M64, g.ports, g.family, g.rank, 0) for g in groups]
    return np.array(words, np.uint64).reshape(-1, 8)


def table_of(selected, groups, rows: int) -> U64:
    keys = []
    for group, packet in selected:
        src, dst, ports = packet.under(groups[group])
        keys.append((src >> 64, src & M64, dst >> 64, dst & M64, ports, group + 1))
    table = np.zeros((rows, 8), np.uint64)
    policy.select_insert(np.array(keys, np.uint64).reshape(-1, 6), np.arange(len(keys)), table)
    return table


def one_by_one(packet: Packet, selected, groups) -> tuple[int, int, int]:
    """(SA, rank, tied) of a packet: the highest rank, then the newest."""
    taking = []
    for sa, (at, example) in enumerate(selected):
        group = groups[at]
        if group.family in (0, packet.family) and packet.under(group) == example.under(group):
            taking.append((group.rank, sa))
    if packet.verdict != SEALED or not taking:
        return -1, -1, 0
    rank = max(taking)[0]
    return max(taking)[1], rank, sum(of == rank for of, _ in taking) > 1


def chosen(packets: list[Packet], groups: U64, table: U64):
    rows = len(packets)
    rank, tied, sa = np.full(rows, 99, np.int32), np.full(rows, 99, np.uint8), np.full(rows, 99, np.int32)
    columns = zip(*((p.verdict, p.family, p.proto, p.sport, p.dport) for p in packets), strict=True)
    kinds = (np.uint8, np.uint8, np.uint8, np.uint16, np.uint16)
    facts: list[Any] = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    facts += [halves([p.src for p in packets]), halves([p.dst for p in packets])]
    policy.choose(
        facts[0], facts[1], facts[2], facts[3], facts[4], facts[5], facts[6], groups, table,
        np.full(policy.AHEAD, 7, np.int64), rank, tied, sa,
    )  # fmt: skip
    return list(zip(sa.tolist(), rank.tolist(), tied.tolist(), strict=True))


@pytest.mark.parametrize("rows", [len(SELECTED), 4 * len(SELECTED)])
@pytest.mark.parametrize("times", [1, 3])
def test_the_highest_rank_then_the_newest(rows, times):
    """The table is nearly full, or not; more packets than are prefetched, or fewer."""
    table, packets = table_of(SELECTED, GROUPS, rows), PACKETS * times
    want = [one_by_one(packet, SELECTED, GROUPS) for packet in packets]
    assert chosen(packets, group_words(GROUPS), table) == want
    for packet, answer in zip(PACKETS, want, strict=False):
        assert chosen([packet], group_words(GROUPS), table) == [answer]


def test_groups_of_a_rank_are_all_tried_and_lower_ones_only_for_those_without_an_sa():
    groups = [Group(0, bits(32, 32), 0, 4, 32), Group(bits(32, 32), 0, 0, 4, 32), Group(0, 0, 0, 0, 0)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        selected = [(group, Packet(4, A, B)) for group in order]
        table = table_of(selected, groups, 9)
        packets = [Packet(4, A, B), Packet(4, A, 1), Packet(4, 1, B), Packet(4, 1, 1), Packet(6, A, B)]
        for some in (packets, packets[:1], packets[1:3]):
            want = [one_by_one(packet, selected, groups) for packet in some]
            assert chosen(some, group_words(groups), table) == want


def test_keys_that_differ_in_one_bit_of_one_word_are_two():
    """Of both families, in a table with one row to spare, whatever group they are in."""
    groups = [Group(bits(128), bits(128), PROTO | SPORT | DPORT, 6, n) for n in (5, 4)]
    first = Packet(6, V6, V6)
    others = [
        Packet(6, V6 ^ 1 << 127, V6), Packet(6, V6 ^ 1, V6), Packet(6, V6, V6 ^ 1 << 64), Packet(6, V6, V6 ^ 1),
        Packet(6, V6, V6, proto=16), Packet(6, V6, V6, sport=1001), Packet(6, V6, V6, dport=2001),
    ]  # fmt: skip
    for other in others:
        for where in ([(0, first), (0, other)], [(1, first), (0, other)], [(0, first), (1, other)]):
            table = table_of(where, groups, 3)
            assert np.count_nonzero(table[:, policy.GROUP]) == 2
            want = [one_by_one(packet, where, groups) for packet in (first, other, *others)]
            assert chosen([first, other, *others], group_words(groups), table) == want


@pytest.mark.parametrize(
    ("keys", "rows"), [(0, 2), (1, 6), (1023, 4094), (1024, 4098), (1025, 1025 + 683 + 2), (3000, 5002)]
)
def test_a_table_has_room(keys, rows):
    assert policy.select_table(keys).shape == (rows, 8)


def test_keys_begin_their_search_all_over_the_table():
    """One bit of any word moves a key, and a thousand keys are spread like random ones."""
    bucket = policy._bucket
    table = np.zeros((1000, 8), np.uint64)
    for word in range(6):
        begun = []
        for n in range(1000):
            key = [np.uint64(n << 20 if part == word else 5) for part in range(6)]
            begun.append(int(bucket(table, *key)))
        assert 0 <= min(begun) < 20
        assert 980 <= max(begun) < 1000
        assert 560 < len(set(begun)) < 700  # of 1,000 drawn from 1,000 there are 632 different ones


def test_what_an_sas_standing_says():
    standing = np.array([0, ONE_BY_ONE, 9], np.uint8)
    sa = np.array([0, 1, 2, -1, 1, -1], np.int32)
    verdict, tied = np.array([0, 0, 0, 0, NOT_IP, NOT_IP], np.uint8), np.ones(6, np.uint8)
    policy.judge(sa, standing, tied, verdict)
    assert verdict.tolist() == [0, ONE_BY_ONE, 9, OUT_NO_SA, NOT_IP, NOT_IP]
    assert tied.tolist() == [1, 0, 1, 1, 1, 1]


@pytest.fixture
def asked(monkeypatch):
    """The table's rows that are prefetched."""
    rows: list[int] = []
    monkeypatch.setattr(policy, "prefetch", lambda _table, row: rows.append(int(row)))
    for name in ("_try_group", "choose"):
        monkeypatch.setattr(policy, name, plain(getattr(policy, name)))
    return rows


def test_each_keys_row_and_the_one_after_are_asked_for(asked):
    bucket = policy._bucket
    groups, table = GROUPS[5:6], np.zeros((50, 8), np.uint64)
    packets = [Packet(4, n, n, sport=n) for n in range(70)]
    chosen(packets, group_words(groups), table)
    words = [packet.under(groups[0])[2] for packet in packets]
    first = [int(bucket(table, *(np.uint64(part) for part in (0, 0, 0, 0, word, 1)))) for word in words]
    assert asked == [row for at in first for row in (at, at + 1)]


def test_no_group_is_tried_that_can_change_nothing(monkeypatch):
    """Groups of the rank that was found are tried for all, because their SA may be newer; lower ones for the others."""
    tried: list[int] = []
    kernels: list[Any] = [policy._try_group, policy.choose]
    try_group, choose = map(plain, kernels)

    def recorded(*columns: Any) -> int:
        tried.append(int(columns[8]))
        count: int = try_group(*columns)
        return count

    monkeypatch.setattr(policy, "prefetch", lambda _table, _row: None)
    monkeypatch.setattr(policy, "_try_group", recorded)
    monkeypatch.setattr(policy, "choose", choose)
    groups = [Group(0, bits(32, 32), 0, 4, 5), Group(bits(32, 32), 0, 0, 4, 5), Group(0, 0, 0, 0, 1)]
    table = table_of([(0, Packet(4, A, B)), (1, Packet(4, A, B))], groups, 9)
    found, other = Packet(4, A, B), Packet(4, 7, 7)
    for packets, want in (([found], 2), ([Packet(4, 9, B)], 2), ([found, found], 2), ([other], 3), ([found, other], 3)):
        tried.clear()
        chosen(packets, group_words(groups), table)
        assert tried == list(range(want))


def test_a_row_that_a_group_does_not_take_is_not_looked_up_at_all():
    """Its key would be found: the search would begin at the table's first row, where it is."""
    groups = [Group(bits(128), bits(128), 0, 4, 5)]
    for n in range(50):
        table = table_of([(0, Packet(4, n, n))], groups, 2)
        if table[0, policy.GROUP]:
            assert chosen([Packet(4, n, n)], group_words(groups), table) == [(0, 5, 0)]
            assert chosen([Packet(6, n, n)], group_words(groups), table) == [(-1, -1, 0)]
            assert chosen([Packet(4, n, n, verdict=ONE_BY_ONE)], group_words(groups), table) == [(-1, -1, 0)]
