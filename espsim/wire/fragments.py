"""Fragments of IP datagrams: what one says of itself, and the datagram that they become.

IPv4 (RFC 791)   the offset in units of eight bytes and "more" are in the header (wire/ipv4.py)
IPv6 (RFC 8200 4.5), after headers that every fragment has:
|  Next Header  |   Reserved    |      Fragment Offset    |Res|M|   0
|                         Identification                        |   4

The rules are Linux's (net/ipv4/ip_fragment.c, net/ipv6/reassembly.c), which differ: an IPv4 fragment that is no
multiple of eight bytes loses its end, an IPv6 one is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from espsim.core.address import Address
from espsim.core.numbers import PROTO_DSTOPTS, PROTO_ESP, PROTO_FRAGMENT, PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_UDP
from espsim.wire import ipv4, ipv6, udp

HEADER_LENGTH6 = 8
MOST = 65535
"""Bytes of an IPv4 datagram, and of an IPv6 datagram after its first 40."""

_EXTENSIONS = (PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_DSTOPTS)
_MAY_HOLD_ESP = (PROTO_ESP, PROTO_UDP, *_EXTENSIONS)
_OFFSET4 = 0x1FFF
_OFFSET6, _MORE6 = 0xFFF8, 1

NOT_ECT, CE = 1, 8
"""Bits of `Fragment.ecn`, 1 << the two ECN bits of its header: not ECN-capable, congestion experienced."""


class Fragment(NamedTuple):
    """One fragment.

    `key` is the same for all fragments of one datagram. Its bytes belong at `start` to `end` of the datagram's payload,
    and more follow where `more`; `data` is None where they are not all here, or where Linux refuses this fragment
    alone. `header` is what comes before the payload, as the datagram has it. `dont`: may not be fragmented (IPv4).
    `size`: bytes of an IPv4 fragment with its header.
    """

    key: bytes
    start: int
    end: int
    more: bool
    header: bytes
    data: bytes | None
    ecn: int
    dont: bool
    size: int


def parse(packet: bytes) -> Fragment | None:
    """The fragment that an IP packet is; None where it is none, or of a datagram that can hold no ESP."""
    if len(packet) < ipv4.HEADER_LENGTH:
        return None
    version = packet[0] >> 4
    if version == 4:
        return _parse4(packet)
    return _parse6(packet) if version == 6 and len(packet) >= ipv6.HEADER_LENGTH else None


def _parse4(packet: bytes) -> Fragment | None:
    field = packet[6] << 8 | packet[7]
    if not field & ipv4.FRAGMENT_MASK or packet[ipv4.PROTOCOL] not in (PROTO_ESP, PROTO_UDP):
        return None
    headers, total = (packet[0] & 15) * 4, packet[2] << 8 | packet[3]
    if headers < ipv4.HEADER_LENGTH or total < headers:
        return None
    start, more = (field & _OFFSET4) * 8, bool(field & ipv4.MF)
    end = start + total - headers
    if more:
        end &= ~7
    data = packet[headers : headers + end - start] if total <= len(packet) else None
    key = packet[4:6] + packet[9:10] + packet[12:20]
    dont = bool(field & ipv4.DF)
    return Fragment(
        key, start, end, more, packet[:headers], data, 1 << (packet[1] & 3), dont, end - start + headers
    )  # fmt: skip


def _parse6(packet: bytes) -> Fragment | None:
    length = ipv6.HEADER_LENGTH + (packet[4] << 8 | packet[5])
    found = _fragment_header(packet, min(length, len(packet)))
    if found is None:  # a jumbogram too, whose length is 0
        return None
    at, pointer = found
    field, kind = packet[at + 2] << 8 | packet[at + 3], packet[at]
    if not field & (_OFFSET6 | _MORE6) or kind not in _MAY_HOLD_ESP:
        return None
    start, more = field & _OFFSET6, bool(field & _MORE6)
    body = at + HEADER_LENGTH6
    end = start + length - body
    refused = end > MOST or (more and end & 7) or (not start and _headers_end(packet[body:length], kind) is None)
    data = packet[body:length] if length <= len(packet) and not refused else None
    header = packet[:pointer] + bytes((kind,)) + packet[pointer + 1 : at]
    key = packet[8:40] + packet[at + 4 : body]
    return Fragment(key, start, end, more, header, data, 1 << (ipv6.traffic_class(packet) & 3), False, 0)


def _fragment_header(packet: bytes, end: int) -> tuple[int, int] | None:
    """(offset of IPv6's fragment header, of the byte that names it); None: there is none before `end`."""
    at, pointer = ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER
    while at + HEADER_LENGTH6 <= end:
        kind = packet[pointer]
        if kind == PROTO_FRAGMENT:
            return at, pointer
        if kind not in _EXTENSIONS:
            return None
        pointer, at = at, at + (packet[at + 1] + 1) * 8
    return None


def _headers_end(payload: bytes, kind: int) -> int | None:
    """Where the upper layer begins in a first fragment of IPv6; None: it does not, and RFC 8200 refuses that."""
    at = 0
    while kind in _EXTENSIONS:
        if at + 8 > len(payload):
            return None
        kind, at = payload[at], at + (payload[at + 1] + 1) * 8
    return at if at < len(payload) else None


def together_ecn(bits: int) -> int | None:
    """What the datagram's header gets into its ECN bits, of all its fragments'; None: Linux drops the datagram.

    RFC 3168 5.3 and ip_frag_ecn_table (net/ipv4/inet_fragment.c).
    """
    if bits & NOT_ECT and bits != NOT_ECT:
        return None
    return 3 if bits & CE and bits != CE else 0


def datagram4(header: bytes, payload: bytes, ecn: int, dont: bool) -> bytes | None:
    """An IPv4 datagram of its first fragment's header; None where it would be too long."""
    total = len(header) + len(payload)
    if total > MOST:
        return None
    flags = ipv4.DF if dont else 0
    header = header[:1] + bytes((header[1] | ecn,)) + total.to_bytes(2) + header[4:6] + flags.to_bytes(2) + header[8:]
    return ipv4.with_checksum(header) + payload


def datagram6(header: bytes, payload: bytes, ecn: int) -> bytes | None:
    """An IPv6 datagram of its first fragment's headers, without the fragment header; None where it is too long."""
    length = len(header) - ipv6.HEADER_LENGTH + len(payload)
    if length > MOST:
        return None
    header = ipv6.set_traffic_class(header[:4], ipv6.traffic_class(header) | ecn) + length.to_bytes(2) + header[6:]
    return header + payload


def unfinished(header: bytes, payload: bytes) -> bytes:
    """The first bytes of a datagram, in a packet that says that it goes on."""
    at = 2 if header[0] >> 4 == 4 else ipv6.PAYLOAD_LENGTH
    return header[:at] + MOST.to_bytes(2) + header[at + 2 :] + payload


def udp_checksum_is_wrong(datagram: bytes) -> bool:
    """Of a whole datagram with UDP in it: its checksum is there (not zero) and not right."""
    if datagram[0] >> 4 == 4:
        kind, at = datagram[ipv4.PROTOCOL], (datagram[0] & 15) * 4
        addresses: tuple[Address, Address] = (datagram[12:16], datagram[16:20])
    else:
        kind, at = _upper6(datagram)
        addresses = (datagram[8:24], datagram[24:40])
    return kind == PROTO_UDP and udp.checksum_is_wrong(datagram, at, addresses)


def _upper6(datagram: bytes) -> tuple[int, int]:
    """(upper-layer protocol, where it begins) of a whole IPv6 datagram."""
    kind, at = datagram[ipv6.NEXT_HEADER], ipv6.HEADER_LENGTH
    while kind in _EXTENSIONS and at + 8 <= len(datagram):
        kind, at = datagram[at], at + (datagram[at + 1] + 1) * 8
    return kind, at
