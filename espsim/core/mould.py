"""Copies of a frozen object that differ in a few fields: fast to make, and small.

A hundred thousand SAs of one script differ in addresses, SPI and keys, and have 27 other fields in common. A mould
makes a class for its copies. What they have in common is in the class, and a copy has only what differs (the pattern is
called flyweight): of an SA 80 bytes instead of 304.

What this does not do: check the new values.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _T = TypeVar("_T", bound=DataclassInstance)
else:
    _T = TypeVar("_T")

_NOT_TAKEN = frozenset({"__slots__", "__getstate__", "__setstate__"})
"""What a class of copies does not take from the class of the first object."""


class Mould(Generic[_T]):
    """Copies of `first`, an instance of a frozen dataclass with slots; `varies` are the fields that differ.

    Neither `__init__` nor `__post_init__` runs. So the new values must already pass their checks, and a field that
    `__post_init__` computes must be the same as in `first`, or among `varies`. A mould has no repr, because `first` may
    hold keys.

    A copy behaves as an instance of the class of `first`: isinstance, ==, hash, repr, `dataclasses.replace`, copy and
    pickle take it for one. The last three give an instance of that class itself. Only `type` shows the difference.
    """

    __slots__ = ("_class", "_puts")

    def __init__(self, first: _T, *varies: str) -> None:
        self._class = _class_of_copies(first, varies)
        self._puts = tuple(vars(self._class)[name].__set__ for name in varies)

    def make(self, *values: Any) -> _T:
        """A copy of the first with these values, in the order of `varies`."""
        made: _T = object.__new__(self._class)
        for put, value in zip(self._puts, values, strict=True):
            put(made, value)
        return made


def _class_of_copies(first: _T, varies: tuple[str, ...]) -> type[Any]:
    """A class with slots for `varies`; the other fields of `first` are attributes of the class."""
    whole = first.__class__  # the dataclass, also where `first` is a copy out of another mould
    same = {field.name: getattr(first, field.name) for field in fields(first)}
    taken = {name: value for name, value in vars(whole).items() if name not in same and name not in _NOT_TAKEN}
    for name in varies:
        del same[name]
    own = {
        "__slots__": varies,
        "__qualname__": whole.__qualname__,
        "__class__": property(lambda copied: whole),  # which isinstance, __eq__ and `replace` look at
        "__reduce__": lambda copied: (_whole, (whole, *(getattr(copied, field.name) for field in fields(copied)))),
    }
    return type(whole.__name__, whole.__bases__, {**taken, **same, **own})


def _whole(of: type[Any], *values: Any) -> Any:
    """An instance of a dataclass with these values, in the order of its fields."""
    made = object.__new__(of)
    for field, value in zip(fields(of), values, strict=True):
        object.__setattr__(made, field.name, value)
    return made
