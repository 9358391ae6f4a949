"""Where the IP packet starts in a frame, by link type (https://www.tcpdump.org/linktypes.html).

Ethernet 1      destination 6, source 6, type 2 [, VLAN tag 2, type 2]...
SLL 113         packet type 2, ARPHRD 2, address length 2, address 8, protocol 2
SLL2 276        protocol 2, reserved 2, ifindex 4, ARPHRD 2, packet type 1, address length 1, address 8
null 0          address family 4, in the byte order of the machine that captured
loopback 108    address family 4, network order
raw 101, 12, 14, IPv4 228, IPv6 229             nothing
"""

from __future__ import annotations

from collections.abc import Callable

from espsim.core.errors import InputError

ETHERNET = 1
RAW = 101

_VLAN = frozenset({0x8100, 0x88A8, 0x9100})
_VERSION_OF_ETHERTYPE = {0x0800: 4, 0x86DD: 6}
# AF_INET is 2 everywhere; AF_INET6 is Linux's, NetBSD's and OpenBSD's, FreeBSD's, Darwin's.
_VERSION_OF_FAMILY = {2: 4, 10: 6, 24: 6, 28: 6, 30: 6}


def _packet(data: bytes, at: int, version: int | None) -> bytes | None:
    """The packet from `at` on, where its version is the one that was promised (None: either)."""
    if len(data) <= at:
        return None
    nibble = data[at] >> 4
    if nibble != version and (version is not None or nibble not in (4, 6)):
        return None
    return data[at:] if at else data


def _by_ethertype(data: bytes, ethertype: int, at: int) -> bytes | None:
    while ethertype in _VLAN:
        if len(data) < at + 4:
            return None
        ethertype = data[at + 2] << 8 | data[at + 3]
        at += 4
    version = _VERSION_OF_ETHERTYPE.get(ethertype)
    return None if version is None else _packet(data, at, version)


def _ethernet(data: bytes) -> bytes | None:
    return _by_ethertype(data, data[12] << 8 | data[13], 14) if len(data) > 14 else None


def _sll(data: bytes) -> bytes | None:
    return _by_ethertype(data, data[14] << 8 | data[15], 16) if len(data) > 16 else None


def _sll2(data: bytes) -> bytes | None:
    return _by_ethertype(data, data[0] << 8 | data[1], 20) if len(data) > 20 else None


def _null(data: bytes) -> bytes | None:
    version = _VERSION_OF_FAMILY.get(int.from_bytes(data[:4], "little")) or _VERSION_OF_FAMILY.get(
        int.from_bytes(data[:4], "big")
    )
    return None if version is None else _packet(data, 4, version)


def _loopback(data: bytes) -> bytes | None:
    version = _VERSION_OF_FAMILY.get(int.from_bytes(data[:4], "big"))
    return None if version is None else _packet(data, 4, version)


_FINDERS: dict[int, Callable[[bytes], bytes | None]] = {
    0: _null,
    ETHERNET: _ethernet,
    12: lambda data: _packet(data, 0, None),
    14: lambda data: _packet(data, 0, None),
    RAW: lambda data: _packet(data, 0, None),
    108: _loopback,
    113: _sll,
    228: lambda data: _packet(data, 0, 4),
    229: lambda data: _packet(data, 0, 6),
    276: _sll2,
}

# Those that people have: a number alone sends them to a table.
_NAMES = {
    6: "Token Ring",
    9: "PPP",
    50: "PPP in HDLC-like framing",
    51: "PPPoE",
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


def ip_packet(linktype: int, data: bytes) -> bytes | None:
    """From the first byte of the IP header to the end of the frame; None: not IP. `linktype` has been checked.

    802.2 and SNAP are not IP here, nor is a packet whose version is not the one that its frame promises.
    """
    return _FINDERS[linktype](data)
