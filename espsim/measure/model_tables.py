"""A hardware model's tables as a benchmark runs them: `--model`, in a lookup's place and in the pipeline's.

SAs go into a `Device` through its driver, one by one, and its tables are laid out as the batch path has them
(`batch/device/snapshot.py`): whatever the model's kind of table, classifier and check are, they are what is timed.
SPIs are dense where a masked SPI is the index, as whoever allocates them for such a table would; SAs that another one
keeps from being written are left out, because what becomes of them is for `espsim run` and `espsim audit` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from espsim.batch.columns import SadColumns
from espsim.batch.device.hardware import DeviceRows
from espsim.batch.device.snapshot import device_columns
from espsim.batch.inbound.lookup import usable
from espsim.core.batch import PacketBatch
from espsim.core.errors import InputError
from espsim.measure import tunnels
from espsim.measure.keys import dense_keys, keys, keys_of
from espsim.measure.spi_tables import Filled
from espsim.measure.traffic import BATCH
from espsim.offload.compare import association
from espsim.offload.device import Device
from espsim.offload.model import Model, load_model, parse_assumptions

MOST = 100_000
"""SAs that a model is measured with at most: each goes through the driver as an object."""
_SPARE = 8  # a hash leaves some SAs without a place: one in so many more are offered

_NAMES = {"direct": "spi-direct", "hash": "spi-hash"}


@dataclass(frozen=True, slots=True)
class ModelTable:
    """`what` is the lookup's name in results, `capacity` the SAs that it is measured with at most."""

    model: Model
    what: str
    capacity: int

    @property
    def ident(self) -> str:
        """The model's id."""
        return self.model.id

    def fits(self, sas: int) -> bool:
        """Whether so many SAs go in."""
        return sas <= self.capacity

    def make(self, sas: int, hit: float, packets: int, seed: int) -> Filled:
        """A device with `sas` SAs. InputError where it writes fewer of those that it is offered."""
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
                f"of {offered} SAs like these it writes {len(written)}: not enough for {sas}", where=self.ident
            )
        written = written or list(range(sas))
        absent = np.arange(1, 256, dtype=np.uint32)  # reserved: no SA has them
        traffic = keys_of(
            rng, of.spi[written], absent, family=family, hit=hit, packets=packets, daddr=of.daddr[written]
        )
        return Filled(traffic, device_columns(device, {number: row for row, number in enumerate(written)}))


def model_table(name: str, assume: Iterable[str] = ()) -> ModelTable:
    """A model's tables. UnknownReached as in a run, where they are filled."""
    model = load_model(name)
    model = model.assuming(parse_assumptions(model, assume))
    spec = model.spec.inbound.lookup[0]
    sizes = [size for size in (lookup.capacity for lookup in model.spec.inbound.lookup) if isinstance(size, int)]
    if isinstance(spec.sets, int) and isinstance(spec.ways, int):
        sizes.append(spec.sets * spec.ways // 2)
    if spec.index is not None and isinstance(spec.index.bits, int):
        sizes.append(1 << spec.index.bits)
    return ModelTable(model, _NAMES.get(str(spec.kind), str(spec.kind)), min([MOST, *(s for s in sizes if s > 0)]))


def stage_of(filled: Filled) -> Callable[[PacketBatch, SadColumns], None]:
    """A lookup stage that asks the device; a packet that it leaves to software counts as one without an SA."""
    rows = DeviceRows.of(BATCH)

    def lookup(batch: PacketBatch, columns: SadColumns) -> None:
        filled.find(batch, rows, batch.sa_index)
        usable(batch.sa_index, batch.dport, batch.flags, columns.standing, columns.own.standing, batch.verdict)

    return lookup
