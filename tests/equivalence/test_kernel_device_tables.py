"""The kernels of batch/device/tables.py alone, against plain Python: offload's hashes, or a rule written out here."""

from __future__ import annotations

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


@pytest.mark.parametrize("sets", [1, 2, 3, 64, 96, 1000, 1 << 20, (1 << 31) - 1])
def test_a_row_of_so_many_sets(sets):
    for h in (0, 1, sets - 1, sets, sets + 1, 3 * sets + 2, 0x123456789ABCDEF0, M64):
        assert int(tables.modulo(np.uint64(h), np.uint64(sets))) == h % sets


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


def asked_of(table: U64, spis: list[int]) -> list[int]:
    found = np.full(len(spis), 77, np.int32)
    tables.by_spi(np.array(spis, np.uint32), table, found)
    return found.tolist()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 40, 500])
def test_spis_that_are_in_one_place(count):
    """Any number of SPIs and of rows; SPI 0, which fills free cells, is not found; SPIs that differ in one bit are."""
    held = {spi: n for n, spi in enumerate([1, 2, 3, 0x80000001, 0xFFFFFFFF, *range(1000, 1495)][:count])}
    table = tables.spi_table(np.array([*held], np.uint32), np.arange(count, dtype=np.int32))
    assert table.shape == (3 * count // 4 + 1, tables.CELLS)
    assert sorted(table[table != 0].tolist()) == sorted(cell(spi, n) for spi, n in held.items())
    for rows in (0, 1, 31, 32, 33, 64, 65, 1200):
        spis = ([*held, 0, 4, 0x80000002, 0x7FFFFFFF] * 400)[:rows]
        assert asked_of(table, spis) == [held.get(spi, -1) for spi in spis]


@pytest.mark.parametrize("free", [1, 2, 8, 9])
def test_a_full_bucket_is_followed_by_the_next(free):
    """Of three buckets `free` cells are empty: most SPIs are in another bucket than the one where the search begins."""
    count = 3 * tables.CELLS - free
    table = np.zeros((3, tables.CELLS), np.uint64)
    tables.by_spi_insert(np.arange(1, count + 1, dtype=np.uint32), np.arange(count, dtype=np.int32) + 5, table)
    assert asked_of(table, [*range(100)]) == [-1, *range(5, 5 + count), *[-1] * (99 - count)]
    assert np.count_nonzero(table) == count
    for bucket in table.tolist():  # cells of a bucket fill in order
        assert 0 not in bucket[: np.count_nonzero(bucket)]


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("n", range(tables.CELLS))
def test_an_spi_in_each_cell_of_a_bucket(n, others):
    """Among other SPIs, and alone. SPI 3 begins in the first of two buckets, SPI 4 in the second."""
    table = np.zeros((2, tables.CELLS), np.uint64)
    table[0] = [cell(9 + m, m) * others for m in range(tables.CELLS)]
    table[0, n] = cell(3, 70)
    assert asked_of(table, [3, 4]) == [70, -1]


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
    found = np.zeros(ROWS, np.int32)
    plain(tables.direct)(spis, np.uint64(7), np.uint64(63), np.arange(64, dtype=np.uint64), found)
    assert asked == [(n - 7) & 63 for n in range(tables.AHEAD, ROWS)]
    asked.clear()
    plain(tables.by_spi)(spis, np.zeros((100, tables.CELLS), np.uint64), found)
    assert asked == [(hashing.mix64(n) >> 32) * 100 >> 32 for n in range(ROWS)]
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
