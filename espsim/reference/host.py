"""A host with policies around the two directions: what Linux does before xfrm_output and after xfrm_input.

Inbound: `Inbound`, then the policy check (__xfrm_policy_check). Outbound: the policy, a state for
each of its templates (xfrm_tmpl_resolve_one, xfrm_state_find), an ACQUIRE where there is none, then
`Outbound`. Counters are added to the namespace's.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field

from espsim.core.answers import Received
from espsim.core.verdict import OutVerdict, Verdict
from espsim.netlink.netns import Netns
from espsim.netlink.spd import Flow, Policy, Template
from espsim.reference.inbound import Inbound
from espsim.reference.inner import flow
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State

_MAX_DEPTH = 6
_SENDER_SEES = {OutVerdict.SEQ_OVERFLOW: errno.EOVERFLOW, OutVerdict.TOO_BIG: errno.EMSGSIZE}


@dataclass(slots=True)
class HostReceived:
    """`delivered` to a socket or not; `counter` that moved; `received` what ESP said, None for a clear packet."""

    delivered: bool
    counter: str | None
    received: Received[SadEntry] | None = None


@dataclass(slots=True)
class HostSent:
    """`errno` that the sender sees (0: sent, which a dropped packet may be too); `packet` that left, if one did."""

    errno: int = 0
    counters: list[str] = field(default_factory=list)
    packet: bytes | None = None


class _Refused(Exception):  # noqa: N818 - an outcome
    """An output that ends before a packet is made: errno for the sender, counters that move."""

    def __init__(self, number: int, *counters: str) -> None:
        self.number = number
        self.counters = list(counters)
        super().__init__()


class Host:
    """One namespace with its traffic. IVs are drawn by the namespace."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns
        self._inbound = Inbound(netns.sad)
        self._outbound = Outbound(netns.sad, netns.ivs.randbytes)
        self._outbound.masks = netns.masks

    def receive(self, packet: bytes, mark: int = 0) -> HostReceived:
        """One IP packet from the wire."""
        self._inbound.mark = mark
        self._inbound.refresh_ports()
        received = self._inbound.receive(packet, self.netns.now)
        if received is None:
            result = HostReceived(True, self._policy_refuses(packet, (), mark))
        elif received.verdict is not Verdict.DELIVERED or received.inner is None or received.entry is None:
            result = HostReceived(False, received.counter, received)
        else:
            counter = self._policy_refuses(received.inner, (received.entry.sa,), mark)
            result = HostReceived(True, counter, received)
        result.delivered = result.delivered and result.counter is None
        if result.counter is not None:
            self.netns.counters[result.counter] += 1
        return result

    def send(self, packet: bytes, mark: int = 0) -> HostSent:
        """One IP packet of a local sender."""
        facts = flow(packet)
        if facts is None:
            return HostSent(errno.EINVAL)
        try:
            sent = HostSent(packet=self._through(packet, facts, mark))
        except _Refused as refused:
            sent = HostSent(refused.number, refused.counters)
        self.netns.counters.update(sent.counters)
        return sent

    # -- inbound ------------------------------------------------------------------------------------------------

    def _policy_refuses(self, packet: bytes, path: Sequence[SecurityAssociation], mark: int) -> str | None:
        """The counter that moves where the in policy refuses a packet that came under these SAs; None: it may pass."""
        facts = flow(packet)
        if facts is None:
            return "XfrmInHdrError"
        policy = self.netns.spd.lookup("in", facts, mark)
        tunnelled = any(sa.mode is not Mode.TRANSPORT for sa in path)
        if policy is None:
            return "XfrmInNoPols" if tunnelled or self.netns.spd.defaults["in"] == "block" else None
        if policy.action == "block":
            return "XfrmInPolBlock"
        return None if _templates_hold(policy.templates, path) else "XfrmInTmplMismatch"

    # -- outbound -----------------------------------------------------------------------------------------------

    def _through(self, packet: bytes, facts: Flow, mark: int) -> bytes | None:
        policy = self.netns.spd.lookup("out", facts, mark)
        if policy is None:
            if self.netns.spd.defaults["out"] == "block":
                raise _Refused(errno.EPERM)
            return packet
        if policy.action == "block":
            raise _Refused(errno.EPERM, "XfrmOutPolBlock")
        for entry in self._resolve(policy, facts, mark):
            sent = self._outbound.send_with(entry, packet, self.netns.now)
            if sent.packet is None:
                counter = sent.counter
                raise _Refused(_SENDER_SEES.get(sent.verdict, errno.EINVAL), *([counter] if counter else []))
            packet = sent.packet
        return packet

    def _resolve(self, policy: Policy, facts: Flow, mark: int) -> list[SadEntry]:
        """A valid SA for every template; else the packet is dropped, and an ACQUIRE may be under way."""
        entries = []
        for template in policy.templates[:_MAX_DEPTH]:
            entry = self._find_state(template, policy, facts, mark)
            if entry is None and template.level != "use":
                # EAGAIN: dropped (or queued, with xfrm_larval_drop 0), and the sender sees success.
                dropped = self.netns.sysctl["net.core.xfrm_larval_drop"]
                raise _Refused(0, *(["XfrmOutNoStates"] if dropped else []))
            if entry is not None:
                entries.append(entry)
        return entries

    def _find_state(self, template: Template, policy: Policy, facts: Flow, mark: int) -> SadEntry | None:
        """xfrm_state_find: not dying before dying, then the newest second; of equals the first in the list."""
        src, dst = (template.src, template.dst) if template.mode is Mode.TUNNEL else facts[:2]
        best: SadEntry | None = None
        pending = False
        for entry in reversed(list(self.netns.sad)):
            if not _serves(entry.sa, template, policy, (src, dst), mark):
                continue
            pending = pending or entry.state is State.LARVAL
            takes = not entry.sa.selective or entry.sa.selector.matches(*facts)
            if entry.state is not State.VALID or not takes:
                continue
            if best is None or (best.dying, -int(best.added)) > (entry.dying, -int(entry.added)):
                best = entry
        if best is not None:
            if best.sa.dir is Direction.IN:
                raise _Refused(errno.EINVAL, "XfrmOutStateDirError", "XfrmOutPolError")
            return best
        if not pending:
            self._acquire(template, policy, (src, dst), mark)
        return None

    def _acquire(self, template: Template, policy: Policy, ends: tuple[bytes, bytes], mark: int) -> None:
        src, dst = ends
        sad = self.netns.sad
        if template.spi and sad.lookup(dst, template.spi, template.proto, mark) is not None:
            raise _Refused(errno.EEXIST, "XfrmOutPolError")
        if self.netns.listening:
            self.netns.start_acquire(
                SecurityAssociation(
                    src,
                    dst,
                    template.spi,
                    template.proto,
                    template.mode,
                    reqid=template.reqid,
                    mark=policy.mark,
                    if_id=policy.if_id,
                )
            )


def _serves(sa: SecurityAssociation, template: Template, policy: Policy, ends: tuple[bytes, bytes], mark: int) -> bool:
    """What xfrm_state_find compares before it looks at a state."""
    return (
        (sa.src, sa.dst) == ends
        and (sa.reqid, sa.mode, sa.proto, sa.if_id) == (template.reqid, template.mode, template.proto, policy.if_id)
        and sa.mark.matches(mark)
        and "wildrecv" not in sa.flags
        and (not template.spi or template.spi == sa.spi)
    )


def _templates_hold(templates: Sequence[Template], path: Sequence[SecurityAssociation]) -> bool:
    """xfrm_policy_ok for each template in turn; no tunnel may be left that no template names."""
    start = 0
    for template in templates:
        found = next((n for n in range(start, len(path)) if template.accepts(path[n])), None)
        if found is None:
            if template.level != "use":
                return False
            continue
        if any(sa.mode is not Mode.TRANSPORT for sa in path[start:found]):
            return False
        start = found + 1
    return not any(sa.mode is not Mode.TRANSPORT for sa in path[start:])
