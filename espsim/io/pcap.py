"""Classic pcap: one link type, one clock, a header of 24 bytes and 16 bytes before every frame.

    file    magic u32, major u16, minor u16, thiszone i32, sigfigs u32, snaplen u32, linktype u32
    frame   seconds u32, fraction u32, captured length u32, length on the wire u32, then the captured bytes

The magic says byte order and the unit of the fraction. Source: draft-ietf-opsawg-pcap, libpcap sf-pcap.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

from espsim.core.numbers import MAX_RECORD
from espsim.io.linktype import check_linktype
from espsim.io.source import SNAPLEN, ByteSource, Record

MICROSECONDS = 0xA1B2C3D4
NANOSECONDS = 0xA1B23C4D
_ORDERS: tuple[tuple[Literal["little", "big"], str], ...] = (("little", "<"), ("big", ">"))
_MAGICS = {
    magic.to_bytes(4, order): (sign, unit)
    for magic, unit in ((MICROSECONDS, 1000), (NANOSECONDS, 1))
    for order, sign in _ORDERS
}
_HEADER_REST = 20
_LINKTYPE_MASK = 0x03FFFFFF  # the bits above say whether frames end in an FCS (libpcap LT_FCS_LENGTH)


class ClassicPcap:
    """A classic pcap after its magic. InputError: cut header, another version, an unsupported link type.

    `order` is struct's sign of its byte order, `unit` the nanoseconds in one unit of a time's fraction.
    """

    def __init__(self, source: ByteSource, magic: bytes) -> None:
        self._source = source
        self.order, self.unit = _MAGICS[magic]
        self.nanosecond = self.unit == 1
        header = source.exactly(_HEADER_REST, "the file header")
        major, minor, _zone, _sigfigs, _snaplen, linktype = struct.unpack(self.order + "HHiIII", header)
        if (major, minor) != (2, 4):
            raise source.refused(f"pcap version {major}.{minor} is not supported, only 2.4 is")
        self.linktype = linktype & _LINKTYPE_MASK
        check_linktype(self.linktype, "the capture", source.path)
        source.frame = 1

    @staticmethod
    def knows(magic: bytes) -> bool:
        """Whether the first four bytes of a file are those of a classic pcap."""
        return magic in _MAGICS

    def steps(self) -> Iterator[Record]:
        """Every frame in order. The header's snaplen is not looked at, so a wrong one does no harm."""
        source, unit, linktype = self._source, self.unit, self.linktype
        unpack = struct.Struct(self.order + "IIII").unpack
        while header := source.read(16):
            if len(header) < 16:
                raise source.cut(f"the frame's header has {len(header)} of 16 bytes")
            seconds, fraction, captured, length = unpack(header)
            if captured > MAX_RECORD:
                raise source.damaged(f"a frame of {captured} bytes")
            data = source.exactly(captured, "the frame")
            source.passed(1)
            yield Record.bounded(linktype, None, seconds * 1_000_000_000 + fraction * unit, data, length)


def file_header(linktype: int, nanosecond: bool) -> bytes:
    """The header of a classic little-endian pcap."""
    return struct.pack("<IHHiIII", NANOSECONDS if nanosecond else MICROSECONDS, 2, 4, 0, 0, SNAPLEN, linktype)


def frame_header(time_ns: int, length: int, nanosecond: bool) -> bytes:
    """The header of one whole frame. Seconds are 32 bits without sign: a time outside becomes the nearest inside."""
    seconds, fraction = divmod(max(time_ns, 0), 1_000_000_000)
    if seconds > 0xFFFFFFFF:
        seconds, fraction = 0xFFFFFFFF, 999_999_999
    return struct.pack("<IIII", seconds, fraction if nanosecond else fraction // 1000, length, length)
