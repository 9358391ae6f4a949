"""An IP packet cut into fragments, as a host cuts what it sends (Linux ip_do_fragment and ip6_fragment).

IPv4    every fragment has the header, later ones without the options that are not to be copied (RFC 791: no-ops there)
IPv6    every fragment has the headers up to hop-by-hop and routing, then a fragment header (RFC 8200 4.5)

All but the last carry a multiple of eight bytes. Does not put fragments together (fragments.py).
"""

from __future__ import annotations

from espsim.core.numbers import PROTO_FRAGMENT
from espsim.wire import ipv4, ipv6, ipv6_fragment

_LEAST = 8
_END, _NO_OP, _COPIED = 0, 1, 0x80


def split4(packet: bytes, mtu: int) -> list[bytes]:
    """The fragments of an IPv4 packet without DF, none longer than `mtu`; the packet alone where it fits.

    Empty where not even 8 bytes fit after the header.
    """
    if len(packet) <= mtu:
        return [packet]
    size = ipv4.length(packet)
    room = (mtu - size) & ~7
    if room < _LEAST:
        return []
    header, body = packet[:size], packet[size:]
    found = []
    for at in range(0, len(body), room):
        data = body[at : at + room]
        more = ipv4.MF if at + room < len(body) else 0
        total, flags = (size + len(data)).to_bytes(2), (more | at >> 3).to_bytes(2)
        head = header[: ipv4.TOTAL_LENGTH] + total + header[ipv4.IDENT : ipv4.FLAGS] + flags + header[ipv4.TTL :]
        found.append(ipv4.with_checksum(head) + data)
        if at == 0:
            header = header[: ipv4.HEADER_LENGTH] + _later(header[ipv4.HEADER_LENGTH :])
    return found


def split6(packet: bytes, mtu: int, ident: int) -> list[bytes]:
    """The fragments of an IPv6 packet, none longer than `mtu`; the packet alone where it fits.

    Empty where not even 8 bytes fit, and where the packet is a fragment already or its headers are cut.
    """
    if len(packet) <= mtu:
        return [packet]
    place = ipv6.transport_insertion(packet)
    if place is None:
        return []
    size, pointer = place
    room = (mtu - size - ipv6_fragment.HEADER_LENGTH) & ~7
    if room < _LEAST:
        return []
    following, body = packet[pointer], packet[size:]
    found = []
    for at in range(0, len(body), room):
        data = body[at : at + room]
        extension = ipv6_fragment.emit(following, at, more=at + room < len(body), ident=ident)
        found.append(ipv6.with_payload(packet[:size], pointer, PROTO_FRAGMENT, extension + data))
    return found


def _later(options: bytes) -> bytes:
    """ip_options_fragment: no-ops in the place of options that later fragments don't have."""
    kept, at = bytearray(options), 0
    while at < len(options) and options[at] != _END:
        length = 1 if options[at] == _NO_OP else options[at + 1] if at + 1 < len(options) else 0
        if length < 1 or at + length > len(options) or (length < 2 and options[at] != _NO_OP):
            break
        if not options[at] & _COPIED:
            kept[at : at + length] = bytes((_NO_OP,)) * length
        at += length
    return bytes(kept)
