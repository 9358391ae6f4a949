"""What to change so that a host's SAs fit a device: an SPI range, a table size, a policy."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from espsim.analysis.audit import Audit, Inventory
from espsim.analysis.occupancy import shared
from espsim.offload.model import Model
from espsim.offload.schema import Lookup

_LOWEST = 0x100  # 1 to 255 are reserved (RFC 4303 2.1)


def advice(inventory: Inventory, audit: Audit) -> list[str]:
    """Sentences, the most telling first; none where every SA is installed."""
    model = audit.device.model
    return [*_unique(inventory, audit), *_aliases(inventory, audit, model), *_room(inventory, audit, model),
            *_range(audit, model), *_deletion(audit, model), *_refused(audit)]  # fmt: skip


def _unique(inventory: Inventory, audit: Audit) -> Iterator[str]:
    if not audit.fates["collides"]:
        return
    yield (
        "one SPI may not serve two destinations on this device: have SPIs given out once for the whole host"
        " (SPI policy rfc4301: Linux 6.17, or 6.1.192, 6.6.103, 6.12.43, 6.16.2), not once for a destination"
    )
    sas = len(inventory.offered)
    wanted = _bins_for(sas, 0.01)
    if wanted is not None and inventory.span[1] - inventory.span[0] + 1 < wanted:
        yield (
            f"or draw from more SPIs: {wanted} of them make a duplicate among {sas} SAs less likely than 1 %;"
            f" the present ones span {inventory.span[1] - inventory.span[0] + 1}"
        )


def _bins_for(sas: int, chance: float) -> int | None:
    """The fewest SPIs, as a power of two, of which `sas` draws are all different but for this chance."""
    return next((1 << bits for bits in range(1, 33) if 1 << bits > sas and shared(sas, 1 << bits) < chance), None)


def _aliases(inventory: Inventory, audit: Audit, model: Model) -> Iterator[str]:
    if not audit.fates["aliases"]:
        return
    index = model.spec.inbound.lookup[0].index
    bits = index.bits if index is not None and isinstance(index.bits, int) else 24
    sas = len(inventory.offered)
    if sas <= (1 << bits) - _LOWEST or sas <= 1 << bits:
        yield (
            f"SPIs of one run of 2^{bits}, such as 0x{_LOWEST:x}-0x{_LOWEST + (1 << bits) - 1:x}, can't alias: set the"
            " key manager's range to it (strongSwan: charon.spi_min, charon.spi_max)"
        )
    else:
        yield f"{sas} SAs do not go into 2^{bits} slots: a table of 2^{math.ceil(math.log2(sas))} is the least"
    enough = _bits_apart(inventory, bits)
    if enough is not None:
        yield f"or a table of 2^{enough} slots: the present SPIs differ in their low {enough} bits"


def _bits_apart(inventory: Inventory, bits: int) -> int | None:
    """The fewest low bits, up to 24, in which all SPIs that differ at all differ."""
    spis = np.unique(np.array([inventory.survey.spi[i] for i in inventory.offered], dtype=np.uint32))
    for more in range(bits + 1, 25):
        if len(np.unique(spis & np.uint32((1 << more) - 1))) == len(spis):
            return more
    return None


def _room(inventory: Inventory, audit: Audit, model: Model) -> Iterator[str]:
    lost = audit.fates["overflows"]
    if not lost:
        return
    first = model.spec.inbound.lookup[0]
    sas = len(inventory.offered)
    if first.kind == "hash":
        yield f"{lost} SAs find no place in the hash ({_hash(first)}): fewer SAs, or a larger table"
    else:
        yield f"{lost} of {sas} SAs find no room: a table for {sas}, or the rest stay in software"
    if any(fate == "overflows" and errno is None for fate, errno, *_ in audit.traffic):
        yield "the driver reports success for SAs that it has not installed: count its entries, don't trust its answer"


def _hash(lookup: Lookup) -> str:
    return f"{lookup.ways} ways of {lookup.sets} rows"


def _range(audit: Audit, model: Model) -> Iterator[str]:
    span = model.spec.inbound.program.spi_range
    if span is not None and any("driver's range" in refused.why for refused in audit.refused):
        yield f"keep SPIs within 0x{span.min:x}-0x{span.max:x}, or configure the driver for the range in use"


def _deletion(audit: Audit, model: Model) -> Iterator[str]:
    if audit.fates["collides"] and model.spec.inbound.program.delete.duplicate_delete in (
        "kills_survivor",
        "kills_wrong",
    ):
        yield "deleting either of two SAs with one SPI takes the other one's entry away: rekey both, not one"


def _refused(audit: Audit) -> Iterator[str]:
    if any("driver's range" not in refused.why for refused in audit.refused):
        yield "refused SAs stay in software, or change what the sentence names"
