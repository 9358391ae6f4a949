"""What both capture formats share: reading bytes with errors that say where, and the record that they make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from espsim.core.errors import InputError
from espsim.core.numbers import MOST_ON_WIRE

SNAPLEN = 262144
"""The snaplen in captures written here: libpcap's most."""

_CHUNK = 1 << 16
_LATEST_NS = (1 << 63) - 1


class CaptureCut(InputError):  # noqa: N818 - a state of the capture; what came before it was good
    """The capture ends inside frame `frame`: every frame before it was whole and has been read."""


class Record(NamedTuple):
    """One frame as the capture holds it. `interface` is its number in pcapng; time in nanoseconds of the epoch.

    `wire`: its bytes on the wire, as the capture states them: more than `data` where a snap length cut it.
    """

    linktype: int
    interface: int | None
    time_ns: int
    data: bytes
    wire: int

    @classmethod
    def bounded(cls, linktype: int, interface: int | None, time_ns: int, data: bytes, wire: int) -> Record:
        """A record whose time and `wire` fit the columns of a batch: a number beyond becomes the nearest that fits."""
        time_ns = max(-_LATEST_NS - 1, min(time_ns, _LATEST_NS))
        return cls(linktype, interface, time_ns, data, min(wire, MOST_ON_WIRE))


class Format(Protocol):
    """One capture format, opened. `nanosecond`: some of its times may fall between microseconds."""

    nanosecond: bool

    def steps(self) -> Iterator[Record | None]:
        """Record by record, in order; None where one is not a frame. InputError at the first that is not whole."""


class ByteSource:
    """The bytes of a capture, in order. `frame` is the number of the frame that comes next, None in the file header."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self.file = file
        self.path = path
        self.at = 0
        self.frame: int | None = None
        self.secrets = self.late_secrets = 0
        """Blocks of ESP's secrets so far (`io.secrets`), and how many of them came after a frame."""

    def passed(self, frames: int) -> None:
        """This many whole frames have been read."""
        self.frame = (self.frame or 0) + frames

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end. InputError where the system can't read."""
        try:
            data = self.file.read(size)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", where=self.path) from None
        self.at += len(data)
        return data

    def exactly(self, size: int, what: str) -> bytes:
        """`size` bytes; CaptureCut where there are fewer."""
        data = self.read(size)
        if len(data) < size:
            raise self.cut(f"{what} has {len(data)} of {size} bytes")
        return data

    def skip(self, size: int, what: str) -> None:
        """Pass over `size` bytes, however many, in bounded memory."""
        left = size
        while left:
            data = self.read(min(left, _CHUNK))
            if not data:
                raise self.cut(f"{what} has {size - left} of {size} bytes")
            left -= len(data)

    def cut(self, what: str) -> CaptureCut:
        """The capture ends where it should not."""
        return CaptureCut(f"capture is cut at byte {self.at}: {what}", where=self.path, frame=self.frame)

    def damaged(self, what: str) -> InputError:
        """The capture holds what no capture can hold."""
        return InputError(f"capture is damaged before byte {self.at}: {what}", where=self.path, frame=self.frame)

    def refused(self, what: str) -> InputError:
        """The capture is not one that can be read here."""
        return InputError(what, where=self.path)
