"""RFC 4301's SA lookup (section 4.1), to be read: the longest match of SPI; SPI, destination; SPI, destination, source.

Linux's lookup is `sad/index.py`; a device's are in `offload/tables.py`.
"""

from __future__ import annotations

from enum import IntEnum

from espsim.core.address import Address


class Level(IntEnum):
    """What of a packet an SA is found by."""

    SPI = 1
    DESTINATION = 2
    SOURCE = 3


class LongestMatch:
    """SAs by number, each under one key. Unicast SAs need the SPI alone; multicast ones say more."""

    def __init__(self) -> None:
        self._by_spi: dict[int, int] = {}
        self._by_destination: dict[tuple[int, Address], int] = {}
        self._by_source: dict[tuple[int, Address, Address], int] = {}

    def insert(self, sa_index: int, level: Level, spi: int, daddr: Address = b"", saddr: Address = b"") -> None:
        """Put an SA under the key of its level; it takes the place of one that was there."""
        if level is Level.SPI:
            self._by_spi[spi] = sa_index
        elif level is Level.DESTINATION:
            self._by_destination[spi, daddr] = sa_index
        else:
            self._by_source[spi, daddr, saddr] = sa_index

    def lookup(self, spi: int, daddr: Address, saddr: Address) -> int | None:
        """The SA of a packet: 1. SPI, destination and source; 2. SPI and destination; 3. SPI only."""
        found = self._by_source.get((spi, daddr, saddr))
        if found is None:
            found = self._by_destination.get((spi, daddr))
        if found is None:
            found = self._by_spi.get(spi)
        return found
