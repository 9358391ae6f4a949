"""Outer fragments, put together as Linux does before xfrm_input (net/ipv4/ip_fragment.c, inet_fragment.c).

    joiner = Joiner(judge)
    with open_batches(path, joiner) as reader: ...     the readers feed it, and finish it at the end

Fragments may come in any order. One that lies inside what is there is a duplicate and is dropped; one that overlaps
drops its datagram. A datagram waits 30 s (IPv4) or 60 s (IPv6), by the capture's clock. A fragment after that begins
another datagram, even a late duplicate, as in Linux.

Not as Linux: a store that is full loses its oldest datagram (Linux refuses new fragments), so that a flood doesn't hide
what comes after it; how far fragments of one sender may be apart (ipfrag_max_dist) is not limited; the interface of
link-local addresses is not looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from espsim.core.layers import Layer
from espsim.core.numbers import IN_TCP, LINK_PART
from espsim.io.tcp import TcpStreams
from espsim.wire import fragments as wire

MOST_MEMORY = 4 << 20
"""Bytes of fragments that are held, of IPv4 and of IPv6: Linux's ipfrag_high_thresh."""

_SECOND = 1_000_000_000
_PER_FRAME, _PER_DATAGRAM, _PER_DUPLICATE = 256, 1024, 64  # bytes of memory beside the data, about
_ENOUGH = 128  # bytes of a fragment that tell what its datagram is

Judge = Callable[[bytes], Layer | None]
"""What an IP packet is: None where it is ESP (reference/layers.py, judge)."""


class Settled(NamedTuple):
    """What became of the fragments of one datagram.

    `frames` are those that completed nothing, in the order in which they came; `datagram` the frame that completed the
    datagram, None where none did. `layer` is None where the datagram is ESP (or would have been), else what it is:
    its fragments are then ignored frames of that kind.
    """

    frames: tuple[int, ...]
    datagram: int | None
    layer: Layer | None


@dataclass(slots=True)
class Fragments:
    """Counts of fragments of ESP: `seen` frames, `datagrams` that were completed, `incomplete` that never were.

    `ignored`: by kind, frames of other datagrams that completed nothing.
    """

    seen: int = 0
    datagrams: int = 0
    incomplete: int = 0
    ignored: Counter[Layer] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, int]:
        """The JSON `fragments`."""
        return {"seen": self.seen, "datagrams": self.datagrams, "incomplete": self.incomplete}


class TakenFrame(NamedTuple):
    """What comes of a frame that was taken: packets (several in TCP only), and the bits of their `link` column."""

    packets: tuple[bytes, ...]
    link: int


NOTHING = TakenFrame((), LINK_PART)
"""The frame completes no datagram."""


class _Overlap(Exception):  # noqa: N818 - a fact about a fragment, caught here
    """The fragment contradicts what its datagram has."""


class _Datagram:
    """One datagram on its way (struct ipq). `runs` are starts and ends of bytes that came one after the other."""

    __slots__ = ("dont", "ecn", "example", "frames", "has", "header", "largest", "length", "memory", "pieces", "runs",
                 "until", "whole")  # fmt: skip

    def __init__(self, since: int, patience: int, example: bytes) -> None:
        self.until = since + patience
        self.example = example
        self.header: bytes | None = None
        self.pieces: dict[int, bytes] = {}
        self.runs: list[list[int]] = []
        self.has = self.length = 0
        self.whole = False  # the last fragment has come, so `length` is the payload's
        self.ecn = self.largest = self.dont = 0
        self.frames: list[int] = []
        self.memory = _PER_DATAGRAM

    def add(self, fragment: wire.Fragment, data: bytes) -> bool:
        """Put a fragment in (ip_frag_queue); True: the datagram is complete. Raises _Overlap."""
        start, end = fragment.start, fragment.end
        if fragment.more:
            if end > self.length:
                if self.whole:
                    raise _Overlap
                self.length = end
        elif end < self.length or (self.whole and end != self.length):
            raise _Overlap
        else:
            self.whole, self.length = True, end
        if start == end:
            raise _Overlap
        if not self._place(start, end):
            self.memory += _PER_DUPLICATE
            return False
        self.pieces[start] = data
        self.memory += _PER_FRAME + len(data)
        self.ecn |= fragment.ecn
        self.largest = max(self.largest, fragment.size)
        if fragment.dont:
            self.dont = max(self.dont, fragment.size)
        if not start:
            self.header = fragment.header
        self.has += end - start
        return self.whole and self.header is not None and self.has == self.length

    def _place(self, start: int, end: int) -> bool:
        """Whether these bytes are new (inet_frag_queue_insert). Fragments that came in order are one run."""
        runs = self.runs
        if not runs or runs[-1][1] < end:
            last = runs[-1][1] if runs else -1
            if start < last:
                raise _Overlap
            if start == last:
                runs[-1][1] = end
            else:
                runs.append([start, end])
            return True
        at = bisect_right(runs, [start, wire.MOST << 1])
        before, after = runs[at - 1] if at else None, runs[at] if at < len(runs) else None
        if before is not None and start < before[1]:
            if end <= before[1]:
                return False
            raise _Overlap
        if after is not None and end > after[0]:
            raise _Overlap
        runs.insert(at, [start, end])
        return True

    def beginning(self) -> bytes:
        """Enough of the datagram to tell what it is."""
        if self.header is None:
            return self.example
        payload = b""
        while len(payload) < _ENOUGH and len(payload) in self.pieces:
            payload += self.pieces[len(payload)]
        return wire.unfinished(self.header, payload[:_ENOUGH])

    def together(self) -> bytes | None:
        """The datagram (ip_frag_reasm); None where Linux drops it."""
        ecn, header = wire.together_ecn(self.ecn), self.header
        if ecn is None or header is None:
            return None
        payload = b"".join(self.pieces[start] for start in sorted(self.pieces))
        if header[0] >> 4 == 4:
            return wire.datagram4(header, payload, ecn, self.dont == self.largest)
        return wire.datagram6(header, payload, ecn)


class _Store:
    """Datagrams of one IP version, in the order in which they began."""

    def __init__(self, patience: int) -> None:
        self.patience = patience * _SECOND
        self.datagrams: OrderedDict[bytes, _Datagram] = OrderedDict()
        self.memory = 0


class Joiner:
    """Puts datagrams together, and TCP streams that hold ESP. `judge` says what datagrams are, `fragments` counts them.

    `reassembles` False: fragments stay apart. Without `streams` TCP is not read.

    Call `settled` now and then: it keeps a line for every datagram since the last call.
    """

    def __init__(self, judge: Judge, *, reassembles: bool = True, streams: TcpStreams | None = None) -> None:
        self.fragments = Fragments()
        self.reassembles = reassembles
        self._judge = judge
        self._streams = streams
        self.tcp_ports = bytearray(1 << 16) if streams is None else streams.marked
        """Not 0 at the TCP ports whose segments `take` has to see. A reader's walk adds those of IKETCP."""
        self._stores = {4: _Store(30), 6: _Store(60)}
        self._settled: list[Settled] = []

    def take(self, packet: bytes, number: int, time_ns: int) -> TakenFrame | None:
        """Take the IP packet of a frame; None: it is an ordinary packet."""
        fragment = wire.parse(packet) if self.reassembles else None
        if fragment is None:
            found = None if self._streams is None else self._streams.take(packet, time_ns)
            return TakenFrame(tuple(found), IN_TCP) if found else None
        whole = self._join(fragment, packet, number, time_ns)
        return NOTHING if whole is None else TakenFrame((whole,), 0)

    def see(self, packet: bytes) -> None:
        """An IP packet that `take` will get later: packets after it may belong to its stream."""
        if self._streams is not None:
            self._streams.see(packet)

    def settled(self) -> list[Settled]:
        """The datagrams that were settled since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def finish(self) -> None:
        """No more frames come: what is not complete never will be."""
        for store in self._stores.values():
            while store.datagrams:
                self._give_up(store, next(iter(store.datagrams)))

    def wait(self, version: int, seconds: int) -> None:
        """Datagrams of this IP version that begin from now on wait `seconds`."""
        self._stores[version].patience = seconds * _SECOND

    def forget(self, time_ns: int) -> dict[int, int]:
        """Give up every datagram that has waited long enough: how many of each IP version."""
        given_up = {}
        for version, store in self._stores.items():
            late = [key for key, datagram in store.datagrams.items() if time_ns >= datagram.until]
            for key in late:
                self._give_up(store, key)
            given_up[version] = len(late)
        return given_up

    def _join(self, fragment: wire.Fragment, packet: bytes, number: int, time_ns: int) -> bytes | None:
        """The datagram that a fragment completes."""
        store = self._stores[packet[0] >> 4]
        self._forget_old(store, time_ns)
        datagram = store.datagrams.get(fragment.key)
        if datagram is not None and time_ns >= datagram.until:
            self._give_up(store, fragment.key)  # several interfaces may have clocks apart
            datagram = None
        if datagram is None:
            datagram = store.datagrams[fragment.key] = _Datagram(time_ns, store.patience, packet[:_ENOUGH])
            store.memory += datagram.memory
        return self._add(store, datagram, fragment, packet, number)

    def _add(
        self, store: _Store, datagram: _Datagram, fragment: wire.Fragment, packet: bytes, number: int
    ) -> bytes | None:
        if not fragment.start:
            datagram.example = packet[: 2 * _ENOUGH]
        datagram.frames.append(number)
        if fragment.data is None:
            datagram.memory += _PER_DUPLICATE
            store.memory += _PER_DUPLICATE
            complete = False
        else:
            before = datagram.memory
            try:
                complete = datagram.add(fragment, fragment.data)
            except _Overlap:
                self._give_up(store, fragment.key)
                return None
            store.memory += datagram.memory - before
        if complete:
            return self._complete(store, fragment.key)
        while store.memory > MOST_MEMORY:
            self._give_up(store, next(iter(store.datagrams)))
        return None

    def _forget_old(self, store: _Store, now: int) -> None:
        while store.datagrams:
            key = next(iter(store.datagrams))
            if now < store.datagrams[key].until:
                break
            self._give_up(store, key)

    def _complete(self, store: _Store, key: bytes) -> bytes | None:
        whole = store.datagrams[key].together()
        if whole is None:
            self._give_up(store, key)
            return None
        layer = self._judge(whole)
        if layer is None and wire.udp_checksum_is_wrong(whole):  # udp_queue_rcv_one_skb: before encap_rcv, no counter
            self._give_up(store, key)
            return None
        datagram = store.datagrams.pop(key)
        store.memory -= datagram.memory
        *frames, last = datagram.frames
        self._settled.append(Settled(tuple(frames), last, layer))
        if layer is None:
            self.fragments.seen += len(datagram.frames)
            self.fragments.datagrams += 1
        else:
            self.fragments.ignored[layer] += len(frames)
        return whole

    def _give_up(self, store: _Store, key: bytes) -> None:
        datagram = store.datagrams.pop(key)
        store.memory -= datagram.memory
        layer = self._judge(datagram.beginning())
        self._settled.append(Settled(tuple(datagram.frames), None, layer))
        if layer is None:
            self.fragments.seen += len(datagram.frames)
            self.fragments.incomplete += 1
        else:
            self.fragments.ignored[layer] += len(datagram.frames)
