"""Captures as the commands see them: frames with their IP packets in, IP packets out.

    with open_capture(path) as reader, CaptureWriter(out, nanosecond=reader.nanosecond) as writer:
        for frame in reader: ...
        writer.commit()

Memory is bounded: one frame at a time, in and out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from espsim.core.errors import InputError
from espsim.io.atomic import OutputFile
from espsim.io.linktype import RAW, ip_packet
from espsim.io.pcap import ClassicPcap, file_header, frame_header
from espsim.io.pcapng import SECTION_MAGIC, Pcapng
from espsim.io.source import ByteSource, CaptureCut, Format

__all__ = ["CaptureCut", "CaptureReader", "CaptureWriter", "Frame", "open_capture"]

_OTHER_MAGICS = {
    b"\x1f\x8b": "it is compressed with gzip: decompress it first",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd: decompress it first",
    b"\x04\x22\x4d\x18": "it is compressed with lz4: decompress it first",
    b"\x34\xcd\xb2\xa1": "it is a pcap of the old patched format a1b2cd34, which is not supported",
    b"\xa1\xb2\xcd\x34": "it is a pcap of the old patched format a1b2cd34, which is not supported",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a capture.

    `number` counts from 1; `time_ns` is nanoseconds since the epoch; `ip` goes from the first byte of the IP header to
    the end of what was captured (Ethernet padding included), None where it is not IP; `snapped`: less was captured than
    was on the wire.
    """

    number: int
    time_ns: int
    ip: bytes | None
    snapped: bool


class CaptureReader:
    """The frames of a capture, in order, once. `nanosecond`: some times may fall between microseconds.

    Iterating raises CaptureCut (an InputError) behind the last whole frame where the capture is cut, InputError where
    it is damaged or a frame's link type is not supported; all name the frame.
    """

    def __init__(self, source: ByteSource, form: Format) -> None:
        self.path = source.path
        self.nanosecond = form.nanosecond
        self._file = source.file
        self._frames = _frames(form)

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __next__(self) -> Frame:
        return next(self._frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be repeated."""
        self._file.close()


def open_capture(path: str) -> CaptureReader:
    """Open a classic pcap or a pcapng. InputError: it can't be read, is empty, or is no capture that is known here."""
    try:
        file = open(path, "rb", buffering=1 << 18)  # noqa: SIM115 - the reader owns it
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"cannot be read: {reason}", where=path) from None
    try:
        source = ByteSource(file, path)
        return CaptureReader(source, _format(source))
    except BaseException:
        file.close()
        raise


def _format(source: ByteSource) -> Format:
    magic = source.read(4)
    if not magic:
        raise source.refused("is empty: no capture")
    if ClassicPcap.knows(magic):
        return ClassicPcap(source, magic)
    if magic == SECTION_MAGIC:
        return Pcapng(source)
    why = next((text for start, text in _OTHER_MAGICS.items() if magic.startswith(start)), None)
    raise source.refused(why or f"is neither pcap nor pcapng: it starts with {magic.hex()}")


def _frames(form: Format) -> Iterator[Frame]:
    for number, record in enumerate(form.records(), 1):
        yield Frame(number, record.time_ns, ip_packet(record.linktype, record.data), record.snapped)


class CaptureWriter:
    """A classic little-endian pcap that appears whole at `commit`, or not at all.

    Entering the context opens it: InputError where the path can't be written. `nanosecond` chooses the format's unit.
    """

    def __init__(self, path: str, *, linktype: int = RAW, nanosecond: bool = False) -> None:
        self.path = path
        self.linktype = linktype
        self.nanosecond = nanosecond
        self._output: OutputFile | None = None

    def __enter__(self) -> Self:
        self._output = OutputFile(self.path)
        self._output.file.write(file_header(self.linktype, self.nanosecond))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._output.discard()

    def write(self, data: bytes, time_ns: int) -> None:
        """One whole frame at `time_ns`, cut to microseconds without `nanosecond`; seconds go from 0 to 2^32-1."""
        if self._output is None:
            raise RuntimeError("a CaptureWriter writes inside its context only")
        self._output.file.write(frame_header(time_ns, len(data), self.nanosecond) + data)

    def commit(self) -> None:
        """Put the capture into its place; nothing can be written behind it."""
        if self._output is None:
            raise RuntimeError("a CaptureWriter writes inside its context only")
        self._output.commit()
