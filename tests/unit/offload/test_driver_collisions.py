"""What a driver does about an SA that is there already, or a slot that is taken: each policy alone."""

from __future__ import annotations

import pytest

from espsim.core.errors import UnknownReached
from espsim.offload.device import Installed
from espsim.sad.association import Mark
from tests.support import gcm_sa
from tests.unit.offload.small_models import (
    ARRAY,
    BY_SPI,
    COEXIST,
    DIRECT,
    EXACT,
    FULL,
    HASH,
    KEEP_FIRST,
    OVERWRITE,
    REJECT,
    SOFTWARE,
    TO_DST,
    device_of,
    found,
    refused,
    sa,
    written,
)

# -- what the driver takes for the same SA -----------------------------------------------------------------------------


def test_an_equal_identity_is_a_duplicate_whatever_the_table_has_room_for():
    device = device_of(TO_DST, program={"identity": BY_SPI, "duplicate": REJECT})
    device.add(1, sa(7))
    assert device.add(2, sa(8)) == written(1)
    note = "slot 0 holds 0x00000007@198.51.100.1, the same key"
    assert device.add(3, sa(7, dst=2)) == refused("EEXIST", note)
    device.delete(1)
    assert device.add(3, sa(7, dst=2)) == written(0)


def test_a_driver_that_compares_nothing_writes_both():
    device = device_of(TO_DST, program={"identity": ["none"], "duplicate": REJECT})
    assert [device.add(1, sa(7)), device.add(2, sa(7, dst=2))] == [written(0), written(1)]


def test_what_the_driver_compares_may_not_be_public():
    with pytest.raises(UnknownReached, match=r"inbound\.program\.identity"):
        device_of(EXACT, program={"identity": "unknown"}).add(1, sa(1))


@pytest.mark.parametrize(("other", "errno"), [(0, "EEXIST"), (1, "EBUSY")])
def test_a_duplicate_of_another_port_may_have_an_errno_of_its_own(other, errno):
    duplicate = {**REJECT, "errno_other_port": "EBUSY"}
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": duplicate})
    device.add(1, sa(7))
    assert device.add(2, sa(7), port=other).errno == errno


@pytest.mark.parametrize(("other", "key"), [(0, "errno"), (1, "errno_other_port")])
def test_the_errno_that_is_not_public_is_named(other, key):
    duplicate = {**REJECT, "errno": "unknown", "errno_other_port": "unknown"}
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": duplicate})
    device.add(1, sa(7))
    with pytest.raises(UnknownReached, match=rf"inbound\.program\.duplicate\.{key} "):
        device.add(2, sa(7), port=other)


def test_ports_with_tables_of_their_own_do_not_see_each_others_sas():
    device = device_of({**EXACT, "scope": "port"}, program={"identity": BY_SPI, "duplicate": REJECT})
    assert [device.add(1, sa(7)), device.add(2, sa(7), port=1)] == [written(0), written(0)]
    assert [found(device, sa(7), port=port) for port in (0, 1)] == [1, 2]
    assert device.add(3, sa(7), port=1).errno == "EEXIST"


def test_families_with_tables_of_their_own_do_not_see_each_others_sas():
    device = device_of({**EXACT, "per_family": True}, program={"identity": BY_SPI, "duplicate": REJECT})
    six = gcm_sa("2001:db8::1", "2001:db8::2", 7, window=0)
    assert [device.add(1, sa(7)), device.add(2, six)] == [written(0), written(0)]
    assert [found(device, one) for one in (sa(7), six)] == [1, 2]


def test_marks_are_compared_under_the_mask_of_the_sa_that_is_there():
    program = {"identity": ["spi", "mark"], "duplicate": REJECT}
    device = device_of({**EXACT, "key": ["spi", "mark"], "multi_match": "last"}, program=program)

    def add(index: int, value: int, mask: int) -> str | None:
        return device.add(index, sa(7, dst=index, mark=Mark(value, mask))).errno

    assert [add(1, 1, 0xF), add(2, 2, 0xF)] == [None, None]
    assert add(3, 0x21, 0xFF) == "EEXIST"  # & 0xF: the first one's
    assert add(4, 0x23, 0xFF) is None
    assert add(5, 0x13, 0x01) == "EEXIST"  # 1 under its own mask
    assert "198.51.100.2," in device.add(6, sa(7, mark=Mark(0x22, 0xFF))).note


def test_the_oldest_of_several_equal_ones_is_the_one_that_is_met():
    program = {"identity": [*BY_SPI, "mark"], "duplicate": REJECT}
    device = device_of({**EXACT, "key": ["spi", "mark"], "multi_match": "last"}, program=program)
    device.add(1, sa(7, dst=1, mark=Mark(0x11, 0xFF)))
    device.add(2, sa(7, dst=2, mark=Mark(0x01, 0x0F)))
    assert "198.51.100.1," in device.add(3, sa(7, mark=Mark(0x11, 0xFF))).note
    device.delete(1)
    assert "198.51.100.2," in device.add(3, sa(7, mark=Mark(0x11, 0xFF))).note


def test_a_driver_that_does_not_compare_marks_meets_any():
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": REJECT})
    device.add(1, sa(7, mark=Mark(1, 1)))
    assert device.add(2, sa(7, mark=Mark(2, 2))).errno == "EEXIST"


# -- the slot is taken -------------------------------------------------------------------------------------------------


def test_a_slot_taken_by_the_same_spi_is_a_duplicate_and_by_another_an_alias():
    alias = {"policy": "reject", "errno": "EBUSY"}
    device = device_of(DIRECT, program={"identity": ["slot"], "duplicate": REJECT, "alias": alias})
    assert device.add(1, sa(0x101)) == written(1)
    note = "slot 1 holds 0x00000101@198.51.100.1"
    assert device.add(2, sa(0x101, dst=2)) == refused("EEXIST", f"{note}, the same key")
    assert device.add(3, sa(0x201)) == refused("EBUSY", f"{note}, another SPI with the same index")
    assert device.add(4, sa(0x202)) == written(2)


def test_an_alias_of_another_port_may_have_an_errno_of_its_own():
    alias = {"policy": "reject", "errno": "EEXIST", "errno_other_port": "EBUSY"}
    device = device_of(DIRECT, program={"identity": ["slot"], "alias": alias})
    device.add(1, sa(1))
    assert [device.add(2, sa(5), port=port).errno for port in (0, 1)] == ["EEXIST", "EBUSY"]


def test_what_a_collision_does_may_not_be_public():
    for spi, which in ((1, "duplicate"), (5, "alias")):
        device = device_of(DIRECT, program={"identity": ["slot"]})
        device.add(1, sa(1))
        with pytest.raises(UnknownReached, match=rf"inbound\.program\.{which}\.policy"):
            device.add(2, sa(spi))


def test_a_driver_may_decline_and_leave_the_sa_to_software():
    device = device_of(DIRECT, program={"identity": ["slot"], "duplicate": SOFTWARE})
    device.add(1, sa(1))
    note = "slot 1 holds 0x00000001@198.51.100.1, the same key: the SA stays in software"
    assert device.add(2, sa(1)) == refused("EOPNOTSUPP", note)
    assert device.counts().accepted == 1


def test_coexist_writes_a_second_row():
    table = {**EXACT, "multi_match": "last"}
    device = device_of(table, program={"identity": BY_SPI, "duplicate": COEXIST})
    assert [device.add(1, sa(7)), device.add(2, sa(7))] == [written(0), written(1)]
    assert device.occupancy() == [(0, 1), (1, 2)]


@pytest.mark.parametrize("lookup", [EXACT, HASH])
def test_a_table_that_cannot_hold_a_key_twice_is_full_for_it(lookup):
    device = device_of(lookup, program={"full": FULL})
    device.add(1, sa(7))
    assert device.add(2, sa(7)) == refused("ENOSPC", "the table can't hold one key twice")
    assert device.add(2, sa(8)) == written(1)


# -- overwrite ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spi", "which"), [(1, "duplicate"), (5, "alias")])
def test_overwriting_a_slot_leaves_the_new_sa_there(spi, which):
    device = device_of(DIRECT, program={"identity": ["slot"], which: OVERWRITE})
    device.add(1, sa(1))
    overwritten = device.add(2, sa(spi, dst=2))
    assert overwritten == Installed(None, True, 1, "slot 1 held 0x00000001@198.51.100.1: overwritten")
    assert device.occupancy() == [(1, 2)]
    assert (found(device, sa(1)), device.counts().accepted) == (2, 2)


def test_overwriting_a_row_that_the_table_finds_too():
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": OVERWRITE})
    device.add(1, sa(6))
    device.add(2, sa(7))
    assert device.add(3, sa(7)).note == "slot 1 held 0x00000007@198.51.100.1: overwritten"
    assert device.add(4, sa(7)).slot == 1
    assert device.occupancy() == [(0, 1), (1, 4)]


def test_equal_for_the_driver_and_not_for_the_table_the_old_row_goes():
    device = device_of(TO_DST, program={"identity": BY_SPI, "duplicate": OVERWRITE})
    device.add(1, sa(7))
    device.add(2, sa(8))
    assert device.add(3, sa(7, dst=2)) == written(0)
    assert device.occupancy() == [(0, 3), (1, 2)]
    assert [found(device, one) for one in (sa(7), sa(8), sa(7, dst=2))] == ["MISS", 2, 3]
    assert device.add(4, sa(7)).note == "written to slot 0"  # the one that is met is the newest


def test_overwriting_in_a_full_table():
    lookup = {**EXACT, "capacity": 1}
    device = device_of(lookup, program={"identity": BY_SPI, "duplicate": OVERWRITE})
    device.add(1, sa(7))
    assert device.add(2, sa(7)).note.endswith("overwritten")
    device = device_of({**lookup, "key": ["spi", "dst"]}, program={"identity": BY_SPI, "duplicate": OVERWRITE})
    device.add(1, sa(7))
    assert device.add(2, sa(7, dst=2)) == written(0)


def test_the_new_key_of_an_overwritten_sa_goes_where_its_hash_says():
    lookup = {**HASH, "key": ["spi", "dst"], "ways": 1, "sets": 64, "capacity": 64}
    device = device_of(lookup, program={"identity": BY_SPI, "duplicate": OVERWRITE, "full": FULL})
    rows = []
    for n in range(1, 9):
        rows.append(device.add(n, sa(7, dst=n)).slot)
        assert device.occupancy() == [(rows[-1], n)]
        assert [found(device, sa(7, dst=dst)) for dst in (n - 1, n)] == ["MISS", n]
    assert len(set(rows)) > 1


def test_overwriting_needs_an_array_slot_of_its_own():
    program = {"identity": BY_SPI, "duplicate": OVERWRITE, "full": FULL}
    device = device_of(EXACT, ARRAY, program=program)
    device.add(1, sa(7))
    again = device.add(2, sa(7))
    assert again == Installed(None, True, 1, "slot 1 held 0x00000007@198.51.100.1: overwritten")
    assert device.add(3, sa(7)).slot == 2
    assert device.add(4, sa(7)) == refused("ENOSPC", "all 3 slots of the SA array are taken")
    assert found(device, sa(7)) == 3


# -- keep the first ----------------------------------------------------------------------------------------------------


def test_keep_first_reports_success_and_writes_nothing():
    device = device_of(EXACT, program={"identity": BY_SPI, "duplicate": KEEP_FIRST})
    device.add(1, sa(7))
    note = "0x00000007@198.51.100.1 has this key and keeps it; the driver reports success"
    assert device.add(2, sa(7, dst=2)) == Installed(None, False, None, note)
    assert (device.occupancy(), device.counts().accepted) == ([(0, 1)], 2)


def test_a_kept_duplicate_takes_an_array_slot_that_no_packet_reaches():
    device = device_of(EXACT, ARRAY, program={"identity": BY_SPI, "duplicate": KEEP_FIRST, "full": FULL})
    device.add(1, sa(7))
    kept = device.add(2, sa(7))
    assert (kept.errno, kept.in_table, kept.slot) == (None, False, 1)
    assert kept.note.endswith("reports success, and no packet reaches its own slot 1")
    assert device.add(3, sa(7)).slot == 2
    assert device.add(4, sa(7)) == refused("ENOSPC", "all 3 slots of the SA array are taken")


def test_a_row_that_was_overwritten_is_not_free():
    """Row 0 is free meanwhile."""
    device = device_of({**EXACT, "capacity": 9}, program={"identity": BY_SPI, "duplicate": OVERWRITE})
    for n in range(3):
        device.add(n, sa(n))
    device.delete(0)
    assert device.add(3, sa(2)).slot == 2
    assert [device.add(4, sa(4)), device.add(5, sa(5))] == [written(0), written(3)]
