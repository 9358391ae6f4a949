"""Each kernel of batch/device alone, against plain Python: the hashes of offload, or a rule written out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from espsim.batch.device import hash as device_hash
from espsim.batch.device import steps, tables
from espsim.batch.device.steps import (
    ASK,
    CLASSIFY,
    DST,
    EMPTY,
    FAMILY,
    HIT,
    MARK,
    MISMATCH,
    MISSED,
    OVER_MAX,
    PENDING,
    PORTS,
    SPI,
    SRC,
)  # fmt: skip
from espsim.offload import hashing
from tests.equivalence.kernel_settings import plain

NO_PORT, M64 = 0xFFFFFFFF, (1 << 64) - 1
LOW24 = 0xFFFFFF

# (SPI, family, destination, source, source port, destination port, mark); IPv4 in the low word
PACKETS = [
    (0x81234567, 4, 0x0909090A, 0x01010102, NO_PORT, NO_PORT, 0),
    (0x01234567, 4, 0x8909090A, 0xC1010102, 4500, 4501, 5),
    (0x00000007, 6, 0x20010DB8_00000001_80000000_00000009, 0x20010DB8_00000002_00000000_0000000A, 0, 0, 0x90000001),
    (0x00000007, 6, 0x20010DB8_00000001_00000000_00000009, 0xA0010DB8_00000002_00000000_8000000A, 7, 65535, 0xFFFFFFFF),
    (0xFFFFFFFF, 6, 9, 1, 65535, 0, 6),
]


def columns(packets: Any = PACKETS) -> Any:
    """The columns that every kernel takes, in their order."""

    def halves(addresses):
        return np.array([(a >> 64, a & M64) for a in addresses], np.uint64).reshape(-1, 2)

    spi, family, dst, src, sport, dport, mark = zip(*packets, strict=True)
    return (
        np.array(spi, np.uint32), np.array(family, np.uint8), halves(dst), halves(src), np.array(sport, np.uint32),
        np.array(dport, np.uint32), np.array(mark, np.uint32),
    )  # fmt: skip


# -- keys -------------------------------------------------------------------------------------------------------------


def key_of(packet, parts, spi_mask, mark_mask):
    """SPI, family from bit 32, bit 40 where there are ports; ports, mark from bit 32; two words an address."""
    spi, family, dst, src, sport, dport, mark = packet
    ports = bool(parts & PORTS) and dport != NO_PORT
    head = (spi & spi_mask) * bool(parts & SPI) | (family << 32) * bool(parts & FAMILY) | ports << 40
    side = (mark & mark_mask) << 32 if parts & MARK else 0
    words = [head, *[side | (sport << 16 | dport) * ports] * bool(parts & (MARK | PORTS))]
    for address in [dst] * bool(parts & DST) + [src] * bool(parts & SRC):
        words += [address >> 64, address & M64]
    return words


@pytest.mark.parametrize(("spi_mask", "mark_mask"), [(0xFFFFFFFF, 0xFFFFFFFF), (LOW24, 5)])
def test_a_key_has_the_words_of_its_parts_and_no_other(spi_mask, mark_mask):
    for parts in range(64):
        want = [key_of(packet, parts, spi_mask, mark_mask) for packet in PACKETS]
        assert steps.width(parts) == len(want[0])
        words = np.full((len(PACKETS), steps.width(parts)), 77, np.uint64)
        facts: Any = [parts, np.uint32(spi_mask), np.uint32(mark_mask), *columns(), words]
        steps.key_words(*facts)
        assert words.tolist() == want


# -- direct tables ----------------------------------------------------------------------------------------------------


def test_the_slot_under_a_mask():
    spis = np.array([0, 6, 7, 8, 70, 0x107, 0xFFFFFFFF], np.uint32)
    for offset, mask in ((0, 0xFF), (7, 0xFF), (7, 0xFFFFFFFF), (0xFFFFFFFF, 0xF)):
        slot = np.full(len(spis), -5, np.int64)
        steps.masked(spis, np.uint64(offset), np.uint64(mask), slot)
        assert slot.tolist() == [(spi - offset) % 2**32 & mask for spi in spis.tolist()]


def test_the_slot_of_a_rules_base_and_a_slice():
    spis = np.array([0x00, 0x10, 0x38, 0xF8, 0x18], np.uint32)
    rule, bases = np.array([0, 1, 2, 1, -1], np.int32), np.array([0, 8, 1000], np.int64)
    slot = np.full(5, -5, np.int64)
    steps.sliced(spis, rule, bases, np.uint64(3), np.uint64(16), np.uint64(1003), slot)
    assert slot.tolist() == [0, 8 + 2 & 1003, 1000 + 7 & 1003, 8 + 15 & 1003, -1]
    steps.sliced(spis, rule, bases, np.uint64(3), np.uint64(0), np.uint64(0), slot)
    assert slot.tolist() == [0, 8, 1000, 8, -1]
    steps.sliced(spis[:1], rule[2:3], bases, np.uint64(0), np.uint64(1), np.uint64(0xFFFF), slot)
    assert slot[0] == 1000  # a slice of no bits


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("capacity", [0, 1, 3, 4, 8])
def test_what_is_in_a_slot(capacity, near):
    cells = np.array([10, -1, 12, 0], np.int32)
    slot = np.array([0, 1, 2, 3, 4, 5, -1, 0, 2, 1 << 40], np.int64)
    there = np.array([30, 31, 0, -1, 34, 35, 36, 37, 38, 39], np.int32) if near else np.zeros(0, np.int32)
    begun = [PENDING] * 8 + [CLASSIFY, PENDING]
    step, found = np.array(begun, np.uint8), np.full(10, 99, np.int32)
    steps.in_slots(slot, capacity, cells, there, step, found)
    for n, at in enumerate(slot.tolist()):
        end, entry = PENDING, -1
        if begun[n] != PENDING:
            end = begun[n]
        elif at < 0:
            end = CLASSIFY
        elif capacity and at >= capacity:
            end = OVER_MAX
        else:
            entry = int(there[n]) if near else int(cells[at]) if at < 4 else -1
            end = EMPTY if entry < 0 else PENDING
        assert (int(step[n]), int(found[n])) == (end, entry), at


# -- all kinds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [True, False])
def test_of_two_entries_the_lower_rank_wins_and_of_longest_the_first(longest):
    rank, many = np.array([5, 3, 4, 3], np.int64), np.array([0, 1, 0, 1], np.uint8)
    found, other = np.array([-1, -1, -1, 0, 1, 1, 2, 0], np.int32), np.array([-1, 0, 1, 1, 0, 3, -1, 0], np.int32)
    shadowed = np.array([0, 0, 0, 0, 0, 0, 1, 0], np.uint8)
    want, hidden = [-1, 0, 1, 1, 1, 1, 2, 0], [0, 0, 1, 1, 1, 1, 1, 1]
    if longest:
        want, hidden = [-1, 0, 1, 0, 1, 1, 2, 0], [0, 0, 1, 0, 0, 0, 1, 0]
    steps.better(other, rank, many, longest, found, shadowed)
    assert (found.tolist(), shadowed.tolist()) == (want, hidden)


SAID = np.array([(10 * n, 10 * n + 1) for n in range(1, 9)], np.uint8)
IDENTITY = list(range(8))


def ends(changes):
    made = np.arange(8, dtype=np.uint8)
    for end, counts in changes.items():
        made[end] = counts
    return made


@pytest.mark.parametrize("changes", [{}, {MISMATCH: HIT}, {MISSED: ASK}, {PENDING: ASK}, {EMPTY: ASK, HIT: ASK}])
def test_every_end_of_a_lookup(changes):
    """Two rows that have ended; nothing found; an empty slot; found, with equal words and with others."""
    found = np.array([0, 1, -1, 1, 0, 0, 2, 0, 2], np.int32)
    begun = [CLASSIFY, OVER_MAX, *[PENDING] * 7]
    step, shadowed = np.array(begun, np.uint8), np.array([1, 1, 1, 1, 0, 1, 0, 0, 1], np.uint8)
    context, sa = np.array([1, -1, 0], np.int32), np.array([70, 71], np.int32)
    held = np.array([(7, 8), (5, 6)], np.uint64)
    words = np.array([(5, 6)] * 4 + [(5, 6), (5, 6), (7, 8), (5, 7), (6, 8)], np.uint64)
    sa_index, reached, action = np.full(9, 99, np.int32), np.full(9, 99, np.uint8), np.full(9, 99, np.uint8)
    plain = [CLASSIFY, OVER_MAX, MISSED, EMPTY, HIT, HIT, HIT, MISMATCH, MISMATCH]
    many = shadowed.tolist()
    steps.conclude(
        found, context, sa, words, held, ends(changes), SAID, step, shadowed, sa_index, reached, action
    )  # fmt: skip
    for n, first in enumerate(plain):
        hidden = bool(many[n]) and begun[n] == PENDING and changes.get(PENDING) == ASK
        end = ASK if hidden else changes.get(first, first)
        at = context[found[n]] if first in (HIT, MISMATCH) and end != ASK else -1
        assert int(step[n]) == end, n
        assert int(sa_index[n]) == (int(sa[at]) if at >= 0 else -1), n
        assert (int(reached[n]), int(action[n])) == tuple(SAID[end].tolist()), n
        assert int(shadowed[n]) == (many[n] if first in (HIT, MISMATCH) and not hidden else 0), n


def test_a_table_without_an_sa():
    none, words = np.zeros(0, np.int32), np.zeros((2, 1), np.uint64)
    step, shadowed, reached, action = np.full(2, PENDING, np.uint8), *(np.zeros(2, np.uint8) for _ in range(3))
    sa_index = np.full(2, 99, np.int32)
    steps.conclude(
        np.full(2, -1, np.int32),
        none,
        none,
        words,
        words[:0],
        ends({}),
        SAID,
        step,
        shadowed,
        sa_index,
        reached,
        action,
    )
    assert (step.tolist(), sa_index.tolist()) == ([MISSED] * 2, [-1] * 2)


@pytest.mark.parametrize("missing", [EMPTY, MISSED])
@pytest.mark.parametrize("changes", [{}, {MISMATCH: HIT}, {MISSED: ASK}, {CLASSIFY: ASK, HIT: ASK}])
def test_every_end_of_a_lookup_by_spi(missing, changes):
    other = int(tables.OTHER)
    sa_index = np.array([0, 5, -1, other, other - 5, 3, -1], np.int32)
    begun = [*[PENDING] * 5, CLASSIFY, CLASSIFY]
    step, reached, action = np.array(begun, np.uint8), np.full(7, 99, np.uint8), np.full(7, 99, np.uint8)
    steps.conclude_spi(missing, ends(changes), SAID, step, sa_index, reached, action)
    plain = [HIT, HIT, missing, MISMATCH, MISMATCH, CLASSIFY, CLASSIFY]
    want = [changes.get(end, end) for end in plain]
    sas = [0, 5, -1, 0, 5, -1, -1]
    assert step.tolist() == want
    assert sa_index.tolist() == [-1 if end == ASK else sa for sa, end in zip(sas, want, strict=True)]
    assert [reached.tolist(), action.tolist()] == SAID[want].T.tolist()


# -- hashes -----------------------------------------------------------------------------------------------------------

STREAMS = {
    "spi": ([device_hash.SPI], lambda p: [p[0]]),
    "spi24": ([device_hash.SPI24, device_hash.CONSTANT], lambda p: [p[0] & LOW24, 50]),
    "family": ([device_hash.FAMILY, device_hash.MARK], lambda p: [p[1], p[6]]),
    "ports": ([device_hash.PORTS], lambda p: [p[4] << 16 | p[5] if p[5] != NO_PORT else 0]),
    "dst": ([device_hash.DST_HIGH, device_hash.DST_LOW], lambda p: address(p, 2)),
    "src": ([device_hash.SRC_HIGH, device_hash.SRC_LOW, device_hash.SPI], lambda p: [*address(p, 3), p[0]]),
}


def address(packet, at):
    """An IPv4 address is one word, an IPv6 address two."""
    number = packet[at]
    return [number] if packet[1] == 4 else [number >> 64, number & M64]


@pytest.mark.parametrize("crc", [True, False])
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("sets", [1, 5, 8, 1 << 20])
def test_a_row_of_a_hash_is_the_hash_of_the_words(stream, crc, sets):
    codes, words = STREAMS[stream]
    fn = hashing.crc32c if crc else hashing.vendor_hash
    for ways in (1, 3):
        starts = np.array([fn((), 9, way) ^ (NO_PORT if crc else 0) for way in range(ways)], np.uint64)
        hashes = np.full((len(PACKETS), ways), -5, np.int32)
        facts: Any = [
            np.array(codes, np.uint8), np.full(len(codes), 50, np.uint64), starts, np.uint64(sets), crc, *columns(),
            np.full(ways, 3, np.uint64), hashes,
        ]  # fmt: skip
        device_hash.row_hashes(*facts)
        assert hashes.tolist() == [[fn(words(p), 9, way) % sets for way in range(ways)] for p in PACKETS]


@pytest.mark.parametrize("ranks", [(5, 9, 1, 7, 2), (0, 9, 1, 7, 2)])
@pytest.mark.parametrize("ways", [3, 2])
@pytest.mark.parametrize("skewed", [True, False])
def test_of_a_keys_ways_the_lowest_rank_wins(skewed, ways, ranks):
    """Ways of two rows. One key is all zeros, and is not taken for an empty place."""
    sets = 2
    row_step, way_step = (1, sets) if skewed else (ways, 1)
    rank = np.array(ranks, np.int64)
    held = {(0, 0): ((1, 2), 0), (0, 1): ((1, 2), 2), (0, 2): ((1, 3), 1), (1, 1): ((0, 0), 3), (1, 2): ((1, 2), 4)}
    cells = np.zeros((ways * sets, 3), np.uint64)
    for (row, way), (key, entry) in held.items():
        if way < ways:
            cells[row * row_step + way * way_step] = (*key, entry + 1)
    words = np.array([(1, 2), (1, 3), (3, 2), (0, 0), (1, 2), (0, 0)] * 6, np.uint64)
    rows = np.array([(0, 0, 0), (0, 0, 0), (0, 0, 0), (1, 1, 1), (1, 0, 1), (0, 0, 0)] * 6, np.int32)
    hashes = rows[:, : ways if skewed else 1].copy()
    found, shadowed = np.full(36, 99, np.int32), np.full(36, 99, np.uint8)
    device_hash.in_ways(words, hashes, ways, row_step, way_step, cells, rank, found, shadowed)
    for n, key in enumerate(map(tuple, words.tolist())):
        there = [held.get((int(hashes[n, way if skewed else 0]), way)) for way in range(ways)]
        entries = [place[1] for place in there if place is not None and place[0] == key]
        assert found[n] == min(entries, key=lambda entry: rank[entry], default=-1)
        assert shadowed[n] == (len(entries) > 1)


# -- what is prefetched: no answer depends on it, but time does --------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """The rows that are prefetched, in order, by any module."""
    rows = []

    def prefetch(table, row):
        assert 0 <= row < len(table)
        rows.append(int(row))

    for module in (steps, device_hash):
        monkeypatch.setattr(module, "prefetch", prefetch)
    return rows


ROWS = 70


def test_each_slot_is_asked_for_before_it_is_read(asked):
    slot = np.array([n % 50 - 2 for n in range(ROWS)], np.int64)
    cells, none = np.arange(40, dtype=np.int32), np.zeros(0, np.int32)
    step = np.full(ROWS, PENDING, np.uint8)
    plain(steps.in_slots)(slot, 0, cells, none, step, np.zeros(ROWS, np.int32))
    assert asked == [n for n in slot[steps.AHEAD :].tolist() if 0 <= n < 40]


def test_each_context_is_asked_for_before_it_is_read(asked):
    found = np.array([n % 9 - 1 for n in range(ROWS)], np.int32)
    context, held = np.zeros(9, np.int32), np.zeros((1, 0), np.uint64)
    result = [np.zeros(ROWS, np.uint8) for _ in range(4)]
    plain(steps.conclude)(
        found, context, np.zeros(1, np.int32), np.zeros((ROWS, 0), np.uint64), held, ends({}), SAID, result[0],
        result[1], np.zeros(ROWS, np.int32), result[2], result[3],
    )  # fmt: skip
    assert asked == [max(n, 0) for n in found[steps.AHEAD :].tolist()]


@pytest.mark.parametrize("skewed", [True, False])
def test_each_way_is_asked_for_before_it_is_read(asked, skewed):
    hashes = np.array([(n % 5, n % 3) for n in range(ROWS)], np.int32)
    hashes = hashes if skewed else hashes[:, :1].copy()
    row_step, way_step = (1, 5) if skewed else (2, 1)
    plain(device_hash.in_ways)(
        np.zeros((ROWS, 1), np.uint64),
        hashes,
        2,
        row_step,
        way_step,
        np.zeros((20, 2), np.uint64),
        np.zeros(1, np.int64),
        np.zeros(ROWS, np.int32),
        np.zeros(ROWS, np.uint8),
    )
    ahead = hashes[device_hash.AHEAD :].tolist()
    assert asked == [r * row_step + way * way_step for row in ahead for way, r in enumerate(row)]
