"""Tables of states by a key. Nearly every key has one state, which is kept without a list around it.

For a hundred thousand SAs the lists and dictionaries would take 30 MB.

What this does not do: say which state of a key is the right one (index.py), or keep the kernel's buckets (buckets.py).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from espsim.sad.entry import SadEntry

_K = TypeVar("_K", bound=Hashable)


class Chains(Generic[_K]):
    """The states of each key, the newest first."""

    __slots__ = ("_table",)

    def __init__(self) -> None:
        self._table: dict[_K, SadEntry | list[SadEntry]] = {}

    def of(self, key: _K) -> Collection[SadEntry]:
        """The states of a key. Don't keep the result: it may be the table's own list."""
        found = self._table.get(key, ())
        return (found,) if isinstance(found, SadEntry) else found

    def push(self, key: _K, entry: SadEntry) -> None:
        """Put a state before the others of its key."""
        found = self._table.get(key)
        if found is None:
            self._table[key] = entry
        elif isinstance(found, SadEntry):
            self._table[key] = [entry, found]
        else:
            found.insert(0, entry)

    def take_out(self, key: _K, entry: SadEntry) -> None:
        """Take a state out that is there under this key."""
        found = self._table[key]
        if found is entry:
            del self._table[key]
            return
        assert isinstance(found, list)  # noqa: S101 - the state is there
        found.remove(entry)
        if len(found) == 1:
            self._table[key] = found[0]

    def shared(self) -> Iterator[list[SadEntry]]:
        """The chains of keys with more than one state. They may be sorted in place."""
        return (found for found in self._table.values() if isinstance(found, list))


class BySpi:
    """The states of each SPI, in the order in which they got it. Taking one out costs the same of many as of few."""

    __slots__ = ("_table",)

    def __init__(self) -> None:
        self._table: dict[int, SadEntry | dict[int, SadEntry]] = {}

    def of(self, spi: int) -> Collection[SadEntry]:
        """The states that have an SPI."""
        found = self._table.get(spi, ())
        if isinstance(found, SadEntry):
            return (found,)
        return found.values() if isinstance(found, dict) else found

    def add(self, spi: int, entry: SadEntry) -> None:
        """A state has an SPI now."""
        found = self._table.get(spi)
        if found is None:
            self._table[spi] = entry
        elif isinstance(found, SadEntry):
            self._table[spi] = {found.sa_index: found, entry.sa_index: entry}
        else:
            found[entry.sa_index] = entry

    def remove(self, spi: int, entry: SadEntry) -> None:
        """Take a state out that is there under this SPI."""
        found = self._table[spi]
        if found is entry:
            del self._table[spi]
            return
        assert isinstance(found, dict)  # noqa: S101 - the state is there
        del found[entry.sa_index]
        if len(found) == 1:
            (self._table[spi],) = found.values()

    def shared(self) -> dict[int, Mapping[int, SadEntry]]:
        """By SPI, the states by `sa_index`, of each SPI that several states have."""
        return {spi: found for spi, found in self._table.items() if isinstance(found, dict)}

    def reorder(self, spi: int, indices: Collection[int]) -> None:
        """Put the states of a shared SPI into this order of their `sa_index`."""
        found = self._table[spi]
        assert isinstance(found, dict)  # noqa: S101 - several have it
        self._table[spi] = {index: found[index] for index in indices}
