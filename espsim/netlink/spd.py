"""The security policy database, as far as `ip xfrm policy` and the datapath need it (net/xfrm/xfrm_policy.c).

A policy has a direction (in, out, fwd), a selector, and an action for packets that the selector takes: allow (through
its templates, or in clear if it has none) or block. Of several policies that match, the lowest priority number wins,
then the oldest. Where none matches, the direction's default is accept or block.

A policy's selector is its key, octet by octet. Addresses of prefix length 0 are part of it, and are kept as they were
given.

What this does not do: it has no policies of sockets, no hash tables (only their sizes), and no statistics.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from espsim.core.address import AF_INET, AF_INET6, Address
from espsim.core.errors import XfrmError
from espsim.core.numbers import PROTO_ESP
from espsim.sad.association import ANY, NO_LIMITS, NO_MARK, Limits, Mark, Mode, SecurityAssociation, Selector

Flow = tuple[Address, Address, int, int, int]
"""(src, dst, protocol, sport, dport) of a packet."""

DIRECTIONS = {"in": 0, "out": 1, "fwd": 2}
LOCALOK, ICMP, CPU_ACQUIRE = 1, 2, 4
"""XFRM_POLICY_LOCALOK, _ICMP and _CPU_ACQUIRE: bits of a policy's flags. iproute2 7.3 has no word for the last one."""


_SMALLEST, _LARGEST = 8, 1 << 20
_U32 = 0xFFFFFFFF
_KM_TIMEOUT = 30  # XFRM_KM_TIMEOUT: seconds until a soft limit is reported again


@dataclass(frozen=True, slots=True)
class Template:
    """What an SA must be to serve a policy (struct xfrm_user_tmpl). With `level` "use" no such SA need exist."""

    src: Address
    dst: Address
    proto: int = PROTO_ESP
    spi: int = 0
    mode: Mode = Mode.TRANSPORT
    reqid: int = 0
    level: str = "required"

    def accepts(self, sa: SecurityAssociation) -> bool:
        """xfrm_state_ok: whether a packet that came under `sa` satisfies this template.

        Of the addresses only the source is compared, and none in transport mode. Zeros in the template take any.
        """
        if (sa.proto, sa.mode) != (self.proto, self.mode):
            return False
        if (self.spi and self.spi != sa.spi) or (self.reqid and self.reqid != sa.reqid):
            return False
        return sa.mode is Mode.TRANSPORT or not any(self.src) or self.src == sa.src


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. `index`: the kernel's number for it; 0: it has none yet. `af`: the selector's family.

    `flags`: bits, the named ones and others. `added`: in seconds on the namespace's clock.
    """

    dir: str
    selector: Selector = ANY
    af: int = 2
    action: str = "allow"
    priority: int = 0
    index: int = 0
    templates: tuple[Template, ...] = ()
    mark: Mark = NO_MARK
    if_id: int = 0
    limits: Limits = NO_LIMITS
    ptype: str = "main"
    flags: int = 0
    added: float = 0.0

    def takes(self, flow: Flow, mark: int | None, if_id: int | None = None) -> bool:
        """xfrm_policy_match: interface, family, mark and selector. `mark` or `if_id` None: it is not compared."""
        if if_id is not None and if_id != self.if_id:
            return False
        return len(flow[0]) == (4 if self.af == 2 else 16) and self.mark.matches(mark) and self.selector.matches(*flow)


class Spd:
    """Policies in the order in which they were added, and the defaults.

    `defaults`: "accept" or "block" for in, fwd and out. `thresholds`: by family, the prefix lengths (local, remote)
    from which on the kernel finds a policy by hash; they change speed only. `buckets`: the size of the hash table by
    index; `by_dst`: of the tables by address, for each direction.
    """

    def __init__(self) -> None:
        self.policies: list[Policy] = []
        self.generator = 0
        self.defaults = dict.fromkeys(("in", "fwd", "out"), "accept")
        self.thresholds = {AF_INET: (32, 32), AF_INET6: (128, 128)}
        self.buckets = _SMALLEST
        self.by_dst = dict.fromkeys(DIRECTIONS, _SMALLEST)
        self.timers: dict[int, float] = {}  # by index: when a policy with lifetimes in seconds is checked next

    def __len__(self) -> int:
        return len(self.policies)

    def __iter__(self) -> Iterator[Policy]:
        return iter(list(self.policies))

    def add(self, policy: Policy) -> Policy:
        """XFRM_MSG_NEWPOLICY. EEXIST: there is one with this selector, mark and if_id."""
        policy = _masked(policy)
        if self._find(policy) is not None:
            raise XfrmError(errno.EEXIST)
        return self._insert(policy)

    def update(self, policy: Policy) -> Policy:
        """XFRM_MSG_UPDPOLICY: it replaces the one with this selector and gets its index, or is added."""
        policy = _masked(policy)
        old = self._find(policy)
        if old is None:
            return self._insert(policy)
        self.remove(old)
        return self._append(replace(policy, index=old.index))

    def get(self, wanted: Policy) -> Policy:
        """XFRM_MSG_GETPOLICY, by index if one is given, else by selector. ENOENT: there is none."""
        found = self._by_index(wanted) if wanted.index else self._find(wanted)
        if found is None:
            raise XfrmError(errno.ENOENT)
        return found

    def delete(self, wanted: Policy) -> Policy:
        """XFRM_MSG_DELPOLICY. ENOENT: there is none."""
        found = self.get(wanted)
        self.remove(found)
        return found

    def lookup(
        self, direction: str, flow: Flow, mark: int | None = 0, if_id: int | None = None, ptype: str | None = None
    ) -> Policy | None:  # fmt: skip
        """xfrm_policy_lookup: the policy of a packet; None: no policy takes it.

        Policies of type sub come first; `ptype` limits the search to one type. `mark` or `if_id` None: not compared.
        """
        found = (p for p in self.policies if p.dir == direction and p.takes(flow, mark, if_id))
        if ptype is not None:
            found = (p for p in found if p.ptype == ptype)
        return min(found, key=lambda p: (p.ptype != "sub", p.priority), default=None)

    def _find(self, like: Policy) -> Policy | None:
        key = (like.dir, like.selector, like.af, like.mark, like.if_id, like.ptype)
        return next((p for p in self.policies if (p.dir, p.selector, p.af, p.mark, p.if_id, p.ptype) == key), None)

    def _by_index(self, like: Policy) -> Policy | None:
        key = (like.dir, like.index, like.mark, like.if_id, like.ptype)
        return next((p for p in self.policies if (p.dir, p.index, p.mark, p.if_id, p.ptype) == key), None)

    def remove(self, policy: Policy) -> None:
        """Remove a policy of this SPD."""
        self.policies.remove(policy)
        self.timers.pop(policy.index, None)

    def put_templates(self, policy: Policy, templates: tuple[Template, ...]) -> None:
        """Give a policy of this SPD other templates; it keeps its place."""
        self.policies[self.policies.index(policy)] = replace(policy, templates=templates)

    def next_timer(self) -> float:
        """When the next policy's lifetimes must be checked (`look`), in seconds; infinity: never."""
        return min(self.timers.values(), default=math.inf)

    def look(self, now: float) -> list[tuple[Policy, int]]:
        """xfrm_policy_timer of the policies that are due: (policy, hard) for each that has reached a limit.

        At a hard limit a policy is removed. A soft one is reported every 30 seconds from then on.
        """
        found = []
        for policy in [p for p in self.policies if self.timers.get(p.index, math.inf) <= now]:
            limits, age = policy.limits, now - policy.added
            hard = [left - age for left in (limits.hard_add, limits.hard_use) if left is not None]
            soft = [left - age for left in (limits.soft_add, limits.soft_use) if left is not None]
            if min(hard, default=1) <= 0:
                self.remove(policy)
                found.append((policy, 1))
                continue
            if min(soft, default=1) <= 0:
                found.append((policy, 0))
            self.timers[policy.index] = now + min(*hard, *(left if left > 0 else _KM_TIMEOUT for left in soft), 1e18)
        return found

    def _append(self, policy: Policy) -> Policy:
        self.policies.append(policy)
        limits = policy.limits
        if any(limit is not None for limit in (limits.hard_add, limits.hard_use, limits.soft_add, limits.soft_use)):
            self.timers[policy.index] = policy.added + 1
        return policy

    def _insert(self, policy: Policy) -> Policy:
        policy = self._append(replace(policy, index=self._index_for(policy)))
        self._grow(policy.dir)
        return policy

    def _index_for(self, policy: Policy) -> int:
        """xfrm_gen_index: the requested index if it is free, else the generator's next free one.

        The low three bits of an index are its direction; the generator counts in steps of eight. 0 is not an index.
        """
        taken = {policy.index for policy in self.policies}
        index = policy.index
        while not index or index in taken:
            index = self.generator & _U32 | DIRECTIONS[policy.dir] or 8
            self.generator += 8
        return index

    def _grow(self, direction: str) -> None:
        """xfrm_bydst_should_resize for a new policy's direction, and then for all (xfrm_hash_resize)."""
        counts = {d: sum(policy.dir == d for policy in self.policies) for d in DIRECTIONS}
        if not self._is_full(counts[direction], self.by_dst[direction]):
            return
        for other, count in counts.items():
            if self._is_full(count, self.by_dst[other]):
                self.by_dst[other] *= 2
        if self._is_full(len(self.policies), self.buckets):
            self.buckets *= 2

    @staticmethod
    def _is_full(count: int, buckets: int) -> bool:
        return count >= buckets and buckets < _LARGEST


def _masked(policy: Policy) -> Policy:
    """The policy with its mark under the mark's mask, as xfrm_policy_insert stores it."""
    mark = policy.mark
    return replace(policy, mark=Mark(mark.value & mark.mask, mark.mask)) if mark.value & ~mark.mask else policy
