"""The sender of IP-TFS: joins and cuts clear packets of an SA into AGGFRAG payloads.

    payloads   the payloads of a queue of packets: whole packets are joined, one that is too large is cut
    send       puts a clear packet into the queue; without a delay it leaves at once
    elapse     the clock moves on: queues whose delay is over leave

1. An SA with `dont-frag` refuses a packet larger than a payload. So does a queue that would exceed `max-queue-size`.
2. The first packet of a queue begins the delay. All that come before its end are joined (none with `init-delay` 0).
3. A packet that does not fit the rest of a payload begins the next one. Only a packet larger than a whole payload is
   cut; no other packet follows in the payload of its last part.
4. Each payload is sealed as an outer packet of its own, without ECN and DSCP, and with DF (RFC 9347 2.2.5, 3.1).

The clock is the packets' time. The caller calls `elapse` before each packet, and with infinity at a capture's end.

What this does not do: no padding blocks, no constant rate, no congestion control. Linux has none of these either.

Sources: RFC 9347 2 and 6.1; Linux's iptfs_output_collect and iptfs_output_queued (net/xfrm/xfrm_iptfs.c).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from espsim.core.answers import Sent
from espsim.core.verdict import OutboundVerdict
from espsim.reference.iptfs_clock import Late
from espsim.sad.association import SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.wire import iptfs, ipv4, ipv6

_US = 1e-6
_ECT, _CE = (1, 2), 3


def room(sa: SecurityAssociation, mtu: int) -> int:
    """How many bytes of data blocks fit a payload, by `pkt-size` and the path's MTU."""
    if sa.keys is None:
        return 0
    path = (mtu - sa.iptfs_header_length - sa.keys.icv_length & ~(sa.aligned - 1)) - 2
    size = sa.aggregation.pkt_size
    return min(path, size - sa.iptfs_header_length) if size else path


def payloads(packets: Sequence[bytes], most: int) -> list[bytes]:
    """The payloads of packets that leave together, each with up to `most` bytes of blocks; `most` is at least 1."""
    found: list[bytes] = []
    left = 0
    for packet in packets:
        if found and len(packet) <= left:
            found[-1] += packet
            left -= len(packet)
        elif len(packet) <= most:
            found.append(iptfs.emit(0) + packet)
            left = most - len(packet)
        else:
            starts = range(0, len(packet), most)
            found += [iptfs.emit(len(packet) - at if at else 0) + packet[at : at + most] for at in starts]
            left = 0
    return found


@dataclass(slots=True)
class _Queue:
    """The packets of one SA that wait, when each came (seconds), and their bytes (`held`)."""

    packets: list[bytes] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    held: int = 0


@dataclass(slots=True)
class _Totals:
    """What left. `dropped`: packets that were lost after they had been queued."""

    outer: int = 0
    outer_bytes: int = 0
    inner: int = 0
    inner_bytes: int = 0
    fragments: int = 0
    dropped: int = 0
    wait: float = 0.0
    longest: float = 0.0


Seal = Callable[[SadEntry, bytes, float], Sent[SadEntry]]
"""Seals one AGGFRAG payload under an SA, at a time in seconds."""


class Senders:
    """The queues of all SAs in mode IPTFS; `seal` seals their payloads.

    `counters`: Linux's counters that are in no packet's verdict, because a packet gets its verdict when it is queued.
    `epochs`: the high halves of each SA's numbers, in their order.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self.counters: Counter[str] = Counter()
        self.epochs: dict[SadEntry, list[int]] = {}
        self._queues: dict[SadEntry, _Queue] = {}
        self._totals = _Totals()
        self._mtu = 0
        self._due = math.inf

    def send(self, entry: SadEntry, packet: bytes, now: float, mtu: int) -> Sent[SadEntry]:
        """Send a clear packet under an SA, by a path of this MTU."""
        options, most = entry.sa.aggregation, room(entry.sa, mtu)
        if most < 1 or (options.dont_frag and len(packet) > most):
            return Sent(OutboundVerdict.IPTFS_TOO_BIG, entry)
        before = self._out(entry, self._deadline(entry)) if self._deadline(entry) <= now else []
        queue = self._queues.get(entry) or _Queue()
        size = queue.held + len(packet)
        if size > options.max_qsize:
            return Sent(OutboundVerdict.IPTFS_QUEUE, entry, outers=self._packets(before))
        self._queues[entry] = queue
        queue.packets.append(_congested(packet) if size > options.max_qsize * 95 // 100 else packet)
        queue.came.append(now)
        queue.held, self._mtu = size, mtu
        if options.init_delay:
            self._due = min(self._due, self._deadline(entry))
            return Sent(OutboundVerdict.SEALED, entry, outers=self._packets(before))
        sent = self._out(entry, now)
        failed = next((one for one in sent if one.packet is None), None)
        verdict = OutboundVerdict.SEALED if failed is None else failed.verdict
        return Sent(verdict, entry, sent[-1].seq64, outers=self._packets(before + sent))

    @property
    def due(self) -> float:
        """The time, in seconds, before which nothing leaves; infinity: nothing waits."""
        return self._due

    def elapse(self, now: float) -> list[Late]:
        """What leaves up to `now` (seconds), in the order of time."""
        if now < self._due:
            return []
        due = sorted(((self._deadline(e), e) for e in self._queues), key=lambda one: one[0])
        found = []
        for time, entry in due:
            if time > now:
                break
            packets = self._packets(self._out(entry, time, late=True))
            found += [Late(time, entry, packets)] if packets else []
        self._due = min(map(self._deadline, self._queues), default=math.inf)
        return found

    def _deadline(self, entry: SadEntry) -> float:
        queue = self._queues.get(entry)
        return queue.came[0] + entry.sa.aggregation.init_delay * _US if queue is not None else math.inf

    def _out(self, entry: SadEntry, now: float, *, late: bool = False) -> list[Sent[SadEntry]]:
        """Seal the whole queue of an SA. After the first payload that cannot be sealed the rest is lost."""
        queue, totals = self._queues.pop(entry), self._totals
        found: list[Sent[SadEntry]] = []
        if entry.state is not State.VALID:
            totals.dropped += len(queue.packets)
            return found
        parts = payloads(queue.packets, room(entry.sa, self._mtu))
        for payload in parts:
            sent = self._seal(entry, payload, now)
            found.append(sent)
            if sent.packet is None:
                if late and sent.counter is not None:
                    self.counters[sent.counter] += 1
                totals.dropped += len(queue.packets) if late else 0
                return found
            totals.outer += 1
            totals.outer_bytes += len(sent.packet)
            highs = self.epochs.setdefault(entry, [])
            if not highs or highs[-1] != (sent.seq64 or 0) >> 32:
                highs.append((sent.seq64 or 0) >> 32)
        most = room(entry.sa, self._mtu)
        for packet, came in zip(queue.packets, queue.came, strict=True):
            totals.inner += 1
            totals.inner_bytes += len(packet)
            totals.fragments += -(-len(packet) // most) if len(packet) > most else 0
            totals.wait += max(now - came, 0.0)
            totals.longest = max(totals.longest, now - came)
        return found

    @staticmethod
    def _packets(sent: Sequence[Sent[SadEntry]]) -> tuple[bytes, ...]:
        return tuple(one.packet for one in sent if one.packet is not None)

    def as_dict(self) -> dict[str, Any] | None:
        """The JSON `iptfs`; None where no packet left under such an SA."""
        totals = self._totals
        if not totals.outer and not totals.dropped:
            return None
        return {
            "packets": totals.outer,
            "outer_bytes": totals.outer_bytes,
            "inner": totals.inner,
            "inner_bytes": totals.inner_bytes,
            "fragments": totals.fragments,
            "dropped": totals.dropped,
            "overhead": totals.outer_bytes - totals.inner_bytes,
            "waiting_ms": {
                "mean": round(1e3 * totals.wait / totals.inner, 6) if totals.inner else 0.0,
                "max": round(1e3 * totals.longest, 6),
            },
        }


def _congested(packet: bytes) -> bytes:
    """A packet that finds the queue nearly full: it gets CE, if it is ECN-capable."""
    if packet[0] >> 4 == 4:
        return ipv4.set_tos(packet, packet[ipv4.TOS] | _CE) if packet[ipv4.TOS] & _CE in _ECT else packet
    tos = ipv6.traffic_class(packet)
    return ipv6.set_traffic_class(packet, tos | _CE) if tos & _CE in _ECT else packet
