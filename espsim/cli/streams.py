"""Standard output and standard error of the process: a failure is one line, and nothing follows it.

`guard` replaces Python's streams. If standard output can't be written (a full disk, closed), that is an InputError; if
its reader went away, the run ends as by SIGPIPE. What can't be written to standard error is lost, because there is no
place left to report it.
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
        """As FileIO. InputError: the system refuses. Stopped: no one reads."""
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
        """As FileIO, but failures are ignored."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def guard() -> None:
    """Replace Python's streams. A closed descriptor is opened first, so that no other file gets its number."""
    for number, access in ((0, os.O_WRONLY), (_OUT, os.O_RDONLY), (_ERR, os.O_WRONLY)):
        _take(number, access)
    with contextlib.suppress(OSError):
        sys.stdout = _text(_Output(_OUT, "wb", closefd=False), sys.stdout, "strict")
        sys.stderr = _text(_Errors(_ERR, "wb", closefd=False), sys.stderr, "backslashreplace", by_line=True)


def drop() -> None:
    """Discard what is still to be written to standard output, so that the process ends without an error."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), _OUT)


def _take(number: int, access: int) -> None:
    """Open /dev/null at a closed descriptor, in the wrong direction, so that reading (0) or writing (1) still fails."""
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
