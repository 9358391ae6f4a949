"""JSON by pieces: the text of `json.dumps` with an indentation of two."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.json_text import pieces


class Number(IntEnum):
    """A number with a name, as verdicts are."""

    SEVEN = 7


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(Number.SEVEN))
keys = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.floats())
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_it_is_what_json_writes(value: Any) -> None:
    assert "".join(pieces(value)) == json.dumps(value, indent=2)


def test_the_elements_of_a_long_list_are_pieces() -> None:
    """A report of 100,000 SAs is not made in memory as a whole."""
    report = {"packets": 3, "by_sa": [{"spi": n, "dropped": {}} for n in range(1000)]}
    assert max(map(len, pieces(report))) < 100


def test_what_json_does_not_know() -> None:
    with pytest.raises(TypeError, match="bytes"):
        "".join(pieces({"a": [b"x"]}))
    with pytest.raises(TypeError, match="tuple"):
        "".join(pieces({"a": {(1, 2): 2}}))
