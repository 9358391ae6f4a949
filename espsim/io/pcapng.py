"""pcapng: sections of blocks; interfaces with link types and clocks of their own (draft-ietf-opsawg-pcapng).

    block     type u32, total length u32, body, total length again; a multiple of four
    section   0x0a0d0d0a: byte order 0x1a2b3c4d, major u16, minor u16, section length i64, options
    interface 1: link type u16, reserved u16, snaplen u32, options (9 if_tsresol, 14 if_tsoffset)
    packet    6 (enhanced): interface u32, time high u32, time low u32, captured u32, length u32, data
              2 (obsolete): interface u16, drops u16, then as 6
              3 (simple): length u32, data; interface 0, no time
    secrets   10: see io/secrets.py

Interfaces are numbered anew in every section. Blocks of other types are passed over.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from espsim.core.errors import InputError
from espsim.core.numbers import MAX_RECORD
from espsim.io.linktype import check_linktype
from espsim.io.secrets import SECRETS, SecretsBlock, block, read_body
from espsim.io.source import SNAPLEN, ByteSource, Record

SECTION_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_OBSOLETE_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_WANTED = frozenset({_INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET})
_ORDERS = {(0x1A2B3C4D).to_bytes(4, "little"): "<", (0x1A2B3C4D).to_bytes(4, "big"): ">"}
_OPT_END, _OPT_TSRESOL, _OPT_TSOFFSET = 0, 9, 14
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Interface:
    """`units`: how many a second has; `offset`: seconds to add."""

    linktype: int
    snaplen: int
    units: int = _MICROSECONDS
    offset: int = 0

    def time_ns(self, high: int, low: int) -> int:
        """Nanoseconds since the epoch, rounded down."""
        return (high << 32 | low) * 1_000_000_000 // self.units + self.offset * 1_000_000_000


@functools.lru_cache(256)
def interface_of(linktype: int, snaplen: int, units: int, offset: int) -> Interface:
    """An Interface; equal ones are one object, because a section may have millions."""
    return Interface(linktype, snaplen, units, offset)


Skim = Callable[[BinaryIO, str], tuple[str, bool]]
"""Takes a file that is at a block, and the byte order; moves the file to a later block. Returns the order there, and
whether an interface before it has a clock with ticks between microseconds."""


class Pcapng:
    """A pcapng after its first block type. InputError: its section header is cut, or is not one.

    `order` is struct's sign of the section's byte order, `interfaces` are the section's: a new list in each. `skim`
    makes the search for fine clocks faster.
    """

    def __init__(self, source: ByteSource, skim: Skim | None = None) -> None:
        self._source = source
        self.order = "<"
        self.interfaces: list[Interface] = []
        self.secrets: list[SecretsBlock] = []
        """Blocks of ESP's secrets so far, up to `room` bytes of text; `room` is 0 unless a caller wants them."""
        self.room = 0
        self._section()
        # Whether times are finer than microseconds decides the output's format, before the first frame is read.
        self.nanosecond = self._scan(skim) if source.file.seekable() else True
        source.frame = 1

    def steps(self) -> Iterator[Record | None]:
        """Every block in order, frames of unsupported link types refused when they are met."""
        source = self._source
        while True:
            block = self._block()
            if block is None:
                return
            kind, body = block
            if kind == _INTERFACE:
                self.interfaces.append(self._interface(body))
            elif kind is not None:
                record = self._packet(kind, body)
                check_linktype(record.linktype, f"frame {source.frame}: interface {record.interface}", source.path)
                source.passed(1)
                yield record
                continue
            yield None

    # -- blocks -------------------------------------------------------------------------------------------------

    def _block(self) -> tuple[int | None, bytes] | None:
        """The next block: (type, body) where it is wanted, (None, b"") where it was passed over; None at the end."""
        source = self._source
        start = source.read(4)
        if not start:
            return None
        if start == SECTION_MAGIC:
            self._section()
            return None, b""
        head = start + source.exactly(8 - len(start), "a block's header")
        kind, total = struct.unpack(self.order + "II", head)
        self._check_length(total, 12)
        if kind == SECRETS:
            self._secrets(total)
            return None, b""
        if kind not in _WANTED:
            source.skip(total - 12, "a block")
            self._close(total)
            return None, b""
        if total > MAX_RECORD:
            raise source.damaged(f"a block of {total} bytes")
        body = source.exactly(total - 12, "a block")
        self._close(total)
        return kind, body

    def _section(self) -> None:
        """The rest of a section header, whose type has been read: byte order anew, no interfaces."""
        source = self._source
        head = source.exactly(8, "a section header")
        order = _ORDERS.get(head[4:])
        if order is None:
            raise source.damaged("a section header without its byte-order magic")
        self.order = order
        (total,) = struct.unpack(order + "I", head[:4])
        self._check_length(total, 28)
        major, minor = struct.unpack(order + "HH", source.exactly(4, "a section header"))
        if major != 1:
            raise source.refused(f"pcapng version {major}.{minor} is not supported, only 1.x is")
        source.skip(total - 20, "a section header")
        self._close(total)
        self.interfaces = []

    def _secrets(self, total: int) -> None:
        """A block of secrets: ESP's are counted, and kept while there is room."""
        source = self._source
        found = read_body(source, self.order, total - 12, self.room)
        self._close(total)
        if found is None:
            return
        source.secrets += 1
        source.late_secrets += (source.frame or 1) > 1
        if self.room:
            self.room = max(self.room - len(found.text), 1)
            self.secrets.append(found)

    def _check_length(self, total: int, least: int) -> None:
        if total < least or total % 4:
            raise self._source.damaged(f"a block says that it is {total} bytes long")

    def _close(self, total: int) -> None:
        (again,) = struct.unpack(self.order + "I", self._source.exactly(4, "a block's end"))
        if again != total:
            raise self._source.damaged(f"a block says {total} bytes at its start and {again} at its end")

    # -- bodies -------------------------------------------------------------------------------------------------

    def _interface(self, body: bytes) -> Interface:
        if len(body) < 8:
            raise self._source.damaged("an interface block is too short")
        linktype, _reserved, snaplen = struct.unpack_from(self.order + "HHI", body)
        units, offset = _MICROSECONDS, 0
        for code, value in self._options(body, 8):
            if code == _OPT_TSRESOL and len(value) == 1:
                units = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == _OPT_TSOFFSET and len(value) == 8:
                (offset,) = struct.unpack(self.order + "q", value)
        return interface_of(linktype, snaplen, units, offset)

    def _options(self, body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self.order + "HH", body, at)
            if code == _OPT_END:
                return
            if at + 4 + length > len(body):
                raise self._source.damaged("an option is longer than its block")
            yield code, body[at + 4 : at + 4 + length]
            at += 4 + (length + 3 & ~3)

    def _packet(self, kind: int, body: bytes) -> Record:
        if kind == _SIMPLE_PACKET:
            return self._simple(body)
        if len(body) < 20:
            raise self._source.damaged("a packet block is too short")
        layout = "IIIII" if kind == _ENHANCED_PACKET else "HxxIIII"
        index, high, low, captured, length = struct.unpack_from(self.order + layout, body)
        interface = self._of(index)
        if captured > len(body) - 20:
            raise self._source.damaged(f"a frame of {captured} bytes in a block with room for {len(body) - 20}")
        data = body[20 : 20 + captured]
        return Record.bounded(interface.linktype, index, interface.time_ns(high, low), data, length)

    def _simple(self, body: bytes) -> Record:
        """It does not say how much was captured: the whole packet, or the interface's snaplen (4.4)."""
        if len(body) < 4:
            raise self._source.damaged("a packet block is too short")
        (length,) = struct.unpack_from(self.order + "I", body)
        interface = self._of(0)
        captured = min(length, interface.snaplen or length)
        if captured > len(body) - 4:
            raise self._source.damaged(f"a frame of {captured} bytes in a block with room for {len(body) - 4}")
        return Record.bounded(interface.linktype, 0, 0, body[4 : 4 + captured], length)

    def _of(self, index: int) -> Interface:
        if index >= len(self.interfaces):
            raise self._source.damaged(f"a frame of interface {index}, but the section has {len(self.interfaces)}")
        return self.interfaces[index]

    # -- looking ahead ------------------------------------------------------------------------------------------

    def _scan(self, skim: Skim | None) -> bool:
        """Whether some interface's clock has ticks between microseconds. Reads block headers and interfaces only."""
        source, start, order = self._source, self._source.at, self.order
        place = source.file.tell()  # standard input may have been read from before
        try:
            return self._finer_than_microseconds(skim)
        except (InputError, OSError):
            return False  # reading the frames reports what is wrong
        finally:
            source.file.seek(place)
            source.at, self.order = start, order
            self.interfaces = []

    def _finer_than_microseconds(self, skim: Skim | None) -> bool:
        source = self._source
        while True:
            if skim is not None:
                self.order, finer = skim(source.file, self.order)
                if finer:
                    return True
            head = source.read(8)
            if len(head) < 8:
                break
            if head[:4] == SECTION_MAGIC:
                self.order = _ORDERS.get(source.exactly(4, "a section header"), self.order)
                source.file.seek(-4, 1)
            kind, total = struct.unpack(self.order + "II", head)
            if total < 12:
                break
            if kind == _INTERFACE and total <= MAX_RECORD:
                if _MICROSECONDS % self._interface(source.exactly(total - 12, "a block")).units:
                    return True
                source.file.seek(4, 1)
            else:
                source.file.seek(total - 8, 1)
        return False


# -- writing ----------------------------------------------------------------------------------------------------------


def section_start(linktype: int, nanosecond: bool) -> bytes:
    """A little-endian section with one interface, whose times are nanoseconds or microseconds."""
    return section_block() + interface_block(linktype, nanosecond)


def section_block() -> bytes:
    """A little-endian section, without an interface yet."""
    return block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface_block(linktype: int, nanosecond: bool) -> bytes:
    """The section's next interface, whose times are nanoseconds or microseconds."""
    resolution = struct.pack("<HHBxxxHH", _OPT_TSRESOL, 1, 9, _OPT_END, 0) if nanosecond else b""
    return block(_INTERFACE, struct.pack("<HHI", linktype, 0, SNAPLEN) + resolution)


def packet_block(data: bytes, time_ns: int, nanosecond: bool, *, interface: int = 0, wire: int | None = None) -> bytes:
    """One frame, of `wire` bytes where it was cut. A time before the epoch becomes the epoch."""
    ticks = max(time_ns, 0) // (1 if nanosecond else 1000)
    size = len(data) if wire is None else wire
    head = struct.pack("<IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), size)
    return block(_ENHANCED_PACKET, head + data + bytes(-len(data) % 4))
