"""Lines that wait: a temporary file without a name beside an output, bounded memory, read once at the end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from espsim.core.closing import Closing
from espsim.core.errors import InputError
from espsim.io.places import descriptor

_MARK = 17
"""Characters before each line: a digit of its kind, and 16 for a number that may be written again."""


class LineSpool(Closing):
    """Lines in order, each with a kind (0 to 9) and a number that `renumber` may change. `path`: the output's.

    InputError, with `path`, where the system refuses (a full disk).
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with self._named():
            self._file = tempfile.TemporaryFile(dir=_folder(path))  # noqa: SIM115 - `close` ends it

    def write(self, line: str, kind: int = 0, number: int = 0) -> int:
        """Append a line (without its line end). Returns its place, for `renumber`."""
        with self._named():
            at = self._file.tell()
            self._file.write(f"{kind}{number:016x}{line}\n".encode())
        return at

    def renumber(self, at: int, kind: int, number: int) -> None:
        """Give the line at a place another kind and number."""
        with self._named():
            self._file.seek(at)
            self._file.write(f"{kind}{number:016x}".encode())
            self._file.seek(0, os.SEEK_END)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """The lines in order: (line, kind, number)."""
        with self._named():
            self._file.seek(0)
            for raw in self._file:
                text = raw.decode()
                yield text[_MARK:-1], int(text[0]), int(text[1:_MARK], 16)

    def close(self) -> None:
        """Forget the lines. A second call does nothing."""
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"lines that wait for the end cannot be kept: {reason}", where=self._path) from None


def _folder(path: str) -> str | None:
    """The output's own folder, which has room for it; None (the system's) where the output is not a file."""
    if descriptor(path) is not None or (os.path.exists(path) and not os.path.isfile(path)):
        return None
    folder = os.path.dirname(os.path.realpath(path))
    return folder if os.path.isdir(folder) and os.access(folder, os.W_OK) else None
