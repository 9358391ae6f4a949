"""One datagram on its way: what completes it, what is a duplicate, what contradicts it (ip_frag_queue)."""

from __future__ import annotations

import pytest

from espsim.io.fragments import _Datagram, _Overlap
from espsim.wire.fragments import Fragment

HEADER = bytes((0x45, *bytes(19)))


def add(datagram: _Datagram, start: int, end: int, *, last: bool = False) -> bool:
    fragment = Fragment(b"", start, end, not last, HEADER, bytes(end - start), 1, False, end - start + 20)
    return datagram.add(fragment, bytes(end - start))


def datagram_of(*parts: tuple[int, int], last: tuple[int, int] | None = None) -> _Datagram:
    datagram = _Datagram(0, 30, b"")
    if last is not None:
        assert add(datagram, *last, last=True) is False
    for start, end in parts:
        assert add(datagram, start, end) is False
    return datagram


def test_it_is_complete_with_its_last_missing_byte():
    assert add(datagram_of((0, 8), (8, 16)), 16, 20, last=True) is True
    assert add(datagram_of((8, 16), last=(16, 20)), 0, 8) is True
    assert add(datagram_of((0, 8), last=(16, 20)), 8, 16) is True
    assert datagram_of((0, 8), (16, 24)).length == 24


@pytest.mark.parametrize(
    ("parts", "last", "again"),
    [
        ([(0, 8), (16, 24), (8, 12)], None, (8, 12)),  # put in between
        ([(0, 8)], (16, 24), (16, 24)),  # the last one, in a packet that says that there are more
        ([(8, 40_008)], None, (8, 16)),
        ([(8, 100_008)], None, (8, 16)),
        ([(0, 8), (8, 16)], None, (4, 12)),  # they came in order: one run
    ],
)
def test_what_is_there_already_is_a_duplicate(parts, last, again):
    datagram = datagram_of(*parts, last=last)
    has = datagram.has
    assert add(datagram, *again) is False
    assert datagram.has == has


def test_the_last_one_once_more_is_a_duplicate():
    datagram = datagram_of((0, 8), last=(16, 24))
    assert add(datagram, 16, 24, last=True) is False
    assert add(datagram, 8, 16) is True


@pytest.mark.parametrize(
    ("parts", "last", "new", "is_last"),
    [
        ([], (16, 24), (24, 32), False),  # after the last one
        ([(24, 32)], None, (0, 8), True),  # a last one, and there was more after it
        ([], (16, 24), (24, 32), True),  # two last ones
        ([], (16, 24), (8, 16), True),
        ([(0, 8), (16, 24)], None, (8, 20), False),  # into the next run
        ([(0, 8), (16, 24)], None, (4, 12), False),  # out of one
        ([(0, 8)], None, (4, 12), False),
        ([(0, 8)], None, (8, 8), False),  # nothing
    ],
)
def test_what_contradicts_it(parts, last, new, is_last):
    datagram = datagram_of(*parts, last=last)
    with pytest.raises(_Overlap):
        add(datagram, *new, last=is_last)
