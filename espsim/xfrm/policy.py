"""A command of `ip xfrm policy`, and what it does to a namespace's policies.

The batch language and the request language share it. policy_words.py reads the words.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from espsim.core.address import AF_INET, AF_INET6, prefix_match
from espsim.core.numbers import MAX_DEPTH, MODE_IPTFS
from espsim.netlink.netns import Netns
from espsim.netlink.spd import DIRECTIONS, Policy
from espsim.sad.association import NO_MARK, Mark, Mode, Selector

Verb: TypeAlias = Literal[
    "add", "update", "delete", "get", "deleteall", "list", "count", "flush", "set", "setdefault", "getdefault"
]

_TEMPLATE_PROTOCOLS = frozenset({43, 50, 51, 60, 108})


@dataclass(frozen=True, slots=True)
class PolicyCommand:
    """One `ip xfrm policy` command.

    `policy` is what add and update install. `thresholds` and `defaults` are the new values of set and setdefault.
    `odd_mode` is the number of a template's mode that no kernel has. For the other verbs the fields say which policies
    are meant; None: any.
    """

    verb: Verb
    policy: Policy | None = None
    dir: str | None = None
    selector: Selector | None = None
    af: int | None = None
    index: int | None = None
    ptype: str | None = None
    action: str | None = None
    priority: int | None = None
    mark: Mark = NO_MARK
    if_id: int = 0
    flags: int | None = None
    thresholds: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    odd_mode: int | None = None


def apply_policy(netns: Netns, command: PolicyCommand) -> list[Policy]:
    """Run the command on a namespace, which sends its messages.

    Returns the policies that were installed, found or removed. XfrmError: EEXIST, ENOENT, EINVAL.
    """
    spd, verb = netns.spd, command.verb
    spd.thresholds.update(command.thresholds)
    if verb == "setdefault":
        netns.set_default(command.defaults)
    if verb in ("set", "setdefault", "getdefault"):
        return []
    if command.policy is not None:
        _verify(netns, command.policy, command.odd_mode)
        policy = replace(command.policy, added=netns.now)
        done = spd.add(policy) if verb == "add" else spd.update(policy)
        netns.note_policy("NEWPOLICY" if verb == "add" else "UPDPOLICY", **_facts(done))
        return [done]
    if verb in ("delete", "get"):
        found = spd.get(_wanted(command)) if verb == "get" else spd.delete(_wanted(command))
        if verb == "delete":
            netns.note_policy("DELPOLICY", **_facts(found))
        return [found]
    if verb == "flush":
        return _flush(netns, command.ptype or "main")
    meant = [policy for policy in spd if _means(command, policy)]
    if verb == "deleteall":
        for policy in meant:
            spd.remove(policy)
            netns.note_policy("DELPOLICY", **_facts(policy))
    return meant


def _verify(netns: Netns, policy: Policy, odd_mode: int | None) -> None:
    """verify_newpolicy_info and validate_tmpl (net/xfrm/xfrm_user.c)."""
    if policy.index and policy.index & 7 != DIRECTIONS[policy.dir]:
        raise netns.kernel.error(errno.EINVAL, "Policy index doesn't match direction")
    if len(policy.templates) > MAX_DEPTH:
        raise netns.kernel.error(errno.EINVAL, f"Template count must be <= XFRM_MAX_DEPTH ({MAX_DEPTH})")
    length = 16 if policy.af == AF_INET6 else 4
    for template in policy.templates:
        if odd_mode is not None or (template.mode is Mode.IPTFS and not netns.kernel.iptfs):
            most = MODE_IPTFS + netns.kernel.iptfs  # XFRM_MODE_MAX
            raise netns.kernel.error(errno.EINVAL, f"Mode in template must be < XFRM_MODE_MAX ({most})")
        if template.mode in (Mode.TUNNEL, Mode.BEET):
            if policy.dir == "out" and template.level == "use":
                raise netns.kernel.error(
                    errno.EINVAL, "Mode in optional template not allowed in outbound policy"
                )  # fmt: skip
        elif template.mode is not Mode.IPTFS and len(template.dst) != length:
            raise netns.kernel.error(errno.EINVAL, "Mode in template doesn't support a family change")
        length = len(template.dst)
        if template.proto not in _TEMPLATE_PROTOCOLS:
            raise netns.kernel.error(errno.EINVAL, "Invalid XFRM protocol in template")


def _facts(policy: Policy) -> dict[str, object]:
    return {"dir": policy.dir, "index": policy.index, "policy": policy}


def _wanted(command: PolicyCommand) -> Policy:
    return Policy(
        command.dir or "", command.selector or Selector(), command.af or AF_INET, index=command.index or 0,
        ptype=command.ptype or "main", mark=command.mark, if_id=command.if_id,
    )  # fmt: skip


def _flush(netns: Netns, ptype: str) -> list[Policy]:
    """XFRM_MSG_FLUSHPOLICY of one type. It succeeds without a message where there is no such policy."""
    gone = [policy for policy in netns.spd if policy.ptype == ptype]
    for policy in gone:
        netns.spd.remove(policy)
    if gone:
        netns.note_policy("FLUSHPOLICY", ptype=ptype)
    return gone


def _means(command: PolicyCommand, policy: Policy) -> bool:
    """xfrm_policy_filter_match (ip/xfrm_policy.c): whether the policy agrees with everything that was given."""
    said = (
        (command.dir, policy.dir), (command.af, policy.af), (command.ptype, policy.ptype),
        (command.index, policy.index), (command.action, policy.action), (command.priority, policy.priority),
    )  # fmt: skip
    if any(want is not None and want != have for want, have in said):
        return False
    if command.flags is not None and not command.flags & policy.flags:
        return False
    return command.selector is None or _within(command.selector, policy)


def _within(want: Selector, policy: Policy) -> bool:
    """Whether a policy's selector fits. Addresses are compared under the wanted prefix, not the policy's own."""
    have = policy.selector
    zeros = bytes(16 if policy.af == AF_INET6 else 4)
    for said, plen, address in (
        (want.src, want.src_prefix, have.src), (want.dst, want.dst_prefix, have.dst)
    ):  # fmt: skip
        if plen and not prefix_match(address or zeros, said, plen):
            return False
    if (want.dev and want.dev != have.dev) or (want.proto and want.proto != have.proto):
        return False
    if want.sport_mask and want.sport != have.sport:
        return False
    return not (want.dport_mask and want.dport != have.dport)
