"""A device that runs a hardware model: SAs go in through its driver, packets through its lookup.

    classify     which packets go to IPsec at all
    key table    the packet's key finds a row; several rows: `multi_match`
    SA array     after some key tables: the row names a slot
    verify       what the device compares with the SA that it found

Each step names what becomes of the packet. Everything comes from the model; no device is named here. A hash that is not
public is a seeded mixer (hashing.py), so runs repeat.

What this does not do: open packets or judge ICV and window. It says how their failures surface.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

from espsim.core.errors import InputError
from espsim.core.verdict import Surfacing
from espsim.offload.caps import need
from espsim.offload.driver import Driver, Installed
from espsim.offload.hardware import Hardware
from espsim.offload.keys import PacketKey, of_packet, of_sa
from espsim.offload.model import Model
from espsim.offload.schema import UNKNOWN
from espsim.offload.tables import DirectTable, Entry, Row, Table
from espsim.offload.told import told
from espsim.sad.association import SecurityAssociation

__all__ = ["Answer", "Counts", "Device", "Installed", "PacketKey", "Reached"]

_STRENGTH = ("packet", "protocol", "crypto", "lookaside")
_SURFACING = {
    "rx_flag": Surfacing.FLAGGED,
    "hw_drop": Surfacing.DEVICE_DROP,
    "sw_drop": Surfacing.COUNTED,
    "ignored": Surfacing.SILENT,
}


class Reached(IntEnum):
    """How far a packet's lookup came."""

    HIT = 0
    MISS = 1
    EMPTY_SLOT = 2
    SA_MISMATCH = 3


class Answer(NamedTuple):
    """The device's answer to a packet. `sa_index` is -1 where it found none; of SA_MISMATCH, the SA that it refused.

    `action`: `use` (that SA's context), `software` (the packet goes on as ordinary ESP), `drop`, `fail_flag`.
    `shadowed`: the table holds other entries under the same key.
    """

    reached: Reached
    sa_index: int
    action: str
    shadowed: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How full a device is: `accepted` SAs, of which `written` are in the key table; `rules` of the classifier."""

    accepted: int
    written: int
    rules: int


class Device:
    """One device with one driver. `assume` fills in what the model calls unknown; `verify` switches optional checks on.

    Raises InputError for an assumption or a check that the model does not have, UnknownReached where an answer
    depends on something that is not public. `seed` seeds hashes that are not public.
    """

    def __init__(
        self, model: Model, assume: Mapping[str, object] | None = None, *, verify: Collection[str] = (), seed: int = 0
    ) -> None:
        self.model = model.assuming(assume or {})
        self._inbound = self.model.spec.inbound
        self.hardware = Hardware(self.model, seed)
        self._driver = Driver(self.model, self.hardware)
        self._checks = self._optional_checks(verify)

    def add(self, sa_index: int, sa: SecurityAssociation, port: int = 0) -> Installed:
        """Offer an inbound SA to the driver. ValueError: this index is in the device already."""
        return self._driver.add(sa_index, sa, port)

    def delete(self, sa_index: int) -> None:
        """Delete an SA the driver's way; the model says what that does to others."""
        self._driver.delete(sa_index)

    # -- facts of the whole device ------------------------------------------------------------------------------

    @functools.cached_property
    def mode(self) -> str:
        """The strongest offload: packet, protocol, crypto, lookaside; "" for software."""
        offload = need(self.model, "caps.offload", self.model.spec.caps.offload)
        return next((m for m in _STRENGTH if m in offload), "")

    @functools.cached_property
    def replay_checked_by(self) -> str:
        """`host` (software, or crypto offload), `device` (hardware or its driver), or `nobody`."""
        if self.mode in ("", "crypto"):
            return "host"
        where = need(self.model, "caps.replay.where", self.model.spec.caps.replay.where)
        return "nobody" if where == "none" else "device"

    def surfacing(self, failure: Literal["integrity", "replay"]) -> Surfacing:
        """How a failure that the device found comes to light."""
        result = self._inbound.result
        if failure == "integrity":
            return _SURFACING[need(self.model, "inbound.result.icv_fail", result.icv_fail)]
        return _SURFACING[need(self.model, "inbound.result.replay_fail", result.replay_fail)]

    @property
    def assumptions(self) -> list[str]:
        """Everything that is assumed and not known, as `key = value`, to print with results."""
        stated = [f"{key} = {json.dumps(value)}" for key, value in self.model.assumed.items()]
        classify = self._inbound.classify
        if classify.rule in ("per_sa", "per_policy") and classify.capacity == UNKNOWN:
            stated.append("inbound.classify.capacity = large enough (not public)")
        return stated

    def occupancy(self) -> list[tuple[int, int]]:
        """(place, sa_index) of every row of the key table, by place; tables of several ports one after another."""
        return [(place, entry.sa_index) for place, entry in self.hardware.written()]

    def held(self) -> list[Entry]:
        """The SAs that the driver took, in no order."""
        return [*self._driver.held.values()]

    def counts(self) -> Counts:
        """How full the device is."""
        return Counts(len(self._driver.held), len(self.occupancy()), len(self.hardware.rules))

    # -- packets ------------------------------------------------------------------------------------------------

    def lookup(self, key: PacketKey) -> Answer:
        """What the device does with a packet."""
        classify, first = self._inbound.classify, self._inbound.lookup[0]
        if not self._classified(key):
            return self._miss("inbound.classify.miss", classify.miss)
        table = self.hardware.table(key.port, key.dst)
        if isinstance(table, DirectTable):
            slot = table.slot_of(key)
            if slot is None:
                return self._miss("inbound.classify.miss", classify.miss)
            if table.capacity is not None and slot >= table.capacity:
                return self._miss("inbound.lookup.0.over_max", first.over_max)
            if slot not in table.rows:
                return self._empty_slot()
        places = table.find(key)
        if not places:
            return self._miss("inbound.lookup.0.miss", first.miss)
        row = self._winner(table, places)
        entry = row.entry if row.target is None else self.hardware.array(key.port).slots.get(row.target)
        return self._empty_slot() if entry is None else self._verified(entry, key, len(places) > 1)

    def told(self, key: PacketKey, answer: Answer) -> list[tuple[str, str]]:
        """What `lookup` looked at to give this answer, in order: names and values (told.py)."""
        return told(self, key, answer)

    def _classified(self, key: PacketKey) -> bool:
        classify = self._inbound.classify
        if need(self.model, "inbound.classify.kind", classify.kind) == "none":
            return False
        if not self.hardware.has_rules:
            return True
        return of_packet(key, self._rule_fields) in self.hardware.rules

    def _winner(self, table: Table, places: list[int]) -> Row:
        rows = [table.rows[place] for place in places]
        if len(rows) == 1:
            return rows[0]
        policy = need(self.model, "inbound.lookup.0.multi_match", self._inbound.lookup[0].multi_match)
        if policy == "last":
            return max(rows, key=lambda row: row.entry.order)
        if policy == "first":
            return min(rows, key=lambda row: row.entry.order)
        return rows[0]  # places are in order: the lowest

    def _verified(self, entry: Entry, key: PacketKey, shadowed: bool) -> Answer:
        fields = self.verify_fields
        if of_packet(key, fields) != of_sa(entry.sa, key.port, fields):
            action = need(self.model, "inbound.verify.on_mismatch", self._inbound.verify.on_mismatch)
            if action != "none":
                return Answer(Reached.SA_MISMATCH, entry.sa_index, action, shadowed)
        return Answer(Reached.HIT, entry.sa_index, "use", shadowed)

    @functools.cached_property
    def _rule_fields(self) -> tuple[str, ...]:
        return tuple(need(self.model, "inbound.classify.key", self._inbound.classify.key))

    @functools.cached_property
    def verify_fields(self) -> tuple[str, ...]:
        """What is compared with the SA that was found."""
        return (*need(self.model, "inbound.verify.always", self._inbound.verify.always), *self._checks)

    def _miss(self, key: str, action: str) -> Answer:
        return Answer(Reached.MISS, -1, need(self.model, key, action))

    def _empty_slot(self) -> Answer:
        return Answer(
            Reached.EMPTY_SLOT, -1, need(self.model, "inbound.verify.on_invalid", self._inbound.verify.on_invalid)
        )

    def _optional_checks(self, verify: Collection[str]) -> list[str]:
        if not verify:
            return []
        optional = need(self.model, "inbound.verify.optional", self._inbound.verify.optional)
        for name in verify:
            if name not in optional:
                known = ", ".join(optional) or "none"
                raise InputError(f"model {self.model.id} has no check {name!r}; it has: {known}", where="--verify")
        return list(verify)
