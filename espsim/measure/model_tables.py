"""A hardware model's tables in the benchmarks of lookups and of the pipeline (`--model`).

SAs go into a `Device` through its driver, one by one. The batch path lays its tables out (`batch/device/snapshot.py`),
so the model's own kind of table, classifier and check are timed. Where a masked SPI is the index, SPIs are dense, as a
key manager would choose them for such a table. SAs that the driver does not write because of others are left out: what
becomes of them is the subject of `espsim run` and `espsim audit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from espsim.batch.device.hardware import DeviceRows
from espsim.batch.device.snapshot import device_columns
from espsim.batch.inbound.columns import InboundColumns
from espsim.batch.inbound.lookup import usable
from espsim.core.errors import InputError
from espsim.core.inbound_batch import InboundBatch
from espsim.measure import tunnels
from espsim.measure.keys import dense_keys, keys, keys_of
from espsim.measure.spi_tables import Filled
from espsim.measure.traffic import BATCH
from espsim.offload.compare import association
from espsim.offload.device import Device
from espsim.offload.model import Model, load_model, parse_assumptions

MOST = 100_000
"""Most SAs that a model is measured with: each goes through the driver as an object."""
_SPARE = 8  # a hash leaves some SAs without a place: one in so many more are offered

_NAMES = {"direct": "spi-direct", "hash": "spi-hash"}


@dataclass(frozen=True, slots=True)
class ModelTable:
    """`what`: the lookup's name in results. `capacity`: the most SAs that it is measured with."""

    model: Model
    what: str
    capacity: int

    @property
    def ident(self) -> str:
        """The model's id."""
        return self.model.id

    def fits(self, sas: int) -> bool:
        """Whether so many SAs fit."""
        return sas <= self.capacity

    def make(self, sas: int, hit: float, packets: int, seed: int) -> Filled:
        """A device with `sas` SAs. InputError: it writes too few of the SAs that it is offered."""
        rng, family = np.random.default_rng(seed), 4
        offered = min(sas + sas // _SPARE + _SPARE, max(self.capacity, sas))
        choose = dense_keys if self.what == "spi-direct" else keys
        of = choose(offered, hit=0.0, packets=1, seed=seed)
        device = Device(self.model)
        base = association(self.model, 1)
        for number in range(offered):
            daddr = int(of.daddr[number, 1]).to_bytes(4)
            sa = replace(base, src=tunnels.SOURCE, dst=daddr, spi=int(of.spi[number]))
            device.add(number, sa)
        written = sorted({sa_index for _, sa_index in device.occupancy()})[:sas]
        if self.what != "none" and len(written) < sas:
            raise InputError(
                f"the device writes {len(written)} of {offered} such SAs: not enough for {sas}", where=self.ident
            )
        written = written or list(range(sas))
        absent = np.arange(1, 256, dtype=np.uint32)  # reserved: no SA has them
        traffic = keys_of(
            rng, of.spi[written], absent, family=family, hit=hit, packets=packets, daddr=of.daddr[written]
        )
        return Filled(traffic, device_columns(device, {number: row for row, number in enumerate(written)}))


def model_table(name: str, assume: Iterable[str] = ()) -> ModelTable:
    """A model's tables. `make` raises UnknownReached where a run with the model would."""
    model = load_model(name)
    model = model.assuming(parse_assumptions(model, assume))
    spec = model.spec.inbound.lookup[0]
    sizes = [size for size in (lookup.capacity for lookup in model.spec.inbound.lookup) if isinstance(size, int)]
    if isinstance(spec.sets, int) and isinstance(spec.ways, int):
        sizes.append(spec.sets * spec.ways // 2)
    if spec.index is not None and isinstance(spec.index.bits, int):
        sizes.append(1 << spec.index.bits)
    return ModelTable(model, _NAMES.get(str(spec.kind), str(spec.kind)), min([MOST, *(s for s in sizes if s > 0)]))


def stage_of(filled: Filled) -> Callable[[InboundBatch, InboundColumns], None]:
    """A lookup stage that asks the device. A packet that the device leaves to software counts as one without an SA."""
    rows = DeviceRows.of(BATCH)

    def lookup(batch: InboundBatch, columns: InboundColumns) -> None:
        filled.find(batch, rows, batch.sa_index)
        usable(batch.sa_index, batch.dport, batch.flags, columns.standing, columns.own.standing, batch.verdict)

    return lookup
