"""Where a state is found: under its triple, mark and UDP port, or by its addresses where its protocol has no SPI."""

from __future__ import annotations

import pytest

from espsim.core.address import AF_INET, AF_INET6, parse_address
from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import Encap, Mark, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.index import StateIndex, daddr_key
from espsim.sad.window import Window

SRC, DST = parse_address("10.0.0.1"), parse_address("10.0.0.2")
OPTIONS = 60  # destination options: no SPI
SPI = 0x5000
ANY_MARK = Mark()


def sa(
    src: bytes = SRC, dst: bytes = DST, *, spi: int = SPI, proto: int = PROTO_ESP, mark: Mark = ANY_MARK,
    port: int | None = None,
) -> SecurityAssociation:  # fmt: skip
    encap = None if port is None else Encap("espinudp", 4500, port, bytes(16))
    return SecurityAssociation(src, dst, spi, proto, mark=mark, encap=encap)


def index_of(*sas: SecurityAssociation, af: int | None = AF_INET, **options: bool) -> StateIndex:
    index = StateIndex(**options)
    for number, one in enumerate(sas):
        index.insert(SadEntry(number, one, State.VALID, Window(0), af=af))  # type: ignore[arg-type]
    return index


def number(entry: SadEntry | None) -> int | None:
    return None if entry is None else entry.sa_index


def test_the_port_counts_only_where_it_is_part_of_the_key():
    states = sa(), sa(port=4500), sa(port=4501)
    by_port, newest = index_of(*states, port_key=True), index_of(*states)
    asked = [((DST, SPI, PROTO_ESP), 0, port) for port in (None, 4500, 4501, 7)]
    assert [number(by_port.lookup(*one)) for one in asked] == [0, 1, 2, None]
    assert [number(newest.lookup(*one)) for one in asked] == [2, 2, 2, 2]
    assert [number(by_port.locate(one, SPI)) for one in (*states, sa(port=7))] == [0, 1, 2, None]


@pytest.mark.parametrize("proto", [PROTO_ESP, OPTIONS])
def test_what_a_new_state_meets_has_a_mark_that_takes_its_own(proto):
    index = index_of(sa(proto=proto, spi=SPI if proto == PROTO_ESP else 0, mark=Mark(5, 0xFFFF)))
    for mark, found in ((Mark(), None), (Mark(5, 0xFFFF), 0), (Mark(0x105, 0xFF), 0), (Mark(0x105, 0xFFFF), None)):
        assert number(index.locate(sa(proto=proto, spi=0, mark=mark), SPI)) == found


def test_a_protocol_without_an_spi_is_found_by_its_addresses_newest_first():
    index = index_of(*(sa(proto=OPTIONS, spi=0) for _ in range(2)), sa(DST, SRC, proto=OPTIONS, spi=0))
    assert number(index.locate(sa(proto=OPTIONS, spi=0), SPI)) == 1
    assert number(index.locate(sa(DST, SRC, proto=OPTIONS, spi=0), SPI)) == 2
    assert number(index.locate(sa(SRC, SRC, proto=OPTIONS, spi=0), SPI)) is None
    assert number(index.locate(sa(proto=43, spi=0), SPI)) is None
    assert number(index.by_addresses(SRC, DST, OPTIONS)) == 1


def test_an_odd_family_matches_itself_alone():
    for proto, spi in ((PROTO_ESP, SPI), (OPTIONS, 0)):
        index = index_of(sa(proto=proto, spi=spi), af=17)
        wanted = sa(proto=proto, spi=spi)
        assert [number(index.locate(wanted, SPI, af)) for af in (17, AF_INET, None, 18)] == [0, None, None, None]


def test_what_stands_for_a_destination_in_the_hash():
    assert daddr_key(DST, None) == daddr_key(DST, AF_INET) == DST
    six = DST + bytes(12)
    assert daddr_key(DST, AF_INET6) == six  # the address field of netlink, read as the other family
    assert daddr_key(six, AF_INET) == DST
    assert daddr_key(DST, 17)[-2:] == b"\0\x11"
    assert len({daddr_key(address, af) for address in (DST, SRC) for af in (17, 18, 0x1100)}) == 6


def test_no_state_is_found_by_spi_0():
    assert index_of(sa(spi=0)).locate(sa(spi=0), 0) is None
