"""Captures as the commands see them: frames with their IP packets in, IP packets out.

    with open_capture(path) as reader, CaptureWriter(out, nanosecond=reader.nanosecond) as writer:
        for frame in reader: ...
        writer.commit()

Memory is bounded: one frame at a time, in and out.

What this does not do: know a link layer (linktype.py) or ESP (reference/outer.py), or put fragments together
(fragments.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from espsim.core.errors import InputError
from espsim.core.inputs import open_input
from espsim.core.layers import Layer
from espsim.core.numbers import IN_TCP
from espsim.io.atomic import OutputFile, OutputPlace, Outputs, place_of
from espsim.io.formats import read_format
from espsim.io.fragments import Joiner
from espsim.io.linktype import RAW, ip_packet, link_layer, outgoing
from espsim.io.pcap import file_header, frame_header
from espsim.io.source import ByteSource, CaptureCut, Format, Record

__all__ = ["CaptureCut", "CaptureReader", "CaptureWriter", "Frame", "open_capture"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a capture.

    `number` counts from 1; `time_ns` is nanoseconds since the epoch; `ip` goes from the first byte of the IP header to
    the end of what was captured (Ethernet padding included), None where it is not IP; then `link` is its kind, by
    its link layer. `captured` and `wire` are bytes of the frame: those captured, those on the wire.
    `outgoing`: the capture says that this host sent it. `part`: it is an outer fragment that completes no datagram in
    this frame; `ip` is None then, and `fragment` its packet. In the frame that does, `ip` is the datagram. `in_tcp`:
    `ip` is ESP out of a TCP stream, after the IP headers of the segment that completed it; several such frames may have
    one number.
    """

    number: int
    time_ns: int
    ip: bytes | None
    captured: int
    wire: int
    link: Layer = Layer.OTHER
    outgoing: bool = False
    part: bool = False
    in_tcp: bool = False
    fragment: bytes | None = None

    @property
    def snapped(self) -> bool:
        """Less was captured than was on the wire."""
        return self.captured < self.wire


class CaptureReader:
    """The frames of a capture, in order, once. `nanosecond`: some times may fall between microseconds.

    `joiner` puts fragments together, and is finished at the end; None: they come as they are.
    Iterating raises CaptureCut (an InputError) after the last whole frame where the capture is cut, InputError where
    it is damaged or a frame's link type is not supported; all name the frame.
    """

    def __init__(self, source: ByteSource, form: Format, joiner: Joiner | None = None) -> None:
        self.path = source.path
        self.nanosecond = form.nanosecond
        self.joiner = joiner
        self._source = source
        self._frames = _frames(form, joiner)

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __next__(self) -> Frame:
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._source.file.close()

    @property
    def secrets(self) -> int:
        """Blocks of ESP's secrets so far (`io.secrets`)."""
        return self._source.secrets

    @property
    def late_secrets(self) -> int:
        """Those of them that came after a frame."""
        return self._source.late_secrets


def open_capture(path: str, joiner: Joiner | None = None) -> CaptureReader:
    """Open a classic pcap or a pcapng, or standard input for `-`. Without `joiner` fragments come as they are.

    InputError: it can't be read, is empty, or is not a capture of a known format.
    """
    file = open_input(path, buffering=1 << 18)
    try:
        source = ByteSource(file, path)
        return CaptureReader(source, read_format(source), joiner)
    except BaseException:
        file.close()
        raise


def _frames(form: Format, joiner: Joiner | None) -> Iterator[Frame]:
    number = 0
    try:
        for record in form.steps():
            if record is not None:
                number += 1
                yield from _frames_of(number, record, joiner)
    finally:
        if joiner is not None:
            joiner.finish()


def _frames_of(number: int, record: Record, joiner: Joiner | None) -> Iterator[Frame]:
    ip = ip_packet(record.linktype, record.data)
    time_ns, size, wire = record.time_ns, len(record.data), record.wire
    if ip is None:
        yield Frame(number, time_ns, None, size, wire, link_layer(record.linktype, record.data))
        return
    sent = outgoing(record.linktype, record.data)
    taken = None if joiner is None else joiner.take(ip, number, time_ns)
    if taken is None:
        yield Frame(number, time_ns, ip, size, wire, outgoing=sent)
    elif not taken.packets:
        yield Frame(number, time_ns, None, size, wire, part=True, fragment=ip)
    else:
        for packet in taken.packets:
            yield Frame(number, time_ns, packet, size, wire, outgoing=sent, in_tcp=taken.link == IN_TCP)


class NoWriter:
    """Stands in for a CaptureWriter where no capture is wanted: writes nothing; `commit` puts the outputs in place."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def write(self, data: bytes, time_ns: int) -> None:
        """As CaptureWriter."""

    def append(self, _data: object) -> None:
        """As CaptureWriter, like the next ones."""

    def place(self) -> None:
        """There is none."""

    def room(self, *_columns: object) -> int:
        """Nothing is written."""
        return 0

    def records(self, *_columns: object, **_options: object) -> Iterator[memoryview]:
        """There are none."""
        return iter(())

    def commit(self) -> None:
        """As CaptureWriter."""
        self._outputs.commit()


class CaptureWriter:
    """A classic little-endian pcap that appears whole at `commit`, or not at all.

    Entering the context opens it: InputError where the path can't be written, or is a terminal. `nanosecond` chooses
    the format's unit. With `outputs` it gets its name with those, at their commit.
    """

    private = False
    """No one but the owner may read the file."""

    def __init__(
        self, path: str, *, linktype: int = RAW, nanosecond: bool = False, outputs: Outputs | None = None
    ) -> None:
        self.path = path
        self.linktype = linktype
        self.nanosecond = nanosecond
        self._outputs = outputs
        self._output: OutputFile | None = None
        self._frames: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self._outputs is None:
            self._output = OutputFile(self.path, private=self.private)
        else:
            self._output = self._outputs.open(self.path, private=self.private)
        if self._output.file.isatty():
            self._output.discard()
            raise InputError("a capture is not written to a terminal: name a file, or a pipe", where=self.path)
        self._frames = self._begin(self._output)
        return self

    def _begin(self, output: OutputFile) -> IO[bytes]:
        """Write what comes before the frames. Returns the file for these."""
        output.file.write(file_header(self.linktype, self.nanosecond))
        return output.file

    def _record(self, data: bytes, time_ns: int) -> bytes:
        """The bytes of a frame."""
        return frame_header(time_ns, len(data), self.nanosecond) + data

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._output.discard()

    def write(self, data: bytes, time_ns: int) -> None:
        """One whole frame at `time_ns`, cut to microseconds without `nanosecond`; seconds go from 0 to 2^32-1."""
        if self._frames is None:
            raise RuntimeError("a CaptureWriter writes inside its context only")
        self._frames.write(self._record(data, time_ns))

    def append(self, data: memoryview) -> None:
        """Frames in the format of the file, after those that were written."""
        if self._frames is None:
            raise RuntimeError("a CaptureWriter writes inside its context only")
        self._frames.write(data)

    def place(self) -> OutputPlace | None:
        """Where the next frame goes, for code that writes around this object; None: only `write` can."""
        return None if self._frames is None else place_of(self._frames)

    def commit(self) -> None:
        """Put the capture (and the outputs that come with it) into place; nothing can be written after it."""
        if self._output is None:
            raise RuntimeError("a CaptureWriter writes inside its context only")
        self._output.commit() if self._outputs is None else self._outputs.commit()
