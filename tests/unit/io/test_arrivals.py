"""Faults of the wire: what becomes of frames, the same for one seed, in bounded memory, without touching a byte."""

from __future__ import annotations

from collections import Counter

import pytest

from espsim.core.inputs import open_input
from espsim.io.arrivals import LATEST, Arrivals
from espsim.io.formats import read_format
from espsim.io.source import ByteSource, Record


def frames(count):
    return [Record(101, None, 1000 * n, n.to_bytes(4, "big"), 4) for n in range(1, count + 1)]


def places(records):
    return [int.from_bytes(record.data, "big") for record in records]


def test_a_wire_without_faults():
    arrivals = Arrivals()
    assert [*arrivals.of(frames(100))] == frames(100)
    assert (arrivals.frames, arrivals.arrived) == (100, 100)


@pytest.mark.parametrize(
    ("chances", "count"), [((100, 0, 0), 0), ((0, 100, 0), 200), ((0, 0, 100), 100), ((0, 100, 100), 200)]
)
def test_certain_faults(chances, count):
    arrivals = Arrivals(*chances)
    got = [*arrivals.of(frames(100))]
    assert len(got) == count == arrivals.arrived
    assert set(Counter(places(got)).values()) <= {2 if chances[1] else 1}


def test_what_is_counted_is_what_happened():
    arrivals = Arrivals(10, 20, 30, seed=7)
    got = [*arrivals.of(frames(1000))]
    numbers = places(got)
    assert len(got) == arrivals.arrived
    assert 1000 - len(set(numbers)) == arrivals.lost
    assert len(numbers) - len(set(numbers)) == arrivals.duplicated
    assert sum(n < max(numbers[:at], default=0) for at, n in enumerate(numbers)) == arrivals.reordered
    assert 60 < arrivals.lost < 140
    assert 200 < arrivals.reordered < 500
    assert all(n >= max(numbers[:at], default=0) - LATEST for at, n in enumerate(numbers))
    times = [record.time_ns for record in got]
    assert times == sorted(times)


def test_a_seed_is_a_wire():
    def run(loss, duplicate, reorder, seed=1):
        return places(Arrivals(loss, duplicate, reorder, seed).of(frames(300)))

    assert run(5, 5, 5) == run(5, 5, 5) != run(5, 5, 5, seed=2)
    # More loss takes frames away, and changes nothing of the others' fate.
    few, many = run(5, 20, 0), run(30, 20, 0)
    assert [n for n in few if n in set(many)] == many


def test_what_arrives_is_read_by_who_opens_the_path_next(tmp_path):
    from espsim.io.pcapng import interface_block, packet_block, section_block

    path = str(tmp_path / "in")
    with open(path, "wb") as file:
        file.write(section_block() + interface_block(1, nanosecond=True) + interface_block(101, nanosecond=False))
        file.writelines(packet_block(bytes([n]) * 20, 5001 * n, nanosecond=n % 2 == 0, interface=n % 2, wire=99)
                        for n in range(8))  # fmt: skip

    def read():
        with open_input(path) as file:
            return [record for record in read_format(ByteSource(file, path)).steps() if record is not None]

    before = read()
    Arrivals().arrive(path)
    after = read()
    assert [r._replace(interface=0) for r in after] == [r._replace(interface=0) for r in before]
    assert read() == before
