"""A device's lookup of one packet in words: classifier, key, index, slot, row, occupant, check after the hit.

These are read from the same tables as in `Device.lookup`, in its order, right after it has answered. Writes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from espsim.core.address import format_address
from espsim.offload.hashing import crc32c
from espsim.offload.keys import FieldValues, PacketKey, Value, of_packet, of_sa, words
from espsim.offload.tables import DirectTable, Entry, ExactTable, HashTable, Table

if TYPE_CHECKING:
    from espsim.offload.device import Answer, Device

Fact = tuple[str, str]
"""A name and its value."""

_WAYS = 8
"""Most rows of a hash that are listed."""


def told(device: Device, key: PacketKey, answer: Answer) -> list[Fact]:
    """The facts of one lookup, in order: classifier rule, key, index, places, row, occupant, check, answer."""
    taken, facts = _classifier(device, key)
    facts = [("model", device.model.id), *facts]
    if taken:
        facts += _table(device, key)
    if answer.sa_index >= 0:
        facts += _check(device, key, answer)
    shadowed = ", other entries have an equal key" if answer.shadowed else ""
    return [*facts, ("answer", f"{answer.reached.name}, then {answer.action}{shadowed}")]


def _classifier(device: Device, key: PacketKey) -> tuple[bool, list[Fact]]:
    """Whether the packet goes on to the key table. Where each SA or policy has a rule, the packet needs one."""
    classify = device.model.spec.inbound.classify
    if classify.kind == "none":
        return False, [("classifier", "none: no packet goes to IPsec")]
    if not device.hardware.has_rules:
        return True, []
    values = of_packet(key, classify.key)
    taken = values in device.hardware.rules
    return taken, [("classifier", f"{'a' if taken else 'no'} rule for {_named(classify.key, values)}")]


def _table(device: Device, key: PacketKey) -> Iterator[Fact]:
    """The key table, and the array after it where there is one."""
    table = device.hardware.table(key.port, key.dst)
    yield from _index(table, key)
    places = table.find(key)
    yield "places that answer", ", ".join(map(str, places[:_WAYS])) or "none"
    for place in places[:_WAYS]:
        row = table.rows[place]
        slot = f", names slot {row.target} of the SA array" if row.target is not None else ""
        yield f"row {place}", f"{row.entry.sa.name}{slot}"
        if row.target is not None:
            yield f"slot {row.target}", _occupant(device.hardware.array(key.port).slots.get(row.target))


def _index(table: Table, key: PacketKey) -> Iterator[Fact]:
    """How the packet's key becomes a place."""
    if isinstance(table, DirectTable):
        yield from _direct(table, key)
    elif isinstance(table, HashTable):
        values = of_packet(key, table.fields)
        yield "key", _named(table.fields, values)
        ways = range(min(table.limit or 1, _WAYS)) if table.skewed else (0,)
        rows = [table.hash(words(values), table.seed, way) % table.sets for way in ways]
        public = "crc32c" if table.hash is crc32c else "a seeded stand-in for the vendor's hash"
        yield "hash", f"{public} modulo {table.sets}: row {', '.join(map(str, rows))}"
    elif isinstance(table, ExactTable):
        for fields, mask in table.signatures:
            yield "key", _named(fields, of_packet(key, fields, mask))


def _direct(table: DirectTable, key: PacketKey) -> Iterator[Fact]:
    slot = table.slot_of(key)
    if table.index.fn == "mask":
        offset, mask = table.masked
        less = f" - 0x{offset:x}" if offset else ""
        yield "index", f"0x{key.spi:08x}{less} & 0x{mask:x} = {slot}"
    else:
        yield "rule", _named(table.rule_fields, of_packet(key, table.rule_fields)) or "the only one"
        if table.index.fn == "slice_add" and slot is not None:
            low, size, width = table.slice
            part = key.spi >> low & size - 1
            yield "index", f"base {slot - part & width} + (0x{key.spi:08x} >> {low} & 0x{size - 1:x}) = {slot}"
        else:
            yield "index", "no rule supplies one" if slot is None else f"the rule's: {slot}"
    if slot is not None:
        row = table.rows.get(slot)
        yield f"slot {slot}", _occupant(row.entry if row is not None else None)


def _occupant(entry: Entry | None) -> str:
    return "empty" if entry is None else entry.sa.name


def _check(device: Device, key: PacketKey, answer: Answer) -> Iterator[Fact]:
    """What the device compares with the SA that it found."""
    fields = device.verify_fields
    found = next((entry for entry in device.held() if entry.sa_index == answer.sa_index), None)
    if not fields:
        yield "check after the hit", "none: the row's SA is used whoever the packet is for"
    elif found is not None:
        packet, entry = of_packet(key, fields), of_sa(found.sa, key.port, fields)
        same = "equal" if packet == entry else "different"
        yield "check after the hit", f"{same}: packet {_named(fields, packet)}; SA {_named(fields, entry)}"


def _named(fields: Sequence[str], values: FieldValues) -> str:
    """`spi 0x00001001, dst 192.0.2.1`."""
    return ", ".join(f"{name} {_value(name, value)}" for name, value in itertools.zip_longest(fields, values))


def _value(name: str | None, value: Value) -> str:
    if isinstance(value, bytes):
        return format_address(value) if len(value) in (4, 16) else value.hex()
    if isinstance(value, tuple):
        return f"{value[0]}>{value[1]}"
    if value is None:
        return "-"
    return f"0x{value:08x}" if name == "spi" else str(value)
