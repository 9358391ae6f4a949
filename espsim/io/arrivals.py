"""A capture as it might have arrived: frames lost, sent twice, or late, by seeded chance.

1. each frame is lost, or it arrives;
2. of those that arrive some come twice, one directly after the other;
3. some are late: up to LATEST of the frames after it overtake it, and it arrives at the time of the last of them.

Each frame draws the same numbers whatever becomes of it, so more loss never changes which frames are late. What
arrives is written into a temporary capture. The next `open_input` of the path reads that one (`core.inputs.hand_on`);
its frames are numbered as they arrived.

What this does not do: change a byte of a frame or copy blocks of secrets.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from espsim.core.errors import InputError
from espsim.core.inputs import hand_on, open_input
from espsim.io.formats import read_format
from espsim.io.pcapng import interface_block, packet_block, section_block
from espsim.io.source import ByteSource, CaptureCut, Record

LATEST = 16
"""Frames that may overtake one."""


@dataclass(slots=True)
class Arrivals:
    """The chances, in percent, and what they did. `cut`: the capture ends inside a frame, which does not count."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    seed: int = 0
    frames: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    cut: CaptureCut | None = field(default=None, repr=False)
    _rng: random.Random | None = field(default=None, init=False, repr=False)

    def anew(self) -> Arrivals:
        """The same chances and seed, before anything was sent."""
        return Arrivals(self.loss, self.duplicate, self.reorder, self.seed)

    @property
    def arrived(self) -> int:
        """Frames that are in the capture afterwards."""
        return self.frames - self.lost + self.duplicated

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        names = ("loss", "duplicate", "reorder", "seed", "frames", "lost", "duplicated", "reordered", "arrived")
        return {name: getattr(self, name) for name in names}

    def of(self, records: Iterable[Record]) -> Iterator[Record]:
        """What arrives of the frames, in order. Where frames come in several bursts, call it for each burst."""
        rng = self._rng = self._rng or random.Random(self.seed)
        waiting: list[tuple[int, int, Record]] = []  # (after which frame it arrives, its own place, the frame)
        last = time_ns = 0
        for record in records:
            lost, twice, late = (100 * rng.random() for _ in range(3))
            overtaken_by = rng.randint(1, LATEST)
            self.frames += 1
            time_ns = record.time_ns
            if lost < self.loss:
                self.lost += 1
            else:
                copies = [record] * (2 if twice < self.duplicate else 1)
                self.duplicated += len(copies) - 1
                if late < self.reorder:
                    waiting += [(self.frames + overtaken_by, self.frames, copy) for copy in copies]
                else:
                    last = self.frames
                    yield from copies
            due = [one for one in waiting if one[0] == self.frames]
            waiting = [one for one in waiting if one[0] != self.frames]
            for _, place, frame in due:
                self.reordered += place < last
                last = max(last, place)
                yield frame._replace(time_ns=time_ns)
        for _, place, frame in sorted(waiting, key=lambda one: one[0]):
            self.reordered += place < last
            last = max(last, place)
            yield frame._replace(time_ns=time_ns)

    def arrive(self, path: str) -> None:
        """The next reader of this capture gets what arrives of it. InputError: it can't be read, or kept."""
        source = ByteSource(open_input(path, buffering=1 << 18), path)
        with source.file:
            form = read_format(source)
            try:
                file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - the next reader of the path closes it
                _write(file, self.of(self._whole(form.steps())), form.nanosecond)
                file.seek(0)
            except OSError as error:
                raise InputError(f"what arrives cannot be kept: {error.strerror or error}", where=path) from None
        hand_on(path, file, b"")

    def _whole(self, steps: Iterator[Record | None]) -> Iterator[Record]:
        """The frames before the end, or before where the capture is cut."""
        try:
            yield from (record for record in steps if record is not None)
        except CaptureCut as cut:
            self.cut = cut


def _write(file: BinaryIO, records: Iterator[Record], nanosecond: bool) -> None:
    """A pcapng with an interface for each link type."""
    with open(file.fileno(), "wb", buffering=1 << 18, closefd=False) as out:
        out.write(section_block())
        interfaces: dict[int, int] = {}
        for record in records:
            if record.linktype not in interfaces:
                interfaces[record.linktype] = len(interfaces)
                out.write(interface_block(record.linktype, nanosecond))
            number = interfaces[record.linktype]
            out.write(packet_block(record.data, record.time_ns, nanosecond, interface=number, wire=record.wire))
