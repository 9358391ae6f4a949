"""LookupTable: finds SAs for arrays of packets, in the software table or in the tables of a hardware model.

What this does not do: it knows no marks and no UDP ports, and removes no SA.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from espsim.batch.device.hardware import USE, DeviceColumns, DeviceRows, PacketColumns, ask_device, hardware
from espsim.batch.device.snapshot import device_columns
from espsim.batch.device.steps import ASK
from espsim.batch.inbound.lookup import triple
from espsim.batch.inbound.triple import ANY_PORT, NO_PORT, PORT, PROTO, triple_insert, triple_tables
from espsim.core.arrays import I32, U8, U32, U64
from espsim.core.errors import InputError
from espsim.core.numbers import PROTO_ESP
from espsim.offload.compare import association
from espsim.offload.device import Device
from espsim.offload.model import load_model, parse_assumptions

Addresses = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]


class LookupTable:
    """Insert SAs, find them by (SPI, destination), thousands at a time.

        table = LookupTable()                               software: Linux's (destination, SPI, ESP), newest first
        table = LookupTable("marvell-cn10k-dpdk")           what this device under this driver finds

    Addresses are uint32 of shape (n,) for IPv4 (host integers), or uint64 of shape (n, 2), high and low word, for IPv6.
    Rows count the SAs that were inserted, from 0 on. `assume`: as on the command line, for what a model calls unknown.
    """

    def __init__(self, model: str | None = None, assume: Iterable[str] = ()) -> None:
        self.model = model
        self._family: list[U8] = []
        self._spi: list[U32] = []
        self._daddr: list[U64] = []
        self._count = 0
        self._tables: tuple[U64, U64, U32] | None = None
        self._columns: DeviceColumns | None = None
        self._device: Device | None = None
        if model is not None:
            loaded = load_model(model)
            self._device = Device(loaded, parse_assumptions(loaded, assume))

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"LookupTable({self.model or 'software'}, {self._count} SAs)"

    def insert(self, spi: npt.ArrayLike, daddr: Addresses) -> list[tuple[int, str]]:
        """Put SAs in, oldest first. (row, errno) of those that the driver refuses; software refuses none.

        InputError: the arrays don't fit each other, or an SPI is 0.
        """
        spis, family, words = _columns_of(spi, daddr)
        if not spis.all():
            raise InputError("SPI 0 belongs to no SA: it means that there is none")
        first, self._count = self._count, self._count + len(spis)
        self._family.append(family)
        self._spi.append(spis)
        self._daddr.append(words)
        self._tables = self._columns = None
        return [] if self._device is None else self._offer(self._device, first, spis, family, words)

    def find(self, spi: npt.ArrayLike, daddr: Addresses) -> I32:
        """The row of each packet's SA (int32); -1: none, or left to software. UnknownReached: not public."""
        spis, family, words = _columns_of(spi, daddr)
        rows = len(spis)
        found: I32 = np.full(rows, -1, np.int32)
        if self._device is None:
            tables = self._tables = self._tables or self._software()
            fixed = np.zeros(rows, np.uint8), np.full(rows, PROTO_ESP, np.uint8), np.zeros(rows, np.uint32)
            triple(fixed[0], family, fixed[1], spis, words, fixed[2], np.full(rows, NO_PORT, np.uint32), *tables, found)
            return found
        columns = self._columns = self._columns or device_columns(self._device, {n: n for n in range(self._count)})
        nothing = np.full(rows, NO_PORT, np.uint32)
        saddr = np.zeros((rows, 2), np.uint64)
        packets = PacketColumns(spis, family, words, saddr, nothing, nothing, np.zeros(rows, np.uint32))
        answers = DeviceRows.of(rows)
        hardware(packets, columns, answers)
        ask_device(packets, columns, answers, np.flatnonzero(answers.step == ASK).tolist())
        np.copyto(found, answers.sa_index, where=answers.action == USE)
        return found

    def _software(self) -> tuple[U64, U64, U32]:
        none = _columns_of([], np.zeros(0, np.uint32))
        spi = np.concatenate([none[0], *self._spi])
        family, daddr = np.concatenate([none[1], *self._family]), np.concatenate([none[2], *self._daddr])
        v4 = int(np.count_nonzero(family == 4))
        tables = triple_tables(v4, len(spi) - v4)
        chain = np.zeros((len(spi), 5), np.uint32)
        chain[:, PROTO], chain[:, PORT] = PROTO_ESP, ANY_PORT
        triple_insert(np.arange(len(spi)), family, spi, daddr, *tables, chain)
        return *tables, chain

    def _offer(self, device: Device, first: int, spi: U32, family: U8, daddr: U64) -> list[tuple[int, str]]:
        """Offer each SA to the model's driver, with algorithms and a window that it takes."""
        base, refused = association(device.model, 1), []
        for n in range(len(spi)):
            size = 4 if family[n] == 4 else 16
            address = (int(daddr[n, 0]) << 64 | int(daddr[n, 1])).to_bytes(16)[16 - size :]
            answer = device.add(first + n, replace(base, src=bytes(size), dst=address, spi=int(spi[n])))
            if answer.errno is not None:
                refused.append((first + n, answer.errno))
        return refused


def _columns_of(spi: npt.ArrayLike, daddr: Addresses) -> tuple[U32, U8, U64]:
    """SPI, family and address words. InputError where they don't fit each other."""
    spis = np.ascontiguousarray(spi, np.uint32)
    words: U64 = np.zeros((len(spis), 2), np.uint64)
    v4 = daddr.ndim == 1
    if spis.ndim != 1 or len(daddr) != len(spis) or not (v4 or daddr.shape[1:] == (2,)):
        raise InputError(f"SPIs of shape {spis.shape} and addresses of shape {daddr.shape}: (n,) with (n,) or (n, 2)")
    if v4:
        words[:, 1] = daddr
    else:
        words[:] = daddr
    return spis, np.full(len(spis), 4 if v4 else 6, np.uint8), words
