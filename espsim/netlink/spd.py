"""The security policy database, as far as `ip xfrm policy` and the datapath need it (net/xfrm/xfrm_policy.c).

A policy says for in, out or forwarded packets that a selector takes: allow (through these templates, or in clear where
there are none) or block. Of several that match, the lowest priority number wins, then the oldest. Where none matches,
the direction's default says accept or block.

A policy's selector is its key, octet by octet: addresses of prefix length 0 are in it too, and stay as they were said.
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
"""XFRM_POLICY_LOCALOK, _ICMP, _CPU_ACQUIRE: bits of a policy's flags. iproute2 7.3 has no word for the last."""


_SMALLEST, _LARGEST = 8, 1 << 20
_U32 = 0xFFFFFFFF
_KM_TIMEOUT = 30  # XFRM_KM_TIMEOUT: seconds until a key manager is told of a soft limit again


@dataclass(frozen=True, slots=True)
class Template:
    """What an SA must be to serve a policy (struct xfrm_user_tmpl). `level` "use" means: where there is one."""

    src: Address
    dst: Address
    proto: int = PROTO_ESP
    spi: int = 0
    mode: Mode = Mode.TRANSPORT
    reqid: int = 0
    level: str = "required"

    def accepts(self, sa: SecurityAssociation) -> bool:
        """xfrm_state_ok: whether a packet that came under `sa` satisfies this template.

        Of the addresses the source alone is compared, and not in transport mode; zeros in the template take any.
        """
        if (sa.proto, sa.mode) != (self.proto, self.mode):
            return False
        if (self.spi and self.spi != sa.spi) or (self.reqid and self.reqid != sa.reqid):
            return False
        return sa.mode is Mode.TRANSPORT or not any(self.src) or self.src == sa.src


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. `index` is the kernel's number for it (0: not given yet); `af` the selector's family.

    `flags` are bits, named ones and others; `added` is in seconds on the namespace's clock.
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
        """xfrm_policy_match: interface, family, mark and selector; None of mark or if_id: it is not asked."""
        if if_id is not None and if_id != self.if_id:
            return False
        return len(flow[0]) == (4 if self.af == 2 else 16) and self.mark.matches(mark) and self.selector.matches(*flow)


class Spd:
    """Policies by direction, in the order in which they were added, and what holds where there is none.

    `defaults` has "accept" or "block" for in, fwd and out. `thresholds` has, by family, the prefix lengths (local,
    remote) from which on a policy is found by hash; they decide nothing but speed. `buckets` is the size of the hash
    table by index.
    """

    def __init__(self) -> None:
        self.policies: list[Policy] = []
        self.generator = 0
        self.defaults = dict.fromkeys(("in", "fwd", "out"), "accept")
        self.thresholds = {AF_INET: (32, 32), AF_INET6: (128, 128)}
        self.buckets = _SMALLEST
        self.by_dst = dict.fromkeys(DIRECTIONS, _SMALLEST)
        self.timers: dict[int, float] = {}  # by index: when a policy with lifetimes in seconds is looked at next

    def __len__(self) -> int:
        return len(self.policies)

    def __iter__(self) -> Iterator[Policy]:
        return iter(list(self.policies))

    def add(self, policy: Policy) -> Policy:
        """XFRM_MSG_NEWPOLICY. EEXIST where one of this selector, mark and if_id is there."""
        policy = _masked(policy)
        if self._find(policy) is not None:
            raise XfrmError(errno.EEXIST)
        return self._insert(policy)

    def update(self, policy: Policy) -> Policy:
        """XFRM_MSG_UPDPOLICY: takes the place and the index of the one of this selector, or is added."""
        policy = _masked(policy)
        old = self._find(policy)
        if old is None:
            return self._insert(policy)
        self.remove(old)
        return self._append(replace(policy, index=old.index))

    def get(self, wanted: Policy) -> Policy:
        """XFRM_MSG_GETPOLICY, by index where one is given, else by selector. ENOENT: there is none."""
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
        """xfrm_policy_lookup: the policy of a packet, None where no one has one for it.

        Those of type sub come first; `ptype` asks for one type. None of mark or if_id: it is not asked.
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
        """Take out a policy that is here."""
        self.policies.remove(policy)
        self.timers.pop(policy.index, None)

    def put_templates(self, policy: Policy, templates: tuple[Template, ...]) -> None:
        """A policy that is here gets other templates, in its place."""
        self.policies[self.policies.index(policy)] = replace(policy, templates=templates)

    def next_timer(self) -> float:
        """When the next policy is to be looked at for its lifetimes (`look`), in seconds; never: infinity."""
        return min(self.timers.values(), default=math.inf)

    def look(self, now: float) -> list[tuple[Policy, int]]:
        """xfrm_policy_timer of those whose time it is: (policy, hard) for each that has met a limit.

        At a hard limit a policy goes. A soft one is told of every 30 seconds from then on.
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
        """xfrm_gen_index: the index that was asked for if it is free, else the generator's next that is.

        An index has its direction in the low three bits; the generator counts in steps of eight, and 0 is no index.
        """
        taken = {policy.index for policy in self.policies}
        index = policy.index
        while not index or index in taken:
            index = self.generator & _U32 | DIRECTIONS[policy.dir] or 8
            self.generator += 8
        return index

    def _grow(self, direction: str) -> None:
        """xfrm_bydst_should_resize, asked of a new policy's direction, and then of all (xfrm_hash_resize)."""
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
    """A mark is stored without the bits that its mask leaves out (xfrm_policy_insert)."""
    mark = policy.mark
    return replace(policy, mark=Mark(mark.value & mark.mask, mark.mask)) if mark.value & ~mark.mask else policy
