"""Files that commands read: a path, or `-` for standard input.

    with open_input(path) as file: ...              # bytes, buffered
    for piece in read_pieces(path): ...             # bytes, so many at a time
    data = read_whole(path, most=1 << 20)           # bytes, and not more than that

Every failure of the system is an InputError that names the path as the user gave it.

What this does not do: decode or interpret the bytes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from espsim.core.errors import InputError
from espsim.core.stopping import readable

STANDARD = "-"
"""The path that means standard input where a file is read, and standard output where one is written."""

_PIECE = 1 << 20
_BUFFER = 1 << 16
_kept: list[object] = []
"""The standard input that `read_start` has read, and its bytes."""
_handed: dict[str, tuple[object, BinaryIO]] = {}
"""Files that `hand_on` keeps, each with the standard input of that time."""


def open_input(path: str, *, buffering: int = -1) -> BinaryIO:
    """A file, or standard input for `-`, open for bytes; `buffering` as in `open`.

    Closing it leaves standard input open. InputError: there is no such file, it must not be read, or (later) the system
    can't read on.
    """
    if path == STANDARD and sys.stdin is None:
        raise InputError("cannot be read: standard input is closed", where=path)
    stdin, handed = _handed.pop(path, (None, None))
    if handed is not None and stdin is sys.stdin:
        return _buffered(handed, buffering)
    try:
        raw = _Raw(path, sys.stdin.fileno() if path == STANDARD else None)
    except io.UnsupportedOperation:  # a test's standard input, in memory
        return io.BytesIO(sys.stdin.buffer.read())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    return _buffered(cast(BinaryIO, raw), buffering)


def _buffered(raw: BinaryIO, buffering: int) -> BinaryIO:
    if buffering == 0 or not isinstance(raw, _Raw):
        return raw
    return cast(BinaryIO, io.BufferedReader(raw, max(buffering, _BUFFER)))


def hand_on(path: str, file: BinaryIO, start: bytes) -> None:
    """Give back what was read of a file: the next `open_input` of `path` returns it again, from `start` on.

    `file` came from `open_input` without a buffer. For what can't be opened twice: standard input, a pipe.
    """
    if isinstance(file, _Raw):
        file.start = memoryview(start)
    else:
        file.seek(-len(start), io.SEEK_CUR)
    _handed[path] = (sys.stdin, file)


def read_pieces(path: str, size: int = _PIECE) -> Iterator[bytes]:
    """The bytes of a file, in order, in pieces of 1 to `size` bytes.

    A pipe gives what is there and does not wait for more. Memory is one piece. InputError where it can't be opened, at
    the first piece, or can't be read on.
    """
    with open_input(path, buffering=0) as file:
        while piece := file.read(size):
            yield piece


def read_start(path: str, most: int) -> bytes:
    """The first `most` bytes of a file, all where it is not longer. InputError where it can't be read.

    Standard input is kept: a second call gets the same bytes.
    """
    if path == STANDARD and _kept[:1] == [sys.stdin]:
        return cast(bytes, _kept[1])[:most]
    pieces: list[bytes] = []
    with open_input(path, buffering=0) as file:
        while most and (piece := file.read(min(most, _PIECE))):
            pieces.append(piece)
            most -= len(piece)
    data = b"".join(pieces)
    if path == STANDARD:
        _kept[:] = [sys.stdin, data]
    return data


def read_whole(path: str, *, most: int) -> bytes:
    """All bytes of a file of at most `most` bytes. InputError: it is longer (`/dev/zero` has no end), or unreadable."""
    data = read_start(path, most + 1)
    if len(data) > most:
        raise InputError(f"is longer than {most:,} bytes, which is more than such a file can need", where=path)
    return data


def unreadable(path: str, error: OSError | ValueError) -> InputError:
    """The error of a file that the system does not open or read."""
    if not isinstance(error, OSError):  # a NUL byte or a lone surrogate in its name
        return InputError("no file has such a name", where=path)
    return InputError(f"cannot be read: {error.strerror or error}", where=path)


class _Raw(io.FileIO):
    """A file whose failures name the path that the user gave. `fd`: standard input's, which stays open."""

    def __init__(self, path: str, fd: int | None) -> None:
        super().__init__(path if fd is None else fd, "rb", closefd=fd is None)
        self._where = path
        self._standard = fd is not None
        self.start = memoryview(b"")
        """Bytes that come before those of the file."""

    def readinto(self, buffer: Any) -> int | None:
        """As FileIO; InputError where the system refuses. Standard input ends where ^C ends it (`stopping.gently`)."""
        if self.start:
            part = self.start[: len(buffer)]
            buffer[: len(part)], self.start = part, self.start[len(part) :]
            return len(part)
        if self._standard and not readable(self.fileno()):
            return 0
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise unreadable(self._where, error) from None

    def read(self, size: int | None = -1) -> bytes:
        """As FileIO; InputError where the system refuses."""
        if self.start and size is not None and size >= 0:
            part, self.start = self.start[:size], self.start[size:]
            return bytes(part)
        try:
            return super().read(-1 if size is None else size) or b""
        except OSError as error:
            raise unreadable(self._where, error) from None
