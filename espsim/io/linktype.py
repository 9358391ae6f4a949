"""Where the IP packet starts in a frame, by link type (https://www.tcpdump.org/linktypes.html).

Ethernet 1      destination 6, source 6, type 2, then by type (below)
SLL 113         packet type 2, ARPHRD 2, address length 2, address 8, protocol 2, then by type
SLL2 276        protocol 2, reserved 2, ifindex 4, ARPHRD 2, packet type 1, address length 1, address 8, then by type
PPP 9           [0xff 0x03,] protocol 2, or 1 where its first byte is odd (RFC 1661 6.5, RFC 1662 3.1)
PPP in HDLC 50  as PPP; Cisco's where it begins with 0x0f or 0x8f: address 1, control 1, type 2
PPPoE 51        version and type 1, code 1, session 2, length 2, PPP (RFC 2516 4)
NFLOG 239       family 1, version 1, resource id 2, then fields: length 2 (with these four bytes), type 2, value,
                padded to 4; lengths and types in the byte order of the machine that captured; type 9 is the packet
null 0          address family 4, in the byte order of the machine that captured
loopback 108    address family 4, network order
raw 101, 12, 14, IPv4 228, IPv6 229             nothing

The packet type of SLL and SLL2 is 4 where this host sent the frame (PACKET_OUTGOING, linux/if_packet.h).

By type: VLAN tags 2, type 2; MPLS labels 4 up to the one with the bottom bit (RFC 3032 2.1); PPPoE; IP.
What this does not do: open a type that leads to no IP; of these ARP alone has a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from espsim.core.errors import InputError
from espsim.core.layers import Layer
from espsim.core.numbers import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_MPLS,
    ETHERTYPE_MPLS_MULTICAST,
    ETHERTYPE_PPPOE,
    ETHERTYPE_QINQ,
    ETHERTYPE_QINQ_OLD,
    ETHERTYPE_VLAN,
    LINKTYPE_ETHERNET,
    LINKTYPE_IPV4,
    LINKTYPE_IPV6,
    LINKTYPE_LOOP,
    LINKTYPE_NFLOG,
    LINKTYPE_NULL,
    LINKTYPE_PPP,
    LINKTYPE_PPP_HDLC,
    LINKTYPE_PPPOE,
    LINKTYPE_RAW,
    LINKTYPE_RAW_BSD,
    LINKTYPE_RAW_OPENBSD,
    LINKTYPE_SLL,
    LINKTYPE_SLL2,
    NFPROTO_ARP,
    NFULA_PACKET_HDR,
    NFULA_PAYLOAD,
    PACKET_OUTGOING,
    PPP_IPV4,
    PPP_IPV6,
    PPP_MPLS,
    PPP_MPLS_MULTICAST,
)

ETHERNET = LINKTYPE_ETHERNET
RAW = LINKTYPE_RAW

NOT_IP, ARP = -1, -2
"""In place of a start: no IP packet here."""

_VLAN = frozenset({ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD})
_MPLS = frozenset({ETHERTYPE_MPLS, ETHERTYPE_MPLS_MULTICAST})
_VERSION_OF_ETHERTYPE = {ETHERTYPE_IPV4: 4, ETHERTYPE_IPV6: 6}
_VERSION_OF_PPP = {PPP_IPV4: 4, PPP_IPV6: 6}
_MPLS_IN_PPP = frozenset({PPP_MPLS, PPP_MPLS_MULTICAST})
# AF_INET is 2 everywhere; AF_INET6 is Linux's, NetBSD's and OpenBSD's, FreeBSD's, Darwin's.
_VERSION_OF_FAMILY = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}


def _packet(data: bytes, at: int, version: int | None) -> int:
    """`at`, where a packet of the promised version begins there (None: either version); else NOT_IP."""
    if len(data) <= at:
        return NOT_IP
    nibble = data[at] >> 4
    if nibble != version and (version is not None or nibble not in (4, 6)):
        return NOT_IP
    return at


def _by_ethertype(data: bytes, ethertype: int, at: int) -> int:
    while ethertype in _VLAN:
        if len(data) < at + 4:
            return NOT_IP
        ethertype = data[at + 2] << 8 | data[at + 3]
        at += 4
    if ethertype in _VERSION_OF_ETHERTYPE:
        return _packet(data, at, _VERSION_OF_ETHERTYPE[ethertype])
    if ethertype in _MPLS:
        return _mpls(data, at)
    if ethertype == ETHERTYPE_PPPOE:
        return _pppoe(data, at)
    return ARP if ethertype == ETHERTYPE_ARP else NOT_IP


def _mpls(data: bytes, at: int) -> int:
    """Labels do not say what follows them: the packet's first four bits do."""
    while at + 4 <= len(data):
        at += 4
        if data[at - 2] & 1:
            return _packet(data, at, None)
    return NOT_IP


def _pppoe(data: bytes, at: int) -> int:
    if len(data) < at + 6 or data[at] != 0x11 or data[at + 1] != 0:  # version 1, type 1, session data
        return NOT_IP
    return _ppp(data, at + 6)


def _ppp(data: bytes, at: int = 0) -> int:
    if data[at : at + 2] == b"\xff\x03":
        at += 2
    if len(data) < at + 2:
        return NOT_IP
    protocol, size = (data[at], 1) if data[at] & 1 else (data[at] << 8 | data[at + 1], 2)
    at += size
    if protocol in _MPLS_IN_PPP:
        return _mpls(data, at)
    return _packet(data, at, _VERSION_OF_PPP[protocol]) if protocol in _VERSION_OF_PPP else NOT_IP


def _ppp_hdlc(data: bytes) -> int:
    if data[:1] in (b"\x0f", b"\x8f"):
        return _by_ethertype(data, data[2] << 8 | data[3], 4) if len(data) > 4 else NOT_IP
    return _ppp(data)


def _nflog(data: bytes) -> int:
    """The types of fields are small, so the high byte of the first one's is 0: that tells the byte order."""
    if len(data) < 8:
        return NOT_IP
    order: Literal["little", "big"] = "little" if data[7] == 0 else "big"
    arp = data[0] == NFPROTO_ARP
    at = 4
    while at + 4 <= len(data):
        length, kind = (int.from_bytes(data[n : n + 2], order) for n in (at, at + 2))
        if length < 4:
            break
        if kind == NFULA_PAYLOAD:
            return ARP if arp else _packet(data, at + 4, _VERSION_OF_FAMILY.get(data[0]))
        if kind == NFULA_PACKET_HDR and data[at + 4 : at + 6] == ETHERTYPE_ARP.to_bytes(2):  # hw_protocol
            arp = True
        at += length + 3 & ~3
    return NOT_IP


def _ethernet(data: bytes) -> int:
    return _by_ethertype(data, data[12] << 8 | data[13], 14) if len(data) > 14 else NOT_IP


def _sll(data: bytes) -> int:
    return _by_ethertype(data, data[14] << 8 | data[15], 16) if len(data) > 16 else NOT_IP


def _sll2(data: bytes) -> int:
    return _by_ethertype(data, data[0] << 8 | data[1], 20) if len(data) > 20 else NOT_IP


def _null(data: bytes) -> int:
    version = _VERSION_OF_FAMILY.get(int.from_bytes(data[:4], "little")) or _VERSION_OF_FAMILY.get(
        int.from_bytes(data[:4], "big")
    )
    return NOT_IP if version is None else _packet(data, 4, version)


def _loopback(data: bytes) -> int:
    version = _VERSION_OF_FAMILY.get(int.from_bytes(data[:4], "big"))
    return NOT_IP if version is None else _packet(data, 4, version)


_FINDERS: dict[int, Callable[[bytes], int]] = {
    LINKTYPE_NULL: _null,
    ETHERNET: _ethernet,
    LINKTYPE_PPP: _ppp,
    LINKTYPE_RAW_BSD: lambda data: _packet(data, 0, None),
    LINKTYPE_RAW_OPENBSD: lambda data: _packet(data, 0, None),
    LINKTYPE_PPP_HDLC: _ppp_hdlc,
    LINKTYPE_PPPOE: lambda data: _pppoe(data, 0),
    RAW: lambda data: _packet(data, 0, None),
    LINKTYPE_LOOP: _loopback,
    LINKTYPE_SLL: _sll,
    LINKTYPE_IPV4: lambda data: _packet(data, 0, 4),
    LINKTYPE_IPV6: lambda data: _packet(data, 0, 6),
    LINKTYPE_NFLOG: _nflog,
    LINKTYPE_SLL2: _sll2,
}

# Names of link types that people meet, for the message.
_NAMES = {
    6: "Token Ring",
    105: "IEEE 802.11",
    127: "IEEE 802.11 with radiotap",
    147: "USER0",
    192: "PPI",
    220: "USB, Linux",
    240: "NetAnalyzer",
    249: "USBPcap",
    253: "netlink",
}


def supported_linktypes() -> list[int]:
    """The link types in whose frames packets can be found."""
    return list(_FINDERS)


def supported(linktype: int) -> bool:
    """Whether packets can be found in frames of this link type."""
    return linktype in _FINDERS


def check_linktype(linktype: int, whose: str, path: str) -> None:
    """InputError naming the link type where no packet can be found in its frames. `whose` starts the sentence."""
    if not supported(linktype):
        name = f" ({_NAMES[linktype]})" if linktype in _NAMES else ""
        raise InputError(f"{whose} has link type {linktype}{name}, which is not supported", where=path)


def ip_start(linktype: int, data: bytes) -> int:
    """Bytes before the IP packet; NOT_IP or ARP where there is none. `linktype` has been checked.

    802.2 and SNAP are not IP here, nor is a packet whose version is not the one that its frame promises.
    """
    return _FINDERS[linktype](data)


def ip_packet(linktype: int, data: bytes) -> bytes | None:
    """From the first byte of the IP header to the end of the frame; None: not IP. `linktype` has been checked."""
    at = ip_start(linktype, data)
    return None if at < 0 else data[at:] if at else data


def outgoing(linktype: int, data: bytes) -> bool:
    """Whether the frame says that the host that captured it sent it: Linux's cooked headers can, others can't."""
    if linktype == LINKTYPE_SLL:
        return data[:2] == bytes((0, PACKET_OUTGOING))
    return linktype == LINKTYPE_SLL2 and data[10:11] == bytes((PACKET_OUTGOING,))


def link_layer(linktype: int, data: bytes) -> Layer:
    """The kind of a frame that is not IP, by its link layer: ARP or OTHER."""
    return Layer.ARP if ip_start(linktype, data) == ARP else Layer.OTHER
