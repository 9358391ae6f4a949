"""The state that IPComp in tunnel mode keeps beside its own (net/ipv4/ipcomp.c, net/ipv6/ipcomp6.c).

A packet that does not get smaller is sent uncompressed, as IP in IP. So a tunnel SA of IPComp comes with a state of
protocol 4 (41 in IPv6) between the same two addresses. Its SPI is the source address (in IPv6 the next number of a
counter). It is listed and counted. It belongs to the kernel: no request can delete it, and it goes with the last SA
that uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espsim.core.address import AF_INET, Address
from espsim.core.numbers import PROTO_IPIP, PROTO_IPV6
from espsim.sad.association import SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.window import Window

if TYPE_CHECKING:
    from espsim.sad.sad import Sad


def join_tunnel(sad: Sad, entry: SadEntry) -> None:
    """ipcomp_tunnel_attach(): the state of these addresses and this mark, made where there is none yet."""
    sa = entry.sa
    mark = sa.mark.value & sa.mark.mask
    proto = PROTO_IPIP if entry.af == AF_INET else PROTO_IPV6
    spi = _spi(sad, sa.src)
    tunnel = sad.lookup(sa.dst, spi, proto, mark) if spi else None
    if tunnel is None:
        tunnel = _made(sad, entry, spi or _next_spi(sad), proto)
        sad.index.insert(tunnel)
    tunnel.tunnel_users += 1
    entry.keep_beside(tunnel)


def _made(sad: Sad, entry: SadEntry, spi: int, proto: int) -> SadEntry:
    """ipcomp_tunnel_create(): it takes its addresses, selector, mark and interface from the SA, and is valid."""
    sa = entry.sa
    flags, extra = (sa.flags, sa.extra_flags) if proto == PROTO_IPIP else (frozenset(), frozenset())
    beside = SecurityAssociation(
        sa.src, sa.dst, spi, proto, sa.mode, mark=sa.mark, if_id=sa.if_id, flags=flags, extra_flags=extra,
        selector=sa.selector,
    )  # fmt: skip
    made = SadEntry(sad.index.take_index(), beside, State.VALID, Window(0), added=entry.added, tunnel_users=1)
    made.af, made.renewed = entry.af, entry.added
    return made


def _spi(sad: Sad, src: Address) -> int:
    """The SPI of a source address: itself in IPv4; in IPv6 that of a tunnel which has one, 0 where none has."""
    if len(src) == 4:
        return int.from_bytes(src)
    return next((e.sa.spi for e in sad if e.tunnel_users and e.sa.src == src), 0)


def _next_spi(sad: Sad) -> int:
    """xfrm6_tunnel_alloc_spi(): counted up, past those in use."""
    used = {e.sa.spi for e in sad if e.tunnel_users and e.sa.proto == PROTO_IPV6}
    sad.tunnel_spi += 1
    while sad.tunnel_spi in used:
        sad.tunnel_spi += 1
    return sad.tunnel_spi
