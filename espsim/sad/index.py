"""The hash tables of the SAD (state_byspi, state_byseq, the search for an acquire): where states are found.

1. Every state with an SPI is in `_by_triple` under (daddr, SPI, protocol), newest first; the first match of mark wins.
2. The same states are in `_by_spi` under the SPI alone, oldest first.
3. Larval states with SPI 0 are found by their tuple (the newest first) or their sequence number, never by SPI 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, ValuesView
from typing import TypeVar

from espsim.core.address import Address, family
from espsim.sad.association import SecurityAssociation
from espsim.sad.entry import SadEntry, State

_K = TypeVar("_K", bound=Hashable)


class StateIndex:
    """Where states are found. `port_key`: the UDP destination port belongs to the triple (`encap-port-key`)."""

    def __init__(self, *, port_key: bool = False) -> None:
        self.port_key = port_key
        self._entries: dict[int, SadEntry] = {}
        self._by_triple: dict[tuple[Address, int, int], list[SadEntry]] = {}
        self._by_spi: dict[int, dict[int, SadEntry]] = {}
        self._acquires: dict[tuple[object, ...], list[SadEntry]] = {}
        self._by_seq: dict[int, list[SadEntry]] = {}
        self._next_index = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[SadEntry]:
        """Every entry, oldest first."""
        return iter(list(self._entries.values()))

    def newest(self) -> SadEntry | None:
        """The state that came last."""
        return next(reversed(self._entries.values()), None)

    @property
    def next_index(self) -> int:
        """The sa_index that the next state will have: whoever must name it before it is there may (a driver)."""
        return self._next_index

    def __contains__(self, entry: object) -> bool:
        return isinstance(entry, SadEntry) and self._entries.get(entry.sa_index) is entry

    def lookup(self, daddr: Address, spi: int, proto: int, mark: int = 0, port: int | None = None) -> SadEntry | None:
        """The state of a triple under a mark (__xfrm_state_lookup): newest first, first match wins."""
        for entry in self._by_triple.get((daddr, spi, proto), ()):
            sa_mark = entry.sa.mark
            if mark & sa_mark.mask == sa_mark.value and not (self.port_key and _port(entry.sa) != port):
                return entry
        return None

    def locate(self, sa: SecurityAssociation, spi: int, af: int | None = None) -> SadEntry | None:
        """The state that `sa` would meet under `spi` (xfrm_state_lookup with the mark of `sa`)."""
        daddr = daddr_key(sa.dst, af)
        return self.lookup(daddr, spi, sa.proto, sa.mark.value & sa.mark.mask, _port(sa))

    def with_spi(self, spi: int) -> ValuesView[SadEntry]:
        """Every state that has an SPI, oldest first, whatever its protocol."""
        return self._by_spi.get(spi, {}).values()

    def acquire_like(self, sa: SecurityAssociation, af: int | None = None) -> SadEntry | None:
        """The SPI-0 larval state of the same tuple (__find_acq_core): the mark is a wildcard, if_id is not compared."""
        mark = sa.mark.value & sa.mark.mask
        for entry in self._acquires.get(_tuple_of(sa, af), ()):
            if entry.sa.mark.matches(mark):
                return entry
        return None

    def acquire_by_seq(self, seq: int, mark: int, pcpu: int | None) -> SadEntry | None:
        """The larval state of an ACQUIRE (__xfrm_find_acq_byseq), with or without an SPI."""
        for entry in self._by_seq.get(seq, ()) if seq else ():
            if entry.state is State.LARVAL and entry.sa.pcpu == pcpu and entry.sa.mark.matches(mark):
                return entry
        return None

    # -- for the owner of the states alone ----------------------------------------------------------------------

    def take_index(self) -> int:
        """The next sa_index; none is given twice."""
        self._next_index += 1
        return self._next_index - 1

    def insert(self, entry: SadEntry) -> SadEntry:
        """Put a new state in, as the newest."""
        self._entries[entry.sa_index] = entry
        if entry.seq:
            self._by_seq.setdefault(entry.seq, []).append(entry)
        if entry.sa.spi:
            self.link_spi(entry)
        elif entry.state is State.LARVAL:
            self._acquires.setdefault(_tuple_of(entry.sa, entry.af), []).insert(0, entry)
        return entry

    def link_spi(self, entry: SadEntry) -> None:
        """A state has an SPI now: it can be found by it."""
        sa = entry.sa
        self._by_triple.setdefault((daddr_key(sa.dst, entry.af), sa.spi, sa.proto), []).insert(0, entry)
        self._by_spi.setdefault(sa.spi, {})[entry.sa_index] = entry

    def unlink_acquire(self, entry: SadEntry) -> None:
        """A larval state is no longer one with SPI 0."""
        key = _tuple_of(entry.sa, entry.af)
        if entry in self._acquires.get(key, ()):
            _take_out(self._acquires, key, entry)

    def remove(self, entry: SadEntry) -> bool:
        """Take a state out. False: it was not in."""
        sa = entry.sa
        if self._entries.pop(entry.sa_index, None) is None:
            return False
        if entry.seq:
            _take_out(self._by_seq, entry.seq, entry)
        if not sa.spi:
            self.unlink_acquire(entry)
            return True
        _take_out(self._by_triple, (daddr_key(sa.dst, entry.af), sa.spi, sa.proto), entry)
        same = self._by_spi[sa.spi]
        del same[entry.sa_index]
        if not same:
            del self._by_spi[sa.spi]
        return True


def daddr_key(daddr: Address, af: int | None) -> Address:
    """What stands for (daddr, family) in the hash: an odd family, which netlink lets through, matches only itself."""
    return daddr if af is None or af == family(daddr) else daddr + af.to_bytes(2)


def _port(sa: SecurityAssociation) -> int | None:
    return sa.encap.dport if sa.encap is not None else None


def _tuple_of(sa: SecurityAssociation, af: int | None) -> tuple[object, ...]:
    """What __find_acq_core compares, but for the mark; if_id is not among it."""
    return (sa.reqid, sa.mode, sa.proto, daddr_key(sa.dst, af), sa.src, sa.pcpu)


def _take_out(index: dict[_K, list[SadEntry]], key: _K, entry: SadEntry) -> None:
    bucket = index[key]
    bucket.remove(entry)
    if not bucket:
        del index[key]
