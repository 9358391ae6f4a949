"""Standard output and standard error of the process: a failure is one line, and nothing is said after it.

`guard` puts streams of ours in the places of Python's. Standard output that can't be written (a full disk, closed) is
an InputError; a reader that went away ends the run as SIGPIPE would. What standard error does not take is lost: there
is no place left to say so.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from typing import TextIO

from espsim.core.errors import InputError
from espsim.core.stopping import Stopped

_OUT, _ERR = 1, 2


class _Output(io.FileIO):
    """Standard output."""

    def write(self, data: object) -> int:
        """As FileIO; InputError where the system refuses, Stopped where no one reads."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise Stopped(signal.SIGPIPE) from None
        except OSError as error:
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror or error
            raise InputError(f"cannot be written: {reason}", where="standard output") from None


class _Errors(io.FileIO):
    """Standard error."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """As FileIO, but for failures."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def guard() -> None:
    """Our streams in the places of Python's; a descriptor that was closed is taken, so that no file gets its number."""
    for number, access in ((0, os.O_WRONLY), (_OUT, os.O_RDONLY), (_ERR, os.O_WRONLY)):
        _take(number, access)
    with contextlib.suppress(OSError):
        sys.stdout = _text(_Output(_OUT, "wb", closefd=False), sys.stdout, "strict")
        sys.stderr = _text(_Errors(_ERR, "wb", closefd=False), sys.stderr, "backslashreplace", by_line=True)


def drop() -> None:
    """What is still to be written to standard output goes nowhere, so that the end of the process is quiet."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), _OUT)


def _take(number: int, access: int) -> None:
    """A closed descriptor becomes /dev/null, opened so that reading (0) or writing (1) fails as it should."""
    with contextlib.suppress(OSError):
        try:
            os.fstat(number)
        except OSError:
            fd = os.open(os.devnull, access)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)


def _text(raw: io.FileIO, before: TextIO | None, errors: str, *, by_line: bool = False) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before else "utf-8",
        errors=before.errors if before else errors,
        line_buffering=by_line or raw.isatty(),
    )
