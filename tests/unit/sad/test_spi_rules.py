"""Each SPI rule by itself: whom ALLOCSPI and NEWSA refuse, which SA a packet finds, how an SPI is drawn."""

from __future__ import annotations

import errno
import random
from typing import NamedTuple

import pytest

from espsim.core.address import AF_INET, parse_address
from espsim.core.errors import XfrmError
from espsim.core.numbers import PROTO_AH, PROTO_ESP
from espsim.sad.association import Direction, Encap, Mark, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.index import StateIndex
from espsim.sad.spi import SPI_RULES, FreeBsd, Full4301, OpenBsd, Rfc2401, Rfc4301, Rfc4301Spi0, SaDir, Split
from espsim.sad.window import Window
from tests.support import gcm_sa

SPI = 0x5000
HERE, THERE = "10.0.0.1", "10.0.0.2"
IN, OUT = Direction.IN, Direction.OUT
RULES = {
    "rfc2401": Rfc2401(), "rfc4301": Rfc4301(), "spi0": Rfc4301Spi0(), "sa-dir": SaDir(),
    "counting": SaDir(undirected_count=True), "split": Split(), "full-4301": Full4301(), "freebsd": FreeBsd(),
    "openbsd": OpenBsd(),
}  # fmt: skip


class S(NamedTuple):
    """A state, or what a request is for."""

    dst: str = HERE
    dir: Direction | None = None
    proto: int = PROTO_ESP
    mark: Mark = Mark()
    state: State = State.VALID
    port: int | None = None

    def sa(self) -> SecurityAssociation:
        encap = None if self.port is None else Encap("espinudp", 4500, self.port, bytes(16))
        return gcm_sa("192.0.2.9", self.dst, SPI, proto=self.proto, dir=self.dir, mark=self.mark, encap=encap)

    def entry(self, number: int) -> SadEntry:
        return SadEntry(number, self.sa(), self.state, Window(0), af=AF_INET)


def index_of(*states: S, port_key: bool = False) -> StateIndex:
    index = StateIndex(port_key=port_key)
    for number, state in enumerate(states):
        index.insert(state.entry(number))
    return index


BY_TRIPLE = {"rfc2401", "openbsd"}
BY_PROTO = {"rfc4301", "spi0", "full-4301"}
OPT_IN = {"sa-dir", "counting"}
ALL = set(RULES)
EVERYWHERE = BY_PROTO | {"freebsd"}


@pytest.mark.parametrize(
    ("states", "request_for", "refused_by"),
    [
        ([], S(), set()),
        ([S()], S(), ALL),
        ([S(THERE)], S(), EVERYWHERE | {"split"}),
        ([S(proto=PROTO_AH)], S(), {"freebsd"}),
        ([S(THERE, IN)], S(HERE, IN), EVERYWHERE | OPT_IN | {"split"}),
        ([S(THERE)], S(HERE, IN), EVERYWHERE | {"split", "counting"}),
        ([S(THERE, OUT)], S(HERE, IN), EVERYWHERE),
        ([S(HERE, OUT)], S(HERE, IN), EVERYWHERE | BY_TRIPLE),
        ([S(THERE, IN)], S(HERE, OUT), EVERYWHERE),
        ([S(HERE, IN)], S(HERE, OUT), EVERYWHERE | BY_TRIPLE | OPT_IN),
        ([S(HERE, OUT)], S(HERE, OUT), ALL),
        ([S(THERE, OUT)], S(HERE, OUT), EVERYWHERE),
        ([S(THERE, OUT)], S(), EVERYWHERE),
        ([S(THERE, IN, PROTO_AH)], S(HERE, IN), {"freebsd"}),
        ([S(HERE, OUT, PROTO_AH)], S(HERE, OUT), {"freebsd"}),
        ([S(HERE, OUT, mark=Mark(5, 0xFFFF))], S(HERE, OUT), EVERYWHERE),
        ([S(HERE, OUT, mark=Mark(5, 0xFFFF))], S(HERE, OUT, mark=Mark(0x105, 0xFF)), ALL),
        # one of two states is enough
        ([S(THERE, IN), S(THERE, IN, PROTO_AH)], S(HERE, IN), EVERYWHERE | OPT_IN | {"split"}),
        ([S(THERE, IN), S(THERE, OUT)], S(HERE, IN), EVERYWHERE | OPT_IN | {"split"}),
        ([S(HERE, OUT), S(THERE, OUT)], S(HERE, OUT), ALL),
    ],
)
def test_who_refuses_allocspi(states, request_for, refused_by):
    index, larval = index_of(*states), request_for.entry(9)
    answers = {name: rule.taken(index, SPI, larval, request_for.dir) for name, rule in RULES.items()}
    assert answers == {name: name in refused_by for name in RULES}
    assert not any(rule.taken(index, SPI + 1, larval, request_for.dir) for rule in RULES.values())


@pytest.mark.parametrize(
    ("states", "new", "refused_by"),
    [
        ([], S(HERE, IN), set()),
        ([S(THERE, IN)], S(HERE, IN), {"split", "full-4301", "freebsd"}),
        ([S(THERE)], S(HERE, IN), {"freebsd"}),
        ([S(THERE, OUT)], S(HERE, IN), {"freebsd"}),
        ([S(THERE, IN)], S(HERE), {"freebsd"}),
        ([S(THERE, IN)], S(HERE, OUT), {"freebsd"}),
        ([S(THERE, IN, PROTO_AH)], S(HERE, IN), {"freebsd"}),
        ([S(THERE, IN), S(THERE, OUT)], S(HERE, IN), {"split", "full-4301", "freebsd"}),
    ],
)
def test_who_refuses_newsa(states, new, refused_by):
    index = index_of(*states)
    answers = {name: rule.refuses(index, new.sa(), None) for name, rule in RULES.items()}
    assert answers == {name: name in refused_by for name in RULES}
    assert not Split(check_newsa=False).refuses(index, new.sa(), None)


def test_a_state_does_not_stand_in_the_way_of_what_replaces_it():
    index = index_of(S(THERE, IN))
    (own,) = index
    assert not any(rule.refuses(index, own.sa, own) for rule in RULES.values())
    index.insert(S(HERE, IN).entry(1))
    assert {name for name, rule in RULES.items() if rule.refuses(index, own.sa, own)} == {
        "split", "full-4301", "freebsd",
    }  # fmt: skip


def found(rule: str, *states: S, dst: str = HERE, proto: int = PROTO_ESP, mark: int | None = 0) -> int | None:
    """Which of the states, the last one newest, a packet is for."""
    entry = RULES[rule].input(index_of(*states), (parse_address(dst), SPI, proto), mark, None)
    return None if entry is None else entry.sa_index


@pytest.mark.parametrize("rule", ["rfc2401", "rfc4301", "sa-dir", "openbsd", "split"])
def test_input_by_the_triple(rule):
    assert found(rule) is None
    assert found(rule, S(), S(THERE)) == 0
    assert found(rule, S(mark=Mark(5, 0xFF)), S(), mark=5) == 1
    assert found(rule, S(), S(mark=Mark(5, 0xFF)), mark=0) == 0
    assert found(rule, S(proto=PROTO_AH)) is None
    assert found(rule, S(HERE, IN)) == 0
    assert found(rule, S(HERE, OUT)) == (None if rule == "split" else 0)


@pytest.mark.parametrize("rule", ["rfc4301", "split"])
def test_input_by_mark_and_port(rule):
    index = index_of(S(mark=Mark(5, 0xFF), port=4500), S(mark=Mark(5, 0xFF), port=4501), port_key=True)
    triple = parse_address(HERE), SPI, PROTO_ESP
    assert [
        entry if entry is None else entry.sa_index
        for entry in (RULES[rule].input(index, triple, mark, port) for mark, port in [(5, 4500), (5, 4501), (6, 4500)])
    ] == [0, 1, None]


def test_input_by_spi_and_protocol_takes_the_newest_that_is_not_outbound():
    assert found("full-4301") is None
    assert found("full-4301", S(THERE), S(THERE, IN), S(HERE, OUT)) == 1
    assert found("full-4301", S(THERE, IN), S(HERE, proto=PROTO_AH)) == 0
    assert found("full-4301", S(THERE, IN), S(HERE, mark=Mark(5, 0xFF))) == 0
    assert found("full-4301", S(HERE, OUT)) is None


def test_input_of_freebsd_is_the_one_sa_with_the_spi():
    assert found("freebsd") is None
    assert found("freebsd", S()) == 0
    assert found("freebsd", S(state=State.LARVAL)) is None
    assert found("freebsd", S(THERE)) is None
    assert found("freebsd", S(proto=PROTO_AH)) is None


class Draws:
    """Gives these numbers, and notes what it was asked."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.asked = list(numbers), set[tuple[int, ...]]()

    def randint(self, low: int, high: int) -> int:
        self.asked.add((low, high))
        return self.numbers.pop(0)

    def randrange(self, count: int) -> int:
        self.asked.add((count,))
        return self.numbers.pop(0)


def draw(rule: str, low: int, high: int, *numbers: int, taken: tuple[int, ...] = ()) -> tuple[int | None, int]:
    """(the SPI, how many of the numbers were drawn)."""
    rng = Draws(*numbers)
    spi = RULES[rule].draw(rng, low, high, lambda spi: spi not in taken)  # type: ignore[arg-type]
    assert rng.asked <= ({(high - max(low, 256),)} if rule == "openbsd" else {(low, high)})
    return spi, len(numbers) - len(rng.numbers)


LINUX = ["rfc2401", "rfc4301", "spi0", "sa-dir", "split", "full-4301"]


@pytest.mark.parametrize("rule", LINUX)
def test_linux_draws_as_often_as_the_range_is_wide(rule):
    assert draw(rule, 5, 5) == (5, 0)
    assert draw(rule, 5, 5, taken=(5,)) == (None, 0)
    assert draw(rule, 5, 7, 6) == (6, 1)
    assert draw(rule, 5, 7, 6, 6, 7, taken=(6,)) == (7, 3)
    assert draw(rule, 5, 7, 6, 6, 6, 7, taken=(6,)) == (None, 3)
    assert draw(rule, 0, 0xFFFFFFFF, 7) == (None, 0)  # 2^32 draws are 0 in 32 bits


@pytest.mark.parametrize("rule", LINUX)
def test_what_linux_does_with_0(rule):
    assert draw(rule, 0, 0) == (0 if rule == "spi0" else None, 0)
    ends = rule in ("rfc2401", "sa-dir")
    assert draw(rule, 0, 3, 0, 2) == {True: (None, 1), False: (0, 1) if rule == "spi0" else (2, 2)}[ends]


def test_freebsd_draws_a_thousand_times_and_once_for_one_spi():
    assert draw("freebsd", 5, 5, 5) == (5, 1)
    assert draw("freebsd", 5, 5, 5, 5, taken=(5,)) == (None, 1)
    assert draw("freebsd", 0, 9, 0, 3, 4, taken=(3,)) == (4, 3)
    assert draw("freebsd", 5, 9, *[5] * 1001, taken=(5,)) == (None, 1000)


def test_openbsd_draws_a_hundred_times_from_256_on_and_never_the_top():
    assert draw("openbsd", 300, 400, 99) == (399, 1)
    assert draw("openbsd", 1, 300, 0) == (256, 1)
    assert draw("openbsd", 257, 300, 0) == (257, 1)
    assert draw("openbsd", 300, 400, *[0] * 101, taken=(300,)) == (None, 100)
    assert draw("openbsd", 256, 256) == (256, 0)
    assert draw("openbsd", 1, 256) == (256, 0)
    tried: list[int] = []

    def taken(spi: int) -> bool:
        tried.append(spi)
        return False

    assert OpenBsd().draw(random.Random(1), 300, 300, taken) is None
    assert tried == [300]
    with pytest.raises(XfrmError) as refused:
        draw("openbsd", 1, 255)
    assert refused.value.errno == errno.EINVAL


def test_every_rule_is_here():
    assert {type(rule) for rule in RULES.values()} == {type(make()) for make in SPI_RULES.values()}
