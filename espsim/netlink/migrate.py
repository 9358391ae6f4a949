"""XFRM_MSG_MIGRATE (xfrm_do_migrate, xfrm_migrate): gives a policy's templates and their SAs other addresses.

1. Check the message: the number of entries, null addresses, two entries alike, the direction.
2. Find the policy. ENOENT: there is none for that selector.
3. For each entry copy the newest SA that fits, under its new addresses. ENODATA: the copy cannot be made, or its place
   is taken.
4. Change the templates. ENODATA: no entry fits any.

A failure in 3 or 4 undoes the copies: the SAs and the policy stay as they were.

What this does not do: it moves an SA or a template once, by the first entry that fits. The kernel goes on to the next
entry, which may move what the first one moved, or make a second copy of an SA.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from espsim.core.address import family
from espsim.core.errors import XfrmError
from espsim.core.numbers import MAX_DEPTH
from espsim.netlink.construct import init_state_of
from espsim.netlink.netns import Netns
from espsim.netlink.request import MigrateEntry, MigrateRequest
from espsim.netlink.spd import DIRECTIONS, Policy, Template
from espsim.sad.association import MODE_NUMBERS, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry

_OWN_ENDS = (Mode.TUNNEL, Mode.BEET, Mode.IPTFS)
_NAMES = {number: name for name, number in DIRECTIONS.items()}


def migrate(netns: Netns, request: MigrateRequest) -> None:
    """Migrate, and send an event to the group MIGRATE. XfrmError: the kernel refuses, and nothing changes."""
    netns.check_alive()
    _verify(netns, request)
    policy = _policy(netns, request)
    moves: list[tuple[SadEntry, SecurityAssociation, int]] = []
    for entry in request.entries:
        found = _state(netns, entry, request.if_id)
        if found is not None and not any(found is old for old, _, _ in moves):
            moves.append((found, _moved(netns, found, entry, request), family(entry.new_dst)))
    templates = _templates(policy, request.entries)
    for old, sa, af in moves:
        netns.move(old, sa, af=af, selector_family=old.selector_family)
    netns.spd.put_templates(policy, templates)
    netns.note_migration("MIGRATE", request=request)


def _verify(netns: Netns, request: MigrateRequest) -> None:
    """Checks of the message (copy_from_user_migrate, xfrm_migrate_check)."""

    def refused(text: str) -> XfrmError:
        return netns.kernel.error(errno.EINVAL, text)

    if not request.entries:
        raise refused("Missing required MIGRATE attribute")
    if len(request.entries) > MAX_DEPTH:
        text = f"Invalid number of SAs to migrate, must be 0 < num <= XFRM_MAX_DEPTH ({MAX_DEPTH})"
        raise refused(text)
    for n, entry in enumerate(request.entries):
        if not (any(entry.new_src) and any(entry.new_dst)):
            raise refused("Addresses in the MIGRATE attribute's list cannot be null")
        if any(_old_part(entry) == _old_part(other) for other in request.entries[n + 1 :]):
            raise refused("Entries in the MIGRATE attribute's list must be unique")
    if request.dir not in _NAMES:
        raise refused("Invalid policy direction")


def _old_part(entry: MigrateEntry) -> tuple[object, ...]:
    return entry.old_src, entry.old_dst, entry.proto, entry.mode, entry.reqid


def _policy(netns: Netns, request: MigrateRequest) -> Policy:
    """xfrm_migrate_policy_find: of several the one with the lowest priority number, then the oldest."""
    fits = _takes if netns.kernel.sa_dir else _alike
    named = (p for p in netns.spd if (p.dir, p.ptype) == (_NAMES[request.dir], request.ptype))
    found = [policy for policy in named if fits(policy, request)]
    if not found:
        raise netns.kernel.error(errno.ENOENT, "Target policy not found")
    return min(found, key=lambda policy: policy.priority)


def _takes(policy: Policy, request: MigrateRequest) -> bool:
    """Since 6.12: whether the policy takes a packet between the selector's addresses, without a mark."""
    selector = request.selector
    flow = (selector.src, selector.dst, selector.proto, selector.sport, selector.dport)
    return policy.takes(flow, 0, request.if_id)


def _alike(policy: Policy, request: MigrateRequest) -> bool:
    """Before 6.12 (xfrm_migrate_selector_match): the selector octet by octet. if_id 0 is any."""
    return request.if_id in (0, policy.if_id) and policy.selector == request.selector


def _state(netns: Netns, entry: MigrateEntry, if_id: int) -> SadEntry | None:
    """xfrm_migrate_state_find: the newest SA between the old addresses. A reqid of 0 is any."""
    for state in reversed(list(netns.sad)):
        sa = state.sa
        alike = (sa.src, sa.dst, sa.proto, state.mode) == (entry.old_src, entry.old_dst, entry.proto, entry.mode)
        if alike and entry.reqid in (0, sa.reqid) and if_id in (0, sa.if_id):
            return state
    return None


def _moved(netns: Netns, state: SadEntry, entry: MigrateEntry, request: MigrateRequest) -> SecurityAssociation:
    """xfrm_state_migrate: the SA under its new addresses. ENODATA: it cannot be made, or its place is taken."""
    old, newest, af = state.sa, netns.kernel.newest, family(entry.new_dst)
    try:
        sa = replace(old, src=entry.new_src, dst=entry.new_dst, encap=request.encap or old.encap)
        init_state_of(netns.kernel, sa, state.mode, af, state.selector_family or af)
    except XfrmError as error:
        raise XfrmError(errno.ENODATA, error.extack if newest else None) from None
    except ValueError:  # the new headers leave no room in IPTFS's packets
        raise XfrmError(errno.ENODATA) from None
    if (sa.dst, af) != (old.dst, state.af) and netns.sad.index.locate(sa, sa.spi, af) is not None:
        raise XfrmError(errno.ENODATA, "Failed to add migrated state" if newest else None)
    return sa


def _templates(policy: Policy, entries: tuple[MigrateEntry, ...]) -> tuple[Template, ...]:
    """xfrm_policy_migrate: change each template by the first entry that fits it. ENODATA: no entry fits any."""
    templates, found = list(policy.templates), 0
    for n, template in enumerate(policy.templates):
        entry = next((entry for entry in entries if _fits(entry, template)), None)
        found += entry is not None
        if entry is not None and template.mode in _OWN_ENDS:
            templates[n] = replace(template, src=entry.new_src, dst=entry.new_dst)
    if not found:
        raise XfrmError(errno.ENODATA)
    return tuple(templates)


def _fits(entry: MigrateEntry, template: Template) -> bool:
    """migrate_tmpl_match: in transport mode a template has no addresses of its own."""
    alike = (MODE_NUMBERS[template.mode], template.proto) == (entry.mode, entry.proto)
    ends = template.mode in _OWN_ENDS and (template.src, template.dst) == (entry.old_src, entry.old_dst)
    return alike and entry.reqid in (0, template.reqid) and (template.mode is Mode.TRANSPORT or ends)
