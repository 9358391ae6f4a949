"""What a device does with a packet, step by step: classifier, key table, array, check; and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from espsim.core.errors import InputError, UnknownReached
from espsim.core.verdict import Surfacing
from espsim.offload.device import Answer, Counts, Device, Reached
from espsim.sad.association import Encap
from tests.unit.offload.small_models import (
    ARRAY,
    BY_SPI,
    COEXIST,
    DIRECT,
    EXACT,
    HASH,
    KEEP_FIRST,
    LOW24,
    OVERWRITE,
    TO_DST,
    Table,
    delete,
    device_of,
    found,
    model_of,
    packet,
    sa,
)

RULES = {"kind": "tcam", "key": ["port", "spi"], "rule": "per_sa", "capacity": 9}
BY_RULE = {**DIRECT, "index": {"fn": "rule", "base": "rule"}}


def used(sa_index: int, *, shadowed: bool = False) -> Answer:
    return Answer(Reached.HIT, sa_index, "use", shadowed)


# -- where a packet misses, and what the model says of it --------------------------------------------------------------

MISSES: dict[str, tuple[str, Table, dict[str, Table], Reached]] = {
    "no classifier": ("inbound.classify.miss", EXACT, {"classify": {"kind": "none"}}, Reached.MISS),
    "no rule": ("inbound.classify.miss", EXACT, {"classify": RULES}, Reached.MISS),
    "no rule that supplies a base": ("inbound.classify.miss", BY_RULE, {"classify": {"key": BY_SPI}}, Reached.MISS),
    "beyond the end": ("inbound.lookup.0.over_max", {**DIRECT, "capacity": 3}, {}, Reached.MISS),
    "an empty slot": ("inbound.verify.on_invalid", DIRECT, {}, Reached.EMPTY_SLOT),
    "not in an exact table": ("inbound.lookup.0.miss", EXACT, {}, Reached.MISS),
    "not in a hash": ("inbound.lookup.0.miss", HASH, {}, Reached.MISS),
}


@pytest.mark.parametrize("action", ["software", "drop"])
@pytest.mark.parametrize("where", MISSES)
def test_each_miss_has_an_action_of_its_own(where, action):
    """Every other action is unknown."""
    key, lookup, parts, reached = MISSES[where]
    table, field = key.split(".")[1], key.split(".")[-1]
    lookup = {**lookup, "miss": "unknown", "over_max": "unknown"}
    parts = {"classify": {}, "verify": {}, **parts}
    parts["classify"] = {**parts["classify"], "miss": "unknown"}
    asked = packet(sa(3))

    def device() -> Device:
        it = device_of(lookup, **parts)
        it.add(0, sa(1))
        return it

    with pytest.raises(UnknownReached, match=key.replace(".", r"\.")):
        device().lookup(asked)
    if table == "lookup":
        lookup[field] = action
    else:
        parts[table] = {**parts[table], field: action}
    assert device().lookup(asked) == Answer(reached, -1, action)


def test_the_last_slot_is_not_beyond_the_end():
    device = device_of({**DIRECT, "capacity": 3, "over_max": "drop"}, verify={"on_invalid": "software"})
    assert [device.lookup(packet(sa(spi))).reached for spi in (2, 3)] == [Reached.EMPTY_SLOT, Reached.MISS]


def test_an_array_in_memory_has_no_end():
    device = device_of({**DIRECT, "capacity": "memory"}, verify={"on_invalid": "software"})
    assert device.lookup(packet(sa(3))).reached is Reached.EMPTY_SLOT


@pytest.mark.parametrize("kind", ["none", "unknown"])
def test_without_a_classifier_nothing_is_found(kind):
    device = device_of(EXACT, classify={"kind": kind, "miss": "drop"})
    device.add(1, sa(1))
    if kind == "unknown":
        with pytest.raises(UnknownReached, match=r"inbound\.classify\.kind"):
            device.lookup(packet(sa(1)))
    else:
        assert device.lookup(packet(sa(1))) == Answer(Reached.MISS, -1, "drop")


def test_a_packet_needs_the_rule_of_its_port_and_spi():
    device = device_of(TO_DST, classify=RULES)
    device.add(1, sa(1), port=1)
    device.add(2, sa(2), port=0)
    seen = {(spi, port): found(device, sa(spi), port=port) for spi in (1, 2, 3) for port in (0, 1)}
    assert seen == {**dict.fromkeys(seen, "MISS"), (1, 1): 1, (2, 0): 2}


def test_the_key_of_the_rules_may_not_be_public():
    with pytest.raises(UnknownReached, match=r"inbound\.classify\.key"):
        device_of(EXACT, classify={**RULES, "key": "unknown"}).lookup(packet(sa(1)))


def test_a_rule_may_be_anothers_and_the_key_table_decides():
    device = device_of(TO_DST, classify={**RULES, "miss": "drop"})
    device.add(1, sa(1))
    assert device.lookup(packet(sa(1, dst=2))) == Answer(Reached.MISS, -1, "software")
    assert device.lookup(packet(sa(2))) == Answer(Reached.MISS, -1, "drop")


# -- of several rows with one key --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "before", "after"), [("first", 0, 1), ("last", 2, 3), ("lowest_index", 0, 3)],
)  # fmt: skip
def test_of_equal_rows_the_oldest_the_newest_or_the_lowest_answers(policy, before, after):
    """0, 1 and 2 in rows 0 to 2; then 3 into row 0, which 0 has left."""
    device = device_of({**EXACT, "multi_match": policy})
    for n in range(3):
        device.add(n, sa(7))
    device.add(8, sa(8))
    assert device.lookup(packet(sa(7))) == used(before, shadowed=True)
    assert device.lookup(packet(sa(8))) == used(8)
    device.delete(0)
    device.delete(8)
    device.add(3, sa(7))
    assert device.lookup(packet(sa(7))) == used(after, shadowed=True)


def test_which_of_equal_rows_answers_may_not_be_public():
    device = device_of({**EXACT, "multi_match": "unknown"})
    device.add(1, sa(7))
    assert device.lookup(packet(sa(7))) == used(1)
    device.add(2, sa(7))
    with pytest.raises(UnknownReached, match=r"inbound\.lookup\.0\.multi_match"):
        device.lookup(packet(sa(7)))
    device.delete(1)
    assert device.lookup(packet(sa(7))) == used(2)


# -- the array, and the check of the SA that was found -----------------------------------------------------------------


def test_a_row_whose_array_slot_is_empty():
    program = {**LOW24, "alias": OVERWRITE, "delete": delete(duplicate_delete="kills_survivor")}
    device = device_of(EXACT, ARRAY, program=program, verify={"on_invalid": "drop"})
    for n in (1, 2):
        device.add(n, sa(n << 24))
    assert device.lookup(packet(sa(1 << 24))) == used(2)
    device.delete(1)
    assert device.lookup(packet(sa(2 << 24))) == Answer(Reached.EMPTY_SLOT, -1, "drop")


def test_the_array_is_the_ports():
    device = device_of(EXACT, {**ARRAY, "scope": "port"}, verify={"on_invalid": "drop"})
    device.add(1, sa(1), port=1)
    assert found(device, sa(1), port=1) == 1
    assert found(device, sa(1), port=0) == "EMPTY_SLOT"


def natt(sport: int) -> Encap:
    return Encap("espinudp", sport, 4500, bytes(4))


WRONG: dict[str, dict[str, Any]] = {
    "spi": {"spi": 5},
    "dst": {"dst": sa(1, dst=2).dst},
    "src": {"src": sa(1, src=2).src},
    "proto": {"proto": 51},
    "udp_ports": {"udp_ports": (4501, 4500)},
}


@pytest.mark.parametrize("field", WRONG)
@pytest.mark.parametrize("optional", [True, False])
def test_each_field_is_checked_where_the_model_says_so(field, optional):
    checks = {"optional": [field]} if optional else {"always": [field]}
    verify = {"on_mismatch": "fail_flag", "on_invalid": "drop", **checks}
    device = Device(model_of(DIRECT, verify=verify), verify=[field] if optional else [])
    one = sa(1, encap=natt(4500))
    device.add(7, one)
    right = packet(one, udp_ports=(4500, 4500))
    for name, changes in WRONG.items():
        wrong = Answer(Reached.SA_MISMATCH, 7, "fail_flag")
        assert device.lookup(right._replace(**changes)) == (wrong if name == field else used(7))
    assert device.lookup(right) == used(7)


def test_a_check_that_is_not_switched_on_is_not_made():
    verify = {"always": ["spi"], "optional": ["dst", "src"], "on_mismatch": "drop"}
    device = Device(model_of(DIRECT, verify=verify), verify=["src"])
    assert device.verify_fields == ("spi", "src")
    device.add(7, sa(1))
    assert device.lookup(packet(sa(1, dst=2))) == used(7)
    assert device.lookup(packet(sa(1, src=2))) == Answer(Reached.SA_MISMATCH, 7, "drop")


def test_a_mismatch_may_change_nothing():
    device = device_of(DIRECT, verify={"always": ["spi"], "on_mismatch": "none"})
    device.add(7, sa(1))
    assert device.lookup(packet(sa(5))) == used(7)


def test_what_is_not_public_of_a_check_matters_where_it_is_needed():
    device = device_of(DIRECT, verify={"always": ["spi"]})
    device.add(7, sa(1))
    assert device.lookup(packet(sa(1))) == used(7)
    with pytest.raises(UnknownReached, match=r"inbound\.verify\.on_mismatch"):
        device.lookup(packet(sa(5)))
    device = device_of(DIRECT, verify={"always": "unknown"})
    device.add(7, sa(1))
    with pytest.raises(UnknownReached, match=r"inbound\.verify\.always"):
        device.lookup(packet(sa(1)))


def test_a_mismatch_of_the_one_that_shadows_another():
    device = device_of({**EXACT, "multi_match": "last"}, verify={"always": ["dst"], "on_mismatch": "drop"})
    device.add(1, sa(7, dst=1))
    device.add(2, sa(7, dst=2))
    assert device.lookup(packet(sa(7, dst=1))) == Answer(Reached.SA_MISMATCH, 2, "drop", shadowed=True)


def test_a_check_must_be_the_models():
    for optional, known in ((["dst", "src"], "dst, src"), ([], "none")):
        model = model_of(DIRECT, verify={"optional": optional})
        with pytest.raises(InputError, match=f"model small has no check 'spi'; it has: {known}$") as caught:
            Device(model, verify=["spi"])
        assert caught.value.where == "--verify"
    unknown = model_of(DIRECT, verify={"optional": "unknown"})
    assert Device(unknown).verify_fields == ()
    with pytest.raises(UnknownReached, match=r"inbound\.verify\.optional"):
        Device(unknown, verify=["dst"])


def test_what_was_looked_at_ends_with_the_answer():
    device = device_of(EXACT)
    device.add(7, sa(1))
    key = packet(sa(1))
    facts = device.told(key, device.lookup(key))
    assert (facts[0], facts[-1]) == (("model", "small"), ("answer", "HIT, then use"))
    assert ("row 0", "0x00000001@198.51.100.1") in facts


# -- the whole device --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offload", "mode"),
    [
        ([], ""), (["crypto"], "crypto"), (["crypto", "packet"], "packet"), (["protocol"], "protocol"),
        (["lookaside"], "lookaside"), (["lookaside", "crypto", "protocol"], "protocol"),
    ],
)  # fmt: skip
def test_the_strongest_offload(offload, mode):
    assert device_of(EXACT, caps={"offload": offload}).mode == mode


@pytest.mark.parametrize(
    ("offload", "where", "who"),
    [
        ([], "unknown", "host"), (["crypto"], "hw", "host"), (["packet"], "hw", "device"),
        (["packet"], "none", "nobody"), (["protocol"], "driver", "device"), (["lookaside"], "none", "nobody"),
    ],
)  # fmt: skip
def test_who_checks_replays(offload, where, who):
    assert device_of(EXACT, caps={"offload": offload, "replay": {"where": where}}).replay_checked_by == who


def test_who_checks_replays_may_not_be_public():
    for caps, key in (({"offload": "unknown"}, "offload"), ({"offload": ["packet"]}, "replay.where")):
        device = device_of(EXACT, caps={"replay": {"where": "unknown"}, **caps})
        with pytest.raises(UnknownReached, match=rf"caps\.{key}"):
            assert device.replay_checked_by


SHOWS = {
    "rx_flag": Surfacing.FLAGGED,
    "hw_drop": Surfacing.DEVICE_DROP,
    "sw_drop": Surfacing.COUNTED,
    "ignored": Surfacing.SILENT,
}


@pytest.mark.parametrize("word", SHOWS)
def test_how_a_failure_shows(word):
    icv, replay = device_of(EXACT, result={"icv_fail": word}), device_of(EXACT, result={"replay_fail": word})
    assert (icv.surfacing("integrity"), replay.surfacing("replay")) == (SHOWS[word], SHOWS[word])
    with pytest.raises(UnknownReached, match=r"inbound\.result\.replay_fail"):
        icv.surfacing("replay")
    with pytest.raises(UnknownReached, match=r"inbound\.result\.icv_fail"):
        replay.surfacing("integrity")


def test_an_assumption_is_applied_and_told():
    model = model_of({**EXACT, "miss": "unknown", "multi_match": "unknown"})
    device = Device(model, {"inbound.lookup.0.miss": "drop", "inbound.lookup.0.multi_match": "last"})
    assert device.lookup(packet(sa(1))) == Answer(Reached.MISS, -1, "drop")
    assert device.assumptions == ['inbound.lookup.0.miss = "drop"', 'inbound.lookup.0.multi_match = "last"']
    with pytest.raises(InputError, match=r"inbound\.lookup\.0\.kind"):
        Device(model, {"inbound.lookup.0.kind": "hash"})
    assert device_of(EXACT).assumptions == []


@pytest.mark.parametrize(
    ("rule", "capacity", "told"),
    [
        ("per_sa", "unknown", True), ("per_policy", "unknown", True), ("any", "unknown", False), ("per_sa", 9, False),
        ("per_sa", "config", False),
    ],
)  # fmt: skip
def test_a_classifier_whose_size_is_not_public_is_told(rule, capacity, told):
    device = device_of(EXACT, classify={"rule": rule, "capacity": capacity})
    assert device.assumptions == ["inbound.classify.capacity = large enough (not public)"] * told


def test_what_is_in_the_device():
    """Tables of ports one after another, each by place; a kept duplicate is accepted and not written."""
    program = {"identity": BY_SPI, "duplicate": KEEP_FIRST}
    device = device_of({**EXACT, "scope": "port"}, classify={**RULES, "key": ["port"]}, program=program)
    for index, spi, port in ((1, 1, 1), (2, 2, 0), (3, 3, 1), (4, 3, 1), (5, 4, 0)):
        device.add(index, sa(spi), port)
    device.delete(1)
    device.add(6, sa(5), 1)
    assert device.occupancy() == [(0, 2), (1, 5), (0, 6), (1, 3)]
    assert sorted(entry.sa_index for entry in device.held()) == [2, 3, 4, 5, 6]
    assert device.counts() == Counts(accepted=5, written=4, rules=2)
    assert [found(device, sa(3), port=port) for port in (0, 1, 2)] == ["MISS", 3, "MISS"]


def test_a_seed_is_another_hash():
    model = model_of({**HASH, "ways": 1, "sets": 1024, "capacity": 1024}, program={"duplicate": COEXIST})

    def places(seed: int) -> list[int | None]:
        device = Device(model, seed=seed)
        return [device.add(n, sa(n)).slot for n in range(5)]

    assert places(0) == [Device(model).add(n, sa(n)).slot for n in range(5)]
    assert places(0) != places(1)
