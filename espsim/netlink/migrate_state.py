"""XFRM_MSG_MIGRATE_STATE (Linux 7.2 and later): moves one SA, without a policy.

The checks come in the kernel's order. A request that is refused changes nothing. The SA afterwards:

    from the request, even if 0    addresses, family, reqid, selector (with UPDATE_H2H_SEL: the two new addresses)
    mark                           the attribute, else the mark that the SA was looked up with
    an attribute, else as before   encapsulation, output mark, mapping timer, keepalive, offload
    as before                      SPI, keys, mode, direction, CPU, lifetimes, numbers, window
    lost                           struct xfrm_stats, and that a soft limit was reported

Source: Documentation/networking/xfrm/xfrm_migrate_state.rst, and recorded answers of Linux 7.2.13 and 7.3.4.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from espsim.core.address import AF_INET, AF_INET6, in_family
from espsim.core.errors import XfrmError
from espsim.netlink.construct import init_state_of
from espsim.netlink.netns import Netns
from espsim.netlink.request import MigrateStateRequest
from espsim.netlink.verify import MTIMER_NEEDS_ENCAP, MTIMER_OF_OUTPUT
from espsim.sad.association import ESPINUDP, Direction, Encap, Offload, SecurityAssociation, Selector
from espsim.sad.entry import SadEntry
from espsim.sad.sad import own_selector

CLEAR_OFFLOAD, UPDATE_H2H_SEL = 1, 2
"""XFRM_MIGRATE_STATE_*: bits of the request's flags."""

NO_ENCAP = "0"
"""The kind of an `encap` that removes the SA's encapsulation."""

UNHEARD = "Failed to send migration notification"
"""The kernel's text where it moved the SA, but no one listens to the group MIGRATE."""

_UNUSED = ("SA_DIR", "SA_PCPU")
_LONGEST = {AF_INET: (32, "IPv4"), AF_INET6: (128, "IPv6")}


def migrate_state(netns: Netns, request: MigrateStateRequest) -> str | None:
    """Move an SA. Returns the text of a success, if it has one. XfrmError: the kernel refuses, and nothing moves."""
    netns.check_alive()
    _verify(netns, request)
    entry = netns.sad.getsa(request.dst, request.spi, request.proto, request.old_mark, request.af, "Can not find state")
    _verify_with(entry, request)
    moved = _configured(netns, entry, request)
    family = _selector_family(request)
    netns.move(entry, moved, af=request.new_family, selector_family=family)
    netns.note_migration("MIGRATE_STATE", request=request, sa=moved, selector_family=family)
    return None if netns.listening else UNHEARD


# -- what is refused --------------------------------------------------------------------------------------------------


def _verify(netns: Netns, request: MigrateStateRequest) -> None:
    """Checks of the request alone."""
    if not netns.kernel.newest:
        raise XfrmError(errno.EINVAL)  # no such message
    for name in _UNUSED:
        if name in request.others:
            raise XfrmError(errno.EINVAL, f"Invalid attribute {name}")
    if request.others:
        raise XfrmError(errno.EINVAL, "Unsupported attribute in XFRM_MSG_MIGRATE_STATE")
    if not request.spi:
        raise XfrmError(errno.EINVAL, "Invalid SPI 0x0")
    if request.reserved:
        raise XfrmError(errno.EINVAL, "Reserved field must be zero")
    if unknown := request.flags & ~(CLEAR_OFFLOAD | UPDATE_H2H_SEL):
        raise XfrmError(errno.EINVAL, f"Unknown flags: 0x{unknown:x}")
    if request.new_family not in _LONGEST:
        raise XfrmError(errno.EINVAL, "Invalid address family")
    if not request.flags & UPDATE_H2H_SEL and request.selector_family in _LONGEST:
        selector, (longest, name) = request.new_selector, _LONGEST[request.selector_family]
        if max(selector.src_prefix, selector.dst_prefix) > longest:
            text = f"Invalid prefix length in selector (must be <= {longest} for {name})"
            raise XfrmError(errno.EINVAL, text)


def _verify_with(entry: SadEntry, request: MigrateStateRequest) -> None:
    """Checks of the request with its SA."""
    sa = entry.sa
    if request.flags & UPDATE_H2H_SEL and not _between_hosts(entry):
        raise XfrmError(errno.EINVAL, "SA selector is not a single-host match for SA addresses")
    if request.encap is not None and request.encap.kind not in (NO_ENCAP, ESPINUDP):
        raise XfrmError(errno.EINVAL, "Unsupported encapsulation type")
    encap = _encap(sa, request)
    if request.mtimer is not None:
        if encap is None:
            raise XfrmError(errno.EINVAL, MTIMER_NEEDS_ENCAP)
        if sa.dir is Direction.OUT:
            raise XfrmError(errno.EINVAL, MTIMER_OF_OUTPUT)
    if request.nat_keepalive and encap is None:
        raise XfrmError(errno.EINVAL, "NAT_KEEPALIVE_INTERVAL requires encapsulation")


def _between_hosts(entry: SadEntry) -> bool:
    """Whether the selector is the SA's own two addresses, with full prefixes."""
    own, selector = own_selector(entry.sa.src, entry.sa.dst), entry.sa.selector
    ends = (own.src, own.src_prefix, own.dst, own.dst_prefix)
    said = (selector.src, selector.src_prefix, selector.dst, selector.dst_prefix)
    return entry.selector_family == entry.af and ends == said


# -- the new SA -------------------------------------------------------------------------------------------------------


def _configured(netns: Netns, entry: SadEntry, request: MigrateStateRequest) -> SecurityAssociation:
    """The new SA (xfrm_state_clone_and_setup). XfrmError: its place is taken, or it cannot be made."""
    old, af = entry.sa, request.new_family
    encap = _encap(old, request)
    try:
        sa = replace(
            old, src=in_family(request.new_src, af), dst=in_family(request.new_dst, af), reqid=request.new_reqid,
            selector=_selector(request), mark=request.old_mark if request.mark is None else request.mark, encap=encap,
            output_mark=old.output_mark if request.set_mark is None else request.set_mark,
            mtimer=_kept(request.mtimer, old.mtimer, encap), offload=_offload(old, request),
            nat_keepalive=_kept(request.nat_keepalive, old.nat_keepalive, encap),
        )  # fmt: skip
    except ValueError:  # the new headers leave no room in IPTFS's packets
        raise XfrmError(errno.EINVAL, "State migration clone failed") from None
    if (sa.dst, af) != (old.dst, entry.af) and netns.sad.index.locate(sa, sa.spi, af) is not None:
        raise XfrmError(errno.EEXIST, "New SA tuple already occupied")
    try:
        init_state_of(netns.kernel, sa, entry.mode, af, _selector_family(request) or af)
        netns.offer(sa)
    except XfrmError as error:
        raise XfrmError(errno.EINVAL, error.extack or "State migration clone failed") from None
    return sa


def _encap(sa: SecurityAssociation, request: MigrateStateRequest) -> Encap | None:
    """The encapsulation of the new SA."""
    if request.encap is None:
        return sa.encap
    return None if request.encap.kind == NO_ENCAP else request.encap


def _kept(said: int | None, old: int, encap: Encap | None) -> int:
    """An option of the encapsulation: 0 without one, else the stated value, else the old one."""
    return 0 if encap is None else old if said is None else said


def _offload(sa: SecurityAssociation, request: MigrateStateRequest) -> Offload | None:
    if request.offload is not None:
        return request.offload
    return None if request.flags & CLEAR_OFFLOAD else sa.offload


def _selector(request: MigrateStateRequest) -> Selector:
    if request.flags & UPDATE_H2H_SEL:
        src, dst = (in_family(address, request.new_family) for address in (request.new_src, request.new_dst))
        return own_selector(src, dst)
    return request.new_selector if request.selector_family else Selector()


def _selector_family(request: MigrateStateRequest) -> int:
    return request.new_family if request.flags & UPDATE_H2H_SEL else request.selector_family
