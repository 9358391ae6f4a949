"""Tunnels as runtime columns, from one SA to a million: AES-128-GCM, IPv4 in IPv4, no lifetimes.

SAs go into columns as arrays: as objects of a `Sad` a million would take gigabytes and minutes. Every SA has a random
key, SPI and destination. An outbound SA's selector is one IPv4 address, the number of its SPI: SPIs are distinct, so
selectors are too. A test compares these columns with what `InboundColumns.of` and `OutboundColumns.of` make of objects.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from espsim.aead.batch import BatchEngine, SlotKeys
from espsim.aead.suites import AEADS, SuiteKeys
from espsim.batch.inbound import window as windows
from espsim.batch.inbound.columns import InboundColumns
from espsim.batch.inbound.decap import TUNNEL
from espsim.batch.inbound.lookup import PLAIN
from espsim.jit.memory import zeros
from espsim.measure.keys import Keys, triple_table
from espsim.measure.peers import Unavailable
from espsim.wire.udp import PORT_NAT_T

SOURCE = bytes((198, 18, 0, 1))
"""Outer source of every tunnel (RFC 2544's range)."""
GCM = AEADS["rfc4106(gcm(aes))"]
ICV = 16
WINDOW = 64
_SA_BYTES = {"ipsec-mb": 2_000}
_MOST_SA_BYTES = 6_000
"""Bytes that set-up takes for an SA, by engine."""
ENGINE_LINE = 64
"""Bytes that a native engine keeps for a slot besides its key schedule."""


def slots_for(sas: int, rng: np.random.Generator, *, esn: bool = False) -> list[SlotKeys]:
    """A random key and salt for each SA."""
    raw = rng.bytes(20 * sas)
    each = range(0, 20 * sas, 20)
    return [SlotKeys(SuiteKeys(GCM, raw[at : at + 20], b"", ICV), esn) for at in each]


def columns_for(of: Keys, slots: list[SlotKeys], engine: BatchEngine, window: int = WINDOW) -> InboundColumns:
    """The runtime columns of inbound tunnels with these keys and replay windows of `window` numbers."""
    sas, table = len(of.spi), triple_table(of)
    form, words = windows.shape_of(window, esn=slots[0].esn)
    shape = zeros((sas,), np.uint64)
    shape[:] = form | np.arange(sas, dtype=np.uint64) * np.uint64(words) << np.uint64(windows.WHERE)
    ports = np.zeros(65536, np.uint8)
    ports[PORT_NAT_T] = 1
    return InboundColumns(
        np.full(sas, PLAIN, np.uint8),
        np.full(sas, TUNNEL, np.uint8),
        np.tile(np.array([GCM.iv_length, ICV], np.uint8), (sas, 1)),
        table.table4,
        table.table6,
        table.chain,
        shape,
        zeros((sas * words,), np.uint64),
        zeros((sas, 8), np.int64),
        ports,
        engine.opener(slots),
        np.full(sas, -1, np.int32),
        np.zeros((0, 12), np.uint64),
        esn=slots[0].esn,
    )


def inbound_bytes(columns: InboundColumns) -> float:
    """Bytes of an SA: columns, table and the engine's line of 64, without its key schedule."""
    c = columns
    each = (c.standing, c.form, c.extent, c.table4, c.chain, c.shape, c.bits, c.counts, c.selector_of)
    return ENGINE_LINE + sum(column.nbytes for column in each) / len(c.standing)


def room_for(sas: int, engine: str) -> None:
    """Raises Unavailable where so many SAs do not fit into memory while they are set up."""
    memory_for(f"{sas:,} SAs with the engine {engine}", sas * _SA_BYTES.get(engine, _MOST_SA_BYTES))


def memory_for(what: str, need: int) -> None:
    """Raises Unavailable where `need` bytes are more than three quarters of what is free."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.exists() else []
    free = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), need * 2)
    if need > free * 3 // 4:
        raise Unavailable(f"{what}: about {need >> 20:,} MiB are needed to set them up, {free >> 20:,} MiB are free")
