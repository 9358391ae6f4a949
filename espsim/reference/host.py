"""A host with policies around both directions: what Linux does before xfrm_output and after xfrm_input.

    inbound     `Inbound`, then the policy check (__xfrm_policy_check)
    outbound    the policy; a state for each of its templates (xfrm_tmpl_resolve_one, xfrm_state_find), or an ACQUIRE;
                then `Outbound`

Counters are added to the namespace's.

What this does not do: it forwards nothing (no `fwd` policies), and queues no packet while an ACQUIRE is pending.
Sources: Linux net/xfrm/xfrm_policy.c, net/xfrm/xfrm_state.c.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espsim.core.address import family
from espsim.core.answers import Received
from espsim.core.numbers import MAX_DEPTH
from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.netlink.netns import Netns
from espsim.netlink.spd import CPU_ACQUIRE, Flow, Policy, Template
from espsim.reference.inbound import Inbound
from espsim.reference.inner import flow
from espsim.reference.nested import marked
from espsim.reference.outbound import Outbound
from espsim.reference.policies import judge
from espsim.sad.association import Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State

_OWN_ENDS = (Mode.TUNNEL, Mode.BEET, Mode.IPTFS)
"""Modes whose templates name the outer addresses (xfrm_tmpl_resolve_one)."""
_SENDER_SEES = {
    OutboundVerdict.SEQ_OVERFLOW: errno.EOVERFLOW, OutboundVerdict.TOO_BIG: errno.EMSGSIZE,
    OutboundVerdict.IPTFS_TOO_BIG: 0, OutboundVerdict.IPTFS_QUEUE: 0,
}  # fmt: skip
"""The errno that the sender of a packet sees; EINVAL for other verdicts. iptfs_output_collect drops without one."""


@dataclass(slots=True)
class HostReceived:
    """What became of a packet from the wire. `delivered`: a socket got it. `counter`: the one that moved, if any.
    `received`: the answer of ESP; None: a clear packet. `mark`: the packet's last mark. `packets`: how many were
    delivered.
    """

    delivered: bool
    counter: str | None
    received: Received[SadEntry] | None = None
    mark: int = 0
    packets: int = 1


@dataclass(slots=True)
class HostSent:
    """What became of a packet of a local sender. `errno`: what the sender sees; 0: success, though it may be dropped.
    `packet`: the packet that left, if one did, and its `mark`. `also`: packets that left with it.
    """

    errno: int = 0
    counters: list[str] = field(default_factory=list)
    packet: bytes | None = None
    mark: int = 0
    also: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Leaving:
    """What the lookup of a leaving packet uses: its flow, its mark, the CPU of its sender."""

    facts: Flow
    mark: int
    cpu: int


class _Refused(Exception):  # noqa: N818 - an outcome
    """Output ends before a packet is made: the errno for the sender, and the counters that move."""

    def __init__(self, number: int, *counters: str) -> None:
        self.number = number
        self.counters = list(counters)
        super().__init__()


class Host:
    """The traffic of one namespace, which also draws the IVs."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns
        self._inbound = Inbound(netns.sad)
        self._outbound = Outbound(netns.sad, netns.ivs.randbytes)
        self._outbound.masks = netns.masks
        self.reassemble: Callable[[bytes], bytes | None] = lambda packet: packet
        """Joins fragments that come out of a tunnel: the datagram, or None while some are missing."""

    def receive(self, packet: bytes, mark: int = 0) -> HostReceived:
        """Receive one IP packet from the wire."""
        self._inbound.mark = mark
        self._inbound.refresh_ports()
        received = self._inbound.receive(packet, self.netns.now)
        if received is None:
            result = HostReceived(True, self._policy_refuses(packet, (), mark))
        elif received.inners is not None and received.entry is not None:
            return self._aggregated(received, received.entry.sa, marked(mark, received.entry.sa))
        elif received.verdict is not Verdict.DELIVERED or received.inner is None or received.entry is None:
            result = HostReceived(False, received.counter, received)
        else:
            path = [layer.entry.sa for layer in received.layers if layer.entry is not None]
            for sa in path:
                mark = marked(mark, sa)
            tunnelled = received.entry.sa.mode is not Mode.TRANSPORT
            inner = self.reassemble(received.inner) if tunnelled else received.inner
            counter = None if inner is None else self._policy_refuses(inner, path, mark)
            result = HostReceived(inner is not None, counter, received)
        result.mark = mark
        result.delivered = result.delivered and result.counter is None
        if result.counter is not None:
            self.netns.counters[result.counter] += 1
        return result

    def send(self, packet: bytes, mark: int = 0, cpu: int = 0) -> HostSent:
        """Send one IP packet of a local sender. `cpu`: the sender's; it matters for SAs of one CPU."""
        facts = flow(packet)
        if facts is None:
            return HostSent(errno.EINVAL)
        try:
            sent = self._through(packet, _Leaving(facts, mark, cpu))
        except _Refused as refused:
            sent = HostSent(refused.number, refused.counters)
        self.netns.counters.update(sent.counters)
        return sent

    # -- inbound ------------------------------------------------------------------------------------------------

    def elapse(self) -> tuple[int, list[bytes]]:
        """IP-TFS up to the namespace's clock: (how many inner packets were delivered, the packets that left)."""
        now, late, tunnels, senders = self.netns.now, 0, self._inbound.tunnels, self._outbound.senders
        for came in tunnels.elapse(now):
            sa = came.entry.sa
            if sa.iptfs is None:
                continue
            refused = [self._policy_refuses(packet, (sa,), marked(0, sa)) for packet in came.packets]
            self.netns.counters.update(counter for counter in refused if counter is not None)
            late += refused.count(None)
        left = [packet for leaves in senders.elapse(now) for packet in leaves.packets]
        for counters in (tunnels.counters, senders.counters):
            self.netns.counters.update(counters)
            counters.clear()
        return late, left

    def _aggregated(self, received: Received[SadEntry], sa: SecurityAssociation, mark: int) -> HostReceived:
        """A packet of IP-TFS: delivered where an inner packet that came out with it is. Policies judge each of them.

        A kernel without the mode (`no-iptfs`) cannot open the packet.
        """
        refused = [self._policy_refuses(packet, (sa,), mark) for packet in received.packets]
        moved = [received.counter, *refused, *self._inbound.tunnels.counters.elements()]
        self._inbound.tunnels.counters.clear()
        if sa.iptfs is None:
            refused, moved = [], ["XfrmInStateModeError"]
        self.netns.counters.update(counter for counter in moved if counter is not None)
        first = next((counter for counter in moved if counter is not None), None)
        return HostReceived(None in refused, first, received, mark, refused.count(None))

    def _policy_refuses(self, packet: bytes, path: Sequence[SecurityAssociation], mark: int) -> str | None:
        """The counter that moves where the `in` policy refuses a packet from these SAs; None: it may pass."""
        facts = flow(packet)
        if facts is None:
            return "XfrmInHdrError"
        policy = self.netns.spd.lookup("in", facts, mark)
        return judge(self.netns.spd, "in", policy, path).counter

    # -- outbound -----------------------------------------------------------------------------------------------

    def _through(self, packet: bytes, leaving: _Leaving) -> HostSent:
        mark = leaving.mark
        policy = self.netns.spd.lookup("out", leaving.facts, mark)
        if policy is None:
            if self.netns.spd.defaults["out"] == "block":
                raise _Refused(errno.EPERM)
            return HostSent(packet=packet, mark=mark)
        if policy.action == "block":
            raise _Refused(errno.EPERM, "XfrmOutPolBlock")
        for entry in self._resolve(policy, leaving):
            mark = marked(mark, entry.sa)
            if entry.sa.mode is Mode.IPTFS and entry.sa.iptfs is None:  # a kernel without the mode: `no-iptfs`
                raise _Refused(errno.EOPNOTSUPP, "XfrmOutStateModeError")
            sent = self._outbound.send_with(entry, packet, self.netns.now)
            if sent.outers is not None and sent.verdict is OutboundVerdict.SEALED:
                return HostSent(packet=next(iter(sent.outers), None), mark=mark, also=sent.outers[1:])
            if sent.packet is None:
                counter = sent.counter
                raise _Refused(_SENDER_SEES.get(sent.verdict, errno.EINVAL), *([counter] if counter else []))
            packet = sent.packet
        return HostSent(packet=packet, mark=mark)

    def _resolve(self, policy: Policy, leaving: _Leaving) -> list[SadEntry]:
        """A valid SA for every template. _Refused: one is missing; an ACQUIRE may be pending."""
        entries = []
        for template in policy.templates[:MAX_DEPTH]:
            entry = self._find_state(template, policy, leaving)
            if entry is None and template.level != "use":
                # EAGAIN inside the kernel: the packet is dropped (queued, with xfrm_larval_drop 0), and the sender sees
                # success.
                dropped = self.netns.sysctl["net.core.xfrm_larval_drop"]
                raise _Refused(0, *(["XfrmOutNoStates"] if dropped else []))
            if entry is not None:
                entries.append(entry)
        return entries

    def _find_state(self, template: Template, policy: Policy, leaving: _Leaving) -> SadEntry | None:
        """xfrm_state_find: the best of the states that serve, by `_better`; else an ACQUIRE.

        With CPU_ACQUIRE only a state of the sender's own CPU is enough. Another one serves meanwhile, and one ACQUIRE
        asks for that CPU's.
        """
        src, dst = (template.src, template.dst) if template.mode in _OWN_ENDS else leaving.facts[:2]
        per_cpu = self.netns.kernel.sa_dir and bool(policy.flags & CPU_ACQUIRE)
        best: SadEntry | None = None
        pending = False
        for entry in reversed(list(self.netns.sad)):
            if not _serves(entry.sa, template, policy, (src, dst)):
                continue
            if entry.state is State.LARVAL:
                pending = pending or best is None or entry.sa.pcpu == leaving.cpu
            if (
                entry.state is not State.VALID
                or not _selects(entry, leaving.facts)
                or entry.sa.pcpu not in (None, leaving.cpu)
            ):
                continue
            if best is None or _better(entry, best):
                best = entry
        if best is not None and best.sa.dir is Direction.IN:
            raise _Refused(errno.EINVAL, "XfrmOutStateDirError", "XfrmOutPolError")
        if best is not None and not (per_cpu and best.sa.pcpu is None):
            return best
        if pending:
            return None
        asked = self._acquire(template, policy, (src, dst), leaving.cpu if best is not None else None)
        return best if asked else None

    def _acquire(self, template: Template, policy: Policy, ends: tuple[bytes, bytes], cpu: int | None) -> bool:
        """Make a larval state (of one CPU, if `cpu` names it) and send an ACQUIRE. False: no one listens."""
        src, dst = ends
        mark = policy.mark.value & policy.mark.mask
        if template.spi and self.netns.sad.lookup(dst, template.spi, template.proto, mark) is not None:
            raise _Refused(errno.EEXIST, "XfrmOutPolError")
        if not self.netns.listening:
            return False
        wanted = SecurityAssociation(
            src, dst, template.spi, template.proto, template.mode, reqid=template.reqid, mark=policy.mark,
            if_id=policy.if_id, pcpu=cpu,
        )  # fmt: skip
        self.netns.start_acquire(wanted)
        return True


def _selects(entry: SadEntry, facts: Flow) -> bool:
    """xfrm_state_look_at: a selector with a family takes that family only, even if it takes any address."""
    return not entry.selector_family or (
        entry.selector_family == family(facts[0]) and entry.sa.selector.matches(*facts)
    )  # fmt: skip


def _better(entry: SadEntry, best: SadEntry) -> bool:
    """xfrm_state_look_at: first a state of the CPU itself, then one that is not dying, then the newest (in seconds)."""
    ranks = [(e.sa.pcpu is None, e.dying, -int(e.added)) for e in (entry, best)]
    return ranks[0] < ranks[1]


def _serves(sa: SecurityAssociation, template: Template, policy: Policy, ends: tuple[bytes, bytes]) -> bool:
    """What xfrm_state_find compares first. The mark is the policy's, not the packet's."""
    return (
        (sa.src, sa.dst) == ends
        and (sa.reqid, sa.mode, sa.proto, sa.if_id) == (template.reqid, template.mode, template.proto, policy.if_id)
        and sa.mark.matches(policy.mark.value & policy.mark.mask)
        and "wildrecv" not in sa.flags
        and (not template.spi or template.spi == sa.spi)
    )
