"""Direct, hash and exact tables against a slow dictionary that knows one SA a key, and a count; then rarer shapes."""

from __future__ import annotations

import functools
import pathlib
import tempfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.offload.device import Device, PacketKey, Reached
from espsim.offload.hashing import crc32c, mix64
from espsim.offload.model import Model, load_model
from espsim.sad.association import Mode, SecurityAssociation
from tests.support import gcm_sa

HEAD = 'schema = 1\nid = "twin"\nextends = "{base}"\n'
LOOKUP = """[[inbound.lookup]]
kind = "{kind}"
key = {key}
{more}
capacity = {capacity}
scope = "{scope}"
multi_match = "{multi_match}"
miss = "software"
"""


@functools.cache
def model_of(base: str, rest: str = "", **lookup: object) -> Model:
    shape = {"more": "", "scope": "device", "multi_match": "impossible", **lookup}
    text = HEAD.format(base=base) + (LOOKUP.format(**shape) if lookup else "") + rest
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "twin.toml"
        path.write_text(text)
        return load_model(path)


@functools.cache
def sa_of(spi: int, src: int, dst: int) -> SecurityAssociation:
    return gcm_sa(f"1.1.1.{src}", f"9.9.9.{dst}", spi, mode=Mode.TRANSPORT, window=0)


def packet(sa: SecurityAssociation, port: int = 0) -> PacketKey:
    return PacketKey(sa.src, sa.dst, sa.spi, port=port)


SPIS = st.integers(0, 11).map(lambda n: n % 4 + 0x100 * (n // 4))  # three SPIs on each of four slots
OPS = st.lists(st.tuples(st.booleans(), SPIS, st.integers(0, 1), st.integers(0, 2), st.integers(0, 1)), max_size=60)


def run(
    device: Device,
    ops: list[tuple[bool, int, int, int, int]],
    key_of: Callable[[SecurityAssociation, int], object],
    *,
    slots: Callable[[SecurityAssociation], int] | None = None,
    room: int = 10**9,
    per_port: bool = False,
) -> None:
    """Play adds and deletes against `{key: sa_index}`, then ask for every packet there can be."""
    twin: dict[object, tuple[int, SecurityAssociation, int]] = {}
    for n, (adding, spi, src, dst, port) in enumerate(ops):
        sa = sa_of(spi, src, dst)
        key = key_of(sa, port)
        if adding:
            full = sum(1 for *_, p in twin.values() if not per_port or p == port) >= room
            answer = device.add(n, sa, port)
            assert (answer.errno is None) == (key not in twin and not full)
            if answer.errno is None:
                twin[key] = (n, sa, port)
                if slots:
                    assert answer.slot == slots(sa)
        elif key in twin:
            device.delete(twin.pop(key)[0])
    for spi in range(0x400):
        for port in (0, 1):
            for src, dst in ((0, 0), (1, 2)) if spi % 0x100 < 4 else ((0, 0),):
                sa = sa_of(spi, src, dst)
                held = twin.get(key_of(sa, port))
                found = device.lookup(packet(sa, port))
                assert found.sa_index == (-1 if held is None else held[0])
                right = held is not None and held[1].spi == spi
                assert (found.reached is Reached.HIT) == right
    assert sorted(index for _, index in device.occupancy()) == sorted(index for index, *_ in twin.values())


@settings(max_examples=40, deadline=None)
@given(OPS)
def test_direct(ops):
    run(Device(load_model("marvell-cn10k-dpdk")), ops, lambda sa, port: sa.spi % 256, slots=lambda sa: sa.spi % 256)


@settings(max_examples=40, deadline=None)
@given(OPS, st.integers(0, 5))
def test_hash_with_room(ops, seed):
    rest = (
        '[inbound.classify]\nrule = "any"\n'
        '[inbound.program]\nidentity = ["spi", "lf"]\nduplicate = { policy = "reject", errno = "EEXIST" }\n'
        'full = { policy = "reject", errno = "ENOSPC" }\ndelete = { by = "handle", duplicate_delete = "noop" }\n'
    )
    model = model_of("marvell-cn10k-dpdk", rest, kind="hash", key='["spi", "lf"]', capacity=8192,
                     more='index = { fn = "vendor_hash" }\nways = 4\nsets = 2048\nper_way_index = true')  # fmt: skip
    run(Device(model, seed=seed), ops, lambda sa, port: (sa.spi, port))


@settings(max_examples=40, deadline=None)
@given(OPS)
def test_exact_and_full(ops):
    rest = (
        '[inbound.program]\nidentity = ["dst", "spi"]\nduplicate = { policy = "reject", errno = "EEXIST" }\n'
        'full = { policy = "reject", errno = "ENOSPC" }\n'
    )
    model = model_of("intel-82599-linux", rest, kind="exact", key='["dst", "spi"]', capacity=5, scope="port")
    run(Device(model), ops, lambda sa, port: (sa.dst, sa.spi, port), room=5, per_port=True)


# -- overflow of a hash -------------------------------------------------------------------------------------------

ALG4 = (
    '[inbound.classify]\nrule = "any"\n'
    '[inbound.program]\nidentity = ["spi"]\nduplicate = { policy = "keep_first" }\nfull = { policy = "silent" }\n'
)


@pytest.mark.parametrize(
    ("skewed", "added", "expected"),
    [("true", 2048, 0.002), ("true", 4096, 8), ("true", 6144, 207), ("true", 8192, 1017), ("false", 2048, 8.8)],
)
def test_a_full_row_loses_as_many_sas_as_computed(skewed, added, expected):
    """4 ways, 2048 rows, uniform hashes, first free way; a table with one index for all ways loses 8.8 at 2048."""
    more = f'index = {{ fn = "vendor_hash" }}\nways = 4\nsets = 2048\nper_way_index = {skewed}'
    model = model_of("marvell-cn10k-linux-v5", ALG4, kind="hash", key='["spi"]', capacity=8192, more=more)
    device = Device(model, seed=1)
    answers = [device.add(n, sa_of(n, 0, 0)) for n in range(added)]
    assert all(a.errno is None for a in answers)
    lost = [n for n, a in enumerate(answers) if not a.in_table]
    assert abs(len(lost) - expected) <= 4 * expected**0.5 + 1
    for n in lost[:20]:
        assert "reports success" in answers[n].note
        assert device.lookup(packet(sa_of(n, 0, 0))).reached is Reached.MISS


def test_deleting_a_lost_sa_takes_the_first_row():
    lookup = {"kind": "hash", "key": '["spi"]', "capacity": 1,
              "more": 'index = { fn = "vendor_hash" }\nways = 1\nsets = 1'}  # fmt: skip
    device = Device(model_of("marvell-cn10k-linux-v5", ALG4, **lookup))
    assert device.add(0, sa_of(1, 0, 0)).in_table
    assert not device.add(1, sa_of(2, 0, 0)).in_table
    device.delete(1)
    assert device.lookup(packet(sa_of(1, 0, 0))).reached is Reached.MISS


def test_chains_grow_up_to_their_limit():
    more = 'index = {{ fn = "crc32c", chained = true{} }}\nsets = 2'
    rest = '[inbound.program]\nidentity = ["spi"]\nfull = { policy = "reject", errno = "ENOSPC" }\n'
    for limit, taken in ((", max_chain = 3", 6), ("", 40)):
        model = model_of("marvell-cn10k-dpdk", rest, kind="hash", key='["spi"]', capacity='"memory"',
                         more=more.format(limit))  # fmt: skip
        device = Device(model)
        added = [n for n in range(40) if device.add(n, sa_of(n, 0, 0)).errno is None]
        assert len(added) == taken
        assert [device.lookup(packet(sa_of(n, 0, 0))).sa_index for n in added] == added


# -- other shapes a user's model may have --------------------------------------------------------------------------


def test_longest_match_of_a_software_sad():
    rest = (
        '[inbound.program]\nidentity = ["spi", "dst", "src"]\nduplicate = { policy = "overwrite" }\n'
        'delete = { by = "key", duplicate_delete = "kills_survivor" }\n'
    )
    key = '[["spi"], ["spi", "dst"], ["spi", "dst", "src"]]'
    device = Device(model_of("sw-linux-xfrm", rest, kind="longest", key=key, capacity='"config"'))
    any_address = "0.0.0.0"  # noqa: S104 - nothing is bound
    for n, (src, dst) in enumerate([(any_address,) * 2, (any_address, "9.9.9.1"), ("1.1.1.1", "9.9.9.1")]):
        assert device.add(n, gcm_sa(src, dst, 7, mode=Mode.TRANSPORT)).errno is None

    def ask(src: int, dst: int) -> int:
        return device.lookup(packet(sa_of(7, src, dst))).sa_index

    assert [ask(1, 1), ask(2, 1), ask(2, 2)] == [2, 1, 0]
    assert device.add(3, sa_of(7, 1, 1)).note.endswith("overwritten")  # the same key: silently replaced
    assert ask(1, 1) == 3
    device.delete(2)
    assert ask(1, 1) == 1


def test_a_slice_of_the_spi_is_added_to_the_rules_base():
    rest = '[inbound.classify]\nkey = ["port", "esp", "spi"]\n'
    more = 'index = { fn = "slice_add", base = "rule", hi = 31, lo = 28, width = 28 }'
    device = Device(model_of("marvell-cn10k-dpdk", rest, kind="direct", key='["rule", "spi"]', capacity='"config"',
                             more=more))  # fmt: skip
    spis = [0x00000007, 0x10000007, 0xF0000007, 0x00000008]
    assert [device.add(n, sa_of(s, 0, 0)).slot for n, s in enumerate(spis[:1] + spis[3:])] == [0, 16]
    assert [device.add(n, sa_of(s, 0, 0)).slot for n, s in enumerate(spis[1:3], 2)] == [1, 15]
    assert [device.lookup(packet(sa_of(s, 0, 0))).sa_index for s in spis] == [0, 2, 3, 1]
    assert device.lookup(packet(sa_of(0x20000007, 0, 0))).reached is Reached.EMPTY_SLOT
    assert device.lookup(packet(sa_of(9, 0, 0))).reached is Reached.MISS


def test_a_driver_that_deletes_by_spi_hits_the_wrong_row():
    rest = '[inbound.program]\ndelete = { by = "spi_first_match", duplicate_delete = "kills_wrong" }\n'
    device = Device(model_of("intel-82599-linux", rest))
    a, b = sa_of(7, 1, 1), sa_of(7, 2, 2)
    device.add(0, a)
    device.add(1, b)
    device.delete(1)
    assert device.lookup(packet(a)).reached is Reached.MISS
    assert device.lookup(packet(b)).sa_index == 1  # deleted, and still in the table
    device.delete(0)  # row 0 again: its SPI was not wiped
    assert device.lookup(packet(b)).sa_index == 1


def test_keep_first_may_hand_the_entry_on():
    rest = ALG4 + 'delete = { by = "handle", duplicate_delete = "noop", first_delete = "ok" }\n'
    device = Device(model_of("marvell-cn10k-linux-v5", rest))
    a, b, c = (sa_of(7, n, n) for n in range(3))
    for n, sa in enumerate((a, b, c)):
        assert device.add(n, sa).errno is None
    device.delete(1)
    assert device.lookup(packet(b)).sa_index == 0
    device.delete(0)
    assert device.lookup(packet(b)).sa_index == 2
    device.add(3, a)
    device.delete(2)
    assert device.lookup(packet(a)).sa_index == 3


def test_the_low_spi_bits_share_an_array_slot():
    rest = (
        '[[inbound.lookup]]\nkind = "direct"\nkey = ["prev"]\nindex = { fn = "slot_of_prev" }\ncapacity = "memory"\n'
        'scope = "device"\nmulti_match = "impossible"\nmiss = "software"\n'
        '[inbound.program]\nslot = "spi_low24"\nidentity = ["src", "dst", "reqid"]\nalias = { policy = "overwrite" }\n'
        'duplicate = { policy = "reject", errno = "FAILED" }\nfull = { policy = "silent" }\n'
    )
    device = Device(model_of("intel-82599-linux", rest, kind="exact", key='["src", "dst", "spi"]', capacity=2))
    a, b = sa_of(0x01000007, 1, 1), sa_of(0x02000007, 2, 2)
    assert device.add(0, a).slot == 7
    assert device.add(1, sa_of(0x99, 1, 1)).errno == "FAILED"
    assert device.add(1, b).slot == 7
    assert [device.lookup(packet(sa)).sa_index for sa in (a, b)] == [1, 1]
    lost = device.add(2, sa_of(5, 0, 0))
    assert (lost.errno, lost.in_table) == (None, False)


def test_the_mixers_are_the_published_ones():
    assert mix64(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF  # splitmix64's first output for seed 0
    # "123456789" is CRC-32C's check value 0xE3069283; here: 4 bytes of seed, then a word.
    assert crc32c([0x3536373839000000], 0x31323334, 0) != crc32c([0x3536373839000000], 0x31323334, 1)
    assert crc32c([], 0, 0) == 0x48674BC7  # RFC 3720 B.4's polynomial over four zero bytes
