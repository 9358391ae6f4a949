"""BEET's pseudo header alone: every length of options, and what is damaged."""

from __future__ import annotations

import pytest

from espsim.wire import beet


@pytest.mark.parametrize("size", range(4, 44, 4))
def test_there_and_back(size):
    options = bytes(range(100, 100 + size))
    made = beet.emit(17, options, 9)
    assert len(made) % 8 == 0  # draft-nikander-esp-beet-mode-09, 4
    assert len(made) - size in (4, 8)
    assert made == bytes((17, size // 8, len(made) - 4 - size, 9)) + b"\1" * (len(made) - 4 - size) + options
    assert beet.length(made) == len(made) - size
    assert beet.length(b"\0" * 5 + made, 5) == len(made) - size
    assert beet.parse(made + b"the payload") == (17, len(made) - size, size)
    assert beet.parse(made[: len(made) - size]) == (17, len(made) - size, size)  # the caller looks at what follows


def test_examples():
    assert beet.emit(17, bytes.fromhex("94040000"), 0).hex() == "1100000094040000"
    assert beet.emit(6, bytes(8), 0).hex() == "06010400" + "01010101" + "00" * 8
    assert beet.parse(bytes.fromhex("1100000094040000")) == (17, 4, 4)


@pytest.mark.parametrize(
    ("units", "padding", "room", "want"),
    [
        (0, 0, 0, (6, 4, 4)),
        (0, 4, 4, (6, 8, 0)),
        (0, 8, 8, None),
        (1, 8, 8, (6, 12, 4)),
        (0, 5, 9, None),
        (0, 1, 9, None),
        (0, 2, 9, None),
        (0, 3, 9, None),
        (0, 4, 3, None),
        (1, 0, 0, (6, 4, 12)),
        (30, 0, 0, (6, 4, 244)),
        (31, 4, 4, (6, 8, 248)),
        (31, 2, 9, None),
        (31, 0, 9, None),
        (31, 8, 8, (6, 12, 244)),
    ],
)
def test_what_is_damaged(units, padding, room, want):
    """A length below 0, above 250 or not of whole words; padding that is not there."""
    assert beet.parse(bytes((6, units, padding, 0)) + bytes(room)) == want


def test_too_short():
    assert [beet.parse(bytes(n)) for n in range(5)] == [None, None, None, None, (0, 4, 4)]
