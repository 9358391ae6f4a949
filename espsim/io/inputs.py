"""Files that commands read: a path, or `-` for standard input.

    with open_input(path) as file: ...              # bytes, buffered
    for piece in read_pieces(path): ...             # bytes, so many at a time
    data = read_whole(path, most=1 << 20)           # bytes, and not more than that

Every failure of the system is an InputError that names the path as the user gave it. Nothing is decoded here, and
nothing is said of what the bytes mean.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import BinaryIO

from espsim.core.errors import InputError

STANDARD = "-"
"""The path that means standard input where a file is read, and standard output where one is written."""

_PIECE = 1 << 20


def open_input(path: str, *, buffering: int = -1) -> BinaryIO:
    """A file, or standard input for `-`, open for bytes; `buffering` as in `open`.

    Closing it leaves standard input open. InputError: there is no such file, or it must not be read.
    """
    if path == STANDARD:
        return _standard_input(buffering)
    try:
        return open(path, "rb", buffering=buffering)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def read_pieces(path: str, size: int = _PIECE) -> Iterator[bytes]:
    """The bytes of a file, in order, in pieces of 1 to `size` bytes.

    A pipe gives what is there and does not wait for more. Memory is one piece. InputError where it can't be opened, at
    the first piece, or can't be read on.
    """
    with open_input(path, buffering=0) as file:
        while piece := _read(file, size, path):
            yield piece


def read_whole(path: str, *, most: int) -> bytes:
    """All bytes of a file of at most `most` bytes. InputError: it is longer (`/dev/zero` has no end), or unreadable."""
    pieces: list[bytes] = []
    left = most
    for piece in read_pieces(path, min(_PIECE, most + 1)):
        left -= len(piece)
        if left < 0:
            raise InputError(f"is longer than {most:,} bytes, which is more than such a file can need", where=path)
        pieces.append(piece)
    return b"".join(pieces)


def unreadable(path: str, error: OSError | ValueError) -> InputError:
    """The error of a file that the system does not open or read."""
    if not isinstance(error, OSError):  # a NUL byte or a lone surrogate in its name
        return InputError("no file has such a name", where=repr(path))
    return InputError(f"cannot be read: {error.strerror or error}", where=path)


def _read(file: BinaryIO, size: int, path: str) -> bytes:
    try:
        return file.read(size) or b""
    except OSError as error:
        raise unreadable(path, error) from None


def _standard_input(buffering: int) -> BinaryIO:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise InputError("cannot be read: standard input is closed", where=STANDARD)
    try:
        return open(stream.fileno(), "rb", buffering=buffering, closefd=False)
    except io.UnsupportedOperation:  # a test's, in memory
        return io.BytesIO(stream.read())
    except OSError as error:
        raise unreadable(STANDARD, error) from None
