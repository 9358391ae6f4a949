"""ESP in TCP (RFC 9329): streams put together in order, and cut into messages.

1. Both directions of a connection are read where one of its ports is in `ports`, or a segment begins with IKETCP.
2. Bytes that came first stay; bytes that come again are passed over.
3. A segment after a gap waits until the gap is filled. The missing bytes are given up where the other side has
   acknowledged them (the capture lacks them), where too much waits, or where it waits too long by the capture's clock.
4. After a gap that was given up, in a capture that begins in the middle, and after an impossible length, the beginning
   of a message is searched: in a segment whose messages end where it ends, or by the SPI of an SA.

What this does not do: deliver what still waits at the end of a capture, read TCP after IPv6 extension headers, or check
TCP's checksum.
"""

from __future__ import annotations

import heapq
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator

from espsim.sad.association import ESPINTCP
from espsim.sad.sad import Sad
from espsim.wire import tcp

MOST_MEMORY = 8 << 20
"""Bytes that are held of all streams."""
MOST_WAITING = 1 << 20
"""Bytes of one stream that wait after a gap."""
MOST_STREAMS = 4096
PATIENCE = 10
"""Seconds that a gap is waited for."""

_FAR = 1 << 24  # a segment so many bytes ahead belongs to other data
_MODULUS, _HALF = 1 << 32, 1 << 31
_PER_STREAM, _PER_SEGMENT = 512, 128  # bytes of memory beside the data, about
_SECOND = 1_000_000_000
_KEEPALIVE = b"\xff"
_MOST_SPIS = 256
_SPI = 4
_LEAST_ESP = tcp.LENGTH + 8
_OVERLAP = tcp.LENGTH + _SPI - 1  # bytes before a segment in which a message with a known SPI may begin


def streams_of(sad: Sad) -> TcpStreams:
    """The streams that a SAD's SAs may come in: port 4500, and the ports of SAs in TCP."""
    sas = [entry.sa for entry in sad if entry.sa.encap is not None and entry.sa.encap.kind == ESPINTCP]
    ports = {port for sa in sas if sa.encap is not None for port in (sa.encap.sport, sa.encap.dport)}
    return TcpStreams(ports | {tcp.PORT}, {sa.spi for sa in sas})


class TcpStreams:
    """The streams of a capture. `spis`, of SAs that are used in TCP, help to find messages again."""

    def __init__(self, ports: Collection[int] = (tcp.PORT,), spis: Collection[int] = ()) -> None:
        self._ports = frozenset(ports)
        self.marked = bytearray(1 << 16)
        """Not 0 at ports whose segments must be given to `take`; segments of all other ports begin no stream of ESP."""
        for port in self._ports:
            self.marked[port] = 1
        known = sorted(set(spis))[:_MOST_SPIS]
        texts = (re.escape(spi.to_bytes(_SPI)) for spi in known)
        self._spis = re.compile(b"|".join(texts), re.DOTALL) if known else None
        self._streams: OrderedDict[bytes, _Stream] = OrderedDict()
        self._memory = 0

    def see(self, packet: bytes) -> None:
        """A packet that `take` gets later: if it begins a stream, its port is marked."""
        segment = tcp.segment(packet)
        if segment is not None and segment.data.startswith(tcp.PREFIX):
            self.marked[segment.ports[1]] = 1

    def take(self, packet: bytes, time_ns: int) -> list[bytes]:
        """The ESP packets that a frame's IP packet completes, each with that packet's IP headers before it."""
        segment = tcp.segment(packet)
        if segment is None:
            return []
        stream = self._find(segment)
        if stream is None:
            return []
        back = self._streams.get(segment.back)
        if back is not None and segment.ack is not None:
            back.acknowledged(segment.ack)
        before = stream.memory
        found = [tcp.around(segment, message) for message in stream.add(segment, time_ns)]
        self._memory += stream.memory - before
        if segment.flags & tcp.RST:
            self._forget(segment.key)
        while self._memory > MOST_MEMORY or len(self._streams) > MOST_STREAMS:
            self._forget(next(iter(self._streams)))
        return [one for one in found if one is not None]

    def _find(self, segment: tcp.Segment) -> _Stream | None:
        stream = self._streams.get(segment.key)
        if stream is not None:
            self._streams.move_to_end(segment.key)
            return stream
        begins = segment.data.startswith(tcp.PREFIX)
        if not begins and not self._ports.intersection(segment.ports):
            return None
        if begins and segment.back not in self._streams:
            self._make(segment.back).begin(None)  # the side that was connected to sends no prefix
            self.marked[segment.ports[1]] = 1
        return self._make(segment.key)

    def _make(self, key: bytes) -> _Stream:
        stream = self._streams[key] = _Stream(self._spis)
        self._memory += stream.memory
        return stream

    def _forget(self, key: bytes) -> None:
        self._memory -= self._streams.pop(key).memory


class _Stream:
    """One direction of a connection. `_at`: where its next byte belongs, a sequence number that does not wrap.

    `_found`: `_data` begins with a message.
    """

    def __init__(self, spis: re.Pattern[bytes] | None) -> None:
        self._spis = spis
        self._at: int | None = None
        self._first: int | None = None
        self._acked = -1
        self._starts: list[int] = []
        self._waiting: dict[int, bytes] = {}
        self._held = 0
        self._since = 0
        self._found = self._fresh = False
        self._data = bytearray()

    @property
    def memory(self) -> int:
        """Bytes that it holds, about."""
        return _PER_STREAM + len(self._data) + self._held

    def begin(self, seq: int | None) -> None:
        """Messages begin with this byte, perhaps after IKETCP (None: with the first byte that comes)."""
        self._at = self._first = seq
        self._acked, self._held = -1, 0
        self._starts, self._waiting, self._data = [], {}, bytearray()
        self._found = self._fresh = True

    def acknowledged(self, ack: int) -> None:
        """The other side has everything before this number."""
        if self._at is not None:
            self._acked = max(self._acked, self._place(ack, self._at))

    def add(self, segment: tcp.Segment, time_ns: int) -> Iterator[bytes]:
        """The ESP packets that are whole now."""
        seq = segment.seq
        if segment.flags & tcp.SYN:
            seq = (seq + 1) % _MODULUS
            if seq != self._first:
                self.begin(seq)
        if not segment.data:
            return
        if self._at is None:
            self._at = seq
        start = self._place(seq, self._at)
        if abs(start - self._at) > _FAR:  # another connection, or more was lost than is worth waiting for
            self._waiting, self._starts, self._held = {}, [], 0
            self._give_up(start)
        if start > self._at:
            self._wait(start, segment.data, time_ns)
        else:
            yield from self._go_on(segment.data[self._at - start :])
        yield from self._drain(time_ns)

    def _place(self, seq: int, near: int) -> int:
        ahead = (seq - near) % _MODULUS
        return near + (ahead if ahead < _HALF else ahead - _MODULUS)

    def _wait(self, start: int, data: bytes, time_ns: int) -> None:
        if not self._waiting:
            self._since = time_ns
        before = self._waiting.get(start)
        if before is None:
            heapq.heappush(self._starts, start)
            self._held += _PER_SEGMENT + len(data)
        elif len(data) > len(before):
            self._held += len(data) - len(before)
        else:
            return
        self._waiting[start] = data

    def _drain(self, time_ns: int) -> Iterator[bytes]:
        """The ESP packets of segments that no longer have to wait."""
        while self._starts and self._at is not None:
            start = self._starts[0]
            if start > self._at:
                late = time_ns - self._since > PATIENCE * _SECOND
                if self._acked < start and self._held <= MOST_WAITING and not late:
                    return
                self._give_up(start)
            heapq.heappop(self._starts)
            data = self._waiting.pop(start)
            self._held -= _PER_SEGMENT + len(data)
            self._since = time_ns
            yield from self._go_on(data[self._at - start :])

    def _give_up(self, start: int) -> None:
        """What comes before `start` will not come."""
        self._at, self._found, self._fresh = start, False, False
        self._data.clear()

    def _go_on(self, data: bytes) -> Iterator[bytes]:
        """The next bytes of the stream, as one segment has them."""
        if not data or self._at is None:
            return
        self._at += len(data)
        if self._found:
            self._data += data
        else:
            begin = self._search(data)
            self._found = begin is not None
            self._data = (self._data + data)[-_OVERLAP if begin is None else begin :]
        if self._found:
            yield from self._messages()

    def _search(self, data: bytes) -> int | None:
        """Where a message begins in what is held and `data`."""
        if data.startswith(tcp.PREFIX):
            self._fresh = True
            return len(self._data)
        if _ends_together(data):
            return len(self._data)
        text = bytes(self._data + data)
        for match in self._spis.finditer(text) if self._spis is not None else ():
            at = match.start() - tcp.LENGTH
            if at >= 0 and int.from_bytes(text[at : at + tcp.LENGTH]) >= _LEAST_ESP:
                return at
        return None

    def _messages(self) -> Iterator[bytes]:
        data = self._data
        if self._fresh:
            if len(data) < len(tcp.PREFIX) and tcp.PREFIX.startswith(data):
                return
            self._fresh = False
            if data.startswith(tcp.PREFIX):
                del data[: len(tcp.PREFIX)]
        at = 0
        while len(data) - at >= tcp.LENGTH:
            length = data[at] << 8 | data[at + 1]
            if len(data) - at < length:
                break
            message = bytes(data[at + tcp.LENGTH : at + length])
            at += length
            if length < tcp.LEAST and message != _KEEPALIVE:
                self._found, at = False, len(data)
            elif length >= tcp.LEAST and message[:_SPI] != bytes(_SPI):
                yield message
        del data[:at]


def _ends_together(data: bytes) -> bool:
    """Whether messages that begin where a segment begins end where it ends."""
    at = 0
    while at + tcp.LENGTH <= len(data):
        length = data[at] << 8 | data[at + 1]
        if length < _LEAST_ESP and data[at + tcp.LENGTH : at + length] != _KEEPALIVE:
            return False
        at += length
    return at == len(data)
