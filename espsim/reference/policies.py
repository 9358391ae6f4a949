"""The policies after decapsulation: whether a packet that came under these SAs, or under none, may pass.

They give NO_POLICY, TEMPLATE, BLOCKED and TEMPLATES.

1. lookup      the policy whose selector, mark and if_id take the inner packet (netlink/spd.py)
2. default     without a policy: a packet out of a tunnel does not pass; another one does, if the default accepts
3. action      a policy that blocks refuses the packet
4. templates   each must find its SA, the last template first, because the SA that was opened first is the outermost

`Policies` judges the packets of a capture, which does not say which addresses are the host's own. Without `local` a
packet is judged by an `in` policy, and where no `in` policy takes it by a `fwd` policy. With `local` a packet to those
addresses is judged by `in` policies, any other by `fwd` policies. The if_id is that of the last SA that has one: the
SA's xfrm interface is assumed to exist.

What this does not do: it knows no policies of sockets, follows no ICMP errors (flag icmp), and ignores lifetimes of
policies. Of tunnels in tunnels it judges only the innermost packet.
Sources: RFC 4301 5.2; Linux __xfrm_policy_check, xfrm_policy_ok and xfrm_state_ok (net/xfrm/xfrm_policy.c).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from espsim.core.address import Address, prefix_match
from espsim.core.layers import Layer
from espsim.core.numbers import MAX_DEPTH
from espsim.core.verdict import Verdict
from espsim.netlink.spd import Flow, Policy, Spd, Template
from espsim.reference.inner import flow, mode_of
from espsim.reference.layers import layer_of
from espsim.sad.association import Mode, SecurityAssociation

_CACHED = 65536
"""The most flows whose answers are kept."""
_AGAIN = 4096
"""The most opened packets that are remembered, to know them again where the capture has them in clear, too."""
_NOT_JUDGED = frozenset({Layer.IKE, Layer.KEEPALIVE, Layer.AH})
"""Clear packets that are not judged: a key manager's socket has policies of its own, a keepalive is consumed earlier,
and AH is not clear text."""

Path = Sequence[SecurityAssociation]
"""The SAs that opened a packet, the outermost first."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The answer of the policies. DELIVERED: the packet may pass. `policy`: the one that takes it; None: none does."""

    verdict: Verdict
    direction: str = "in"
    policy: Policy | None = None

    @property
    def counter(self) -> str | None:
        """The Linux counter that moves."""
        return self.verdict.counter


def judge(spd: Spd, direction: str, policy: Policy | None, path: Path, sub: Policy | None = None) -> Judged:
    """Judge a packet of `direction` that `policy` takes (None: no policy does) and that came under `path`.

    `sub`: a policy of type sub that takes it too; its templates come first (CONFIG_XFRM_SUB_POLICY).
    """
    if policy is None and sub is None:
        passes = spd.defaults[direction] != "block" and not _tunnelled(path)
        return Judged(Verdict.DELIVERED if passes else Verdict.NO_POLICY, direction)
    found = [one for one in (sub, policy) if one is not None]
    first = found[0]
    if any(one.action == "block" for one in found):
        return Judged(Verdict.BLOCKED, direction, first)
    templates = [template for one in found for template in one.templates]
    if len(templates) >= MAX_DEPTH:
        return Judged(Verdict.TEMPLATES, direction, first)
    return Judged(Verdict.DELIVERED if _hold(templates, path) else Verdict.TEMPLATE, direction, first)


def _hold(templates: Sequence[Template], path: Path) -> bool:
    """Whether every template finds its SA, and every tunnel is named by a template."""
    at = 0
    for template in reversed(templates):
        after = _after(template, path, at)
        if after is None:
            return False
        at = after
    return not _tunnelled(path[at:])


def _after(template: Template, path: Path, start: int) -> int | None:
    """Where the next template's search begins; None: this one finds no SA. Transport SAs may be skipped."""
    optional = template.level == "use"
    if optional and template.mode is Mode.TRANSPORT:
        return start
    for at in range(start, len(path)):
        if template.accepts(path[at]):
            return at + 1
        if path[at].mode is not Mode.TRANSPORT:
            break
    return start if optional else None


def _tunnelled(path: Path) -> bool:
    return any(sa.mode is not Mode.TRANSPORT for sa in path)


class Policies:
    """The policies of a host whose traffic a capture has. `local`: its own addresses, as (network, prefix length).

    `clear`: packets that came in clear are judged too. It is off by default, because a capture on a Linux host has each
    packet twice: as ESP, and as the inner packet. With `clear` copies of opened packets are recognised and skipped.
    """

    def __init__(self, spd: Spd, local: Sequence[tuple[Address, int]] = (), *, clear: bool = False) -> None:
        self.spd = spd
        self.local = tuple(local)
        self.clear = clear
        self._answers: dict[tuple[object, ...], tuple[Judged, Path]] = {}
        self._modes: dict[tuple[int, Mode], tuple[SecurityAssociation, SecurityAssociation]] = {}
        self._opened: OrderedDict[bytes, None] = OrderedDict()

    def judge(self, packet: bytes, path: Path, mark: int | None) -> Judged:
        """Judge a packet that was opened under `path` and came with `mark`; None: marks are not compared.

        What is not an IP packet is NO_POLICY.
        """
        facts = flow(packet)
        if facts is None:
            return Judged(Verdict.NO_POLICY)
        key = (facts, mark, *map(id, path))
        known = self._answers.get(key)
        if known is None:
            if len(self._answers) == _CACHED:
                self._answers.clear()
            # The SAs are kept too, so that no other object gets their ids.
            known = self._answers[key] = self._ask(facts, path, mark), tuple(path)
        if self.clear and known[0].verdict is Verdict.DELIVERED:
            self._remember(packet)
        return known[0]

    def judge_clear(self, packet: bytes, ports: Collection[int], mark: int | None) -> Judged | None:
        """Judge a packet that is not ESP; `ports` as in `layer_of`. None: it is not judged, or it may pass."""
        facts = flow(packet) if self.clear and layer_of(packet, ports) not in _NOT_JUDGED else None
        if facts is None or self._opened.pop(packet, self) is None:
            return None
        judged = self._ask(facts, (), mark)
        return None if judged.verdict is Verdict.DELIVERED else judged

    def as_opened(self, sa: SecurityAssociation, next_header: int) -> SecurityAssociation:
        """The SA with the mode in which it opened a packet: for Mode.ANY the one that the next header shows."""
        if sa.mode is not Mode.ANY:
            return sa
        mode = mode_of(sa, next_header)
        known = self._modes.get((id(sa), mode))
        if known is None:
            opened = copy.copy(sa)  # not `replace`, which would check the window against the mode again
            object.__setattr__(opened, "mode", mode)
            known = self._modes[id(sa), mode] = sa, opened
        return known[1]

    def _ask(self, facts: Flow, path: Path, mark: int | None) -> Judged:
        if_id = 0
        for sa in path:
            if_id = sa.if_id or if_id
            if mark is not None and sa.output_mark is not None:  # xfrm_smark_get: the inner packet's mark
                mark = mark & ~sa.output_mark.mask | sa.output_mark.value & sa.output_mark.mask
        directions = ["in", "fwd"]
        if self.local:
            own = any(prefix_match(facts[1], network, length) for network, length in self.local)
            directions = ["in"] if own else ["fwd"]
        for direction in directions:
            policy = self.spd.lookup(direction, facts, mark, if_id)
            if policy is None:
                continue
            if policy.ptype == "sub":  # Linux looks the main one up as `in`, whatever the direction
                return judge(self.spd, direction, self.spd.lookup("in", facts, mark, if_id, "main"), path, policy)
            return judge(self.spd, direction, policy, path)
        return judge(self.spd, directions[0], None, path)

    def _remember(self, packet: bytes) -> None:
        self._opened[packet] = None
        if len(self._opened) > _AGAIN:
            self._opened.popitem(last=False)
