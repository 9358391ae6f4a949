"""The hash tables of the SAD (state_byspi, state_byseq, the search for an acquire): where states are found.

1. Every state with an SPI is in `by_spi` under it, oldest first.
2. The states of an SPI that several have are in `by_triple` too, under (daddr, SPI, protocol), newest first. A lone one
   is its triple's only state: of a hundred thousand SAs the second table would take 11 MB.
3. Larval states with SPI 0 are found by their tuple (the newest first) or their sequence number, never by SPI 0.
4. States of protocols without an SPI are in `by_pair` under their two addresses, newest first.
5. Where the kernel's buckets are kept (`hashed`), a resize of its tables puts 2, 3 and 4 into the order that it leaves.

Packets use `lookup`, by the triple (`of_triple`); the first match of mark wins. The other tables serve the control
plane.

What this does not do: it does not decide whether a state may be used (reference/inbound.py) or which SPIs may be there
twice (spi.py). RFC 4301's longest match is in longest.py, a device's tables are in offload/tables.py.

Sources: RFC 4301 4.1, RFC 4303 3.4.2; Linux net/xfrm/xfrm_state.c, the functions named below.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import TypeVar

from espsim.core.address import AF_INET, AF_INET6, Address, family, in_family
from espsim.sad.association import MODE_NUMBERS, NO_MARK, PROTO_NAMES, SecurityAssociation
from espsim.sad.buckets import Buckets
from espsim.sad.chains import BySpi, Chains
from espsim.sad.entry import SadEntry, State

_K = TypeVar("_K", bound=Hashable)


class StateIndex:
    """Where states are found. It belongs to a `Sad`, which alone puts states in and takes them out.

    `port_key`: the UDP destination port belongs to the triple (`encap-port-key`). `hashed`: keep the kernel's buckets.

    Two more tables keep a namespace's clock from looking at all states. `timed` has states with limits whose timers
    have not started: they are new or renewed, or no packet has used them. The clock starts a timer and takes the state
    out. `mapped` has the states that send NAT keepalives. Both are in the order in which the states came.
    """

    def __init__(self, *, port_key: bool = False, hashed: bool = False) -> None:
        self.port_key = port_key
        self.buckets = Buckets() if hashed else None
        self.entries: dict[int, SadEntry] = {}
        self.by_triple: Chains[tuple[Address, int, int]] = Chains()
        self.by_spi = BySpi()
        self.by_pair: dict[tuple[Address, Address, int], list[SadEntry]] = {}
        self.acquires: dict[tuple[object, ...], list[SadEntry]] = {}
        self.by_seq: dict[int, list[SadEntry]] = {}
        self.next_index = 0  # the sa_index of the next state
        self._clocked = hashed
        self.timed: dict[int, SadEntry] = {}
        self.mapped: dict[int, SadEntry] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[SadEntry]:
        """Every entry, oldest first."""
        return iter(list(self.entries.values()))

    def newest(self) -> SadEntry | None:
        """The state that came last."""
        return next(reversed(self.entries.values()), None)

    def __contains__(self, entry: object) -> bool:
        return isinstance(entry, SadEntry) and self.entries.get(entry.sa_index) is entry

    def lookup(
        self, triple: tuple[Address, int, int], mark: int | None = 0, port: int | None = None
    ) -> SadEntry | None:  # fmt: skip
        """The state of a triple under a mark (__xfrm_state_lookup; None: any): newest first, first match wins."""
        for entry in self.of_triple(triple):
            of_sa = entry.sa.mark
            if (of_sa is NO_MARK or of_sa.matches(mark)) and not (self.port_key and _port(entry.sa) != port):
                return entry
        return None

    def of_triple(self, triple: tuple[Address, int, int]) -> Collection[SadEntry]:
        """The states of (daddr, SPI, protocol), newest first, where daddr is a `daddr_key`. Don't keep the result."""
        daddr, spi, proto = triple
        found = self.by_spi.of(spi)
        if len(found) > 1:
            return self.by_triple.of(triple)
        for entry in found:
            if entry.sa.proto == proto and daddr_key(entry.sa.dst, entry.af) == daddr:
                return found
        return ()

    def locate(self, sa: SecurityAssociation, spi: int, af: int | None = None) -> SadEntry | None:
        """The state that `sa` would meet (__xfrm_state_locate): under `spi`, or by its addresses without one."""
        mark = sa.mark.value & sa.mark.mask
        if sa.proto not in PROTO_NAMES:
            return self.by_addresses(sa.src, sa.dst, sa.proto, mark, af)
        return self.lookup((daddr_key(sa.dst, af), spi, sa.proto), mark, _port(sa)) if spi else None

    def by_addresses(
        self, src: Address, dst: Address, proto: int, mark: int = 0, af: int | None = None
    ) -> SadEntry | None:
        """The state of a protocol without an SPI under a mark (__xfrm_state_lookup_byaddr)."""
        for entry in self.by_pair.get((daddr_key(dst, af), src, proto), ()):
            if entry.sa.mark.matches(mark):
                return entry
        return None

    def with_spi(self, spi: int) -> Collection[SadEntry]:
        """Every state that has an SPI, oldest first, whatever its protocol."""
        return self.by_spi.of(spi)

    def acquire_like(self, sa: SecurityAssociation, af: int | None = None, mode: int | None = None) -> SadEntry | None:
        """The SPI-0 larval state of the same tuple (__find_acq_core): the mark is a wildcard, if_id is not compared."""
        mark = sa.mark.value & sa.mark.mask
        if not self.acquires:  # as while a hundred thousand SAs are read
            return None
        for entry in self.acquires.get(_tuple_of(sa, af, mode), ()):
            if entry.sa.mark.matches(mark):
                return entry
        return None

    def acquire_by_seq(self, seq: int, mark: int, pcpu: int | None) -> SadEntry | None:
        """The larval state of an ACQUIRE (__xfrm_find_acq_byseq), with or without an SPI."""
        for entry in self.by_seq.get(seq, ()) if seq else ():
            if entry.state is State.LARVAL and entry.sa.pcpu == pcpu and entry.sa.mark.matches(mark):
                return entry
        return None

    # -- for the owner of the states alone ----------------------------------------------------------------------

    def take_index(self) -> int:
        """The next sa_index; none is given twice."""
        self.next_index += 1
        return self.next_index - 1

    def insert(self, entry: SadEntry) -> SadEntry:
        """Put a new state in, as the newest."""
        sa = entry.sa
        self.entries[entry.sa_index] = entry
        if entry.seq:
            self.by_seq.setdefault(entry.seq, []).insert(0, entry)
        if sa.proto not in PROTO_NAMES:
            self.by_pair.setdefault(_pair_of(entry), []).insert(0, entry)
        if sa.spi:
            self.link_spi(entry)
        elif entry.state is State.LARVAL:
            self.acquires.setdefault(_tuple_of(sa, entry.af, entry.mode), []).insert(0, entry)
        self.renewed(entry)
        if self._clocked and sa.nat_keepalive:
            self.mapped[entry.sa_index] = entry
        if self.buckets is not None and self.buckets.insert(entry):
            self._rehash(self.buckets.resize())
        return entry

    def renewed(self, entry: SadEntry) -> None:
        """A state has limits that the clock has not seen."""
        if self._clocked and entry.sa.limited:
            self.timed[entry.sa_index] = entry

    def link_spi(self, entry: SadEntry) -> None:
        """A state has an SPI now: it can be found by it."""
        spi = entry.sa.spi
        others = self.by_spi.of(spi)
        if len(others) == 1:
            for lone in others:
                self.by_triple.push(_triple_of(lone), lone)
        if others:
            self.by_triple.push(_triple_of(entry), entry)
        self.by_spi.add(spi, entry)

    def unlink_acquire(self, entry: SadEntry) -> None:
        """A larval state has got an SPI other than 0."""
        key = _tuple_of(entry.sa, entry.af, entry.mode)
        if entry in self.acquires.get(key, ()):
            _take_out(self.acquires, key, entry)

    def chains(self) -> dict[str, list[list[SadEntry]]]:
        """By table, the states that share a key, the one that is found first at the head of each list."""
        tables: dict[str, Iterable[list[SadEntry]]] = {
            "by_triple": self.by_triple.shared(), "by_pair": self.by_pair.values(),
            "acquires": self.acquires.values(), "by_seq": self.by_seq.values(),
        }  # fmt: skip
        return {name: [chain for chain in chains if len(chain) > 1] for name, chains in tables.items()}

    def _rehash(self, moved: list[SadEntry]) -> None:
        """The tables were resized: of the states of one key the one that was taken over last is found first."""
        place = {entry.sa_index: at for at, entry in enumerate(moved)}
        for chain in itertools.chain(*self.chains().values()):
            chain.sort(key=lambda entry: -place[entry.sa_index])

    def remove(self, entry: SadEntry) -> bool:
        """Take a state out. False: it was not in."""
        sa = entry.sa
        if self.entries.pop(entry.sa_index, None) is None:
            return False
        self.timed.pop(entry.sa_index, None)
        self.mapped.pop(entry.sa_index, None)
        if self.buckets is not None:
            self.buckets.remove(entry)
        if sa.proto not in PROTO_NAMES:
            _take_out(self.by_pair, _pair_of(entry), entry)
        if entry.seq:
            _take_out(self.by_seq, entry.seq, entry)
        if not sa.spi:
            self.unlink_acquire(entry)
            return True
        self._unlink_spi(entry)
        return True

    def _unlink_spi(self, entry: SadEntry) -> None:
        spi = entry.sa.spi
        shared = len(self.by_spi.of(spi)) > 1
        self.by_spi.remove(spi, entry)
        if not shared:
            return
        self.by_triple.take_out(_triple_of(entry), entry)
        others = self.by_spi.of(spi)
        if len(others) == 1:
            for lone in others:
                self.by_triple.take_out(_triple_of(lone), lone)


def daddr_key(daddr: Address, af: int | None) -> Address:
    """The key of (daddr, family) in the hash: an odd family, which netlink lets through, matches only itself."""
    if af is None or af == family(daddr):
        return daddr
    known = in_family(daddr, af)
    return known if af in (AF_INET, AF_INET6) else known + af.to_bytes(2)


def _port(sa: SecurityAssociation) -> int | None:
    return sa.encap.dport if sa.encap is not None else None


def _tuple_of(sa: SecurityAssociation, af: int | None, mode: int | None) -> tuple[object, ...]:
    """What __find_acq_core compares, but for the mark; if_id is not among it."""
    number = MODE_NUMBERS.get(sa.mode, -1) if mode is None else mode
    return (sa.reqid, number, sa.proto, daddr_key(sa.dst, af), daddr_key(sa.src, af), sa.pcpu)


def _triple_of(entry: SadEntry) -> tuple[Address, int, int]:
    sa = entry.sa
    return daddr_key(sa.dst, entry.af), sa.spi, sa.proto


def _pair_of(entry: SadEntry) -> tuple[Address, Address, int]:
    return daddr_key(entry.sa.dst, entry.af), entry.sa.src, entry.sa.proto


def _take_out(index: dict[_K, list[SadEntry]], key: _K, entry: SadEntry) -> None:
    bucket = index[key]
    bucket.remove(entry)
    if not bucket:
        del index[key]
