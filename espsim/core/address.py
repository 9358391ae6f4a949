"""IP addresses as packed bytes: 4 bytes are IPv4, 16 are IPv6. Text is for the edges."""

from __future__ import annotations

import functools
import ipaddress
import socket

Address = bytes
"""A packed address, network byte order; its length (4 or 16) is its family."""

AF_INET = 2
AF_INET6 = 10


def parse_address(text: str) -> Address:
    """The packed form of an address in text. Raises ValueError."""
    return ipaddress.ip_address(text).packed


def packed(text: str) -> Address | None:
    """The packed form of an address in text, or None. inet_pton takes nothing that `parse_address` refuses."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):  # ValueError: a NUL in the text
        return None


def format_address(address: Address) -> str:
    """The text form of a packed address (RFC 5952 for IPv6); IPv4 within IPv6 is dotted, as inet_ntop has it."""
    return socket.inet_ntop(socket.AF_INET, address) if len(address) == 4 else _format_ipv6(address)


@functools.lru_cache(maxsize=4096)
def _format_ipv6(address: Address) -> str:
    if address[:10] == bytes(10) and len(address) == 16:
        dotted = str(ipaddress.IPv4Address(address[12:]))
        if address[10:12] == b"\xff\xff":
            return f"::ffff:{dotted}"
        if address[10:12] == bytes(2) and any(address[12:14]):
            return f"::{dotted}"
    return str(ipaddress.ip_address(address))


def family(address: Address) -> int:
    """AF_INET or AF_INET6 (Linux numbers) of a packed address."""
    return AF_INET if len(address) == 4 else AF_INET6


def in_family(address: Address, number: int) -> Address:
    """What a netlink address of 16 bytes says in an address family: 16 bytes in AF_INET6, the first 4 in any other.

    Linux compares addresses so (xfrm_addr_equal); a shorter one is followed by zeros in its message.
    """
    return address.ljust(16, b"\0") if number == AF_INET6 else address[:4]


def prefix_match(address: Address, network: Address, prefixlen: int) -> bool:
    """Whether the first `prefixlen` bits of both are equal, all of them where it is longer; of two families never."""
    if len(address) != len(network):
        return False
    shift = max(8 * len(address) - prefixlen, 0)  # netlink takes any length with a selector of another family
    return int.from_bytes(address) >> shift == int.from_bytes(network) >> shift
