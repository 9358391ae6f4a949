"""The tables of modelled devices, each alone: where an SA's entry goes, and which places a packet's key finds."""

from __future__ import annotations

from typing import Any

import pytest

from espsim.core.errors import UnknownReached
from espsim.offload.hashing import crc32c, vendor_hash
from espsim.offload.tables import (
    AuxTable,
    DirectTable,
    Entry,
    ExactTable,
    FreeNumbers,
    HashTable,
    Row,
    SlotArray,
    Table,
    capacity_of,
    make_table,
)
from espsim.sad.association import Mark, SecurityAssociation
from tests.support import gcm_sa
from tests.unit.offload import small_models
from tests.unit.offload.small_models import ARRAY, DIRECT, EXACT, HASH, TO_DST, model_of, packet, sa


def table_of(lookup: small_models.Table, seed: int = 0, **parts: small_models.Table) -> Any:
    """Any: a test looks at what its kind of table has."""
    return make_table(model_of(lookup, **parts), seed)


def put(table: Table, number: int, one: SecurityAssociation, port: int = 0) -> int:
    """Write an SA where it goes."""
    place = table.place_for(one, port)
    assert place is not None
    table.write(place, Row(Entry(number, one, port, number), None))
    return place


# -- any table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lookup", "kind"), [(DIRECT, DirectTable), (HASH, HashTable), (EXACT, ExactTable)])
def test_the_kind_of_a_table(lookup, kind):
    assert type(table_of(lookup)) is kind
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.0\.kind"):
        table_of({**lookup, "kind": "unknown"})


@pytest.mark.parametrize("lookup", [DIRECT, HASH, EXACT, {**EXACT, "kind": "longest", "key": [["spi"]]}])
def test_a_place_is_found_until_it_is_cleared(lookup):
    table = table_of(lookup)
    places = [put(table, n, sa(n)) for n in (1, 2)]
    for n, place in zip((1, 2), places, strict=True):
        assert table.find(packet(sa(n))) == [place]
        assert table.twins(sa(n), 0) == [place]
        assert table.rows[place].entry.sa_index == n
    assert table.find(packet(sa(3))) == []
    assert table.twins(sa(3), 0) == []
    assert table.clear(places[0]).entry.sa_index == 1
    assert table.clear(places[0]) is None
    assert table.find(packet(sa(1))) == []
    assert table.find(packet(sa(2))) == [places[1]]
    assert put(table, 3, sa(1)) == places[0]


def test_the_lowest_place_that_has_or_had_an_spi():
    table = table_of({**EXACT, "capacity": 9})
    for n, spi in enumerate((5, 7, 6, 7)):
        put(table, n, sa(spi))
    assert [table.lowest_with_spi(spi) for spi in (5, 6, 7, 8)] == [0, 2, 1, None]
    table.clear(1)
    assert table.lowest_with_spi(7) == 1
    put(table, 4, sa(9))
    assert [table.lowest_with_spi(spi) for spi in (7, 9)] == [3, 1]


@pytest.mark.parametrize(("stated", "limit"), [(5, 5), ("memory", None), ("config", None), ("shared", None)])
def test_a_capacity_limits_if_it_is_a_number(stated, limit):
    assert capacity_of(model_of({**EXACT, "capacity": stated}), 0) == limit
    assert capacity_of(model_of(EXACT, {**ARRAY, "capacity": stated}), 1) == limit


def test_a_capacity_may_not_be_public():
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.0\.capacity"):
        capacity_of(model_of({**EXACT, "capacity": "unknown"}), 0)
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.1\.capacity"):
        capacity_of(model_of(EXACT, {**ARRAY, "capacity": "unknown"}), 1)


# -- direct ------------------------------------------------------------------------------------------------------------


def test_the_low_bits_of_the_spi_are_the_slot():
    table = table_of({**DIRECT, "index": {"fn": "mask", "bits": 4}, "capacity": 12})
    assert [table.place_for(sa(spi), 0) for spi in (0x10, 0x1B, 0xFFFFFFF5)] == [0, 11, 5]
    assert table.place_for(sa(0x1C), 0) is None
    assert [table.slot_of(packet(sa(spi))) for spi in (0x1B, 0x1C)] == [11, 12]
    assert table.bases == {}  # they are for rules


def test_the_lowest_spi_of_the_range_may_be_subtracted():
    lookup = {**DIRECT, "index": {"fn": "mask", "bits": 4, "subtract_min": True}, "capacity": 16}
    program = {"spi_range": {"min": 3, "max": 18, "outside": "ignore"}}
    table = table_of(lookup, program=program)
    assert [table.place_for(sa(spi), 0) for spi in (3, 18, 19, 2)] == [0, 15, 0, 15]
    assert table.masked == (3, 15)
    kept = {**lookup, "index": {"fn": "mask", "bits": 4}}
    assert table_of(kept, program=program).masked == (0, 15)
    assert table_of(lookup).masked == (0, 15)


def test_another_spi_in_the_slot_is_found_and_is_no_twin():
    """The device's own check is for that."""
    table = table_of(DIRECT)
    put(table, 1, sa(1))
    assert table.find(packet(sa(5))) == [1]
    assert table.twins(sa(5), 0) == []
    assert table.find(packet(sa(6))) == []


@pytest.mark.parametrize("what", ["bits", "subtract_min"])
def test_what_is_not_public_of_a_mask(what):
    index = {"fn": "mask", "bits": 4, "subtract_min": False, what: "unknown"}
    with pytest.raises(UnknownReached, match=rf"inbound\.lookup\.0\.index\.{what}"):
        table_of({**DIRECT, "index": index}).place_for(sa(1), 0)


def test_the_lowest_spi_may_not_be_public():
    lookup = {**DIRECT, "index": {"fn": "mask", "bits": 4, "subtract_min": True}}
    program = {"spi_range": {"min": "unknown", "max": 18, "outside": "ignore"}}
    with pytest.raises(UnknownReached, match=r"inbound\.program\.spi_range\.min"):
        table_of(lookup, program=program).place_for(sa(1), 0)


def test_an_index_whose_function_is_not_public():
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.0\.index\.fn"):
        table_of({**DIRECT, "index": {"fn": "unknown"}})


def test_the_classifiers_key_is_not_asked_for_where_the_spi_is_masked():
    table = table_of(DIRECT, classify={"key": "unknown"})
    assert table.place_for(sa(1), 0) == 1
    assert table.slot_of(packet(sa(1))) == 1


BY_RULE = {**DIRECT, "index": {"fn": "rule", "base": "rule"}}
SLICE = {"fn": "slice_add", "base": "rule", "hi": 6, "lo": 5, "width": 3}
SLICED = {**DIRECT, "index": SLICE, "capacity": "memory"}


def test_a_rule_names_its_slot():
    """Rules get slots in the order in which they come; a packet's rule is that of its port and SPI."""
    table = table_of(BY_RULE, classify={"key": ["port", "spi"]})
    places = [table.place_for(sa(spi), port) for spi, port in ((9, 0), (9, 1), (8, 0), (9, 0), (7, 0))]
    assert places == [0, 1, 2, 0, 3]
    assert table.place_for(sa(6), 0) is None
    assert [table.slot_of(packet(sa(9), port=port)) for port in (0, 1, 2)] == [0, 1, None]
    assert table.find(packet(sa(9), port=2)) == []
    assert table.rule_fields == ("port", "spi")
    assert not table.slice_in_rule


def test_a_slice_of_the_spi_is_added_to_the_base_of_its_rule():
    """Bits 5 and 6. SAs whose other bits are equal share a rule, whose base leaves room for four."""
    table = table_of(SLICED, classify={"key": ["port", "spi"]})
    asked = [(0b0000001, 0), (0b1100001, 0), (0b0100001, 0), (0b0000010, 0), (0b1000010, 0), (0b0000001, 1)]
    assert [table.place_for(sa(spi), port) for spi, port in asked] == [0, 3, 1, 4, 6, 8 & 7]
    assert [table.slot_of(packet(sa(spi), port=port)) for spi, port in asked] == [0, 3, 1, 4, 6, 0]
    assert table.slot_of(packet(sa(0b1000001), port=0)) == 2
    assert table.slot_of(packet(sa(0b0000011), port=0)) is None
    assert table.slot_of(packet(sa(0b10000001), port=0)) is None
    assert table.bases == {(0, 1): 0, (0, 2): 4, (1, 1): 8}
    assert (table.slice, table.rule_fields, table.slice_in_rule) == ((5, 4, 7), ("port",), True)


def test_a_rule_without_the_spi_has_all_slices():
    table = table_of(SLICED, classify={"key": ["port", "dst"]})
    assert [table.place_for(sa(spi), 0) for spi in (0b0000001, 0b1100010, 0b10100000)] == [0, 3, 1]
    assert table.place_for(sa(0b0100000, dst=2), 0) == 5
    assert table.bases == {(0, sa(1).dst): 0, (0, sa(1, dst=2).dst): 4}
    assert (table.rule_fields, table.slice_in_rule) == (("port", "dst"), False)


def test_a_sum_beyond_the_end():
    table = table_of({**SLICED, "capacity": 2}, classify={"key": ["spi"]})
    assert [table.place_for(sa(spi), 0) for spi in (0, 0b0100000, 0b1000000)] == [0, 1, None]
    assert table.twins(sa(0b1000000), 0) == []


@pytest.mark.parametrize("what", ["hi", "lo", "width"])
def test_what_is_not_public_of_a_slice(what):
    table = table_of({**SLICED, "index": {**SLICE, what: "unknown"}}, classify={"key": ["port"]})
    with pytest.raises(UnknownReached, match=rf"inbound\.lookup\.0\.index\.{what}"):
        table.place_for(sa(1), 0)


def test_the_key_of_rules_may_not_be_public():
    with pytest.raises(UnknownReached, match=r"inbound\.classify\.key"):
        table_of(BY_RULE, classify={"key": "unknown"}).place_for(sa(1), 0)


# -- hash --------------------------------------------------------------------------------------------------------------

WIDE = {**HASH, "sets": 64, "capacity": 128}


@pytest.mark.parametrize(("fn", "function"), [("vendor_hash", vendor_hash), ("crc32c", crc32c)])
@pytest.mark.parametrize("skewed", [True, False])
def test_an_entry_goes_to_the_first_free_way_of_its_hash(fn, function, skewed):
    """Place: way * sets + row. A key of two words."""
    lookup = {**WIDE, "key": ["spi", "port"], "index": {"fn": fn}, "ways": 3, "capacity": 192, "per_way_index": skewed}
    table = table_of(lookup, seed=5)
    for spi in range(1, 30):
        rows = [function((spi, 9), 5, way if skewed else 0) % 64 for way in range(3)]
        free = [way * 64 + row for way, row in enumerate(rows) if way * 64 + row not in table.rows]
        assert put(table, spi, sa(spi), port=9) == free[0]
    assert any(place >= 128 for place in table.rows) or max(table.rows) >= 64
    for spi in range(1, 30):
        assert [table.rows[place].entry.sa_index for place in table.find(packet(sa(spi), port=9))] == [spi]
        assert table.find(packet(sa(spi), port=8)) == []


def test_a_bucket_is_full_when_all_its_ways_are_taken():
    table = table_of(HASH)
    assert [put(table, n, sa(n)) for n in (1, 2)] == [0, 1]
    assert table.place_for(sa(3), 0) is None
    table.clear(0)
    assert put(table, 3, sa(3)) == 0


def test_equal_keys_are_found_in_the_order_of_their_ways():
    table = table_of({**HASH, "ways": 3, "capacity": 3})
    assert [put(table, n, sa(7)) for n in (1, 2, 3)] == [0, 1, 2]
    table.clear(0)
    assert table.find(packet(sa(7))) == [1, 2]
    put(table, 4, sa(7))
    assert (table.find(packet(sa(7))), table.twins(sa(7), 0)) == ([0, 1, 2], [0, 1, 2])
    table.find(packet(sa(7))).clear()
    table.twins(sa(7), 0).clear()
    assert table.find(packet(sa(7))) == [0, 1, 2]


@pytest.mark.parametrize(("most", "rooms"), [(3, 3), ("memory", 9), (None, 9)])
def test_a_chain_is_as_long_as_its_limit(most, rooms):
    index = {"fn": "vendor_hash", "chained": True, **({} if most is None else {"max_chain": most})}
    table = table_of({**HASH, "ways": None, "sets": 1, "capacity": "memory", "index": index})
    assert [put(table, n, sa(n)) for n in range(rooms)] == list(range(rooms))
    assert (table.place_for(sa(99), 0) is None) == (most == 3)


@pytest.mark.parametrize("what", ["ways", "sets", "per_way_index", "key"])
def test_what_is_not_public_of_a_hash(what):
    with pytest.raises(UnknownReached, match=rf"inbound\.lookup\.0\.{what}"):
        table_of({**HASH, "capacity": "memory", what: "unknown"})


@pytest.mark.parametrize("what", ["fn", "chained"])
def test_what_is_not_public_of_a_hashs_index(what):
    with pytest.raises(UnknownReached, match=rf"inbound\.lookup\.0\.index\.{what}"):
        table_of({**HASH, "index": {"fn": "vendor_hash", what: "unknown"}})


# -- exact and longest -------------------------------------------------------------------------------------------------


def test_rows_are_taken_from_the_lowest():
    table = table_of(EXACT)
    assert [put(table, n, sa(n)) for n in range(4)] == [0, 1, 2, 3]
    assert table.place_for(sa(9), 0) is None
    for place in (2, 0, 3):
        table.clear(place)
    assert [put(table, n, sa(n)) for n in (7, 8, 9)] == [0, 2, 3]
    assert table.place_for(sa(4), 0) is None


def test_equal_keys_are_twins_oldest_first_and_found_lowest_first():
    table = table_of(EXACT)
    for n in range(3):
        put(table, n, sa(7))
    table.clear(0)
    put(table, 3, sa(7))
    assert table.twins(sa(7), 0) == [1, 2, 0]
    assert table.find(packet(sa(7))) == [0, 1, 2]
    table.twins(sa(7), 0).clear()
    assert table.twins(sa(7), 0) == [1, 2, 0]


def test_a_zero_address_may_be_left_out_of_the_key():
    """Then it is no part of what is compared, and the rule of such an SA has other fields."""
    zero = "0.0.0.0"  # noqa: S104 - nothing is bound
    anyone, everyone = gcm_sa(zero, "198.51.100.1", 7), gcm_sa(zero, zero, 7)
    key = {**EXACT, "key": ["spi", "src", "dst"]}
    table = table_of({**key, "omit_zero": ["src", "dst"]})
    for n, one in enumerate((sa(7), anyone, everyone)):
        assert put(table, n, one) == n
        assert table.twins(one, 0) == [n]
    assert [table.find(packet(one)) for one in (sa(7), sa(7, src=2), sa(7, dst=2))] == [[0, 1, 2], [1, 2], [2]]
    put(table, 3, gcm_sa("0.0.0.1", "0.0.0.1", 7))  # no zero address
    assert table.signatures == [(("spi", "src", "dst"), 0), (("spi", "dst"), 0), (("spi",), 0)]
    table = table_of({**key, "omit_zero": ["src"]})
    put(table, 0, everyone)
    assert table.find(packet(sa(7))) == []
    assert table.find(packet(everyone, src=sa(7).src)) == [0]
    table = table_of(key)
    put(table, 0, anyone)
    assert (table.find(packet(sa(7))), table.find(packet(anyone))) == ([], [0])


def test_a_mark_is_compared_under_the_rows_mask():
    table = table_of({**EXACT, "key": ["spi", "mark"]})
    marks = [Mark(1, 0xF), Mark(0x21, 0xFF), Mark(1, 0xF)]
    for n, mark in enumerate(marks):
        put(table, n, sa(7, mark=mark))
    assert [table.find(packet(sa(7), mark=mark)) for mark in (1, 0x21, 0x22)] == [[0, 2], [0, 1, 2], []]
    assert table.signatures == [(("spi", "mark"), 0xF), (("spi", "mark"), 0xFF)]
    assert table.keyed((("spi", "mark"), 0xF)) == {(7, 1): [0, 2]}
    assert table.twins(sa(7, mark=Mark(1, 0xF)), 0) == [0, 2]
    assert table.twins(sa(7, mark=Mark(1, 0xFF)), 0) == []
    table.clear(1)
    assert table.signatures == [(("spi", "mark"), 0xF)]
    table.clear(0)
    assert table.keyed((("spi", "mark"), 0xF)) == {(7, 1): [2]}


def test_a_mark_that_is_not_in_the_key_is_not_compared():
    table = table_of(EXACT)
    put(table, 0, sa(7, mark=Mark(1, 0xF)))
    assert table.signatures == [(("spi",), 0)]
    assert table.find(packet(sa(7), mark=5)) == [0]


def test_a_table_that_answers_nothing_takes_sas():
    table = table_of({**EXACT, "kind": "none"})
    assert [put(table, n, sa(7)) for n in (0, 1)] == [0, 1]
    assert (table.find(packet(sa(7))), table.twins(sa(7), 0), table.signatures) == ([], [], ())


LONGEST = {**EXACT, "kind": "longest", "key": [["spi"], ["spi", "dst"], ["spi", "dst", "src"]], "capacity": 9}


def test_of_a_longest_match_the_most_fields_win():
    """An SA goes under the longest list whose addresses it has; a zero one it does not have."""
    zero = "0.0.0.0"  # noqa: S104 - nothing is bound
    table = table_of(LONGEST)
    held = [gcm_sa(zero, zero, 7), gcm_sa(zero, "198.51.100.1", 7), sa(7), sa(7), gcm_sa("192.0.2.1", zero, 7)]
    assert [put(table, n, one) for n, one in enumerate(held)] == [0, 1, 2, 3, 4]
    seen = [table.find(packet(one)) for one in (sa(7), sa(7, src=2), sa(7, dst=2), sa(8))]
    assert seen == [[2, 3], [1], [0, 4], []]
    assert [table.twins(one, 0) for one in held] == [[0, 4], [1], [2, 3], [2, 3], [0, 4]]
    assert table.signatures == [(("spi", "dst", "src"), 0), (("spi", "dst"), 0), (("spi",), 0)]
    for place in (2, 3):
        table.clear(place)
    assert table.find(packet(sa(7))) == [1]
    assert table.signatures == [(("spi", "dst"), 0), (("spi",), 0)]


def test_the_longest_list_has_the_most_fields():
    table = table_of({**LONGEST, "key": [["spi", "src"], ["dst", "spi", "src"]]})
    put(table, 0, sa(7))
    assert table.signatures == [(("dst", "spi", "src"), 0)]


def test_a_longest_match_without_a_list_for_the_spi_alone():
    zero = "0.0.0.0"  # noqa: S104 - nothing is bound
    table = table_of({**LONGEST, "key": [["spi", "dst"]]})
    put(table, 0, gcm_sa(zero, zero, 7))
    put(table, 1, sa(7))
    assert [table.find(packet(one)) for one in (sa(7), sa(7, dst=2))] == [[1], [0]]


def test_what_is_not_public_of_an_exact_table():
    for what in ("key", "omit_zero", "capacity"):
        with pytest.raises(UnknownReached, match=rf"inbound\.lookup\.0\.{what}"):
            table_of({**TO_DST, what: "unknown"})


# -- numbers, arrays, auxiliary tables ---------------------------------------------------------------------------------


def test_free_numbers():
    taken: dict[int, None] = {}
    free = FreeNumbers(taken, 4)
    assert [free.lowest(), free.lowest()] == [0, 0]
    taken |= dict.fromkeys((0, 1, 3))
    assert free.lowest() == 2
    taken[2] = None
    assert free.lowest() is None
    for number in (3, 1):
        del taken[number]
        free.give_back(number)
    assert free.lowest() == 1
    taken[1] = None  # taken without asking for the lowest
    assert free.lowest() == 3
    del taken[0]
    free.give_back(0)
    assert free.lowest() == 0
    taken |= dict.fromkeys((0, 3))
    assert free.lowest() is None


def test_a_number_given_back_before_it_was_asked_for():
    taken: dict[int, None] = dict.fromkeys((0, 5))
    free = FreeNumbers(taken, None)
    del taken[5]
    free.give_back(5)
    assert free.lowest() == 1
    taken |= dict.fromkeys(range(1, 5))
    assert free.lowest() == 5
    taken[5] = None
    assert free.lowest() == 6


def entry(number: int, one: SecurityAssociation | None = None, port: int = 0) -> Entry:
    return Entry(number, one or sa(number), port, number)


def test_an_array_gives_its_lowest_slot():
    array = SlotArray(2)
    a, b = entry(1), entry(2)
    assert array.first_free() == 0
    array.take(0, a)
    assert array.first_free() == 1
    array.take(1, b)
    assert (array.limit, array.first_free(), array.slots) == (2, None, {0: a, 1: b})
    array.release(0, b)  # not b's
    assert array.first_free() is None
    array.release(0, a)
    assert (array.first_free(), array.slots) == (0, {1: b})
    array.release(0, a)
    array.take(0, b)
    assert array.first_free() is None


def aux(refcount: bool | str = True, capacity: Any = 1, key: Any = ("dst", "port")) -> AuxTable:
    table = {"name": "ip_table", "key": key if key == "unknown" else list(key), "capacity": capacity,
             "refcount": refcount, "errno": "ENOMEM"}  # fmt: skip
    model = model_of({**EXACT, "aux": [{**table, "name": "other", "key": ["spi"]}, table]})
    return AuxTable(model, 1, model.spec.inbound.lookup[0].aux[1])


def test_equal_keys_share_a_row_until_the_last_one_goes():
    table = aux()
    assert (table.name, table.errno_key, table.errno, table.limit) == (
        "ip_table", "inbound.lookup.0.aux.1.errno", "ENOMEM", 1,
    )  # fmt: skip
    a, b, c, d = entry(1), entry(2), entry(3, sa(3, dst=2)), entry(4, port=1)
    assert table.has_room(a)
    table.take(a)
    assert [table.has_room(one) for one in (a, b, c, d)] == [True, True, False, False]
    table.take(b)
    table.release(a)
    assert (table.has_room(a), table.has_room(c)) == (True, False)
    table.release(b)
    assert table.has_room(c)
    assert table.rows == {}


def test_rows_that_are_not_shared_are_counted_one_by_one():
    table = aux(refcount=False, capacity=2)
    a, b, c = entry(1), entry(2), entry(3)
    table.take(a)
    assert table.has_room(b)
    table.take(b)
    assert not table.has_room(c)
    table.release(a)
    assert table.has_room(c)
    assert table.rows == {(sa(2).dst, 0, 2): 1}


def test_an_auxiliary_table_in_memory_has_room():
    table = aux(capacity="memory")
    table.take(entry(1))
    assert table.limit is None
    assert table.has_room(entry(2, sa(2, dst=2)))


@pytest.mark.parametrize("what", ["refcount", "capacity", "key"])
def test_what_is_not_public_of_an_auxiliary_table(what):
    with pytest.raises(UnknownReached, match=rf"inbound\.lookup\.0\.aux\.1\.{what}"):
        aux(**{what: "unknown"})
