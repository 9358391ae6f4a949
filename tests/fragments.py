"""Datagrams cut into fragments by hand: nothing here uses espsim's own header code."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.support import checksum


def fragment(packet: bytes, start: int, end: int | None, *, ident: int = 7, dont: bool = False) -> bytes:
    """Bytes `start` to `end` (None: the last) of an IPv4 or IPv6 datagram's payload, after its first header."""
    if packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        field = start // 8 | (0x2000 if end is not None else 0) | (0x4000 if dont else 0)
        body = packet[size:][start:end]
        head = packet[:2] + struct.pack("!HHH", size + len(body), ident, field) + packet[8:10]
        tail = packet[12:size]
        return head + checksum(head + b"\0\0" + tail).to_bytes(2) + tail + body
    body = packet[40:][start:end]
    header = struct.pack("!BBHI", packet[6], 0, start | (end is not None), ident)
    return packet[:4] + struct.pack("!HB", 8 + len(body), 44) + packet[7:40] + header + body


def fragments(packet: bytes, cuts: Sequence[int], *, ident: int = 7, dont: bool = False) -> list[bytes]:
    """A datagram cut at these places of its payload, which are multiples of eight and rise."""
    ends = [*cuts, None]
    return [fragment(packet, start, end, ident=ident, dont=dont) for start, end in zip([0, *cuts], ends, strict=True)]
