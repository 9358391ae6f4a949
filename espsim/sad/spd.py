"""The security policy database, as far as `ip xfrm policy` and the datapath need it (net/xfrm/xfrm_policy.c).

A policy says for in, out or forwarded packets that a selector takes: allow (through these templates, or in clear where
there are none) or block. Of several that match, the lowest priority number wins, then the oldest.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace

from espsim.core.address import Address
from espsim.core.errors import XfrmError
from espsim.sad.association import ANY, NO_LIMITS, NO_MARK, PROTO_ESP, Limits, Mark, Mode, SecurityAssociation, Selector

Flow = tuple[Address, Address, int, int, int]
"""(src, dst, protocol, sport, dport) of a packet."""

DIRECTIONS = {"in": 0, "out": 1, "fwd": 2}


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
        """xfrm_state_ok: whether a packet that came under `sa` satisfies this template."""
        if (sa.proto, sa.mode) != (self.proto, self.mode):
            return False
        if (self.spi and self.spi != sa.spi) or (self.reqid and self.reqid != sa.reqid):
            return False
        return sa.mode is Mode.TRANSPORT or _same_ends(self, sa)


def _same_ends(template: Template, sa: SecurityAssociation) -> bool:
    """xfrm_state_addr_cmp: an address of zeros in the template takes any."""
    return (not any(template.dst) or template.dst == sa.dst) and (not any(template.src) or template.src == sa.src)


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. `index` is the kernel's number for it (0: not given yet); `af` the selector's family."""

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
    flags: frozenset[str] = frozenset()
    added: float = 0.0

    def takes(self, flow: Flow, mark: int) -> bool:
        """xfrm_policy_match: family, mark and selector."""
        return len(flow[0]) == (4 if self.af == 2 else 16) and self.mark.matches(mark) and self.selector.matches(*flow)


class Spd:
    """Policies by direction, in the order in which they were added."""

    def __init__(self) -> None:
        self._policies: list[Policy] = []
        self._generator = 0

    def __len__(self) -> int:
        return len(self._policies)

    def __iter__(self) -> Iterator[Policy]:
        return iter(list(self._policies))

    def add(self, policy: Policy) -> Policy:
        """XFRM_MSG_NEWPOLICY. EEXIST where one of this selector, mark and if_id is there."""
        if self._find(policy) is not None:
            raise XfrmError(errno.EEXIST)
        return self._insert(policy)

    def update(self, policy: Policy) -> Policy:
        """XFRM_MSG_UPDPOLICY: takes the place of the one of this selector, or is added."""
        old = self._find(policy)
        if old is not None:
            self._policies.remove(old)
            policy = replace(policy, index=policy.index or old.index)
        return self._insert(policy)

    def get(self, wanted: Policy) -> Policy:
        """XFRM_MSG_GETPOLICY, by index where one is given, else by selector. ENOENT: there is none."""
        found = self._by_index(wanted) if wanted.index else self._find(wanted)
        if found is None:
            raise XfrmError(errno.ENOENT)
        return found

    def delete(self, wanted: Policy) -> Policy:
        """XFRM_MSG_DELPOLICY. ENOENT: there is none."""
        found = self.get(wanted)
        self._policies.remove(found)
        return found

    def flush(self) -> int:
        """XFRM_MSG_FLUSHPOLICY: how many went."""
        count = len(self._policies)
        self._policies.clear()
        return count

    def lookup(self, direction: str, flow: Flow, mark: int = 0) -> Policy | None:
        """xfrm_policy_lookup: the policy of a packet, None where nobody has one for it."""
        found = (p for p in self._policies if p.dir == direction and p.takes(flow, mark))
        return min(found, key=lambda p: p.priority, default=None)

    def _find(self, like: Policy) -> Policy | None:
        key = (like.dir, like.selector, like.af, like.mark, like.if_id, like.ptype)
        return next((p for p in self._policies if (p.dir, p.selector, p.af, p.mark, p.if_id, p.ptype) == key), None)

    def _by_index(self, like: Policy) -> Policy | None:
        key = (like.dir, like.index, like.mark, like.if_id, like.ptype)
        return next((p for p in self._policies if (p.dir, p.index, p.mark, p.if_id, p.ptype) == key), None)

    def _insert(self, policy: Policy) -> Policy:
        if not policy.index:
            policy = replace(policy, index=self._next_index(policy.dir))
        self._policies.append(policy)
        return policy

    def _next_index(self, direction: str) -> int:
        """xfrm_gen_index: the direction in the low three bits, counted up in steps of eight; 0 is no index."""
        taken = {policy.index for policy in self._policies}
        while True:
            index = self._generator | DIRECTIONS[direction] or 8
            self._generator += 8
            if index not in taken:
                return index
