"""What `ip xfrm policy` asks of a namespace: a command, and what it does to the policies.

How a command is written is policy_words.py's; it is shared by the batch language and the request language.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from espsim.core.address import AF_INET
from espsim.sad.association import NO_MARK, Mark, Mode, Selector
from espsim.sad.netns import Netns
from espsim.sad.spd import DIRECTIONS, Policy

Verb: TypeAlias = Literal["add", "update", "delete", "get", "deleteall", "list", "count", "flush"]


@dataclass(frozen=True, slots=True)
class PolicyCommand:
    """One `ip xfrm policy` command. `policy`: what add and update install.

    For the other verbs the fields say which policies are meant; None: nobody said.
    """

    verb: Verb
    policy: Policy | None = None
    dir: str | None = None
    selector: Selector | None = None
    af: int | None = None
    index: int | None = None
    ptype: str = "main"
    action: str | None = None
    priority: int | None = None
    mark: Mark = NO_MARK
    if_id: int = 0


def apply_policy(netns: Netns, command: PolicyCommand) -> list[Policy]:
    """What the command does to a namespace's policies, and the messages about it.

    Returns those that were installed, found or removed. XfrmError: EEXIST, ENOENT, and EINVAL of `_verify`.
    """
    spd, verb = netns.spd, command.verb
    if command.policy is not None:
        _verify(netns, command.policy)
        policy = replace(command.policy, added=netns.now)
        done = spd.add(policy) if verb == "add" else spd.update(policy)
        netns.note_policy("NEWPOLICY" if verb == "add" else "UPDPOLICY", **_facts(done))
        return [done]
    if verb in ("delete", "get"):
        found = spd.get(_wanted(command)) if verb == "get" else spd.delete(_wanted(command))
        if verb == "delete":
            netns.note_policy("DELPOLICY", **_facts(found))
        return [found]
    meant = [policy for policy in spd if _means(command, policy)]
    if verb == "flush":
        for policy in meant:
            spd.delete(policy)
        if meant:
            netns.note_policy("FLUSHPOLICY", ptype=command.ptype)
    elif verb == "deleteall":
        for policy in meant:
            netns.note_policy("DELPOLICY", **_facts(spd.delete(policy)))
    return meant


def _verify(netns: Netns, policy: Policy) -> None:
    """verify_newpolicy_info and validate_tmpl (net/xfrm/xfrm_user.c)."""
    if policy.index and policy.index & 7 != DIRECTIONS[policy.dir]:
        raise netns.kernel.error(errno.EINVAL, "Policy index doesn't match direction")
    if policy.dir == "out" and any(t.level == "use" and t.mode is Mode.TUNNEL for t in policy.templates):
        raise netns.kernel.error(errno.EINVAL, "Mode in optional template not allowed in outbound policy")


def _facts(policy: Policy) -> dict[str, object]:
    return {"dir": policy.dir, "index": policy.index, "policy": policy}


def _wanted(command: PolicyCommand) -> Policy:
    return Policy(
        command.dir or "", command.selector or Selector(), command.af or AF_INET, index=command.index or 0,
        ptype=command.ptype, mark=command.mark, if_id=command.if_id,
    )  # fmt: skip


def _means(command: PolicyCommand, policy: Policy) -> bool:
    """xfrm_policy_filter_match (ip/xfrm_policy.c): what was said must be so."""
    said = (
        (command.dir, policy.dir), (command.selector, policy.selector), (command.af, policy.af),
        (command.index, policy.index), (command.action, policy.action), (command.priority, policy.priority),
    )  # fmt: skip
    return policy.ptype == command.ptype and all(want is None or want == have for want, have in said)
