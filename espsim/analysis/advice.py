"""What to do so that a host's SAs fit a device: an SPI range, a table size, a window, an SPI rule.

The order is that of the damage: lost packets and wrong SAs come first, SAs that only stay in software last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from espsim.analysis.audit import Audit, RefusedSas
from espsim.analysis.inventory import Inventory
from espsim.analysis.occupancy import shared
from espsim.offload.model import Model
from espsim.offload.schema import Lookup

_LOWEST = 0x100  # 1 to 255 are reserved (RFC 4303 2.1)


def advice(inventory: Inventory, audit: Audit) -> list[str]:
    """Sentences, the most severe first. [] where every SA is installed."""
    model = audit.device.model
    refused = sorted(audit.refused, key=lambda row: -row.lost)
    return [
        *_conflicts(inventory, audit),
        *_aliases(inventory, audit, model),
        *(_refused(row) for row in refused if row.lost),
        *_room(inventory, audit, model),
        *_deletion(audit, model),
        *(_refused(row) for row in refused if not row.lost and row.change),
        *_unknown(audit, model),
    ]


def _conflicts(inventory: Inventory, audit: Audit) -> Iterator[str]:
    """SAs with one SPI that differ only in what the device does not look at."""
    apart: dict[str, int] = {}
    for (what, _works), count in audit.conflicts.items():
        apart[what] = apart.get(what, 0) + count
    if apart.get("mark"):
        yield f"{_sas(apart['mark'])} only by mark, which this device does not see: give each peer its own SPI"
    if apart.get("source"):
        yield (
            f"{_sas(apart['source'])} only by source, which this device does not look at: give each peer its own SPI"
        )
    if apart.get("destination") or (audit.fates["collides"] and not apart):
        yield from _unique(inventory)


def _sas(count: int) -> str:
    return "1 SA differs from another" if count == 1 else f"these {count} SAs differ from others"


def _unique(inventory: Inventory) -> Iterator[str]:
    yield (
        "one SPI may not serve two destinations on this device: have SPIs given out once for the whole host"
        " (SPI rule rfc4301: Linux 6.17, or 6.1.192, 6.6.103, 6.12.43, 6.16.2), not once for a destination"
    )
    sas, span = len(inventory.offered), inventory.span
    wanted = _bins_for(sas, 0.01)
    if wanted is not None and span is not None and span[1] - span[0] + 1 < wanted:
        yield (
            f"or draw from more SPIs: {wanted} of them make a duplicate among {sas} SAs less likely than 1 %;"
            f" the present ones span {span[1] - span[0] + 1}"
        )


def _bins_for(sas: int, chance: float) -> int | None:
    """The fewest SPIs, as a power of two, from which `sas` draws have a duplicate with less than this chance."""
    return next((1 << bits for bits in range(1, 33) if 1 << bits > sas and shared(sas, 1 << bits) < chance), None)


def _aliases(inventory: Inventory, audit: Audit, model: Model) -> Iterator[str]:
    if not audit.fates["aliases"] and not any(what == "slot" for what, _ in audit.conflicts):
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
        yield f"{sas} SAs do not fit into 2^{bits} slots: use a table of at least 2^{math.ceil(math.log2(sas))}"
    enough = _bits_apart(inventory, bits)
    if enough is not None:
        yield f"or use a table of 2^{enough} slots: the present SPIs differ in their low {enough} bits"


def _bits_apart(inventory: Inventory, bits: int) -> int | None:
    """The fewest low bits, up to 24, in which all different SPIs differ. None: more than 24."""
    spis = np.unique(inventory.spis())
    for more in range(max(bits + 1, (len(spis) - 1).bit_length()), 25):
        taken = np.zeros(1 << more, np.bool_)
        taken[spis & np.uint32((1 << more) - 1)] = True
        if np.count_nonzero(taken) == len(spis):
            return more
    return None


def _room(inventory: Inventory, audit: Audit, model: Model) -> Iterator[str]:
    over = audit.fates["overflows"]
    if not over:
        return
    first = model.spec.inbound.lookup[0]
    sas = len(inventory.offered)
    lost = sum(n for row, n in audit.traffic.items() if row.fate == "overflows" and row.works in ("lost", "wrong_sa"))
    then = f"; {lost} of them lose their packets" if lost else ""
    if first.kind == "hash":
        yield f"{over} of {sas} SAs find no place in the hash ({_hash(first)}): use fewer SAs, or a larger table{then}"
    else:
        rest = then or ", or the rest stay in software"
        yield f"{over} of {sas} SAs find no room: use a table for {sas}{rest}"
    if any(row.fate == "overflows" and row.errno is None for row in audit.traffic):
        yield "the driver reports success for SAs that it has not installed: count its entries, don't trust its answer"


def _hash(lookup: Lookup) -> str:
    return f"{lookup.ways} ways of {lookup.sets} rows"


def _deletion(audit: Audit, model: Model) -> Iterator[str]:
    if audit.fates["collides"] and model.spec.inbound.program.delete.duplicate_delete in (
        "kills_survivor",
        "kills_wrong",
    ):
        yield "deleting either of two SAs with one SPI removes the other one's entry too: rekey both, not one"


def _refused(row: RefusedSas) -> str:
    """What to do about SAs that the driver refuses, and what their packets meet until then."""
    if not row.lost:
        return f"to have {row.sas} more in hardware, {row.change} ({row.why}); until then they work in software"
    what = row.change or "keep these SAs off this device"
    whose = f"{row.lost} of {row.sas} such SAs" if row.lost < row.sas else f"{row.sas} such SAs"
    loses = f"{whose} lose their packets" if row.sas > 1 else "this SA loses its packets"
    return f"{what}: {row.why}, and {loses}"


def _unknown(audit: Audit, model: Model) -> Iterator[str]:
    for key, (count, _first) in audit.unknown.items():
        whose = "1 SA depends" if count == 1 else f"{count} SAs depend"
        yield f"{whose} on {key}, which is not public: give {model.how_to_assume(key)} to see one answer"
