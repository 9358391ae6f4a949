"""Faults of the wire: what becomes of frames, the same for one seed, in bounded memory, without touching a byte."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from espsim.core.inputs import open_input
from espsim.io.arrivals import LATEST, Arrivals
from espsim.io.formats import read_format
from espsim.io.pcapng import interface_block, packet_block, section_block
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


class Chances(random.Random):
    """In place of chance: of each frame what it draws, in hundredths, and how many frames may overtake it."""

    def __init__(self, drawn: Sequence[tuple[float, float, float, int]]) -> None:
        super().__init__(1)
        self._parts = iter([part / 100 for *parts, _ in drawn for part in parts])
        self._late = iter([late for *_, late in drawn])

    def random(self) -> float:
        return next(self._parts)

    def randint(self, a: int, b: int) -> int:
        assert (a, b) == (1, LATEST)
        return next(self._late)


ON_TIME, LOST, TWICE = (99, 99, 99, 1), (24, 99, 99, 1), (99, 49, 99, 1)


def late(by: int, *, twice: bool = False) -> tuple[float, float, float, int]:
    return 99, 49 if twice else 99, 74, by


def fates(*bursts):
    """What becomes of frames 1, 2, ... at chances of 25, 50 and 75 per cent: (number, time) of each, burst by burst."""
    arrivals = Arrivals(25, 50, 75)
    arrivals._rng = Chances([fate for burst in bursts for fate in burst])
    numbered, got = frames(sum(map(len, bursts))), []
    for burst in bursts:
        records = [numbered.pop(0) for _ in burst]
        got.append([(int.from_bytes(r.data, "big"), r.time_ns // 1000) for r in arrivals.of(records)])
    return arrivals, got


@pytest.mark.parametrize(
    ("fates_of", "want", "reordered"),
    [
        ([ON_TIME, LOST, TWICE, ON_TIME], [(1, 1), (3, 3), (3, 3), (4, 4)], 0),
        # A chance is less than its limit.
        ([(25, 99, 99, 1), (99, 50, 99, 1), (99, 99, 75, 1), ON_TIME], [(1, 1), (2, 2), (3, 3), (4, 4)], 0),
        # Late by two: it arrives after the second frame that follows, and at its time.
        ([late(2), ON_TIME, ON_TIME, ON_TIME], [(2, 2), (3, 3), (1, 3), (4, 4)], 1),
        # One that comes twice is late twice.
        ([late(1, twice=True), ON_TIME, ON_TIME], [(2, 2), (1, 2), (1, 2), (3, 3)], 2),
        # Two at one time keep their order; the later one of two that are late has not been overtaken.
        ([late(3), late(2), LOST, ON_TIME], [(4, 4), (1, 4), (2, 4)], 2),
        ([late(2), late(1), LOST], [(1, 3), (2, 3)], 0),
        ([late(3), late(1), LOST, LOST], [(2, 3), (1, 4)], 1),
        # No one is overtaken by frames that are lost.
        ([late(1), LOST, ON_TIME], [(1, 2), (3, 3)], 0),
        # What is late at the end arrives then, in the order in which it would have.
        ([ON_TIME, late(16), late(9), late(15)], [(1, 1), (3, 4), (2, 4), (4, 4)], 1),
        ([late(16), ON_TIME], [(2, 2), (1, 2)], 1),
        ([late(16, twice=True)], [(1, 1), (1, 1)], 0),
    ],
)
def test_each_fate(fates_of, want, reordered):
    arrivals, (got,) = fates(fates_of)
    assert got == want
    assert arrivals.reordered == reordered
    assert arrivals.arrived == len(want)
    assert arrivals.frames == len(fates_of)


def test_bursts_are_counted_together_and_none_waits_for_the_next():
    arrivals, got = fates([ON_TIME, late(5)], [], [late(1), ON_TIME])
    assert got == [[(1, 1), (2, 2)], [], [(4, 4), (3, 4)]]
    assert (arrivals.frames, arrivals.reordered) == (4, 1)


def test_the_same_again_and_what_is_said():
    arrivals = Arrivals(10, 20, 30, 4)
    list(arrivals.of(frames(50)))
    assert arrivals.as_dict() == {
        "loss": 10, "duplicate": 20, "reorder": 30, "seed": 4, "frames": 50, "lost": arrivals.lost,
        "duplicated": arrivals.duplicated, "reordered": arrivals.reordered, "arrived": arrivals.arrived,
    }  # fmt: skip
    again = arrivals.anew()
    assert again.as_dict() == Arrivals(10, 20, 30, 4).as_dict()
    list(again.of(frames(50)))
    assert again.as_dict() == arrivals.as_dict()


def written(folder, cut: int = 0):
    """A capture of two link types, times to the nanosecond, 99 bytes on the wire; `cut`: so many bytes are missing."""
    blocks = [section_block(), interface_block(1, nanosecond=True), interface_block(101, nanosecond=True)]
    blocks += [packet_block(bytes([n]) * 20, 5001 * n, True, interface=n % 2, wire=99) for n in range(6)]
    data = b"".join(blocks)
    (folder / "in").write_bytes(data[: len(data) - cut])
    return str(folder / "in")


def read(path):
    with open_input(path) as file:
        return [record for record in read_format(ByteSource(file, path)).steps() if record is not None]


def test_frames_before_a_cut_arrive_and_the_cut_is_known(tmp_path):
    whole, cut = written(tmp_path), Arrivals()
    before = read(whole)
    cut.arrive(written(tmp_path, cut=10))
    after = read(whole)
    assert after == before[:5]
    assert cut.frames == 5
    assert cut.cut is not None
    assert [(r.linktype, r.time_ns, r.wire) for r in after] == [((1, 101)[n % 2], 5001 * n, 99) for n in range(5)]
