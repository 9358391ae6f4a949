"""The two sides of a storm: the host, with its namespace and perhaps a device, and the nodes.

Generation 0 is the old SA, 1 the new one. Both sides know the keys of both, but not when the other side uses them.
Every SA has keys of its own, and packets are sealed and opened for real.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from espsim.aead.suites import Algorithm
from espsim.core.address import Address
from espsim.core.errors import XfrmError
from espsim.core.numbers import DIR_IN, PROTO_ESP
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest, StateKey
from espsim.offload.device import Device, PacketKey
from espsim.reference.inbound import Inbound
from espsim.reference.offloaded import OffloadedInbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.scenario.storm.spec import Storm, span_of
from espsim.scenario.traffic import direction_number, mode_number, request_of

HOST = bytes((10, 0, 0, 1))
_FIRST_NODE = 10 << 24 | 64 << 16 | 1  # 10.64.0.1
_FIRST_SPI = 0x1000
_NODES_SPI = 0x40000000
_ALGORITHMS = (Algorithm("aead", "rfc4106(gcm(aes))", bytes(20), 128),)
DEFAULT = SecurityAssociation(
    HOST, HOST, 0, mode=Mode.TRANSPORT, algorithms=_ALGORITHMS, window=64, dir=Direction.IN
)  # fmt: skip

Pair = list[SadEntry | None]
"""An SA's entries, by generation; None: not installed, or deleted."""


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A request that was refused, or an SA that the device did not take; `full`: the device had no room for it."""

    time: float
    node: int
    request: str
    errno: str
    note: str
    full: bool = False


class StormHost:
    """The host's namespace and device. Every request is made at a time and may be refused, which is noted."""

    def __init__(self, storm: Storm, like: SecurityAssociation, netns: Netns, device: Device | None, seed: int) -> None:
        self.storm, self.like, self.netns = storm, like, netns
        self.inbound: Inbound = Inbound(netns.sad) if device is None else OffloadedInbound(netns.sad, device)
        self.device = device
        self._rng = random.Random(f"{seed}/keys")
        self.outbound = Outbound(netns.sad, self._rng.randbytes)
        self.ins: list[Pair] = [[None, None] for _ in range(storm.nodes)]
        self.outs: list[Pair] = [[None, None] for _ in range(storm.nodes)]
        self.agreed: list[list[SecurityAssociation | None]] = [[None, None] for _ in range(storm.nodes)]
        self.refused: list[RefusedRequest] = []
        self.in_device: set[int] = set()
        self.peak_device = self.peak_sad = 0
        self.peak_at = 0.0
        self._theirs: dict[tuple[int, int], SecurityAssociation] = {}
        self._failed: set[int] = set()
        self._no_spi: set[tuple[int, int]] = set()
        self._next_spi = like.spi or _FIRST_SPI
        self._freed: deque[int] = deque()
        if device is not None:
            netns.offload = lambda _sa: None  # `_offload` asks the driver itself, once the state exists

    def agree(self, node: int, generation: int) -> SecurityAssociation | None:
        """The inbound SA of a node. The host chooses its SPI, once. None: there is no SPI left."""
        if self.agreed[node][generation] is None and (node, generation) not in self._no_spi:
            spi = self._spi(node, generation)
            if spi is None:
                self._no_spi.add((node, generation))
                return None
            sa = replace(self.like, src=address(node), dst=HOST, spi=spi, algorithms=self._keyed(), dir=Direction.IN)
            self.agreed[node][generation] = sa
        return self.agreed[node][generation]

    def their(self, node: int, generation: int) -> SecurityAssociation:
        """The SA to a node: the node chooses the SPI."""
        known = self._theirs.get((node, generation))
        if known is None:
            again = generation if self.storm.spi != "same" else 0
            known = self._theirs[node, generation] = replace(
                self.like, src=HOST, dst=address(node), spi=_NODES_SPI + 2 * node + again, algorithms=self._keyed(),
                dir=Direction.OUT, offload=None, window=0,
            )  # fmt: skip
        return known

    def install_in(self, node: int, generation: int) -> str:
        """The step "in": install the new inbound SA. Returns what happened, in words."""
        sa = self.agree(node, generation)
        if sa is None:
            self._failed.add(node)
            return "no SPI for the new inbound SA"
        entry = self._install(node, sa, larval=self.storm.range is not None)
        self.ins[node][generation] = entry
        if entry is None:
            self._failed.add(node)
            return f"inbound 0x{sa.spi:08x} refused: {self.refused[-1].errno}"
        said = f"inbound 0x{sa.spi:08x} installed"
        if isinstance(self.inbound, OffloadedInbound):
            said += self._offload(node, entry)
        self._measure()
        return said

    def install_out(self, node: int, generation: int) -> str:
        """The step "out": install the new outbound SA and send with it from now on."""
        if self.agree(node, generation) is None:
            return "goes on with the old outbound SA"
        sa = self.their(node, generation)
        self.outs[node][generation] = self._install(node, sa)
        self._measure()
        if self.outs[node][generation] is None:
            self._failed.add(node)
            return f"outbound 0x{sa.spi:08x} refused: {self.refused[-1].errno}"
        return f"sends with 0x{sa.spi:08x}"

    def delete_old(self, node: int) -> str:
        """The step "delete": both old SAs go, unless a new one was refused: then the host goes on with the old ones."""
        if node in self._failed:
            return "keeps the old SAs, because a new one was refused"
        said = []
        for pair in (self.ins[node], self.outs[node]):
            entry, pair[0] = pair[0], None
            if entry is None:
                continue
            self.netns.delsa(StateKey(entry.sa.dst, PROTO_ESP, entry.sa.spi, entry.sa.mark))
            if isinstance(self.inbound, OffloadedInbound):
                self.inbound.withdraw(entry)
                self.in_device.discard(entry.sa_index)
            said.append(f"0x{entry.sa.spi:08x}")
            if pair is self.ins[node]:
                self._freed.append(entry.sa.spi)
        return f"{' and '.join(said)} deleted" if said else "nothing to delete"

    def _spi(self, node: int, generation: int) -> int | None:
        storm, old = self.storm, self.agreed[node][0]
        if generation and storm.spi == "same" and old is not None:
            return old.spi
        if generation and storm.spi == "freed" and self._freed:
            return self._freed.popleft()
        if storm.range is not None:
            low, high = span_of(storm.range)
            sa = replace(self.like, src=address(node), dst=HOST)
            request = SpiRequest(
                sa.src, sa.dst, sa.proto, low, high, mode=mode_number(sa), reqid=sa.reqid, mark=sa.mark,
                dir=DIR_IN if self.netns.kernel.sa_dir else None, seq=2 * node + generation + 1,
            )  # fmt: skip
            try:
                return self.netns.allocspi(request).sa.spi
            except XfrmError as error:
                self.refused.append(
                    RefusedRequest(self.netns.now, node, "ALLOCSPI", error.name, f"0x{low:x}-0x{high:x}")
                )
                return None
        self._next_spi += 1
        return self._next_spi - 1

    def _install(self, node: int, sa: SecurityAssociation, *, larval: bool = False) -> SadEntry | None:
        if not self.netns.kernel.sa_dir:
            sa = replace(sa, dir=None)
        request = replace(request_of(sa), dir=direction_number(sa))
        try:
            view = self.netns.updsa(request) if larval else self.netns.newsa(request)
        except XfrmError as error:
            name = "UPDSA" if larval else "NEWSA"
            self.refused.append(
                RefusedRequest(self.netns.now, node, f"{name} 0x{sa.spi:08x}", error.name, error.extack or "")
            )
            return None
        return next(e for e in self.netns.sad.with_spi(sa.spi) if e.sa_index == view.sa_index)

    def _offload(self, node: int, entry: SadEntry) -> str:
        assert isinstance(self.inbound, OffloadedInbound)  # noqa: S101
        installed = self.inbound.offload(entry)
        if installed.errno is None:
            self.in_device.add(entry.sa_index)
        if installed.errno is None and installed.in_table:
            return ""
        answer = self.inbound.device.lookup(PacketKey(entry.sa.src, entry.sa.dst, entry.sa.spi))
        full = answer.sa_index in (-1, entry.sa_index)
        errno = (installed.errno or "0").removeprefix("-")
        self.refused.append(RefusedRequest(self.netns.now, node, "offload", errno, installed.note, full))
        return f", and the device: {installed.note}"

    def _measure(self) -> None:
        self.peak_sad = max(self.peak_sad, len(self.netns.sad))
        if len(self.in_device) > self.peak_device:
            self.peak_device, self.peak_at = len(self.in_device), self.netns.now

    def _keyed(self) -> tuple[Algorithm, ...]:
        return _drawn(self.like.algorithms, self._rng.randbytes)


class Nodes:
    """All nodes: one receiver for each inbound SA, and one sender for each outbound one."""

    def __init__(self, host: StormHost, seed: int) -> None:
        self._host = host
        self._rng = random.Random(f"{seed}/nodes")
        self.sad = Sad()
        self.inbound = Inbound(self.sad)
        self.ins: list[Pair] = [[None, None] for _ in host.ins]
        self.outs: list[list[tuple[Outbound, SadEntry] | None]] = [[None, None] for _ in host.ins]
        self._failed: set[int] = set()

    def install_in(self, node: int, generation: int) -> str:
        """The step "in" of a node."""
        if self._host.agree(node, generation) is None:
            self._failed.add(node)
            return "no SPI for the new SA"
        sa = replace(self._host.their(node, generation), dir=None, window=self._host.like.window)
        try:
            self.ins[node][generation] = self.sad.newsa(sa)
        except XfrmError as error:
            self._failed.add(node)
            return f"inbound 0x{sa.spi:08x} refused: {error.name}"
        return f"inbound 0x{sa.spi:08x} installed"

    def install_out(self, node: int, generation: int) -> str:
        """The step "out" of a node."""
        sa = self._host.agree(node, generation)
        if sa is None:
            return "goes on with the old outbound SA"
        # One SAD for each SA: a node's SAs may have the same SPI, and all have the host's address as destination.
        outbound = Outbound(Sad(), self._rng.randbytes)
        self.outs[node][generation] = outbound, outbound.sad.newsa(replace(sa, dir=None, offload=None))
        return f"sends with 0x{sa.spi:08x}"

    def delete_old(self, node: int) -> str:
        """The step "delete" of a node."""
        if node in self._failed:
            return "keeps the old SAs, because a new one was refused"
        entry, self.ins[node][0] = self.ins[node][0], None
        self.outs[node][0] = None
        if entry is not None:
            self.sad.kill(entry)
        return "its old SAs deleted"


def address(node: int) -> Address:
    """A node's address: 10.64.0.1 for node 0, and so on."""
    return (_FIRST_NODE + node).to_bytes(4)


def _drawn(algorithms: Sequence[Algorithm], draw: Callable[[int], bytes]) -> tuple[Algorithm, ...]:
    """The same algorithms with keys from `draw`."""
    return tuple(Algorithm(a.kind, a.name, draw(len(a.key)), a.bits) for a in algorithms)
