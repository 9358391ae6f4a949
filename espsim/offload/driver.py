"""What a driver does when an SA is added or deleted: [inbound.program] of a model.

An SA is added:

1. Capabilities, SPI range and rules may refuse it.
2. The table has an entry of equal identity: `duplicate`.
3. The slot is taken: `duplicate` or, for another SPI, `alias`.
4. There is no room: `full`.
5. Otherwise the entry is written.

An SA is deleted by what the driver remembers (handle, slot, key) or looks for (SPI). Where the place holds another SA's
entry, `duplicate_delete` says what becomes of that one.

What this does not do: change keys or lifetimes of an SA in the device, or move entries.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

from espsim.offload.caps import Refusal, need, refusal, shape_of
from espsim.offload.hardware import Hardware
from espsim.offload.keys import FieldValues, of_sa
from espsim.offload.model import Model
from espsim.offload.schema import OutcomeSpec
from espsim.offload.tables import Entry, Row, Table
from espsim.sad.association import SecurityAssociation

_PROGRAM = "inbound.program"
_RANGE = f"{_PROGRAM}.spi_range"


class Installed(NamedTuple):
    """The driver's answer to an add. `errno` None: success. `in_table`: an entry that packets can reach was written.

    `slot` is where a packet's lookup ends; where a duplicate was kept in an SA array, no lookup ends there. `note` is a
    sentence.
    """

    errno: str | None
    in_table: bool
    slot: int | None
    note: str


class Driver:
    """One driver programming one device. It remembers what it was given and accepted."""

    def __init__(self, model: Model, hardware: Hardware) -> None:
        self._model = model
        self._hardware = hardware
        self._inbound = model.spec.inbound
        self._program = model.spec.inbound.program
        self.held: dict[int, Entry] = {}
        self._by_identity: dict[FieldValues | None, list[Entry]] = {}  # under None: nothing
        self._refusals: dict[object, Refusal | None] = {}
        self._order = 0

    # -- adding -------------------------------------------------------------------------------------------------

    def add(self, sa_index: int, sa: SecurityAssociation, port: int) -> Installed:
        """Offer an SA. ValueError: this index is in the device already."""
        if sa_index in self.held:
            raise ValueError(f"sa_index {sa_index} is in the device already")
        refused = self._refusal(sa) or self._out_of_range(sa) or self._rules_full(sa, port)
        if refused is not None:
            return _refused(refused.errno, refused.why)
        entry = Entry(sa_index, sa, port, self._order)
        entry.identity = self._identity(entry)
        self._order += 1
        twin = self._same_identity(entry)
        installed = self._install(entry) if twin is None else self._meets(entry, twin, "duplicate")
        if installed.errno is None:
            self.held[sa_index] = entry
            if self._hardware.has_rules:
                self._hardware.rules[self._rule_of(sa, port)] += 1
        return installed

    def _refusal(self, sa: SecurityAssociation) -> Refusal | None:
        """What the capabilities say. Many SAs have few shapes: the answer for each shape is kept."""
        shape = shape_of(sa)
        if shape is None:
            return refusal(self._model, sa)
        if shape not in self._refusals:
            self._refusals[shape] = refusal(self._model, sa)
        return self._refusals[shape]

    def _out_of_range(self, sa: SecurityAssociation) -> Refusal | None:
        span = self._program.spi_range
        if span is None:
            return None
        low, high = need(self._model, f"{_RANGE}.min", span.min), need(self._model, f"{_RANGE}.max", span.max)
        if low <= sa.spi <= high or need(self._model, f"{_RANGE}.outside", span.outside) == "ignore":
            return None
        errno = need(self._model, f"{_RANGE}.errno", span.errno)
        return Refusal(errno, f"SPI 0x{sa.spi:x} is outside the driver's range 0x{low:x} to 0x{high:x}")

    def _rule_of(self, sa: SecurityAssociation, port: int) -> FieldValues:
        return of_sa(sa, port, self._rule_fields)

    @functools.cached_property
    def _rule_fields(self) -> tuple[str, ...]:
        return tuple(need(self._model, "inbound.classify.key", self._inbound.classify.key))

    def _rules_full(self, sa: SecurityAssociation, port: int) -> Refusal | None:
        """A refusal where all rules are taken. A capacity that is not public is large enough (`Device.assumptions`)."""
        limit, rules = self._inbound.classify.capacity, self._hardware.rules
        if not isinstance(limit, int) or not self._hardware.has_rules or len(rules) < limit:
            return None
        if self._rule_of(sa, port) in rules:
            return None
        errno = need(self._model, f"{_PROGRAM}.full.errno", self._program.full.errno)
        return Refusal(errno, f"all {limit} rules of the classifier are taken")

    def _same_identity(self, entry: Entry) -> Entry | None:
        """The oldest entry in the table that the driver takes for the same SA."""
        others = self._by_identity.get(entry.identity, ())
        mark = entry.sa.mark.value & entry.sa.mark.mask
        by_mark = "mark" in self._program.identity
        return next((other for other in others if not by_mark or other.sa.mark.matches(mark)), None)

    def _identity(self, entry: Entry) -> FieldValues | None:
        """What the driver compares, but for the mark; None where it looks at the slot only, or at nothing."""
        fields = self._identity_fields
        if fields is None:
            return None
        return (*self._hardware.scope(entry.port, entry.sa.dst), *of_sa(entry.sa, entry.port, fields))

    @functools.cached_property
    def _identity_fields(self) -> tuple[str, ...] | None:
        fields = need(self._model, f"{_PROGRAM}.identity", self._program.identity)
        return None if "none" in fields or "slot" in fields else tuple(f for f in fields if f != "mark")

    def _install(self, entry: Entry) -> Installed:
        """No equal identity: write the entry, if its slot is free and there is room."""
        first = self._inbound.lookup[0]
        table = self._table(entry)
        place = table.place_for(entry.sa, entry.port)
        if place is None:
            return self._no_place(entry) if first.kind == "hash" else self._full("the table is full")
        occupant = table.rows.get(place)
        if occupant is not None:
            same = occupant.entry.sa.spi == entry.sa.spi
            return self._meets(entry, occupant.entry, "duplicate" if same else "alias")
        if first.multi_match == "impossible" and table.twins(entry.sa, entry.port):
            return self._full("the table can't hold one key twice")
        return self._write(entry, table, place)

    def _write(self, entry: Entry, table: Table, place: int) -> Installed:
        """Take an array slot where there is an array, a row of the auxiliary tables, and write the place."""
        slot = self._take_slot(entry)
        if isinstance(slot, Installed):
            return slot
        for aux in self._hardware.aux(entry.port):
            if not aux.has_room(entry):
                self._release_slot(entry)
                errno = need(self._model, aux.errno_key, aux.errno)
                return _refused(errno, f"{aux.name}: all {aux.limit} rows are taken")
        self._put(entry, table, place, slot)
        number = place if slot is None else slot
        return Installed(None, True, number, f"written to slot {number}")

    def _put(self, entry: Entry, table: Table, place: int, slot: int | None) -> None:
        self._clear(table, place)
        table.write(place, Row(entry, slot))
        entry.place = place
        for aux in self._hardware.aux(entry.port):
            aux.take(entry)
        identity = entry.identity
        if identity is not None:
            self._by_identity.setdefault(identity, []).append(entry)

    def _take_slot(self, entry: Entry) -> int | Installed | None:
        """Take an array slot; None where there is no array; the driver's answer where no slot can be had."""
        if not self._hardware.has_array:
            return None
        array = self._hardware.array(entry.port)
        slot = entry.sa.spi & 0xFFFFFF if self._slot_by_spi else array.first_free()
        if slot is None or (array.limit is not None and slot >= array.limit):
            return self._no_slot(entry)
        other = array.slots.get(slot)
        if other is not None:
            return self._share_slot(entry, other, slot)
        array.take(slot, entry)
        entry.slot = slot
        return slot

    def _no_slot(self, entry: Entry) -> Installed:
        return self._full(f"all {self._hardware.array(entry.port).limit} slots of the SA array are taken")

    @functools.cached_property
    def _slot_by_spi(self) -> bool:
        return need(self._model, f"{_PROGRAM}.slot", self._program.slot) == "spi_low24"

    def _share_slot(self, entry: Entry, other: Entry, slot: int) -> int | Installed:
        """The SPI names an array slot that another SA has: one context for both, or a refusal.

        Equal identities were handled before: SAs that only share a slot are aliases, whatever their SPIs.
        """
        identity = entry.identity
        twins = identity is not None and identity == other.identity
        which: Literal["duplicate", "alias"] = "duplicate" if twins else "alias"
        outcome = self._outcome(which)
        policy = need(self._model, f"{_PROGRAM}.{which}.policy", outcome.policy)
        if policy in ("reject", "software"):
            return self._declined(which, entry, other, f"array slot {slot} holds {other.sa.name}")
        if policy == "overwrite":
            self._hardware.array(entry.port).slots[slot] = entry
            entry.slot = slot
        return slot

    # -- duplicates, aliases, no room ---------------------------------------------------------------------------

    def _meets(self, entry: Entry, other: Entry, which: Literal["duplicate", "alias"]) -> Installed:
        """The driver finds `other` where it would put `entry`."""
        policy = need(self._model, f"{_PROGRAM}.{which}.policy", self._outcome(which).policy)
        if policy == "coexist":
            return self._install(entry)
        if policy == "overwrite":
            return self._overwrite(entry, other)
        if policy == "keep_first":
            return self._keep_first(entry, other)
        why = "the same key" if which == "duplicate" else "another SPI with the same index"
        return self._declined(which, entry, other, f"slot {other.place} holds {other.sa.name}, {why}")

    def _outcome(self, which: Literal["duplicate", "alias"]) -> OutcomeSpec:
        return self._program.duplicate if which == "duplicate" else self._program.alias

    def _declined(self, which: Literal["duplicate", "alias"], entry: Entry, other: Entry, note: str) -> Installed:
        outcome = self._outcome(which)
        if outcome.policy == "software":
            return _refused("EOPNOTSUPP", f"{note}: the SA stays in software")
        errno, key = outcome.errno, "errno"
        if outcome.errno_other_port is not None and other.port != entry.port:
            errno, key = outcome.errno_other_port, "errno_other_port"
        return _refused(need(self._model, f"{_PROGRAM}.{which}.{key}", errno), note)

    def _overwrite(self, entry: Entry, other: Entry) -> Installed:
        table, place = self._table(entry), other.place
        assert place is not None  # noqa: S101 - the driver met it in the table
        if place not in table.twins(entry.sa, entry.port) and place != table.place_for(entry.sa, entry.port):
            self._clear(table, place)  # equal for the driver but not for the table: the old row goes
            return self._install(entry)
        installed = self._write(entry, table, place)
        if installed.errno is not None:
            return installed
        return Installed(None, True, installed.slot, f"slot {installed.slot} held {other.sa.name}: overwritten")

    def _keep_first(self, entry: Entry, other: Entry) -> Installed:
        slot = self._take_slot(entry)
        if isinstance(slot, Installed):
            return slot
        entry.place, entry.first = other.place, other
        other.heirs.append(entry)
        unreached = f", and no packet reaches its own slot {slot}" if slot is not None else ""
        note = f"{other.sa.name} has this key and keeps it; the driver reports success{unreached}"
        return Installed(None, False, slot, note)

    def _no_place(self, entry: Entry) -> Installed:
        """Every way of the hash is taken. Some drivers do not notice."""
        note = "every way of the hash is taken"
        full = self._program.full
        policy = full.policy if full.hash is None else need(self._model, f"{_PROGRAM}.full.hash", full.hash)
        if policy in ("reject", "software", "unknown"):
            return self._full(note)
        if policy != "silent":
            return _refused(policy, note)
        slot = self._take_slot(entry)
        if isinstance(slot, Installed):
            return slot
        return Installed(None, False, slot, f"{note}: not installed, and the driver reports success")

    def _full(self, note: str) -> Installed:
        full = self._program.full
        policy = need(self._model, f"{_PROGRAM}.full.policy", full.policy)
        if policy == "silent":
            return Installed(None, False, None, f"{note}: not installed, and the driver reports success")
        if policy == "software":
            return _refused("EOPNOTSUPP", f"{note}: the SA stays in software")
        return _refused(need(self._model, f"{_PROGRAM}.full.errno", full.errno), note)

    # -- deleting -----------------------------------------------------------------------------------------------

    def delete(self, sa_index: int) -> None:
        """Delete an SA the driver's way. One that the driver did not accept is not there: nothing happens."""
        entry = self.held.pop(sa_index, None)
        if entry is None:
            return
        if self._hardware.has_rules:
            rules, rule = self._hardware.rules, self._rule_of(entry.sa, entry.port)
            rules[rule] -= 1
            if not rules[rule]:
                del rules[rule]
        self._remove(entry)
        self._release_slot(entry)
        if entry.first is not None:
            entry.first.heirs.remove(entry)

    def _remove(self, entry: Entry) -> None:
        table = self._table(entry)
        by = need(self._model, f"{_PROGRAM}.delete.by", self._program.delete.by)
        if by == "spi_first_match":
            self._clear(table, table.lowest_with_spi(entry.sa.spi))
            return
        place = entry.place
        if place is None:
            self._remove_unwritten(entry, table)
            return
        if by == "key" and self._inbound.lookup[0].kind != "direct":  # a direct table's key is its slot
            twins = table.twins(entry.sa, entry.port)
            if not twins:
                return
            place = place if place in twins else twins[0]
        row = table.rows.get(place)
        if row is not None and row.entry is entry:
            self._remove_own(entry, table, place, row)
        elif row is not None:
            self._remove_other(entry, table, place, row)

    def _remove_unwritten(self, entry: Entry, table: Table) -> None:
        """The driver thinks that the SA was written; the place it remembers is 0."""
        delete = self._program.delete
        silent = need(self._model, f"{_PROGRAM}.delete.silent_delete", delete.silent_delete)
        if silent == "kills_slot_0" and 0 in table.rows and self._may_clear(entry, table.rows[0]):
            self._clear(table, 0)

    def _remove_own(self, entry: Entry, table: Table, place: int, row: Row) -> None:
        delete = self._program.delete
        if entry.heirs and need(self._model, f"{_PROGRAM}.delete.first_delete", delete.first_delete) == "ok":
            heir, *others = entry.heirs
            heir.first, heir.heirs = None, others
            for other in others:
                other.first = heir
            self._put(heir, table, place, heir.slot)
        else:
            self._clear(table, place)

    def _remove_other(self, entry: Entry, table: Table, place: int, row: Row) -> None:
        """The place holds another SA's entry: it was there first, or came after."""
        policy = need(self._model, f"{_PROGRAM}.delete.duplicate_delete", self._program.delete.duplicate_delete)
        if policy == "kills_survivor" and self._may_clear(entry, row):
            self._clear(table, place)
        elif policy == "kills_wrong":
            self._clear(table, table.lowest_with_spi(entry.sa.spi))

    def _may_clear(self, entry: Entry, row: Row) -> bool:
        """Where the key has the LF in it, a function clears its own entries only."""
        return "lf" not in self._inbound.lookup[0].key or row.entry.port == entry.port

    def _clear(self, table: Table, place: int | None) -> None:
        row = table.clear(place) if place is not None else None
        if row is None:
            return
        for aux in self._hardware.aux(row.entry.port):
            aux.release(row.entry)
        identity = row.entry.identity
        if identity is not None:
            self._by_identity[identity].remove(row.entry)

    def _release_slot(self, entry: Entry) -> None:
        """Free the array slot. Where another SA shares it, the model says what becomes of that one's context."""
        if entry.slot is None:
            return
        array = self._hardware.array(entry.port)
        holder = array.slots.get(entry.slot, entry)
        if holder is not entry:
            delete = self._program.delete
            policy = need(self._model, f"{_PROGRAM}.delete.duplicate_delete", delete.duplicate_delete)
            if policy != "kills_survivor":
                return
        array.release(entry.slot, holder)

    def _table(self, entry: Entry) -> Table:
        return self._hardware.table(entry.port, entry.sa.dst)


def _refused(errno: str, note: str) -> Installed:
    return Installed(errno, False, None, note)
