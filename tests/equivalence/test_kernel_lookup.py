"""batch/inbound/lookup.py against the SAD's own index and the reference path's checks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from espsim.batch.inbound.lookup import EITHER, ENCAPSULATED, ENCAPSULATED_TCP, PLAIN, usable
from espsim.batch.inbound.lookup import triple as find
from espsim.batch.inbound.triple import ANY_PORT, NO_PORT, OLDER, PORT, PROTO, TCP_PORT, triple_insert, triple_tables
from espsim.core.address import AF_INET, AF_INET6
from espsim.core.numbers import CUT, OWN
from espsim.core.verdict import Verdict
from espsim.sad.association import Encap, Mark, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.index import StateIndex
from espsim.sad.window import Window
from tests.equivalence.kernel_settings import quick

V4 = [bytes((10, 0, 0, n)) for n in range(3)] + [bytes(4), b"\xff" * 4]
V6 = [bytes(15) + bytes((n,)) for n in range(3)] + [bytes((32, 1)) + bytes(14), b"\xff" * 16, bytes(12) + V4[0]]
V6 += [bytes((32, 1)) + bytes(13) + b"\1", bytes((33, 1)) + bytes(13) + b"\1", bytes(8) + b"\xff" * 8]
ADDRESSES = st.sampled_from(V4 + V6)
SPIS = st.sampled_from([1, 2, 0x100, 0x80000001, 0xFFFFFFFF]) | st.integers(1, 40)
PROTOS = st.sampled_from([50, 50, 50, 51, 108])
MARKS = st.sampled_from([Mark(), Mark(), Mark(5, 0xFF), Mark(0x105, 0xFFF), Mark(0, 0xF0), Mark(1, 0), Mark(7, 7)])
PACKET_MARKS = [0, 5, 7, 0x105, 1, 0xF0]
PORTS = st.sampled_from([None, None, 4500, 4501])
KEYS = st.tuples(ADDRESSES, SPIS, PROTOS)


def pair(address: bytes) -> tuple[int, int]:
    return (
        (0, int.from_bytes(address))
        if len(address) == 4
        else (int.from_bytes(address[:8]), int.from_bytes(address[8:]))
    )


def columns(keys: list[tuple[bytes, int, int]]) -> SimpleNamespace:
    return SimpleNamespace(
        family=np.array([4 if len(k[0]) == 4 else 6 for k in keys], np.uint8),
        spi=np.array([k[1] for k in keys], np.uint32),
        proto=np.array([k[2] for k in keys], np.uint8),
        daddr=np.array([pair(k[0]) for k in keys], np.uint64).reshape(len(keys), 2),
    )


def entry_of(n: int, key: tuple[bytes, int, int], mark: Mark, port: int | None) -> SadEntry:
    daddr, spi, proto = key
    encap = Encap("espinudp", 4500, port, bytes(16)) if port is not None else None
    sa = SecurityAssociation(daddr, daddr, spi, proto, mark=mark, encap=encap)
    return SadEntry(n, sa, State.VALID, Window(0), af=AF_INET if len(daddr) == 4 else AF_INET6)


def chain_of(entries: list[SadEntry], port_key: bool) -> np.ndarray:
    chain = np.zeros((len(entries), 5), np.uint32)
    for n, entry in enumerate(entries):
        sa = entry.sa
        port = ANY_PORT if not port_key else NO_PORT if sa.encap is None else sa.encap.dport
        chain[n, :4] = sa.proto, sa.mark.value, sa.mark.mask, port
    return chain


def one_chain(address: bytes) -> list[tuple[tuple[bytes, int, int], Mark, int | None]]:
    """SAs of one SPI and destination: each but the first has another protocol, mark or port."""
    wants = [(50, Mark(), None), (51, Mark(5, 0xFF), None), (50, Mark(7, 7), 4500), (108, Mark(), 4501)]
    return [((address, 1, proto), mark, port) for proto, mark, port in wants]


EVERY_WAY = [((address, 1, proto), mark, port, done)
             for done in (False, True) for address in (V4[0], V6[3]) for proto in (50, 51, 108)
             for mark in (0, 5, 7) for port in (None, 4500, 4501)]  # fmt: skip


@quick
@example(one_chain(V4[0]) + one_chain(V6[3]), EVERY_WAY, True, 0)
@example(one_chain(V4[0]) + one_chain(V6[3]), EVERY_WAY, False, 40)
@given(
    st.lists(st.tuples(KEYS, MARKS, PORTS), max_size=60),
    st.lists(st.tuples(KEYS, st.sampled_from(PACKET_MARKS), PORTS, st.booleans()), max_size=40),
    st.booleans(),
    st.sampled_from([0, 40]),
)
def test_triple_is_the_sads_own_lookup(sas, packets, port_key, room):
    """Newest first under marks, protocols and ports, in tables with and without room to spare."""
    index = StateIndex(port_key=port_key)
    entries = [entry_of(n, key, mark, port) for n, (key, mark, port) in enumerate(sas)]
    of = columns([key for key, *_ in sas])
    four = int(np.count_nonzero(of.family == 4))
    tables = triple_tables(four + room, len(sas) - four + room)
    chain = chain_of(entries, port_key)
    for entry in entries:
        index.insert(entry)
    assert triple_insert(np.arange(len(sas)), of.family, of.spi, of.daddr, *tables, chain) == len(sas)

    # Packets of every SA with every mark, and any others; some rows have a verdict already.
    asked = [(key, mark, port, False) for key, _, port in sas for mark in PACKET_MARKS] + packets
    rows = columns([key for key, *_ in asked])
    verdict = np.array([Verdict.FRAGMENT if done else 0 for *_, done in asked], np.uint8)
    mark = np.array([m for _, m, _, _ in asked], np.uint32)
    dport = np.array([NO_PORT if port is None else port for _, _, port, _ in asked], np.uint32)
    found = np.full(len(asked), 77, np.int32)
    find(verdict, rows.family, rows.proto, rows.spi, rows.daddr, mark, dport, *tables, chain, found)
    for n, ((daddr, spi, proto), m, port, done) in enumerate(asked):
        right = None if done else index.lookup((daddr, spi, proto), m, port)
        assert found[n] == (-1 if right is None else right.sa_index)


@quick
@given(st.integers(0, 2**31), st.sampled_from([4, 6]), st.integers(1, 700))
def test_triple_in_a_full_table(seed, family, count):
    """Every key of tables that are as full as allowed, and as many keys that they do not have."""
    rng = np.random.default_rng(seed)
    spi = rng.choice(np.arange(1, 3000, dtype=np.uint32), 2 * count, replace=False)
    daddr = rng.integers(0, 2**32 if family == 4 else 2**64, (2 * count, 2), np.uint64)
    daddr[:, 0] *= family == 6
    kind, proto = np.full(2 * count, family, np.uint8), np.full(2 * count, 50, np.uint8)
    tables = triple_tables(count, count)
    chain = np.zeros((count, 5), np.uint32)
    chain[:, 0], chain[:, 3] = 50, ANY_PORT
    assert triple_insert(np.arange(count), kind, spi, daddr, *tables, chain) == count
    found, none = np.zeros(2 * count, np.int32), np.zeros(2 * count, np.uint8)
    words = np.zeros(2 * count, np.uint32)
    find(none, kind, proto, spi, daddr, words, words, *tables, chain, found)
    assert found[:count].tolist() == list(range(count))
    assert set(found[count:].tolist()) == {-1}


BUCKETS = 4


def v6_table(sas: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """A table of four IPv6 buckets with SAs of (SPI, address high, address low) in it, and their chains."""
    chain = np.zeros((len(sas), 5), np.uint32)
    chain[:, 0], chain[:, 3] = 50, ANY_PORT
    spi, daddr = np.array([sa[0] for sa in sas], np.uint32), np.array([sa[1:] for sa in sas], np.uint64)
    tables = triple_tables(0, BUCKETS - 1)
    assert len(tables[1]) == BUCKETS
    inserted = triple_insert(np.arange(len(sas)), np.full(len(sas), 6, np.uint8), spi, daddr, *tables, chain)
    assert inserted == len(sas)
    return tables[1], chain


def bucket_of(key: tuple[int, int, int]) -> int:
    return int(np.flatnonzero(v6_table([key])[0].any(axis=1))[0])


def find_v6(sas: list[tuple[int, int, int]], asked: list[tuple[int, int, int]]) -> list[int]:
    table, chain = v6_table(sas)
    rows, found = len(asked), np.full(len(asked), 77, np.int32)
    spi, daddr = np.array([key[0] for key in asked], np.uint32), np.array([key[1:] for key in asked], np.uint64)
    words = np.zeros(rows, np.uint32)
    find(
        np.zeros(rows, np.uint8), np.full(rows, 6, np.uint8), np.full(rows, 50, np.uint8), spi, daddr, words, words,
        triple_tables(0, 0)[0], table, chain, found,
    )  # fmt: skip
    return found.tolist()


@pytest.mark.parametrize("part", [0, 1, 2], ids=["spi", "high half", "low half"])
def test_ipv6_sas_of_one_bucket_that_differ_in_one_part_of_the_key(part):
    """Each is found by its own packets, and by no others: not by those that share the rest of the key."""
    step = [n == part for n in range(3)]
    near = [(0x1001 + n * step[0], (0x20010DB8 << 32) + n * step[1], 1 + n * step[2]) for n in range(40)]
    crowd = [[key for key in near if bucket_of(key) == bucket] for bucket in range(BUCKETS)]
    assert all(len(keys) >= 4 for keys in crowd)
    for keys in crowd:
        for one, two in ((keys[0], keys[1]), (keys[1], keys[0]), (keys[2], keys[3])):
            strangers = [key for key in keys if key not in (one, two)]
            assert find_v6([one, two], [one, two, *strangers]) == [0, 1, *[-1] * len(strangers)]


@quick
@given(
    st.lists(st.tuples(*(st.sampled_from([1, 2, 0x100000001, 2**63 + 1]) for _ in range(3))), unique=True, max_size=6),
)
def test_ipv6_keys_of_few_parts_in_few_buckets(keys):
    """Every combination of the same few words as SPI and halves of an address, of which some are in the table."""
    keys = [(spi % 2**32, high, low) for spi, high, low in keys]
    held = list(dict.fromkeys(keys))
    every = [(spi % 2**32, high, low) for spi in (1, 2) for high in (1, 2, 2**63 + 1) for low in (1, 2, 0x100000001)]
    if held:
        want = [held.index(key) if key in held else -1 for key in every + held]
        assert find_v6(held, every + held) == want


@pytest.mark.parametrize(("sas", "rows4", "rows6"), [(0, 2, 2), (1, 2, 2), (2, 2, 3), (3, 2, 4), (4, 3, 5),
                                                     (1000, 501, 1001)])  # fmt: skip
def test_tables_have_twice_the_slots_that_the_sas_need(sas, rows4, rows6):
    """A row has four slots of IPv4 or two of IPv6. A table has at least two rows."""
    four, six = triple_tables(sas, 2 * sas)[0], triple_tables(2 * sas, sas)[1]
    assert (four.shape, six.shape) == ((rows4, 8), (rows6, 8))
    assert four.dtype == six.dtype == np.uint64
    assert not four.any()
    assert not six.any()


@pytest.mark.parametrize("sas", [0, 2, 4, 9])
@pytest.mark.parametrize("family", [4, 6])
def test_a_table_takes_as_many_keys_as_it_has_slots(family, sas):
    tables = triple_tables(2 * sas, sas)
    room = 4 * len(tables[0]) if family == 4 else 2 * len(tables[1])
    many = room + 30
    spi, daddr = np.arange(1, many + 1, dtype=np.uint32), np.zeros((many, 2), np.uint64)
    chain = np.zeros((many, 5), np.uint32)
    chain[:, PROTO], chain[:, PORT] = 50, ANY_PORT
    kind = np.full(many, family, np.uint8)
    assert triple_insert(np.arange(many), kind, spi, daddr, *tables, chain) == room
    found, none, words = np.zeros(many, np.int32), np.zeros(many, np.uint8), np.zeros(many, np.uint32)
    find(none, kind, np.full(many, 50, np.uint8), spi, daddr, words, words, *tables, chain, found)
    assert found.tolist() == [n if n < room else -1 for n in range(many)]


@pytest.mark.parametrize("address", V4 + V6)
@pytest.mark.parametrize("facts", [(0, 0, ANY_PORT), (0, 1, ANY_PORT), (1, 0, ANY_PORT), (0, 0, 0), (0, 0, NO_PORT)])
def test_sas_of_one_key_have_one_slot_which_names_the_newest(address, facts):
    """It says the SA's protocol. Of an SA with a mark or a port it says 0x100: look at its row of the chain."""
    for count in (1, 2, 3):
        of, tables = columns([(address, 7, 51)] * count), triple_tables(5, 5)
        chain = np.zeros((count, 5), np.uint32)
        chain[:, PROTO], chain[:, PORT], chain[-1, 1:4] = 51, ANY_PORT, facts
        assert triple_insert(np.arange(count), of.family, of.spi, of.daddr, *tables, chain) == count
        high, low = pair(address)
        says = (51 if facts == (0, 0, ANY_PORT) else 0x100) << 32 | count
        want = [7 << 32 | low, says] if len(address) == 4 else [n for n in (high, low, 7, says) if n]
        held, empty = tables if len(address) == 4 else tables[::-1]
        assert held[held != 0].tolist() == want
        assert not empty.any()
        assert chain[:, OLDER].tolist() == list(range(count))


def test_usable_in_the_order_of_xfrm_input():
    refused = Verdict.DIRECTION, Verdict.SA_LARVAL, Verdict.ENCAP_MISMATCH
    standing = np.array([PLAIN, ENCAPSULATED, *refused, ENCAPSULATED_TCP], np.uint8)
    rows = [(n, port) for n in (-1, 0, 1, 2, 3, 4) for port in (NO_PORT, 4500)]
    rows += [(n, TCP_PORT) for n in (-1, 0, 1, 2, 5)] + [(5, NO_PORT), (5, 4500)]
    verdict, none = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.uint8)
    sa_index, dport = np.array([r[0] for r in rows], np.int32), np.array([r[1] for r in rows], np.uint32)
    usable(sa_index, dport, none, standing, standing[:0], verdict)
    want = ["NO_SA", "NO_SA", "DELIVERED", "ENCAP_MISMATCH", "ENCAP_MISMATCH", "DELIVERED", "DIRECTION", "DIRECTION",
            "SA_LARVAL", "SA_LARVAL", "ENCAP_MISMATCH", "ENCAP_MISMATCH", "NO_SA", "ENCAP_MISMATCH", "ENCAP_MISMATCH",
            "DIRECTION", "DELIVERED", "ENCAP_MISMATCH", "ENCAP_MISMATCH"]  # fmt: skip
    assert verdict.tolist() == [Verdict[name] for name in want]
    verdict[:] = Verdict.FRAGMENT
    usable(sa_index, dport, none, standing, standing[:0], verdict)
    assert set(verdict) == {Verdict.FRAGMENT}


def test_usable_of_what_this_host_sent_and_of_an_sa_with_and_without_udp():
    """Packets that this host sent are looked up in another way; other flags change nothing."""
    standing = np.array([Verdict.DIRECTION, EITHER], np.uint8)
    sending = np.array([PLAIN, Verdict.SA_LARVAL], np.uint8)
    rows = [(sa, flag, port) for sa in (0, 1) for flag in (0, OWN, CUT) for port in (NO_PORT, 4500, TCP_PORT)]
    sa_index, flags = np.array([r[0] for r in rows], np.int32), np.array([r[1] for r in rows], np.uint8)
    verdict = np.zeros(len(rows), np.uint8)
    usable(sa_index, np.array([r[2] for r in rows], np.uint32), flags, standing, sending, verdict)
    mismatch, direction, larval = Verdict.ENCAP_MISMATCH, Verdict.DIRECTION, Verdict.SA_LARVAL
    assert verdict.tolist() == [
        *[direction] * 3, 0, mismatch, mismatch, *[direction] * 3,
        *[0] * 3, *[larval] * 3, *[0] * 3,
    ]  # fmt: skip
