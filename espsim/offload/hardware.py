"""The tables that a model's hardware consists of: one set for the device, or one for each port (and family)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator

from espsim.offload.caps import need
from espsim.offload.keys import FieldValues
from espsim.offload.model import Model
from espsim.offload.tables import AuxTable, Entry, SlotArray, Table, capacity_of, make_table

Scope = tuple[int, int]
"""(port, address length); 0 where all share the table."""


class Hardware:
    """Tables by scope, made empty when first used, and the classifier's rules with how many SAs want each."""

    def __init__(self, model: Model, seed: int) -> None:
        self._model = model
        self._seed = seed
        self._tables: dict[Scope, Table] = {}
        self._arrays: dict[int, SlotArray] = {}
        self._aux: dict[int, list[AuxTable]] = {}
        self.rules: Counter[FieldValues] = Counter()

    @functools.cached_property
    def has_rules(self) -> bool:
        """Whether the classifier has a rule for each SA or policy; otherwise one wildcard rule takes all ESP."""
        return need(self._model, "inbound.classify.rule", self._model.spec.inbound.classify.rule) != "any"

    @functools.cached_property
    def has_array(self) -> bool:
        """Whether there is an array of SA contexts after the key table."""
        return len(self._model.spec.inbound.lookup) > 1

    def scope(self, port: int, dst: bytes) -> Scope:
        """Which key table a port and a family use."""
        return port if self._key_per_port else 0, len(dst) if self.per_family else 0

    def table(self, port: int, dst: bytes) -> Table:
        """The key table of a port and a family."""
        scope = self.scope(port, dst)
        if scope not in self._tables:
            self._tables[scope] = make_table(self._model, self._seed)
        return self._tables[scope]

    def array(self, port: int) -> SlotArray:
        """The array after the key table."""
        where = port if self._array_per_port else 0
        if where not in self._arrays:
            self._arrays[where] = SlotArray(capacity_of(self._model, 1))
        return self._arrays[where]

    def aux(self, port: int) -> list[AuxTable]:
        """The auxiliary tables beside the key table."""
        where = port if self._key_per_port else 0
        if where not in self._aux:
            tables = self._model.spec.inbound.lookup[0].aux
            self._aux[where] = [AuxTable(self._model, n, aux) for n, aux in enumerate(tables)]
        return self._aux[where]

    def written(self) -> Iterator[tuple[int, Entry]]:
        """(place, entry) of every row, table after table, by place."""
        for scope in sorted(self._tables):
            rows = self._tables[scope].rows
            yield from ((place, rows[place].entry) for place in sorted(rows))

    @functools.cached_property
    def _key_per_port(self) -> bool:
        return self._per_port(0)

    @functools.cached_property
    def _array_per_port(self) -> bool:
        return self._per_port(1)

    def _per_port(self, n: int) -> bool:
        """Whether every port has its table. A port has one function, so both scopes mean that."""
        scope = self._model.spec.inbound.lookup[n].scope
        return need(self._model, f"inbound.lookup.{n}.scope", scope) != "device"

    @functools.cached_property
    def per_family(self) -> bool:
        """Whether IPv4 and IPv6 have a key table each."""
        per_family = self._model.spec.inbound.lookup[0].per_family
        return need(self._model, "inbound.lookup.0.per_family", per_family)
