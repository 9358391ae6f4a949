"""Who has no room: a driver's range, rules, tables and arrays on models of a few rows, each alone."""

from __future__ import annotations

from typing import Any

import pytest

from espsim.core.errors import UnknownReached
from espsim.offload import driver
from espsim.sad.association import Direction, Encap
from tests.unit.offload.small_models import (
    ARRAY,
    BY_SPI,
    COEXIST,
    EXACT,
    FULL,
    HASH,
    KEEP_FIRST,
    LOW24,
    ONE_ROW,
    OVERWRITE,
    REJECT,
    SOFTWARE,
    TO_DST,
    delete,
    device_of,
    found,
    refused,
    sa,
    unnoticed,
    written,
)

# -- an add without trouble --------------------------------------------------------------------------------------------


def test_an_sa_goes_into_the_lowest_free_row():
    device = device_of(EXACT)
    assert [device.add(n + 10, sa(n + 1)) for n in range(3)] == [written(0), written(1), written(2)]
    device.delete(10)
    device.delete(11)
    assert device.occupancy() == [(2, 12)]
    assert [device.add(n + 20, sa(n + 8)) for n in range(2)] == [written(0), written(1)]
    assert [found(device, sa(spi)) for spi in (1, 3, 8, 9)] == ["MISS", 12, 20, 21]


def test_an_index_is_given_once():
    device = device_of(EXACT)
    device.add(7, sa(1))
    with pytest.raises(ValueError, match="sa_index 7 is in the device already"):
        device.add(7, sa(2))
    device.delete(7)
    assert device.add(7, sa(2)) == written(0)


def test_deleting_what_was_not_taken_does_nothing():
    device = device_of(EXACT)
    device.add(7, sa(1))
    device.delete(8)
    assert device.occupancy() == [(0, 7)]


def test_what_the_capabilities_refuse_is_not_taken():
    device = device_of(EXACT)
    assert device.add(1, sa(1, dir=Direction.OUT)).errno == "EINVAL"
    assert (device.counts().accepted, device.occupancy()) == (0, [])


def test_capabilities_judge_a_shape_once(monkeypatch):
    """Many SAs, few shapes. With encapsulation an SA has no shape: each is judged."""
    judged = []
    monkeypatch.setattr(driver, "refusal", lambda _, one: judged.append(one.spi))
    device, encap = device_of({**EXACT, "capacity": 9}), Encap("espinudp", 4500, 4500, bytes(4))
    for spi, window in enumerate((0, 0, 32, 32, 0)):
        device.add(spi, sa(spi, window=window))
    for spi in (5, 6):
        device.add(spi, sa(spi, encap=encap))
    assert judged == [0, 2, 5, 6]


# -- the driver's range of SPIs ----------------------------------------------------------------------------------------

RANGE = {"min": 0x100, "max": 0x1FF, "outside": "reject", "errno": "ERANGE"}


@pytest.mark.parametrize("spi", [0x100, 0x1FF])
def test_the_ends_of_the_range_are_in_it(spi):
    assert device_of(EXACT, program={"spi_range": RANGE}).add(1, sa(spi)) == written(0)


@pytest.mark.parametrize("spi", [0xFF, 0x200])
def test_an_spi_outside_the_range_is_refused(spi):
    device = device_of(EXACT, program={"spi_range": RANGE})
    note = f"SPI 0x{spi:x} is outside the driver's range 0x100 to 0x1ff"
    assert device.add(1, sa(spi)) == refused("ERANGE", note)
    assert device.occupancy() == []


def test_a_driver_may_ignore_its_range():
    device = device_of(EXACT, program={"spi_range": {**RANGE, "outside": "ignore"}})
    assert device.add(1, sa(0x200)) == written(0)


@pytest.mark.parametrize("what", ["outside", "errno"])
def test_what_is_not_public_of_a_range_matters_outside_only(what):
    device = device_of(EXACT, program={"spi_range": {**RANGE, what: "unknown"}})
    assert device.add(1, sa(0x100)) == written(0)
    with pytest.raises(UnknownReached, match=rf"inbound\.program\.spi_range\.{what}"):
        device.add(2, sa(0x200))


@pytest.mark.parametrize("what", ["min", "max"])
def test_a_range_whose_ends_are_not_public(what):
    with pytest.raises(UnknownReached, match=rf"inbound\.program\.spi_range\.{what}"):
        device_of(EXACT, program={"spi_range": {**RANGE, what: "unknown"}}).add(1, sa(0x100))


# -- rules of the classifier -------------------------------------------------------------------------------------------

RULES = {"kind": "tcam", "key": ["port", "spi"], "rule": "per_sa", "capacity": 2}


def test_an_sa_without_a_rule_to_spare_is_refused():
    device = device_of(EXACT, classify=RULES, program={"full": FULL})
    for n in (1, 2):
        assert device.add(n, sa(n)).errno is None
    assert device.add(3, sa(3)) == refused("ENOSPC", "all 2 rules of the classifier are taken")
    assert device.counts().rules == 2
    device.delete(1)
    assert device.counts().rules == 1
    assert device.add(3, sa(3)).errno is None


def test_sas_share_a_rule_and_the_last_one_takes_it_away():
    device = device_of(TO_DST, classify=RULES, program={"full": FULL})
    for n in (1, 2):
        device.add(n, sa(n))
    assert device.add(3, sa(2, dst=3)).errno is None  # all are taken, but this one is there
    assert device.add(4, sa(2, dst=4), port=1) == refused("ENOSPC", "all 2 rules of the classifier are taken")
    device.delete(2)
    assert (found(device, sa(2, dst=3)), device.counts().rules) == (3, 2)
    device.delete(3)
    assert device.counts().rules == 1


@pytest.mark.parametrize("capacity", ["config", "unknown"])
def test_a_classifier_whose_size_is_not_stated_is_large_enough(capacity):
    device = device_of({**EXACT, "capacity": 9}, classify={**RULES, "capacity": capacity})
    assert all(device.add(n, sa(n)).errno is None for n in range(1, 9))


def test_what_is_not_public_of_rules():
    device = device_of(EXACT, classify={**RULES, "capacity": 1})
    device.add(1, sa(1))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.full\.errno"):
        device.add(2, sa(2))
    with pytest.raises(UnknownReached, match=r"inbound\.classify\.key"):
        device_of(EXACT, classify={**RULES, "key": "unknown"}).add(1, sa(1))


def test_one_rule_for_all_is_not_counted():
    device = device_of(EXACT, classify={"capacity": 1})
    assert [device.add(n, sa(n)).errno for n in (1, 2, 3)] == [None] * 3
    assert device.counts().rules == 0
    device.delete(1)
    assert (device.counts().accepted, device.counts().rules) == (2, 0)


def test_an_sa_that_is_refused_has_no_rule():
    device = device_of(EXACT, classify=RULES, program={"identity": BY_SPI, "duplicate": REJECT})
    device.add(1, sa(1))
    assert device.add(2, sa(1), port=1).errno == "EEXIST"
    assert device.counts().rules == 1


# -- no room -----------------------------------------------------------------------------------------------------------

BUCKET = "every way of the hash is taken"


@pytest.mark.parametrize(
    ("full", "answer"),
    [
        (FULL, refused("ENOSPC", "the table is full")),
        (SOFTWARE, refused("EOPNOTSUPP", "the table is full: the SA stays in software")),
        ({"policy": "silent"}, unnoticed("the table is full")),
    ],
)
def test_a_full_table(full, answer):
    device = device_of(ONE_ROW, program={"full": full})
    device.add(1, sa(1))
    assert device.add(2, sa(2)) == answer
    assert device.occupancy() == [(0, 1)]
    assert device.counts().accepted == (2 if answer.errno is None else 1)


def test_what_a_full_table_does_may_not_be_public():
    for full, key in (({"policy": "unknown"}, "policy"), ({"policy": "reject"}, "errno")):
        device = device_of(ONE_ROW, program={"full": full})
        device.add(1, sa(1))
        with pytest.raises(UnknownReached, match=rf"inbound\.program\.full\.{key}"):
            device.add(2, sa(2))


@pytest.mark.parametrize(
    ("full", "answer"),
    [
        (FULL, refused("ENOSPC", BUCKET)),
        (SOFTWARE, refused("EOPNOTSUPP", f"{BUCKET}: the SA stays in software")),
        ({"policy": "silent"}, unnoticed(BUCKET)),
        ({**FULL, "hash": "EIO"}, refused("EIO", BUCKET)),
        ({**FULL, "hash": "silent"}, unnoticed(BUCKET)),
        ({**FULL, "hash": "reject"}, refused("ENOSPC", BUCKET)),
        ({"policy": "silent", "hash": "software"}, unnoticed(BUCKET)),
    ],
)
def test_a_full_bucket_of_a_hash(full, answer):
    device = device_of(HASH, program={"full": full})
    assert [device.add(1, sa(1)), device.add(2, sa(2))] == [written(0), written(1)]
    assert device.add(3, sa(3)) == answer
    assert device.occupancy() == [(0, 1), (1, 2)]


def test_what_a_full_bucket_does_may_not_be_public():
    for full, key in (({**FULL, "hash": "unknown"}, "hash"), ({"policy": "unknown"}, "policy")):
        device = device_of({**HASH, "ways": 1, "capacity": 1}, program={"full": full})
        device.add(1, sa(1))
        with pytest.raises(UnknownReached, match=rf"inbound\.program\.full\.{key}"):
            device.add(2, sa(2))


def test_an_sa_without_a_bucket_takes_an_array_slot_all_the_same():
    program = {"full": {**FULL, "hash": "silent"}, "delete": delete(silent_delete="noop")}
    device = device_of(HASH, {**ARRAY, "capacity": 4}, program=program)
    device.add(1, sa(1))
    device.add(2, sa(2))
    assert [device.add(3, sa(3)), device.add(4, sa(4))] == [unnoticed(BUCKET, 2), unnoticed(BUCKET, 3)]
    full = refused("ENOSPC", "all 4 slots of the SA array are taken")
    assert device.add(5, sa(5)) == full
    device.delete(2)
    device.delete(3)
    assert device.add(6, sa(6)).slot == 1
    assert device.add(7, sa(7)) == unnoticed(BUCKET, 2)
    assert device.add(8, sa(8)) == full


def test_an_sa_with_a_bucket_and_without_an_array_slot_is_refused():
    device = device_of(HASH, {**ARRAY, "capacity": 1}, program={"full": {**FULL, "hash": "silent"}})
    device.add(1, sa(1))
    assert device.add(2, sa(2)) == refused("ENOSPC", "all 1 slots of the SA array are taken")


# -- the array of SA contexts ------------------------------------------------------------------------------------------


def test_the_lowest_free_array_slot_is_taken_and_given_back():
    device = device_of(EXACT, ARRAY, program={"full": FULL})
    assert [device.add(n, sa(n)) for n in (1, 2, 3)] == [written(0), written(1), written(2)]
    assert device.add(4, sa(4)) == refused("ENOSPC", "all 3 slots of the SA array are taken")
    assert [found(device, sa(spi)) for spi in (1, 2, 3, 4)] == [1, 2, 3, "MISS"]
    device.delete(2)
    device.delete(1)
    assert [device.add(n, sa(n)) for n in (4, 5)] == [written(0), written(1)]
    assert [found(device, sa(spi)) for spi in (1, 2, 3, 4, 5)] == ["MISS", "MISS", 3, 4, 5]


def test_an_array_of_every_port():
    device = device_of({**EXACT, "capacity": 9}, {**ARRAY, "scope": "port", "capacity": 1}, program={"full": FULL})
    assert [device.add(1, sa(1)), device.add(2, sa(2), port=1)] == [written(0), written(0)]
    assert device.add(3, sa(3), port=1).errno == "ENOSPC"
    assert [found(device, sa(1)), found(device, sa(2), port=1)] == [1, 2]


def test_the_low_24_bits_of_the_spi_name_the_array_slot():
    device = device_of(EXACT, {**ARRAY, "capacity": 0x800000}, program=LOW24)
    assert [device.add(1, sa(0x01000005)).slot, device.add(2, sa(0x017FFFFF)).slot] == [5, 0x7FFFFF]
    assert device.add(3, sa(0x800000)) == refused("ENOSPC", "all 8388608 slots of the SA array are taken")
    assert [found(device, sa(0x01000005)), found(device, sa(0x017FFFFF))] == [1, 2]
    device.delete(1)
    assert device.add(3, sa(5)).slot == 5


def test_an_array_in_memory_has_every_slot():
    device = device_of(EXACT, {**ARRAY, "capacity": "memory"}, program=LOW24)
    assert device.add(1, sa(0xFFFFFFFF)).slot == 0xFFFFFF


def test_a_full_array_of_named_slots_is_not_asked_for_a_free_one():
    program = {**LOW24, "full": {**FULL, "hash": "silent"}, "alias": OVERWRITE}
    device = device_of(HASH, {**ARRAY, "capacity": 1}, program=program)
    assert device.add(1, sa(0x01000000)).slot == 0
    assert device.add(2, sa(0x02000000)).slot == 0


@pytest.mark.parametrize(("policy", "used"), [(OVERWRITE, 2), (KEEP_FIRST, 1), (COEXIST, 1)])
def test_two_sas_of_one_array_slot_have_one_context(policy, used):
    device = device_of(EXACT, ARRAY, program={**LOW24, "alias": policy})
    a, b = sa(0x01000001), sa(0x02000001)
    assert [device.add(1, a), device.add(2, b)] == [written(1), written(1)]
    assert [found(device, a), found(device, b)] == [used, used]


def test_a_driver_may_refuse_a_second_sa_for_an_array_slot():
    for policy, answer in (
        (REJECT, refused("EEXIST", "array slot 1 holds 0x01000001@198.51.100.1")),
        (SOFTWARE, refused("EOPNOTSUPP", "array slot 1 holds 0x01000001@198.51.100.1: the SA stays in software")),
    ):
        device = device_of(EXACT, ARRAY, program={**LOW24, "alias": policy})
        device.add(1, sa(0x01000001))
        assert device.add(2, sa(0x02000001)) == answer
        assert device.occupancy() == [(0, 1)]


def test_duplicates_that_share_an_array_slot_are_no_aliases():
    program = {**LOW24, "identity": BY_SPI, "duplicate": KEEP_FIRST, "alias": {"policy": "reject", "errno": "EBUSY"}}
    device = device_of(EXACT, ARRAY, program=program)
    device.add(1, sa(1))
    assert (device.add(2, sa(1)).errno, device.add(3, sa(0x01000001)).errno) == (None, "EBUSY")


def test_an_sa_of_an_equal_spi_that_only_shares_a_slot_is_an_alias():
    program = {**LOW24, "identity": ["spi", "dst"], "alias": {"policy": "reject", "errno": "EBUSY"}}
    device = device_of(TO_DST, ARRAY, program=program)
    device.add(1, sa(1))
    assert device.add(2, sa(1, dst=2)) == refused("EBUSY", "array slot 1 holds 0x00000001@198.51.100.1")
    device = device_of(TO_DST, ARRAY, program={**program, "identity": ["none"]})
    device.add(1, sa(1))
    assert device.add(2, sa(1, dst=2)).errno == "EBUSY"


def test_what_sharing_an_array_slot_does_may_not_be_public():
    device = device_of(EXACT, ARRAY, program=LOW24)
    device.add(1, sa(1))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.alias\.policy"):
        device.add(2, sa(0x01000001))
    device = device_of(EXACT, ARRAY, program={**LOW24, "alias": {"policy": "reject"}})
    device.add(1, sa(1))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.alias\.errno"):
        device.add(2, sa(0x01000001))
    with pytest.raises(UnknownReached, match=r"inbound\.program\.slot"):
        device_of(EXACT, ARRAY, program={**LOW24, "slot": "unknown"}).add(1, sa(1))


# -- auxiliary tables --------------------------------------------------------------------------------------------------

IP_TABLE = {"name": "ip_table", "key": ["dst"], "capacity": 2, "refcount": True, "errno": "ENOMEM"}


def with_aux(**changes: Any) -> dict[str, Any]:
    return {**EXACT, "capacity": 9, "aux": [{**IP_TABLE, **changes}]}


def test_an_entry_shares_a_row_of_the_auxiliary_table_or_needs_a_free_one():
    device = device_of(with_aux(), ARRAY, program={"full": FULL})
    assert [device.add(1, sa(1, dst=1)).errno, device.add(2, sa(2, dst=2)).errno] == [None, None]
    assert device.add(3, sa(3, dst=3)) == refused("ENOMEM", "ip_table: all 2 rows are taken")
    assert device.add(3, sa(3, dst=2)) == written(2)  # the array slot of the one that was refused is free again
    device.delete(2)
    assert device.add(4, sa(4, dst=3)).errno == "ENOMEM"
    device.delete(3)
    assert device.add(4, sa(4, dst=3)) == written(1)


def test_rows_that_are_not_shared():
    device = device_of(with_aux(refcount=False))
    device.add(1, sa(1))
    device.add(2, sa(2))
    assert device.add(3, sa(3)).errno == "ENOMEM"
    device.delete(1)
    assert device.add(3, sa(3)).errno is None


def test_an_auxiliary_table_may_be_the_ports_and_its_errno_not_public():
    device = device_of({**with_aux(capacity=1, errno="unknown"), "scope": "port"})
    device.add(1, sa(1))
    assert device.add(2, sa(2, dst=2), port=1).errno is None
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.0\.aux\.0\.errno"):
        device.add(3, sa(3, dst=2))


def test_an_overwritten_entry_gives_its_auxiliary_row_back():
    lookup = {**with_aux(), "key": ["spi"]}
    device = device_of(lookup, program={"identity": BY_SPI, "duplicate": OVERWRITE})
    device.add(1, sa(7, dst=1))
    assert device.add(2, sa(7, dst=2)).errno is None
    assert device.add(3, sa(8, dst=3)).errno is None
    assert device.add(4, sa(9, dst=4)).errno == "ENOMEM"
    assert device.add(5, sa(7, dst=4)) == refused("ENOMEM", "ip_table: all 2 rows are taken")
    assert found(device, sa(7)) == 2
