"""Fragments of IP datagrams: what one says of itself, and the datagram that they become.

IPv4 (RFC 791)        the offset in units of eight bytes and "more" are in the header (ipv4.py)
IPv6 (RFC 8200 4.5)   they are in an extension header (ipv6_fragment.py), after headers that every fragment has

The rules are those of Linux (net/ipv4/ip_fragment.c, net/ipv6/reassembly.c). They differ: an IPv4 fragment with more
to come loses what goes past a multiple of eight bytes; an IPv6 one is refused.

What this does not do: keep fragments until all are there, or time them out (io/fragments.py) or cut packets (split.py).
"""

from __future__ import annotations

from typing import NamedTuple

from espsim.core.address import Address
from espsim.core.numbers import PROTO_ESP, PROTO_FRAGMENT, PROTO_UDP
from espsim.wire import ipv4, ipv6, ipv6_fragment, udp

MOST = 65535
"""Bytes of an IPv4 datagram, and of an IPv6 datagram after its first 40."""

_MAY_HOLD_ESP = (PROTO_ESP, PROTO_UDP, *ipv6.EXTENSIONS)

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
    """The fragment that an IP packet is; None: it is not one, or its datagram can hold no ESP."""
    if len(packet) < ipv4.HEADER_LENGTH:
        return None
    version = packet[0] >> 4
    if version == 4:
        return _parse4(packet)
    return _parse6(packet) if version == 6 and len(packet) >= ipv6.HEADER_LENGTH else None


def _parse4(packet: bytes) -> Fragment | None:
    field = ipv4.flags(packet)
    if not field & ipv4.FRAGMENT_MASK or packet[ipv4.PROTOCOL] not in (PROTO_ESP, PROTO_UDP):
        return None
    headers, total = ipv4.length(packet), ipv4.total_length(packet)
    if headers < ipv4.HEADER_LENGTH or total < headers:
        return None
    start, more = (field & ipv4.OFFSET_MASK) * 8, bool(field & ipv4.MF)
    end = start + total - headers
    if more:
        end &= ~7
    data = packet[headers : headers + end - start] if total <= len(packet) else None
    key = packet[ipv4.IDENT : ipv4.FLAGS] + packet[ipv4.PROTOCOL : ipv4.CHECKSUM] + packet[ipv4.SRC] + packet[ipv4.DST]
    ecn, dont = 1 << (packet[ipv4.TOS] & 3), bool(field & ipv4.DF)
    return Fragment(key, start, end, more, packet[:headers], data, ecn, dont, end - start + headers)


def _parse6(packet: bytes) -> Fragment | None:
    length = ipv6.total_length(packet)
    found = _fragment_header(packet, min(length, len(packet)))
    if found is None:  # a jumbogram too, whose length is 0
        return None
    at, pointer = found
    header = ipv6_fragment.parse(packet, at)
    kind, start, more = header.next_header, header.offset, header.more
    if not (start or more) or kind not in _MAY_HOLD_ESP:
        return None
    body = at + ipv6_fragment.HEADER_LENGTH
    end = start + length - body
    refused = end > MOST or (more and end & 7) or (not start and _headers_end(packet[body:length], kind) is None)
    data = packet[body:length] if length <= len(packet) and not refused else None
    headers = packet[:pointer] + bytes((kind,)) + packet[pointer + 1 : at]
    key = packet[ipv6.SRC] + packet[ipv6.DST] + packet[at + ipv6_fragment.IDENT : body]
    return Fragment(key, start, end, more, headers, data, 1 << (ipv6.traffic_class(packet) & 3), False, 0)


def _fragment_header(packet: bytes, end: int) -> tuple[int, int] | None:
    """(offset of the IPv6 fragment header, of the byte that names it); None: there is none before `end`."""
    at, pointer = ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER
    while at + ipv6_fragment.HEADER_LENGTH <= end:
        kind = packet[pointer]
        if kind == PROTO_FRAGMENT:
            return at, pointer
        if kind not in ipv6.EXTENSIONS:
            return None
        pointer, at = at, at + ipv6.extension_length(packet, at)
    return None


def _headers_end(payload: bytes, kind: int) -> int | None:
    """Where the upper layer begins in a first fragment of IPv6; None: it does not, and RFC 8200 refuses that."""
    at = 0
    while kind in ipv6.EXTENSIONS:
        if at + ipv6.EXTENSION_LEAST > len(payload):
            return None
        kind, at = payload[at], at + ipv6.extension_length(payload, at)
    return at if at < len(payload) else None


def together_ecn(bits: int) -> int | None:
    """The ECN bits to set in a datagram's header; None: Linux drops the datagram.

    `bits` is the union of `Fragment.ecn` over all fragments. RFC 3168 5.3, ip_frag_ecn_table
    (net/ipv4/inet_fragment.c).
    """
    if bits & NOT_ECT and bits != NOT_ECT:
        return None
    return 3 if bits & CE and bits != CE else 0


def datagram4(header: bytes, payload: bytes, ecn: int, dont: bool) -> bytes | None:
    """The IPv4 datagram with its first fragment's header; None where it would be too long."""
    total = len(header) + len(payload)
    if total > MOST:
        return None
    flags = ipv4.DF if dont else 0
    tos, ident = header[ipv4.TOS] | ecn, header[ipv4.IDENT : ipv4.FLAGS]
    header = header[: ipv4.TOS] + bytes((tos,)) + total.to_bytes(2) + ident + flags.to_bytes(2) + header[ipv4.TTL :]
    return ipv4.with_checksum(header) + payload


def datagram6(header: bytes, payload: bytes, ecn: int) -> bytes | None:
    """The IPv6 datagram with its first fragment's headers, without the fragment header; None where it is too long."""
    length = len(header) - ipv6.HEADER_LENGTH + len(payload)
    if length > MOST:
        return None
    first = ipv6.set_traffic_class(header[: ipv6.PAYLOAD_LENGTH], ipv6.traffic_class(header) | ecn)
    return first + length.to_bytes(2) + header[ipv6.NEXT_HEADER :] + payload


def unfinished(header: bytes, payload: bytes) -> bytes:
    """The first bytes of a datagram, in a packet that states the longest length, so that it counts as cut."""
    at = ipv4.TOTAL_LENGTH if header[0] >> 4 == 4 else ipv6.PAYLOAD_LENGTH
    return header[:at] + MOST.to_bytes(2) + header[at + 2 :] + payload


def udp_checksum_is_wrong(datagram: bytes) -> bool:
    """Whether a whole datagram holds UDP with a checksum (it is not zero) that is not right."""
    if datagram[0] >> 4 == 4:
        kind, at = datagram[ipv4.PROTOCOL], ipv4.length(datagram)
        addresses: tuple[Address, Address] = (datagram[ipv4.SRC], datagram[ipv4.DST])
    else:
        kind, at = ipv6.upper_layer(datagram)
        addresses = (datagram[ipv6.SRC], datagram[ipv6.DST])
    return kind == PROTO_UDP and udp.checksum_is_wrong(datagram, at, addresses)
