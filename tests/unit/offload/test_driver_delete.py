"""What a driver takes away with an SA that is deleted, and whose: each policy alone."""

from __future__ import annotations

import pytest

from espsim.core.errors import UnknownReached
from espsim.offload.device import Device, Installed
from tests.unit.offload.small_models import (
    ARRAY,
    BY_SPI,
    COEXIST,
    DIRECT,
    EXACT,
    HASH,
    KEEP_FIRST,
    LOW24,
    ONE_ROW,
    OVERWRITE,
    TO_DST,
    delete,
    device_of,
    found,
    sa,
    written,
)

# -- deleting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["handle", "slot", "key", "spi_first_match"])
@pytest.mark.parametrize("lookup", [EXACT, DIRECT, HASH])
def test_without_duplicates_every_way_of_deleting_takes_the_sa_and_no_other(lookup, by):
    device = device_of(lookup, program={"identity": ["slot"], "delete": delete(by)})
    device.add(1, sa(0))
    device.add(2, sa(1))
    device.delete(1)
    assert [index for _, index in device.occupancy()] == [2]
    assert device.counts().accepted == 1


def test_how_a_driver_deletes_may_not_be_public():
    device = device_of(EXACT, program={"delete": delete("unknown")})
    device.add(1, sa(1))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.delete\.by"):
        device.delete(1)


@pytest.mark.parametrize(
    ("policy", "left"),
    [("noop", [(1, 2)]), ("ok", [(1, 2)]), ("kills_survivor", [])],
)
def test_deleting_an_overwritten_sa(policy, left):
    device = device_of(DIRECT, program={"identity": ["slot"], "duplicate": OVERWRITE,
                                        "delete": delete("slot", duplicate_delete=policy)})  # fmt: skip
    device.add(1, sa(1))
    device.add(2, sa(1, dst=2))
    device.delete(1)
    assert device.occupancy() == left
    device.delete(2)
    assert device.occupancy() == []


def test_kills_wrong_clears_the_lowest_place_with_the_spi():
    program = {"identity": ["slot"], "alias": OVERWRITE, "delete": delete(duplicate_delete="kills_wrong")}
    device = device_of(DIRECT, program=program)
    device.add(1, sa(3))
    device.add(2, sa(7))
    device.delete(1)  # slot 3 holds SPI 7, and no place has SPI 3: nothing
    assert device.occupancy() == [(3, 2)]
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": KEEP_FIRST,
                                       "delete": delete(duplicate_delete="kills_wrong")})  # fmt: skip
    for index, spi in ((1, 6), (2, 7), (3, 7)):
        device.add(index, sa(spi))
    device.delete(3)
    assert device.occupancy() == [(0, 1)]


def test_what_deleting_a_duplicate_does_may_not_be_public():
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": KEEP_FIRST})
    device.add(1, sa(7))
    device.add(2, sa(7))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.delete\.duplicate_delete"):
        device.delete(2)


def kept(*spis: int, **policies: str) -> Device:
    """SAs 0, 1, ... of these SPIs, of which the first of each stays."""
    program = {"identity": BY_SPI, "duplicate": KEEP_FIRST, "delete": delete(**policies)}
    device = device_of(EXACT, program=program)
    for n, spi in enumerate(spis):
        device.add(n, sa(spi, dst=n + 1))
    return device


def test_deleting_a_kept_duplicate_may_take_the_firsts_entry_away():
    device = kept(6, 7, 7, duplicate_delete="kills_survivor")
    device.delete(2)
    assert (device.occupancy(), device.counts().accepted) == ([(0, 0)], 2)
    device = kept(6, 7, 7, duplicate_delete="noop")
    device.delete(2)
    assert device.occupancy() == [(0, 0), (1, 1)]


def test_deleting_the_first_may_leave_its_duplicates_without_an_entry():
    device = kept(6, 7, 7, first_delete="kills_survivor", duplicate_delete="kills_survivor")
    device.delete(1)
    assert device.occupancy() == [(0, 0)]
    device.delete(2)  # the place that it remembers is empty
    assert device.occupancy() == [(0, 0)]


def test_the_heir_that_remembers_a_place_may_kill_who_came_there_after():
    device = kept(6, 7, 7, first_delete="kills_survivor", duplicate_delete="kills_survivor")
    device.delete(1)
    assert device.add(9, sa(8)).slot == 1
    device.delete(2)
    assert device.occupancy() == [(0, 0)]


def test_deleting_the_first_may_hand_its_entry_on_in_order():
    device = kept(7, 7, 7, 7, first_delete="ok", duplicate_delete="noop")
    device.delete(1)
    for gone, left in ((0, 2), (2, 3)):
        device.delete(gone)
        assert device.occupancy() == [(0, left)]
    assert device.add(9, sa(7)).note.startswith("0x00000007@198.51.100.4 has this key")
    device.delete(3)
    assert device.occupancy() == [(0, 9)]


def test_an_heir_is_found_by_the_driver_and_inherits_the_duplicates():
    device = kept(7, 7, 7, first_delete="ok", duplicate_delete="noop")
    device.delete(0)
    device.delete(2)  # a duplicate of 1 now
    device.delete(1)
    assert (device.occupancy(), device.counts().accepted) == ([], 0)
    assert device.add(3, sa(7)) == written(0)


def test_what_becomes_of_the_first_entry_matters_only_if_there_are_duplicates():
    device = kept(6, 7, 7)
    device.delete(0)
    with pytest.raises(UnknownReached, match=r"inbound\.program\.delete\.first_delete"):
        device.delete(1)


def test_an_heir_keeps_its_own_array_slot():
    program = {"identity": BY_SPI, "duplicate": KEEP_FIRST, "delete": delete(first_delete="ok")}
    device = device_of(EXACT, ARRAY, program=program)
    device.add(1, sa(7))
    device.add(2, sa(7))
    device.delete(1)
    assert found(device, sa(7)) == 2
    assert device.hardware.table(0, sa(7).dst).rows[0].target == 1
    assert device.add(3, sa(8)) == Installed(None, True, 0, "written to slot 0")
    assert [found(device, sa(7)), found(device, sa(8))] == [2, 3]


def test_an_sa_that_was_not_noticed_missing_may_kill_row_0():
    for silent, port, left in (
        ("noop", 0, [(0, 1)]), ("kills_slot_0", 0, []), ("kills_slot_0", 1, []),
    ):  # fmt: skip
        program = {"full": {"policy": "silent"}, "delete": delete(silent_delete=silent)}
        device = device_of(ONE_ROW, program=program)
        device.add(1, sa(1))
        assert not device.add(2, sa(2), port=port).in_table
        assert not device.add(3, sa(3)).in_table
        device.delete(2)
        assert device.occupancy() == left
        device.delete(3)  # row 0 is empty: nothing to kill
        device.delete(1)
        assert device.occupancy() == []


def test_what_deleting_a_missing_sa_does_may_not_be_public():
    device = device_of(ONE_ROW, program={"full": {"policy": "silent"}})
    device.add(1, sa(1))
    device.add(2, sa(2))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.delete\.silent_delete"):
        device.delete(2)


BY_LF = {**HASH, "key": ["spi", "lf"]}


def test_a_function_clears_only_its_own_entries_where_the_key_says_whose_they_are():
    program = {"full": {"policy": "silent"}, "delete": delete(silent_delete="kills_slot_0")}
    for port, left in ((0, [(1, 2)]), (1, [(0, 1), (1, 2)])):
        device = device_of(BY_LF, program=program)
        device.add(1, sa(1))
        device.add(2, sa(2))
        device.add(3, sa(3), port=port)
        device.delete(3)
        assert device.occupancy() == left


@pytest.mark.parametrize(("port", "left"), [(0, []), (1, [(0, 9)])])
def test_a_duplicates_remembered_place_is_cleared_by_its_own_function_only(port, left):
    policies = delete(duplicate_delete="kills_survivor", first_delete="kills_survivor")
    lookup = {**BY_LF, "ways": 1, "capacity": 1}
    device = device_of(lookup, program={"identity": ["spi", "lf"], "duplicate": KEEP_FIRST, "delete": policies})
    device.add(1, sa(7))
    device.add(2, sa(7))
    device.delete(1)
    assert device.add(9, sa(8), port=port) == written(0)
    device.delete(2)
    assert device.occupancy() == left


def test_a_delete_by_key_finds_the_entry_that_has_the_key_now():
    """By handle the remembered row is cleared, even if another SA has it now."""
    for by, left in (("key", [(0, 8)]), ("handle", [(1, 9)])):
        device = kept(7, 7, by=by, first_delete="kills_survivor", duplicate_delete="kills_survivor")
        device.delete(0)
        assert device.add(8, sa(8)) == written(0)
        assert device.add(9, sa(7)) == written(1)
        device.delete(1)
        assert device.occupancy() == left


def test_a_delete_by_key_takes_nothing_where_no_entry_has_the_key():
    device = kept(7, 7, by="key", first_delete="kills_survivor", duplicate_delete="kills_survivor")
    device.delete(0)
    assert device.add(8, sa(8)) == written(0)
    device.delete(1)
    assert device.occupancy() == [(0, 8)]


def test_the_key_of_a_direct_table_is_its_slot():
    program = {"identity": ["slot"], "alias": OVERWRITE, "delete": delete("key", duplicate_delete="kills_survivor")}
    device = device_of(DIRECT, program=program)
    device.add(1, sa(1))
    device.add(2, sa(5))
    device.delete(1)
    assert device.occupancy() == []


def test_of_equal_keys_a_delete_by_key_takes_its_own():
    device = device_of({**EXACT, "multi_match": "last"}, program={"delete": delete("key")})
    device.add(1, sa(7))
    device.add(2, sa(7))
    device.delete(2)
    assert device.occupancy() == [(0, 1)]


def test_spi_first_match_clears_the_lowest_row_that_has_or_had_the_spi():
    device = device_of(TO_DST, program={"delete": delete("spi_first_match")})
    for index, (spi, dst) in enumerate([(7, 1), (8, 1), (7, 2), (7, 3)]):
        device.add(index, sa(spi, dst=dst))
    device.delete(3)
    assert device.occupancy() == [(1, 1), (2, 2), (3, 3)]
    device.delete(2)  # row 0 again
    assert device.occupancy() == [(1, 1), (2, 2), (3, 3)]
    device.add(9, sa(9))
    device.delete(0)  # row 0 has SPI 9 now, row 2 is the lowest with SPI 7
    assert device.occupancy() == [(0, 9), (1, 1), (3, 3)]


@pytest.mark.parametrize(
    ("policy", "left", "next_slot"),
    [("kills_survivor", "EMPTY_SLOT", 1), ("noop", 2, None), ("ok", 2, None), ("kills_wrong", 2, None)],
)
def test_deleting_one_of_two_sas_that_share_an_array_slot(policy, left, next_slot):
    program = {**LOW24, "alias": OVERWRITE, "delete": delete(duplicate_delete=policy)}
    device = device_of(EXACT, ARRAY, program=program, verify={"on_invalid": "drop"})
    a, b = sa(0x01000001), sa(0x02000001)
    device.add(1, a)
    device.add(2, b)
    device.delete(1)
    assert found(device, b) == left
    device.delete(2)
    assert (found(device, b), device.hardware.array(0).slots) == ("MISS", {})
    assert device.add(3, a) == written(1)
    assert found(device, a) == 3


def test_what_becomes_of_a_shared_array_slot_may_not_be_public():
    device = device_of(EXACT, ARRAY, program={**LOW24, "alias": OVERWRITE})
    device.add(1, sa(0x01000001))
    device.add(2, sa(0x02000001))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.delete\.duplicate_delete"):
        device.delete(1)


def test_an_sa_that_shares_without_a_slot_of_its_own_frees_none():
    device = device_of(EXACT, ARRAY, program={**LOW24, "alias": COEXIST})
    device.add(1, sa(0x01000001))
    device.add(2, sa(0x02000001))
    device.delete(2)
    assert found(device, sa(0x01000001)) == 1
