"""The kernels of batch/device/tables.py alone, against plain Python: offload's hashes, or a rule written out here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from espsim.batch.device import tables
from espsim.core.arrays import I64, U64
from espsim.offload import hashing
from tests.equivalence.kernel_settings import plain

NO_PORT, M64 = 0xFFFFFFFF, (1 << 64) - 1


def cell(spi: int, sa_index: int) -> int:
    return spi << 32 | sa_index + 1


def test_mixing_and_one_word_of_a_crc():
    for number in (0, 1, 1 << 30, 0x123456789ABCDEF0, M64):
        assert int(tables.mix64(np.uint64(number))) == hashing.mix64(number)
        for way in (0, 3):
            register = np.uint64(hashing.crc32c((), 9, way) ^ NO_PORT)
            assert int(tables.crc_word(register, np.uint64(number))) ^ NO_PORT == hashing.crc32c((number,), 9, way)


def test_an_array_of_spis():
    """More rows than are prefetched; a slot beyond the end, an empty one, SPI 0, another SPI's SA (also SA 0)."""
    other = int(tables.OTHER)
    array = np.array([cell(0x10, 0), 0, cell(7 + 2, 5), cell(0x1000A, 0), 0, cell(7, 1)], np.uint64)
    want = {0x10: other, 7: 0, 8: -1, 9: 5, 10: other, 0x1000A: 0, 12: other - 1, 0: -1, 13: -1, 0xFFFFFFFF: -1}
    array[0] = cell(7, 0)
    want[0x10] = -1  # slot 9: beyond the end
    for times in (1, 5):
        spis = [*want] * times
        found = np.full(len(spis), 77, np.int32)
        tables.direct(np.array(spis, np.uint32), np.uint64(7), np.uint64(0xF), array, found)
        assert found.tolist() == [*want.values()] * times
    whole = np.zeros(3, np.int32)  # no bit is masked off
    tables.direct(np.array([9, 8, 6], np.uint32), np.uint64(7), np.uint64(NO_PORT), array, whole)
    assert whole.tolist() == [5, -1, -1]


@pytest.mark.parametrize("after", [[], [0], [50, 3]])
@pytest.mark.parametrize("sets", [1, 3, 5, 8])
def test_spis_in_four_ways(sets, after):
    """Of equal SPIs the first way's wins; SPI 0 is not found in an empty place. Any number of rows."""
    starts = [hashing.vendor_hash((), 3, way) for way in range(4)]
    rows = {spi: [hashing.vendor_hash((spi, *after), 3, way) % sets for way in range(4)] for spi in range(40)}
    shared, skewed = np.zeros((sets, 4), np.uint64), np.zeros((4, sets), np.uint64)
    first: dict[int, tuple[int, int]] = {}
    each: dict[int, tuple[int, int]] = {}
    for n, (way, spi) in enumerate((way, spi) for way in (0, 2, 1, 3) for spi in (3, 3, 4, 0x11, 0x1F, 5, 6, 3, 12)):
        if not shared[rows[spi][0], way]:
            shared[rows[spi][0], way] = cell(spi, n)
            first[spi] = min(first.get(spi, (9, 0)), (way, n))
        if not skewed[way, rows[spi][way]]:
            skewed[way, rows[spi][way]] = cell(spi, n)
            each[spi] = min(each.get(spi, (9, 0)), (way, n))
    scratch, more = np.zeros((2, 4, tables.BLOCK), np.uint32), np.array(after, np.uint64)
    for count in (0, 1, 31, 32, 33, 63, 64, 65, 80, 128, 200):
        spis = [n % 40 for n in range(3, 3 + count)]
        asked, found = np.array(spis, np.uint32), np.full(count, 77, np.int32)
        tables.spi_shared(asked, np.uint64(starts[0]), more, shared, found)
        assert found.tolist() == [first.get(spi, (0, -1))[1] for spi in spis]
        tables.spi_skewed(asked, np.array(starts, np.uint64), more, skewed, scratch, found)
        assert found.tolist() == [each.get(spi, (0, -1))[1] for spi in spis]


def test_whatever_is_in_the_four_ways():
    """An SPI, another and nothing, in every order."""
    start, none, scratch = np.zeros(4, np.uint64), np.zeros(0, np.uint64), np.zeros((2, 4, tables.BLOCK), np.uint32)
    asked, found = np.array([3, 4, 5, 0, 4, 3], np.uint32), np.zeros(6, np.int32)
    for held in itertools.product((3, 4, 0), repeat=4):
        cells = np.array([cell(spi, way) if spi else 0 for way, spi in enumerate(held)], np.uint64)
        want = [held.index(spi) if spi and spi in held else -1 for spi in asked.tolist()]
        tables.spi_shared(asked, start[0], none, cells.reshape(1, 4), found)
        assert found.tolist() == want
        tables.spi_skewed(asked, start, none, cells.reshape(4, 1), scratch, found)
        assert found.tolist() == want


def exact_answers(table: U64, words: U64) -> list[int]:
    found = np.full(len(words), 77, np.int32)
    tables.exact(words, table, found)
    return found.tolist()


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("spare", [1, 20])
def test_whole_keys(width, spare):
    """Of equal keys the first stays. Keys that differ in one bit are different. A table may have one free row."""
    keys = [[0] * width, [1] * width]
    for n in range(width):
        for bit in (0, 31, 63):
            keys.append([1 ^ (1 << bit) * (m == n) for m in range(width)])
    distinct = [list(key) for key in dict.fromkeys(map(tuple, keys))]
    words: U64 = np.array([*distinct, *distinct], np.uint64)
    sas: I64 = np.arange(len(words))
    table = np.zeros((len(distinct) + spare, 8), np.uint64)
    assert exact_answers(table, words) == [-1] * len(words)
    tables.exact_insert(words, sas, table)
    assert exact_answers(table, words) == [*range(len(distinct))] * 2
    absent = words ^ np.uint64(1 << 40)
    assert exact_answers(table, absent) == [-1] * len(absent)
    assert np.count_nonzero(table[:, 7]) == len(distinct)


def test_the_last_row_is_followed_by_the_first():
    """Two rows, one of them taken: a search that begins there ends in the other one."""
    for n in range(8):
        table = np.zeros((2, 8), np.uint64)
        tables.exact_insert(np.array([[n]], np.uint64), np.array([5], np.int64), table)
        assert exact_answers(table, np.arange(8, dtype=np.uint64).reshape(-1, 1)) == [-1] * n + [5] + [-1] * (7 - n)


# -- what is prefetched: no answer depends on it, but time does --------------------------------------------------------

ROWS = 70


@pytest.fixture
def asked(monkeypatch):
    """What is prefetched, in order: the number of a row, or of a cell what is in it."""
    rows = []

    def prefetch(table, row):
        assert 0 <= row < len(table)
        rows.append(int(row) if table.ndim > 1 else int(table[row]))

    monkeypatch.setattr(tables, "prefetch", prefetch)
    return rows


def test_each_spi_is_asked_for_before_it_is_read(asked):
    spis = np.arange(ROWS, dtype=np.uint32)
    found, none = np.zeros(ROWS, np.int32), np.zeros(0, np.uint64)
    plain(tables.direct)(spis, np.uint64(7), np.uint64(63), np.arange(64, dtype=np.uint64), found)
    assert asked == [(n - 7) & 63 for n in range(tables.AHEAD, ROWS)]
    asked.clear()
    starts = [hashing.vendor_hash((), 3, way) for way in range(4)]
    plain(tables.spi_shared)(spis, np.uint64(starts[0]), none, np.zeros((8, 4), np.uint64), found)
    assert asked == [hashing.vendor_hash((n,), 3, 0) % 8 for n in range(ROWS)]
    asked.clear()
    plain(tables.spi_skewed)(
        spis,
        np.array(starts, np.uint64),
        none,
        np.arange(32, dtype=np.uint64).reshape(4, 8),
        np.zeros((2, 4, tables.BLOCK), np.uint32),
        found,
    )
    assert asked == [8 * way + hashing.vendor_hash((n,), 3, way) % 8 for n in range(ROWS) for way in range(4)]
    asked.clear()
    words = spis.astype(np.uint64).reshape(-1, 1)
    cells = np.zeros((100, 8), np.uint64)
    for n in range(ROWS):
        plain(tables.exact)(words[n : n + 1], cells, found)
    alone = asked.copy()
    asked.clear()
    plain(tables.exact)(words, cells, found)
    assert asked == alone
    assert len(set(asked)) > ROWS // 2
