"""Who may have an SPI twice: scenarios of the netdev thread, and rows that real kernels answered.

rfc2401 answers as Linux 6.1.176 did, rfc4301 as 6.12.117 and 6.18.44 did.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from espsim.core.address import format_address, parse_address
from espsim.core.errors import XfrmError
from espsim.core.numbers import PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.sad.association import Direction, Encap, Mark, Mode
from espsim.sad.sad import Sad
from espsim.sad.spi import SPI_RULES
from tests.support import gcm_sa

A = parse_address
OK, E2, E17, E3 = "OK", "ENOENT", "EEXIST", "ESRCH"
IN, OUT = Direction.IN, Direction.OUT
NUMBERS = {"esp": PROTO_ESP, "ah": PROTO_AH, "comp": PROTO_COMP}


def answer(call, *args, **options) -> str:
    try:
        call(*args, **options)
    except XfrmError as refusal:
        return refusal.name
    return OK


def alloc(dst, spi=0x5000, *, src="192.0.2.9", proto=PROTO_ESP, **options):
    return lambda sad: answer(sad.allocspi, A(src), A(dst), proto, spi, spi, **options)


def newsa(dst, spi=0x5000, *, src="192.0.2.9", **options):
    return lambda sad: answer(sad.newsa, gcm_sa(src, dst, spi, **options))


def updsa(dst, spi=0x5000, *, src="192.0.2.9", **options):
    return lambda sad: answer(sad.updsa, gcm_sa(src, dst, spi, **options))


ME, PEER1, PEER2 = "10.0.0.1", "203.0.113.5", "203.0.113.6"
OUTBOUND = {"dir": OUT, "window": 0}
SCENARIOS = {
    "S01 one SPI on five local addresses": (
        [alloc(f"10.0.0.{n}") for n in range(1, 6)],
        {"rfc2401": [OK] * 5, "rfc4301": [OK, E2, E2, E2, E2]},
        {"rfc2401": 0, "rfc4301": 4},
    ),
    "S01 with directions": (
        [alloc(f"10.0.0.{n}", dir=IN) for n in range(1, 6)],
        {"rfc2401": [OK] * 5, "rfc4301": [OK, E2, E2, E2, E2]},
        {"rfc2401": 0, "rfc4301": 4},
    ),
    "S02 Android: the peer chose our SPI": (
        [alloc(ME), alloc(PEER1), updsa(ME), updsa(PEER1)],
        {"rfc2401": [OK] * 4, "rfc4301": [OK, E2, OK, E3]},
        {"rfc2401": 0, "rfc4301": 1},
    ),
    "S03 two peers, one outbound SPI": (
        [alloc(PEER1, dir=OUT), alloc(PEER2, dir=OUT)],
        {"rfc2401": [OK, OK], "rfc4301": [OK, E2]},
        {"rfc2401": 0, "rfc4301": 1},
    ),
    "S04 the intended API": (
        [alloc(ME, dir=IN), newsa(PEER1, **OUTBOUND), newsa(PEER2, **OUTBOUND), updsa(ME, dir=IN)],
        {"rfc2401": [OK] * 4, "rfc4301": [OK] * 4},
        {"rfc2401": 0, "rfc4301": 0},
    ),
    "S05 an outbound SA, then its SPI inbound": (
        [newsa(PEER1, **OUTBOUND), alloc(ME, dir=IN)],
        {"rfc2401": [OK, OK], "rfc4301": [OK, E2]},
        {"rfc2401": 0, "rfc4301": 1},
    ),
    "S07 two peers behind one NAT": (
        [newsa(PEER1, encap=Encap("espinudp", 4500, port, bytes(16)), **OUTBOUND) for port in (4500, 31002)],
        {"rfc2401": [OK, E17], "rfc4301": [OK, E17]},
        {"rfc2401": 0, "rfc4301": 0},
    ),
    "S07m the same with marks": (
        [
            newsa(PEER1, encap=Encap("espinudp", 4500, 4500 + n, bytes(16)), mark=Mark(n, 0xFF), **OUTBOUND)
            for n in (1, 2)
        ],
        {"rfc2401": [OK, OK], "rfc4301": [OK, OK]},
        {"rfc2401": 0, "rfc4301": 0},
    ),
    "S08 one NAT, through ALLOCSPI": (
        [alloc(PEER1, dir=OUT, reqid=1), alloc(PEER1, dir=OUT, reqid=2)],
        {"rfc2401": [OK, E2], "rfc4301": [OK, E2]},
        {"rfc2401": 1, "rfc4301": 1},
    ),
    "S14 one SPI in three protocols": (
        [alloc(ME, proto=p) for p in (PROTO_ESP, PROTO_AH, PROTO_COMP)],
        {"rfc2401": [OK] * 3, "rfc4301": [OK] * 3},
        {"rfc2401": 0, "rfc4301": 0},
    ),
    "S15 IPv4, then IPv6": (
        [alloc(ME), alloc("2001:db8::1", src="2001:db8::9")],
        {"rfc2401": [OK, OK], "rfc4301": [OK, E2]},
        {"rfc2401": 0, "rfc4301": 1},
    ),
    "S16 two marks": (
        [alloc(ME, mark=Mark(1, 0xFF)), alloc(ME, mark=Mark(2, 0xFF))],
        {"rfc2401": [OK, OK], "rfc4301": [OK, E2]},
        {"rfc2401": 0, "rfc4301": 1},
    ),
    "S17 another source": (
        [alloc(ME), alloc(ME, src="192.0.2.10")],
        {"rfc2401": [OK, E2], "rfc4301": [OK, E2]},
        {"rfc2401": 1, "rfc4301": 1},
    ),
    "S17 another mode": (
        [alloc(ME), alloc(ME, mode=Mode.TUNNEL)],
        {"rfc2401": [OK, E2], "rfc4301": [OK, E2]},
        {"rfc2401": 1, "rfc4301": 1},
    ),
    "S17 another reqid": (
        [alloc(ME), alloc(ME, reqid=5)],
        {"rfc2401": [OK, E2], "rfc4301": [OK, E2]},
        {"rfc2401": 1, "rfc4301": 1},
    ),
    "S18 the leftover is adopted": (
        [alloc(ME), alloc(ME), alloc(ME, 0x5001)],
        {"rfc2401": [OK, E2, OK], "rfc4301": [OK, E2, OK]},
        {"rfc2401": 0, "rfc4301": 0},
    ),
    "S21 NEWSA goes past ALLOCSPI": (
        [newsa(f"10.0.0.{n}") for n in range(1, 4)],
        {"rfc2401": [OK] * 3, "rfc4301": [OK] * 3},
        {"rfc2401": 0, "rfc4301": 0},
    ),
    "S26 another source, reqid and mode than allocated": (
        [alloc(ME), updsa(ME, src="198.51.100.1", reqid=77, mode=Mode.TRANSPORT)],
        {"rfc2401": [OK, OK], "rfc4301": [OK, OK]},
        {"rfc2401": 0, "rfc4301": 0},
    ),
}


@pytest.mark.parametrize("policy", ["rfc2401", "rfc4301"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_scenario(name, policy):
    requests, answers, leftovers = SCENARIOS[name]
    sad = Sad(SPI_RULES[policy](), random.Random(1))
    assert [request(sad) for request in requests] == answers[policy]
    assert sum(not entry.sa.spi for entry in sad) == leftovers[policy]


def test_s19_deleting_flushing_or_expiring_the_holder_frees_the_spi():
    for release in ("delsa", "flush", "expire"):
        sad = Sad()
        entry = sad.newsa(gcm_sa("192.0.2.9", ME, 0x5000))
        assert alloc(PEER1)(sad) == E2
        if release == "delsa":
            sad.delsa(A(ME), 0x5000, PROTO_ESP)
        elif release == "flush":
            sad.flush(PROTO_ESP)
        else:
            sad.expire(entry)
        assert alloc(PEER1)(sad) == OK


# What kernels answered: (dst, protocol, SPI) -> errno, then the dump, newest first, an SPI of 0 being a leftover.
NO_SPI = "No SPI available in the requested range"
D = "dump"
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "dup_exact": [
        ("10.0.0.2", "esp", 0x1000, (OK, OK)),
        ("10.0.0.2", "esp", 0x1000, (E2, E2)),
        (D, ("10.0.0.2/esp/0 10.0.0.2/esp/1000", "10.0.0.2/esp/0 10.0.0.2/esp/1000")),
        ("10.0.0.2", "esp", 0x1000, (E2, E2)),
        (D, ("10.0.0.2/esp/0 10.0.0.2/esp/1000", "10.0.0.2/esp/0 10.0.0.2/esp/1000")),
        ("10.0.0.2", "esp", 0x1001, (OK, OK)),
        (D, ("10.0.0.2/esp/1001 10.0.0.2/esp/1000", "10.0.0.2/esp/1001 10.0.0.2/esp/1000")),
    ],
    "dup_daddr": [
        ("10.0.0.2", "esp", 0x1000, (OK, OK)),
        ("10.0.0.3", "esp", 0x1000, (OK, E2)),
        (D, ("10.0.0.3/esp/1000 10.0.0.2/esp/1000", "10.0.0.3/esp/0 10.0.0.2/esp/1000")),
    ],
    "dup_five_addresses": [
        ("10.0.0.1", "esp", 0x5000, (OK, OK)),
        *((f"10.0.0.{n}", "esp", 0x5000, (OK, E2)) for n in range(2, 6)),
        (D, (
            " ".join(f"10.0.0.{n}/esp/5000" for n in (5, 4, 3, 2, 1)),
            " ".join(f"10.0.0.{n}/esp/0" for n in (5, 4, 3, 2)) + " 10.0.0.1/esp/5000",
        )),
    ],
    "dup_proto": [
        ("10.0.0.2", "esp", 0x1000, (OK, OK)),
        ("10.0.0.2", "ah", 0x1000, (OK, OK)),
        ("10.0.0.2", "comp", 0x1000, (OK, OK)),
        ("10.0.0.3", "esp", 0x1000, (OK, E2)),
        ("10.0.0.3", "ah", 0x1000, (OK, E2)),
        ("10.0.0.3", "comp", 0x1000, (OK, E2)),
        (D, (
            "10.0.0.3/comp/1000 10.0.0.3/ah/1000 10.0.0.3/esp/1000"
            " 10.0.0.2/comp/1000 10.0.0.2/ah/1000 10.0.0.2/esp/1000",
            "10.0.0.3/comp/0 10.0.0.3/ah/0 10.0.0.3/esp/0"
            " 10.0.0.2/comp/1000 10.0.0.2/ah/1000 10.0.0.2/esp/1000",
        )),
    ],
}  # fmt: skip


def dump(sad: Sad) -> str:
    names = {number: name for name, number in NUMBERS.items()}
    states = reversed(list(sad))
    return " ".join(f"{format_address(e.sa.dst)}/{names[e.sa.proto]}/{e.sa.spi:x}" for e in states)


@pytest.mark.parametrize(("column", "policy"), [(0, "rfc2401"), (1, "rfc4301")])
@pytest.mark.parametrize("name", list(ROWS))
def test_rows_of_real_kernels(name, column, policy):
    sad = Sad(SPI_RULES[policy](), random.Random(1))
    src = "192.0.2.9" if name == "dup_five_addresses" else "10.0.0.1"
    for row in ROWS[name]:
        if row[0] == D:
            assert dump(sad) == row[1][column]
            continue
        dst, proto, spi, answers = row
        if answers[column] == OK:
            assert sad.allocspi(A(src), A(dst), NUMBERS[proto], spi, spi).sa.spi == spi
            continue
        with pytest.raises(XfrmError) as caught:
            sad.allocspi(A(src), A(dst), NUMBERS[proto], spi, spi)
        assert caught.value.name == answers[column], row
        assert policy != "rfc4301" or caught.value.extack == NO_SPI
