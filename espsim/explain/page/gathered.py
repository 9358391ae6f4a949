"""The frames that a page can save, and the SAs of its questions, as they were before the packet ran."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from espsim.explain.frames import SeenFrame
from espsim.explain.single import Ear
from espsim.io.pcap import file_header, frame_header
from espsim.io.pcapng import packet_block, section_start
from espsim.io.source import Record
from espsim.reference.outer import Outer, parse_outer
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.wire import esp

MOST_CAPTURE = 64 << 10
"""At most so many bytes of frames are kept before the one that is explained."""
_MOST_FRAME = 128 << 10
_MOST_SAS = 64
_MOST_HEADERS = 1024


class Gathered(Ear):
    """Gathers while the frames run.

    `sad` has copies of the SAs that the packet, or the packet with one bit flipped, can meet. `texts` has the SAs that
    can be saved: all, if they are few. `ports`: the UDP ports that carry ESP. `own`: packets that this host sent are
    recognised. `seen` is the frame that is explained, None before it comes. `left_out` counts frames that are not kept.
    """

    def __init__(self, sad: Sad, ports: Collection[int] = (), *, own: bool = False) -> None:
        self.seen: SeenFrame | None = None
        self.sad = Sad()
        self.texts: list[SadEntry] = []
        self.left_out = 0
        self.own = own
        self._whole, self._ports = sad, ports
        self._kept: deque[Record] = deque()
        self._bytes = 0

    def passes(self, seen: SeenFrame) -> None:
        """Keep a frame. The oldest are dropped when there is no room."""
        self._kept.append(seen.record)
        self._bytes += len(seen.record.data)
        while self._bytes > MOST_CAPTURE:
            self._bytes -= len(self._kept.popleft().data)
            self.left_out += 1

    def asked(self, seen: SeenFrame) -> None:
        """Copy the SAs that matter."""
        self.seen = seen
        entries: dict[int, SadEntry] = {}
        spi = self.spi
        wanted = [] if spi is None else [spi, *(spi ^ 1 << bit for bit in range(32))]
        for each in wanted:
            for entry in self._whole.with_spi(each):
                if len(entries) < _MOST_SAS:
                    entries[entry.sa_index] = entry
        self.sad = self._whole.copy_of(sorted(entries.values(), key=lambda entry: entry.sa_index))
        few = len(self._whole) <= _MOST_SAS
        self.texts = list(self._whole) if few else list(self.sad)

    @property
    def spi(self) -> int | None:
        """The packet's SPI."""
        outer = self._outer()
        if self.seen is None or outer is None or outer.fragment or outer.end - outer.esp < esp.HEADER_LENGTH:
            return None
        return esp.parse(self.seen.frame.ip or b"", outer.esp)[0]

    @property
    def alone(self) -> bool:
        """Whether the frame is one whole packet with headers of a usual length before ESP."""
        outer = self._outer()
        if self.seen is None or self.seen.frame.in_tcp or self.seen.frame.part:
            return False
        return outer is None or outer.esp <= _MOST_HEADERS

    def _outer(self) -> Outer | None:
        packet = self.seen.frame.ip if self.seen is not None else None
        return parse_outer(packet, self._ports) if packet is not None else None

    def capture(self, secrets: bytes = b"") -> bytes | None:
        """The frames up to the one that is explained, as far as they are kept. None: it is too long.

        It is a pcap; with `secrets` (blocks) it is a pcapng, with these before the frames.
        """
        seen = self.seen
        if seen is None or len(seen.record.data) > _MOST_FRAME:
            return None
        kind = seen.record.linktype
        alike = [record for record in self._kept if record.linktype == kind]
        self.left_out += len(self._kept) - len(alike)
        self._kept = deque(alike)
        if secrets:
            return (
                section_start(kind, True)
                + secrets
                + b"".join(packet_block(record.data, record.time_ns, True) for record in (*alike, seen.record))
            )
        return file_header(kind, True) + b"".join(
            frame_header(record.time_ns, len(record.data), True) + record.data for record in (*alike, seen.record)
        )
