"""Properties of a model that let an audit ask the device once for many SAs. So a million take seconds.

None of them changes an answer: tests/unit/analysis compare each with the device itself, SA by SA.
"""

from __future__ import annotations

from collections.abc import Sequence

from espsim.offload.device import Device
from espsim.offload.schema import UNKNOWN


def mask_of(device: Device) -> int | None:
    """The mask that turns an SPI into a row, where the device looks at nothing else. None: it looks at more."""
    inbound = device.model.spec.inbound
    index = inbound.lookup[0].index
    plain = inbound.classify.rule == "any" and len(inbound.lookup) == 1 and inbound.verify.always in ([], ["spi"])
    plain = plain and inbound.lookup[0].per_family is False
    if not plain or index is None or index.fn != "mask" or index.subtract_min or not isinstance(index.bits, int):
        return None
    return (1 << index.bits) - 1


def mask_of_vacant(device: Device) -> int | None:
    """`mask_of`, if every SPI with an empty row gets the same answer. None: some rows are not in the table."""
    mask, capacity = mask_of(device), device.model.spec.inbound.lookup[0].capacity
    return None if mask is None or (isinstance(capacity, int) and capacity <= mask) else mask


def finds_by_spi(device: Device) -> bool:
    """Whether all packets whose SPI no entry has meet the same.

    They do if the SPI is in the table's key, and packets reach the table only by their SPI, or because their SA was
    taken.
    """
    inbound = device.model.spec.inbound
    first, classify = inbound.lookup[0], inbound.classify
    lists: Sequence[object] = first.key if first.kind == "longest" else [first.key]
    decides = "spi" in classify.key and "mark" not in classify.key
    comes = classify.rule == "any" or classify.kind == "none" or decides
    by_spi = first.kind != "direct" and all(isinstance(fields, list) and "spi" in fields for fields in lists)
    return comes and (first.kind == "none" or by_spi)


def rows_that_fill(device: Device) -> int | None:
    """The rows of a table that takes every SA until it is full, and then none. None: the table is less simple."""
    inbound = device.model.spec.inbound
    first, span = inbound.lookup[0], inbound.program.spi_range
    simple = len(inbound.lookup) == 1 and first.kind in ("exact", "none") and first.multi_match != "impossible"
    plain = inbound.program.identity == ["none"] and inbound.classify.rule == "any" and span is None
    return first.capacity if simple and plain and isinstance(first.capacity, int) else None


def has_room(device: Device, sas: int) -> bool:
    """Whether an SA that is taken and has its own SPI is always found: the SPI is in the key, and rows suffice."""
    inbound = device.model.spec.inbound
    first, program, span = inbound.lookup[0], inbound.program, inbound.program.spi_range
    room = first.capacity in ("memory", "config") or (isinstance(first.capacity, int) and first.capacity >= sas)
    keys: Sequence[object] = first.key if first.kind == "longest" else [first.key]
    by_spi = first.kind in ("exact", "longest") and all(isinstance(key, list) and "spi" in key for key in keys)
    known = UNKNOWN not in (inbound.classify.kind, first.scope, first.per_family, first.omit_zero, program.identity)
    plain = len(inbound.lookup) == 1 and not first.aux and inbound.classify.rule == "any" and first.profiles is None
    same = "none" in program.identity or "spi" in program.identity  # SAs that the driver takes for one have one SPI
    whole = isinstance(inbound.verify.always, list) and inbound.classify.kind != "none"
    return room and by_spi and known and plain and same and whole and (span is None or span.outside == "ignore")


def turns_away(device: Device) -> bool:
    """Whether the driver refuses every SA whose slot is taken, with one errno, and refuses for no other reason."""
    program = device.model.spec.inbound.program
    duplicate, alias = program.duplicate, program.alias
    same = duplicate.policy == alias.policy == "reject" and duplicate.errno == alias.errno != UNKNOWN
    return same and (program.spi_range is None or program.spi_range.outside == "ignore")
