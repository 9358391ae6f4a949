"""Copies out of a mould pass for instances of the class of the first, and are small."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from espsim.core.mould import Mould


@dataclass(frozen=True, slots=True)
class Pair:
    """`total` is computed, so a mould must be given it."""

    left: int
    right: int
    name: str = "pair"
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.left + self.right)

    @property
    def difference(self) -> int:
        return self.left - self.right


@pytest.fixture
def copied() -> Pair:
    return Mould(Pair(1, 2, "first"), "left", "total").make(5, 7)


def test_a_copy_equals_the_object_that_the_constructor_makes(copied):
    assert copied == Pair(5, 2, "first") == copied
    assert copied != Pair(5, 2, "other")
    assert copied != Pair(1, 2, "first")
    assert hash(copied) == hash(Pair(5, 2, "first"))
    assert repr(copied) == repr(Pair(5, 2, "first"))
    assert isinstance(copied, Pair)
    assert copied.difference == 3


def test_a_copy_is_frozen(copied):
    for name in ("left", "name"):
        with pytest.raises(FrozenInstanceError):
            setattr(copied, name, 3)
        with pytest.raises(FrozenInstanceError):
            delattr(copied, name)
    assert copied == Pair(5, 2, "first")


def pickled(one: Pair) -> Pair:
    again: Pair = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own
    return again


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled, lambda one: replace(one, left=5)])
def test_what_is_made_of_a_copy_is_of_the_class_itself(copied, again):
    assert again(copied) == copied
    assert type(again(copied)) is Pair


def test_a_copy_can_be_the_first_of_another_mould(copied):
    assert Mould(copied, "name").make("second") == Pair(5, 2, "second")


def test_moulds_of_one_class_do_not_mix():
    first, second = Mould(Pair(1, 2), "left", "total"), Mould(Pair(1, 9), "left", "total")
    assert (first.make(1, 3), second.make(1, 10)) == (Pair(1, 2), Pair(1, 9))


def test_values_must_be_as_many_as_fields_vary():
    with pytest.raises(ValueError, match="zip"):
        Mould(Pair(1, 2), "left", "total").make(5)


def test_a_copy_takes_memory_only_for_what_varies():
    first = Pair(1, 2)
    assert sys.getsizeof(Mould(first, "left").make(1)) == sys.getsizeof(first) - 3 * 8  # of four pointers one is left
