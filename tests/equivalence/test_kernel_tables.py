"""batch/device/tables.py against the tables of offload: places, answers, and the hashes themselves."""

from __future__ import annotations

import functools
import pathlib
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.batch.device import tables
from espsim.jit.memory import zeros
from espsim.offload.keys import PacketKey, of_packet, of_sa, words
from espsim.offload.model import load_model
from espsim.offload.tables import Entry, Row, Table, make_table
from espsim.sad.association import Mode, SecurityAssociation
from tests.equivalence.kernel_settings import quick
from tests.support import gcm_sa

MODEL = """schema = 1
id = "twin"
extends = "{base}"
[[inbound.lookup]]
capacity = {capacity}
scope = "device"
multi_match = "first"
miss = "software"
{lookup}
"""
SPIS = st.integers(1, 40) | st.sampled_from([0xFFFFFFFF, 0x80000000, 0x12345678])


@functools.cache
def model_of(lookup: str, capacity: int, base: str = "marvell-cn10k-dpdk"):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "twin.toml"
        path.write_text(MODEL.format(lookup=lookup, capacity=capacity, base=base))
        return load_model(path)


@functools.cache
def sa_of(spi: int, dst: int = 1) -> SecurityAssociation:
    return gcm_sa("1.1.1.1", f"9.9.9.{dst}", spi, mode=Mode.TRANSPORT, window=0)


def fill(table: Table, sas: list[SecurityAssociation]) -> list[int | None]:
    """Write SA n into the table, unless its place is taken. Returns the place; None: there was none."""
    places: list[int | None] = []
    for n, sa in enumerate(sas):
        place = table.place_for(sa, 0)
        free = place is not None and place not in table.rows
        if place is not None and free:
            table.write(place, Row(Entry(n, sa, 0, n), None))
        places.append(place if free else None)
    return places


def answers(table: Table, keys: list[PacketKey]) -> list[int]:
    """The SA of the first place that answers."""
    found = [table.find(key) for key in keys]
    return [table.rows[places[0]].entry.sa_index if places else -1 for places in found]


def cell(spi: int, sa_index: int) -> int:
    return spi << 32 | sa_index + 1


@quick
@given(
    st.lists(SPIS, max_size=30), st.lists(SPIS, max_size=30), st.sampled_from([(4, 16), (4, 9), (6, 64)]), st.booleans()
)
def test_direct(sas, packets, shape, lift):
    bits, capacity = shape
    lookup = (
        f'kind = "direct"\nkey = ["spi"]\nindex = {{ fn = "mask", bits = {bits}, subtract_min = {str(lift).lower()} }}'
    )
    span = '[inbound.program]\nspi_range = { min = 7, max = 70, outside = "ignore" }\n'
    table = make_table(model_of(lookup + "\n" + span, capacity), 0)
    of = [sa_of(spi) for spi in sas]
    cells = np.zeros(capacity, np.uint64)
    for n, place in enumerate(fill(table, of)):
        if place is not None:
            cells[place] = cell(sas[n], n)
    asked = packets + sas
    found = np.full(len(asked), 77, np.int32)
    offset, mask = np.uint64(7 if lift else 0), np.uint64((1 << bits) - 1)
    tables.direct(np.array(asked, np.uint32), offset, mask, cells, found)
    want = answers(table, [PacketKey(b"", b"", spi) for spi in asked])
    for spi, got, hit in zip(asked, found.tolist(), want, strict=True):
        same = hit >= 0 and sas[hit] == spi
        assert got == (hit if same or hit < 0 else int(tables.OTHER) - hit)


@quick
@given(
    st.lists(SPIS, max_size=40, unique=True),
    st.lists(SPIS, max_size=20),
    st.booleans(),
    st.sampled_from([4, 8, 5]),
    st.integers(0, 9),
    st.booleans(),
)
def test_spi_hash(sas, packets, skewed, sets, seed, constants):
    """Four ways, shared and skewed, with sets that are a power of two and not; full rows leave SAs out."""
    fields = '["spi", "match_id", "lf"]' if constants else '["spi"]'
    lookup = (
        f'kind = "hash"\nkey = {fields}\nindex = {{ fn = "vendor_hash" }}\nways = 4\nsets = {sets}\n'
        f"per_way_index = {str(skewed).lower()}"
    )
    table = make_table(model_of(lookup, 4 * sets), seed)
    written = [n for n, place in enumerate(fill(table, [sa_of(spi) for spi in sas])) if place is not None]
    cells = tables.spi_table(np.array([sas[n] for n in written], np.uint32), np.array(written, np.int32))
    asked = packets + sas + [0]
    found = np.full(len(asked), 77, np.int32)
    tables.by_spi(np.array(asked, np.uint32), cells, found)
    assert found.tolist() == answers(table, [PacketKey(b"", b"", n) for n in asked])


@quick
@given(st.lists(st.tuples(SPIS, st.integers(1, 3)), max_size=40), st.integers(1, 9))
def test_exact(sas, spare):
    lookup = 'kind = "exact"\nkey = ["dst", "spi", "proto"]'
    table = make_table(model_of(lookup, 1000), 0)
    of = [sa_of(*sa) for sa in sas]
    fill(table, of)
    fields = ["dst", "spi", "proto"]
    rows = np.array([words(of_sa(sa, 0, fields)) for sa in of], np.uint64).reshape(len(of), 3)
    cells = zeros((len(of) + spare, 8), np.uint64)
    tables.exact_insert(rows, np.arange(len(of)), cells)
    packets = [PacketKey(sa.src, sa.dst, sa.spi) for sa in of] + [PacketKey(b"", bytes((9, 9, 9, 4)), 7)]
    asked = np.array([words(of_packet(key, fields)) for key in packets], np.uint64)
    found = np.full(len(packets), 77, np.int32)
    tables.exact(asked, cells, found)
    assert found.tolist() == answers(table, packets)


@pytest.mark.parametrize("huge", [True, False])
@pytest.mark.parametrize("size", [1, 64, 8192, (1 << 18) + 1])
def test_tables_begin_at_a_cache_line_and_are_zero(size, huge):
    table = zeros((size, 2), np.uint64, huge=huge)
    assert table.ctypes.data % 64 == 0
    assert table.shape == (size, 2)
    assert not table.any()
    table[:] = 1
