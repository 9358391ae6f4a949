"""The tables of a device, one class a kind. A table knows keys, places and rows; a driver decides what to do
about a duplicate or a full table (driver.py).

A place is a number: a direct table's slot, an exact table's row, a hash's way * sets + row.
"""

from __future__ import annotations

import abc
import bisect
import functools
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from espsim.offload.caps import need
from espsim.offload.hashing import crc32c, vendor_hash
from espsim.offload.keys import FieldValues, PacketKey, of_packet, of_sa, words
from espsim.offload.model import Model
from espsim.offload.schema import Aux, Index, Lookup
from espsim.sad.association import SecurityAssociation
from espsim.sad.longest import AddressMatch, longest_match

_FIRST = "inbound.lookup.0"

Signature = tuple[tuple[str, ...], int]
"""The fields that an exact table's row compares, and the mask of its mark."""


@dataclass(slots=True, eq=False)
class Entry:
    """One SA that a driver took. `place`: in the key table (of a duplicate, the first SA's); None: never written.

    `slot`: of the array after the key table, where there is one. `first`: of a duplicate under keep_first, the SA
    whose entry was kept; `heirs`: of that one, its duplicates. `identity`: what the driver compares, None: nothing.
    """

    sa_index: int
    sa: SecurityAssociation
    port: int
    order: int
    place: int | None = None
    slot: int | None = None
    identity: FieldValues | None = None
    first: Entry | None = None
    heirs: list[Entry] = field(default_factory=list)


class Row(NamedTuple):
    """What a place of the key table holds: who wrote it, and the array slot that it names."""

    entry: Entry
    target: int | None


class Table(abc.ABC):
    """A key table. Subclasses define where a key goes and which places a packet's key finds."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self._spis: dict[int, int] = {}

    @abc.abstractmethod
    def place_for(self, sa: SecurityAssociation, port: int) -> int | None:
        """Where this SA's entry would go, occupied or not; None: there is no room."""

    @abc.abstractmethod
    def find(self, key: PacketKey) -> list[int]:
        """The occupied places that answer to a packet."""

    @abc.abstractmethod
    def twins(self, sa: SecurityAssociation, port: int) -> list[int]:
        """The occupied places whose key is equal to the SA's, oldest first."""

    def write(self, place: int, row: Row) -> None:
        """Fill a free place."""
        self.rows[place] = row
        self._spis[place] = row.entry.sa.spi

    def clear(self, place: int) -> Row | None:
        """Empty a place. Its SPI stays readable, as in a register that a driver does not wipe."""
        return self.rows.pop(place, None)

    def lowest_with_spi(self, spi: int) -> int | None:
        """The lowest place that has or had this SPI, for a driver that scans for the SPI alone."""
        return min((place for place, stored in self._spis.items() if stored == spi), default=None)


class DirectTable(Table):
    """An array that the SPI indexes: masked, or a slice of it added to a base that the packet's rule supplies."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model
        lookup = model.spec.inbound.lookup[0]
        self.index: Index = need(model, f"{_FIRST}.index", lookup.index)
        need(model, f"{_FIRST}.index.fn", self.index.fn)
        self.capacity = capacity_of(model, 0)
        self.bases: dict[FieldValues, int] = {}
        """Of each rule, the base to which its packets' slices of the SPI are added."""
        self._next_base = 0

    def place_for(self, sa: SecurityAssociation, port: int) -> int | None:
        """The slot; None where it would lie beyond the end."""
        rule = self._rule(of_sa(sa, port, self.rule_fields), sa.spi)
        if self.index.fn != "mask" and rule not in self.bases:
            self.bases[rule] = self._next_base
            self._next_base += self.slice[1] if self.index.fn == "slice_add" else 1
        slot = self._slot(sa.spi, rule)
        return None if slot is None or (self.capacity is not None and slot >= self.capacity) else slot

    def slot_of(self, key: PacketKey) -> int | None:
        """The slot a packet is steered to, occupied or not, perhaps beyond the end. None: no rule supplies a base."""
        return self._slot(key.spi, self._rule(of_packet(key, self.rule_fields), key.spi))

    def find(self, key: PacketKey) -> list[int]:
        """The packet's slot, if it is occupied."""
        slot = self.slot_of(key)
        return [slot] if slot is not None and slot in self.rows else []

    def twins(self, sa: SecurityAssociation, port: int) -> list[int]:
        """The SA's slot, if an SA with the same SPI is in it."""
        slot = self.place_for(sa, port)
        return [slot] if slot is not None and slot in self.rows and self.rows[slot].entry.sa.spi == sa.spi else []

    def _slot(self, spi: int, rule: FieldValues) -> int | None:
        if self.index.fn == "mask":
            offset, mask = self.masked
            return spi - offset & mask
        base = self.bases.get(rule)
        if base is None or self.index.fn == "rule":
            return base
        low, size, width = self.slice
        return base + (spi >> low & size - 1) & width

    def _rule(self, values: FieldValues, spi: int) -> FieldValues:
        """The key of a base: SAs share one if their rule fields are equal, the SPI's slice left out."""
        if not self.slice_in_rule:
            return values
        low, size, _width = self.slice
        return (*values, spi & ~(size - 1 << low))

    @property
    def slice_in_rule(self) -> bool:
        """Whether a rule names the SPI without its slice; that is the last value of its key in `bases` then."""
        return self.index.fn == "slice_add" and "spi" in self._model.spec.inbound.classify.key

    # Computed when first needed: an unknown stops only what needs it.

    @functools.cached_property
    def masked(self) -> tuple[int, int]:
        """(what is subtracted from the SPI, the mask)."""
        bits = need(self._model, f"{_FIRST}.index.bits", self.index.bits)
        span, offset = self._model.spec.inbound.program.spi_range, 0
        if need(self._model, f"{_FIRST}.index.subtract_min", self.index.subtract_min) and span is not None:
            offset = need(self._model, "inbound.program.spi_range.min", span.min)
        return offset, (1 << bits) - 1

    @functools.cached_property
    def slice(self) -> tuple[int, int, int]:
        """(the lowest bit of the SPI's slice, how many values it has, the mask of the sum)."""
        low = need(self._model, f"{_FIRST}.index.lo", self.index.lo)
        high = need(self._model, f"{_FIRST}.index.hi", self.index.hi)
        width = need(self._model, f"{_FIRST}.index.width", self.index.width)
        return low, 1 << high - low + 1, (1 << width) - 1

    @functools.cached_property
    def rule_fields(self) -> tuple[str, ...]:
        """What of a packet names its rule, the SPI left out where it is sliced."""
        if self.index.fn == "mask":
            return ()
        fields = need(self._model, "inbound.classify.key", self._model.spec.inbound.classify.key)
        return tuple(f for f in fields if f != "spi" or self.index.fn == "rule")


class HashTable(Table):
    """`ways` places in each of `sets` rows; a key goes to its first free way. Skewed: a row index for each way."""

    def __init__(self, model: Model, seed: int) -> None:
        super().__init__()
        lookup = model.spec.inbound.lookup[0]
        index: Index = need(model, f"{_FIRST}.index", lookup.index)
        fn = need(model, f"{_FIRST}.index.fn", index.fn)
        self.hash = crc32c if fn == "crc32c" else vendor_hash
        self.seed = seed
        self.fields = tuple(key_fields(model, lookup))
        self.sets = need(model, f"{_FIRST}.sets", lookup.sets)
        if need(model, f"{_FIRST}.index.chained", index.chained):
            self.limit: int | None = index.max_chain if isinstance(index.max_chain, int) else None
        else:
            self.limit = need(model, f"{_FIRST}.ways", lookup.ways)
        self.skewed = need(model, f"{_FIRST}.per_way_index", lookup.per_way_index)
        self._by_key: dict[FieldValues, list[int]] = {}

    def place_for(self, sa: SecurityAssociation, port: int) -> int | None:
        """The first free way; None: all are taken."""
        places = self._places(of_sa(sa, port, self.fields))
        return next((place for place in places if place not in self.rows), None)

    def find(self, key: PacketKey) -> list[int]:
        """The places with this key, first way first."""
        return list(self._by_key.get(of_packet(key, self.fields), ()))

    def twins(self, sa: SecurityAssociation, port: int) -> list[int]:
        """As `find`."""
        return list(self._by_key.get(of_sa(sa, port, self.fields), ()))

    def write(self, place: int, row: Row) -> None:
        """Fill a free place."""
        super().write(place, row)
        bisect.insort(self._by_key.setdefault(self._key_of(row), []), place)

    def clear(self, place: int) -> Row | None:
        """Empty a place."""
        row = super().clear(place)
        if row is not None:
            key = self._key_of(row)
            self._by_key[key].remove(place)
            if not self._by_key[key]:
                del self._by_key[key]
        return row

    def _key_of(self, row: Row) -> FieldValues:
        return of_sa(row.entry.sa, row.entry.port, self.fields)

    def _places(self, key: FieldValues) -> Iterator[int]:
        """Where a key may be, way after way. Numbers go up with the ways."""
        key_words = words(key)
        row = self.hash(key_words, self.seed, 0) % self.sets
        for way in itertools.count() if self.limit is None else range(self.limit):
            if self.skewed and way:
                row = self.hash(key_words, self.seed, way) % self.sets
            yield way * self.sets + row


class FreeNumbers:
    """The numbers below a limit that `taken` does not have."""

    def __init__(self, taken: Mapping[int, object], limit: int | None) -> None:
        self._taken = taken
        self._limit = limit
        self._next = 0
        self._back: list[int] = []
        """A heap. Every free number below `_next` is in it, and perhaps some that were taken again."""

    def lowest(self) -> int | None:
        """The lowest; None: there is none."""
        while self._back and self._back[0] in self._taken:
            heapq.heappop(self._back)
        if self._back:
            return self._back[0]
        while self._next in self._taken:
            self._next += 1
        return None if self._limit is not None and self._next >= self._limit else self._next

    def give_back(self, number: int) -> None:
        """Remember a number that was taken and no longer is."""
        if number < self._next:
            heapq.heappush(self._back, number)


class ExactTable(Table):
    """Rows that compare whole keys. A rule may leave fields out and look at a mark under a mask, as flow rules do.

    `longest`: several lists of fields; an SA goes under the longest whose addresses it has, and the longest match wins.
    """

    def __init__(self, model: Model, limit: int | None) -> None:
        super().__init__()
        lookup = model.spec.inbound.lookup[0]
        self.longest = lookup.kind == "longest"
        self._answers = lookup.kind != "none"
        key: list[Any] = need(model, f"{_FIRST}.key", lookup.key)
        self._lists: list[tuple[str, ...]] = [*map(tuple, key)] if self.longest else [tuple(key)]
        omit = need(model, f"{_FIRST}.omit_zero", lookup.omit_zero)
        self._omit: Sequence[str] = ("src", "dst") if self.longest else omit
        yes_no = (False, True)
        self._fields = {(src, dst): self._fields_without(src, dst) for src in yes_no for dst in yes_no}
        self._free = FreeNumbers(self.rows, limit)
        self._by_key: dict[Signature, dict[FieldValues, list[int]]] = {}
        self._by_spi: dict[int, dict[int, AddressMatch]] = {}

    def place_for(self, sa: SecurityAssociation, port: int) -> int | None:
        """The lowest free row; None: the table is full."""
        return self._free.lowest()

    def find(self, key: PacketKey) -> list[int]:
        """The rows that match, lowest first."""
        if self.longest:
            rules = self._by_spi.get(key.spi, {}) if self._answers else {}
            return sorted(longest_match(((rule, place) for place, rule in rules.items()), key.src, key.dst))
        found: list[int] = []
        for fields, mask in self.signatures:
            found += self._by_key[fields, mask].get(of_packet(key, fields, mask), ())
        return sorted(found)

    @property
    def signatures(self) -> Sequence[Signature]:
        """The signatures that a packet is looked up by, in order; of `longest` the first that finds something wins."""
        if not self._answers:
            return ()
        return sorted(self._by_key, key=lambda s: -len(s[0])) if self.longest else [*self._by_key]

    def keyed(self, signature: Signature) -> Mapping[FieldValues, Sequence[int]]:
        """The rows under a signature, by their values."""
        return self._by_key[signature]

    def twins(self, sa: SecurityAssociation, port: int) -> list[int]:
        """The rows with the same fields, masks and values, oldest first."""
        signature, values = self._rule(sa, port)
        return list(self._by_key.get(signature, {}).get(values, ())) if self._answers else []

    def write(self, place: int, row: Row) -> None:
        """Fill a free row."""
        super().write(place, row)
        signature, values = self._rule(row.entry.sa, row.entry.port)
        self._by_key.setdefault(signature, {}).setdefault(values, []).append(place)
        if self.longest:
            sa, fields = row.entry.sa, signature[0]
            rule = AddressMatch(sa.dst if "dst" in fields else None, sa.src if "src" in fields else None)
            self._by_spi.setdefault(sa.spi, {})[place] = rule

    def clear(self, place: int) -> Row | None:
        """Empty a row and give it back."""
        row = super().clear(place)
        if row is not None:
            signature, values = self._rule(row.entry.sa, row.entry.port)
            self._by_key[signature][values].remove(place)
            if not self._by_key[signature][values]:
                del self._by_key[signature][values]
            if not self._by_key[signature]:
                del self._by_key[signature]
            if self.longest:
                self._by_spi[row.entry.sa.spi].pop(place)
            self._free.give_back(place)
        return row

    def _rule(self, sa: SecurityAssociation, port: int) -> tuple[Signature, FieldValues]:
        fields = self._fields[not any(sa.src), not any(sa.dst)]
        return (fields, sa.mark.mask if "mark" in fields else 0), of_sa(sa, port, fields)

    def _fields_without(self, src: bool, dst: bool) -> tuple[str, ...]:
        """The fields of an entry whose source, whose destination are zero."""
        zero = {f for f, is_zero in (("src", src), ("dst", dst)) if is_zero and f in self._omit}
        if self.longest:
            return max((k for k in self._lists if not zero & set(k)), key=len, default=("spi",))
        return tuple(f for f in self._lists[0] if f not in zero)


class SlotArray:
    """The array after a key table: SA contexts, at the number that the key table gives."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.slots: dict[int, Entry] = {}
        self._free = FreeNumbers(self.slots, limit)

    def first_free(self) -> int | None:
        """The lowest free slot; None: all are taken."""
        return self._free.lowest()

    def take(self, slot: int, entry: Entry) -> None:
        """Put an entry in a slot."""
        self.slots[slot] = entry

    def release(self, slot: int, entry: Entry) -> None:
        """Free a slot, if it still is this entry's."""
        if self.slots.get(slot) is entry:
            del self.slots[slot]
            self._free.give_back(slot)


class AuxTable:
    """A second table that every entry needs a row of; with `refcount` equal keys share one."""

    def __init__(self, model: Model, n: int, aux: Aux) -> None:
        at = f"{_FIRST}.aux.{n}"
        self.name = aux.name
        self.errno_key, self.errno = f"{at}.errno", aux.errno
        self.limit = limit_of(model, f"{at}.capacity", aux.capacity)
        self._fields = tuple(need(model, f"{at}.key", aux.key))
        self._shared = need(model, f"{at}.refcount", aux.refcount)
        self.rows: Counter[FieldValues] = Counter()

    def has_room(self, entry: Entry) -> bool:
        """Whether an entry finds a row, shared or new."""
        return self.limit is None or self._key(entry) in self.rows or len(self.rows) < self.limit

    def take(self, entry: Entry) -> None:
        """Count an entry in."""
        self.rows[self._key(entry)] += 1

    def release(self, entry: Entry) -> None:
        """Count an entry out; the last one frees the row."""
        key = self._key(entry)
        self.rows[key] -= 1
        if self.rows[key] <= 0:
            del self.rows[key]

    def _key(self, entry: Entry) -> FieldValues:
        values = of_sa(entry.sa, entry.port, self._fields)
        return values if self._shared else (*values, entry.order)


def make_table(model: Model, seed: int) -> Table:
    """The key table of a model, empty. UnknownReached where its shape is not public."""
    lookup = model.spec.inbound.lookup[0]
    kind = need(model, f"{_FIRST}.kind", lookup.kind)
    if kind == "direct":
        return DirectTable(model)
    if kind == "hash":
        return HashTable(model, seed)
    return ExactTable(model, capacity_of(model, 0))


def key_fields(model: Model, lookup: Lookup) -> list[str]:
    """The fields of a key that is one list."""
    key: list[Any] = need(model, f"{_FIRST}.key", lookup.key)
    return key


def capacity_of(model: Model, n: int) -> int | None:
    """The rows of a lookup table; None: as many as are needed."""
    return limit_of(model, f"inbound.lookup.{n}.capacity", model.spec.inbound.lookup[n].capacity)


def limit_of(model: Model, key: str, capacity: int | str) -> int | None:
    """A capacity as a number; None for memory, config and shared, which do not limit."""
    value = need(model, key, capacity)
    return value if isinstance(value, int) else None
