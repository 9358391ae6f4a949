"""A modelled device's tables at one moment, laid out as arrays for the batch path (hardware.py).

    columns = device_columns(device, {sa_index: row})    after device.add(sa_index, sa) for every SA
    rows = DeviceRows.of(len(packets.spi))               memory for the answers
    hardware(packets, columns, rows)                     `packets`: a parsed InboundBatch, or PacketColumns

What this does not do: where a model says "unknown", nothing is laid out; the device answers row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from espsim.batch.device import hash as device_hash
from espsim.batch.device import steps
from espsim.batch.device.hardware import (
    DROP,
    FAIL_FLAG,
    GONE,
    SOFTWARE,
    USE,
    DeviceColumns,
    DirectSlots,
    ExactKeys,
    Key,
    KeyTable,
    PacketColumns,
    Packets,
    SignatureRows,
    SpiTable,
    Ways,
    exact_table,
)  # fmt: skip
from espsim.batch.inbound.triple import NO_PORT
from espsim.core.arrays import I32, I64, U8, U64
from espsim.core.errors import UnknownReached
from espsim.core.numbers import PROTO_ESP
from espsim.jit.memory import zeros
from espsim.offload.caps import need
from espsim.offload.device import Device, PacketKey, Reached
from espsim.offload.hashing import crc32c
from espsim.offload.keys import FieldValues, of_sa
from espsim.offload.schema import UNKNOWN, InboundSpec
from espsim.offload.tables import DirectTable, Entry, ExactTable, HashTable, Row, Table

MOST_CELLS = 1 << 26
"""A table of more places is not laid out place by place: only its entries are kept, in a hash table."""

_ACTIONS = {"use": USE, "software": SOFTWARE, "drop": DROP, "fail_flag": FAIL_FLAG}
_M64 = 0xFFFFFFFFFFFFFFFF


def device_columns(device: Device, rows: Mapping[int, int], port: int = 0) -> DeviceColumns:
    """The tables as packets of one port see them. `rows`: the row of each sa_index; others are GONE."""
    ends, said = _ends(device.model.spec.inbound)
    columns = DeviceColumns(
        steps.ASK, None, [], None, np.zeros((0, 0), np.uint64), np.zeros(0, np.int32), ends, said,
        _asker(device, rows, port),
    )  # fmt: skip
    try:
        _fill(columns, device, rows, port)
    except UnknownReached:
        columns.begin, columns.classify, columns.tables = steps.ASK, None, []
    columns.by_spi = SpiTable.of(columns)
    return columns


def _fill(columns: DeviceColumns, device: Device, rows: Mapping[int, int], port: int) -> None:
    model, hardware = device.model, device.hardware
    classify = model.spec.inbound.classify
    if need(model, "inbound.classify.kind", classify.kind) == "none":
        columns.begin = steps.CLASSIFY
        return
    columns.begin = steps.PENDING
    if hardware.has_rules:
        fields: Sequence[str] = need(model, "inbound.classify.key", classify.key)
        columns.classify = _keys(fields, [of_sa(e.sa, e.port, fields) for e in device.held()], port)
    policy = model.spec.inbound.lookup[0].multi_match
    contexts = _Contexts(device, port)
    for family, size in ((4, 4), (6, 16)) if hardware.per_family else ((0, 4),):
        table = hardware.table(port, bytes(size))
        places = sorted(table.rows)
        written = [table.rows[place] for place in places]
        rank = {"first": 1, "last": -1}.get(policy, 0) * np.array([row.entry.order for row in written], np.int64)
        rank = rank if policy in ("first", "last") else np.arange(len(written))
        laid = _lay_out(table, places, written, rank, port)
        columns.tables.append(KeyTable(family, laid, contexts.of(written)))
    fields = device.verify_fields
    columns.sa = np.array([rows.get(e.sa_index, GONE) for e in contexts.entries], np.int32)
    key = _key(fields)
    if key.parts:
        held, _ = _packets(fields, [of_sa(e.sa, port, fields) for e in contexts.entries], None)
        columns.checked, columns.held = key, key.words(held)


class _Contexts:
    """The SAs whose contexts a lookup can end at, each once."""

    def __init__(self, device: Device, port: int) -> None:
        self.entries: list[Entry] = []
        self._device, self._port = device, port
        self._known: dict[int, int] = {}

    def of(self, written: Iterable[Row]) -> I32:
        """The place in `entries` of each row's context; -1: its slot of the SA array is empty."""
        return np.array([self._row(row) for row in written], np.int32)

    def _row(self, row: Row) -> int:
        entry: Entry | None = row.entry
        if row.target is not None:
            entry = self._device.hardware.array(self._port).slots.get(row.target)
        if entry is None:
            return -1
        number = self._known.setdefault(id(entry), len(self.entries))
        if number == len(self.entries):
            self.entries.append(entry)
        return number


def _ends(inbound: InboundSpec) -> tuple[U8, U8]:
    """`ends` and `said` of steps.conclude; ASK where the model says "unknown"."""
    first, verify = inbound.lookup[0], inbound.verify
    words = {
        steps.CLASSIFY: (inbound.classify.miss, Reached.MISS),
        steps.OVER_MAX: (first.over_max, Reached.MISS),
        steps.MISSED: (first.miss, Reached.MISS),
        steps.EMPTY: (verify.on_invalid, Reached.EMPTY_SLOT),
        steps.MISMATCH: (verify.on_mismatch, Reached.SA_MISMATCH),
        steps.HIT: ("use", Reached.HIT),
    }
    ends, said = np.arange(8, dtype=np.uint8), np.zeros((8, 2), np.uint8)
    for step, (word, far) in words.items():
        if word == "none":
            ends[step] = steps.HIT
        elif word == UNKNOWN:
            ends[step] = steps.ASK
        else:
            said[step] = far, _ACTIONS[word]
    if first.multi_match == UNKNOWN:
        ends[steps.PENDING] = steps.ASK
    return ends, said


def _asker(device: Device, rows: Mapping[int, int], port: int) -> Callable[[Packets, int], tuple[int, int, int, bool]]:
    def ask(packets: Packets, row: int) -> tuple[int, int, int, bool]:
        answer = device.lookup(packet_key(packets, row, port))
        sa = rows.get(answer.sa_index, GONE) if answer.sa_index >= 0 else -1
        return sa, int(answer.reached), _ACTIONS[answer.action], answer.shadowed

    return ask


def packet_key(packets: Packets, row: int, port: int = 0) -> PacketKey:
    """A row of packets as the device model's key."""
    size = 4 if packets.family[row] == 4 else 16

    def address(words: U64) -> bytes:
        high, low = words[row].tolist()
        return int(high << 64 | low).to_bytes(size)

    sport, dport = int(packets.sport[row]), int(packets.dport[row])
    return PacketKey(
        address(packets.saddr), address(packets.daddr), int(packets.spi[row]), mark=int(packets.mark[row]), port=port,
        udp_ports=None if dport == NO_PORT else (sport, dport),
    )  # fmt: skip


# -- keys -------------------------------------------------------------------------------------------------------------

_PARTS = {
    "spi": steps.SPI, "spi24": steps.SPI, "dst": steps.DST | steps.FAMILY, "src": steps.SRC | steps.FAMILY,
    "ipver": steps.FAMILY, "mark": steps.MARK, "udp_ports": steps.PORTS,
}  # fmt: skip


def _key(fields: Sequence[str], *, mark_mask: int = 0xFFFFFFFF, spi_mask: int | None = None) -> Key:
    parts = 0
    for field in fields:
        parts |= _PARTS.get(field, 0)
    if spi_mask is None:
        spi_mask = 0xFFFFFFFF if "spi" in fields else 0xFFFFFF
    return Key(parts, spi_mask, mark_mask)


def _packets(
    fields: Sequence[str], values: Sequence[FieldValues], port: int | None
) -> tuple[PacketColumns, I64]:  # fmt: skip
    """Packets with these values, and the indices of the values; values of other ports are left out."""
    places = [n for n, field in enumerate(fields) if field in ("port", "lf")]
    kept = [n for n, value in enumerate(values) if port is None or all(value[at] == port for at in places)]
    columns = {field: [values[n][at] for n in kept] for at, field in enumerate(fields)}
    rows = len(kept)
    made = PacketColumns(
        np.zeros(rows, np.uint32), np.zeros(rows, np.uint8), np.zeros((rows, 2), np.uint64),
        np.zeros((rows, 2), np.uint64), np.full(rows, NO_PORT), np.full(rows, NO_PORT), np.zeros(rows, np.uint32),
    )  # fmt: skip
    # The SPI comes last: it overwrites its low 24 bits (spi24).
    for field, column in sorted(columns.items(), key=lambda of: of[0] == "spi"):
        _set(made, field, column)
    return made, np.array(kept, np.int64)


def _set(packets: PacketColumns, field: str, column: Sequence[Any]) -> None:
    """Set one field of all packets."""
    if field in ("spi", "spi24"):
        packets.spi[:] = column
    elif field == "ipver":
        packets.family[:] = column
    elif field == "mark":
        packets.mark[:] = column
    elif field in ("dst", "src"):
        numbers = [int.from_bytes(value) for value in column]
        words = packets.daddr if field == "dst" else packets.saddr
        words[:, 0], words[:, 1] = [n >> 64 for n in numbers], [n & _M64 for n in numbers]
        packets.family[:] = [4 if len(value) == 4 else 6 for value in column]
    elif field == "udp_ports":
        for row, value in enumerate(column):
            if value is not None:
                packets.sport[row], packets.dport[row] = value


def _keys(
    fields: Sequence[str], values: Sequence[FieldValues], port: int, *, numbers: I64 | None = None,
    rank: I64 | None = None, mark_mask: int = 0xFFFFFFFF, spi_mask: int | None = None,
) -> ExactKeys:  # fmt: skip
    packets, kept = _packets(fields, values, port)
    numbers = np.arange(len(values)) if numbers is None else numbers
    rank = np.arange(len(values)) if rank is None else rank
    return ExactKeys(_key(fields, mark_mask=mark_mask, spi_mask=spi_mask), packets, numbers[kept], rank)


# -- tables -----------------------------------------------------------------------------------------------------------


def _lay_out(
    table: Table, places: Sequence[int], written: Sequence[Row], rank: I64, port: int
) -> DirectSlots | Ways | SignatureRows:  # fmt: skip
    if isinstance(table, DirectTable):
        return _slots(table, places, port)
    if isinstance(table, HashTable):
        values = [of_sa(row.entry.sa, row.entry.port, table.fields) for row in written]
        return _ways(table, places, values, rank, port)
    if isinstance(table, ExactTable):
        return _rows(table, places, rank, port)
    raise TypeError(type(table).__name__)


def _slots(table: DirectTable, places: Sequence[int], port: int) -> DirectSlots:
    last = max(places, default=-1)
    dense = last < MOST_CELLS
    cells = np.full(last + 1 if dense else 0, -1, np.int32)
    if dense:
        cells[places] = np.arange(len(places))
    slots = DirectSlots(cells, table.capacity or 0)
    if not dense:
        keys = np.array(places, np.uint64).reshape(-1, 1)
        slots.sparse = exact_table(keys, np.arange(len(places)))
    if table.index.fn == "mask":
        offset, mask = table.masked
        slots.masked = offset, mask
        return slots
    fields, spi_mask = table.rule_fields, None
    if table.index.fn == "slice_add":
        low, size, _width = slots.sliced = table.slice
        if table.slice_in_rule:
            fields, spi_mask = (*fields, "spi"), ~(size - 1 << low) & 0xFFFFFFFF
    slots.rules = _keys(fields, [*table.bases], port, spi_mask=spi_mask)
    slots.bases = np.array([*table.bases.values()], np.int64)
    return slots


_CODES = {
    "spi": (device_hash.SPI,), "spi24": (device_hash.SPI24,), "ipver": (device_hash.FAMILY,),
    "mark": (device_hash.MARK,), "udp_ports": (device_hash.PORTS,),
    "dst": (device_hash.DST_HIGH, device_hash.DST_LOW), "src": (device_hash.SRC_HIGH, device_hash.SRC_LOW),
}  # fmt: skip


def _ways(
    table: HashTable, places: Sequence[int], values: Sequence[FieldValues], rank: I64, port: int
) -> Ways | SignatureRows:  # fmt: skip
    ways = table.limit or max((place // table.sets + 1 for place in places), default=1)
    if ways * table.sets > MOST_CELLS:
        return SignatureRows([_keys(table.fields, values, port, rank=rank)], rank, longest=False)
    constants = {"proto": PROTO_ESP, "port": port, "lf": port}
    stream = [(code, constants.get(f, 0)) for f in table.fields for code in _CODES.get(f, (device_hash.CONSTANT,))]
    crc = table.hash is crc32c
    starts = [
        table.hash((), table.seed, way) ^ (0xFFFFFFFF if crc else 0) for way in range(ways if table.skewed else 1)
    ]
    packets, kept = _packets(table.fields, values, port)
    key = _key(table.fields)
    words = key.words(packets)
    cells = zeros((ways * table.sets, words.shape[1] + 1), np.uint64)
    place = np.array(places, np.int64)[kept]
    # The ways of a skewed table lie one after the other. Else the ways of a row lie side by side, in a cache line or
    # two.
    at = place if len(starts) > 1 else place % table.sets * ways + place // table.sets
    cells[at, :-1], cells[at, -1] = words, kept + 1
    return Ways(
        key, np.array([code for code, _ in stream], np.uint8), np.array([c for _, c in stream], np.uint64),
        np.array(starts, np.uint64), table.sets, ways, crc, cells, rank,
    )  # fmt: skip


def _rows(table: ExactTable, places: Sequence[int], rank: I64, port: int) -> SignatureRows:
    number = {place: n for n, place in enumerate(places)}
    signatures = []
    for fields, mask in table.signatures:
        held = [(values, number[place]) for values, found in table.keyed((fields, mask)).items() for place in found]
        signatures.append(
            _keys(
                fields,
                [values for values, _ in held],
                port,
                numbers=np.array([n for _, n in held], np.int64),
                rank=rank,
                mark_mask=mask if "mark" in fields else 0xFFFFFFFF,
            )
        )
    return SignatureRows(signatures, rank, table.longest)
