"""Output files that appear whole or not at all: written beside their place, renamed into it at the end.

That makes an output that is also an input safe, and leaves what was there untouched when a run fails. Until then the
file has no name where the system can do that (O_TMPFILE), so that not even a run that is killed leaves anything. What
can't be replaced (a pipe, /dev/null, a terminal) is written directly; a symbolic link keeps being one.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from typing import IO

from espsim.core.errors import InputError

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
# Needs /proc to get a name later.
_NAMELESS = 0
if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
    _NAMELESS = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC


class _Raw(io.FileIO):
    """An output whose failures (a full disk) name the path that the user gave."""

    def __init__(self, fd: int, where: str) -> None:
        super().__init__(fd, "wb")
        self._where = where

    def write(self, data: object) -> int:
        """As FileIO; InputError where the system refuses. A reader that went away stays BrokenPipeError."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror or error}", where=self._where) from None


class OutputFile:
    """One output, open for bytes in `file`. `commit` puts it into its place, `discard` forgets it; both may repeat.

    Raises InputError at construction where the path can't be written (a directory, no permission, no such folder).
    `private`: nobody but the owner may read a file that is made anew.
    """

    def __init__(self, path: str, *, private: bool = False) -> None:
        self.path = path
        self._temporary: str | None = None
        self._nameless = False
        self._target = ""
        try:
            fd = self._open(private)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be written: {_reason(error)}", where=path) from None
        self.file = io.BufferedWriter(_Raw(fd, path), buffer_size=1 << 16)

    def _open(self, private: bool) -> int:
        self._target = os.path.realpath(self.path)
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is not None and not stat.S_ISREG(found.st_mode):
            # A directory fails here, as it should; a pipe or a device must not be renamed over.
            return os.open(self.path, os.O_WRONLY)
        if found is not None and not os.access(self.path, os.W_OK):
            raise PermissionError(0, "Permission denied")
        if not self.path or self.path.endswith(os.sep):
            raise IsADirectoryError(0, "Is a directory" if self.path else "No such file or directory")
        fd = self._create(os.path.dirname(self._target), 0o600 if private else 0o666)
        if found is not None:
            with contextlib.suppress(OSError):
                os.fchmod(fd, stat.S_IMODE(found.st_mode))
        return fd

    def _create(self, folder: str, mode: int) -> int:
        temporary = os.path.join(folder, f".espsim-{secrets.token_hex(8)}.tmp")
        fd = -1
        if _NAMELESS:
            with contextlib.suppress(OSError):  # not every file system can
                fd = os.open(folder, _NAMELESS, mode)
        self._nameless = fd >= 0
        if fd < 0:
            fd = os.open(temporary, _CREATE, mode)
        self._temporary = temporary
        return fd

    def _name(self) -> None:
        """Give a nameless file the temporary name; it takes a moment and is then renamed."""
        if not self._nameless or self._temporary is None:
            return
        folder, name = os.path.split(self._temporary)
        at = os.open(folder, os.O_RDONLY)
        try:
            # With a folder's descriptor the system follows the link to the open file (linkat, AT_SYMLINK_FOLLOW).
            os.link(f"/proc/self/fd/{self.file.fileno()}", name, dst_dir_fd=at)
        finally:
            os.close(at)
        self._nameless = False

    def commit(self) -> None:
        """Everything written is in its place from here on. InputError where the system refuses."""
        try:
            if not self.file.closed:
                self.file.flush()
                self._name()
                self.file.close()
            if self._temporary is not None:
                os.replace(self._temporary, self._target)
                self._temporary = None
        except BrokenPipeError:
            self.discard()
            raise
        except OSError as error:
            self.discard()
            raise InputError(f"cannot be written: {_reason(error)}", where=self.path) from None
        except InputError:
            self.discard()
            raise

    def discard(self) -> None:
        """As if nothing had been written; after `commit` it does nothing."""
        with contextlib.suppress(OSError, InputError):
            self.file.close()
        if self._temporary is not None:
            if not self._nameless:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary)
            self._temporary = None


@contextlib.contextmanager
def atomic_output(path: str, mode: str = "w", *, private: bool = False) -> Iterator[IO[str]]:
    """A text file (UTF-8, `mode` "w") that is put into its place on a clean exit and forgotten on an exception.

    Raises InputError before anything is done where the path can't be written, and where the disk fills up.
    """
    if mode != "w":
        raise ValueError(f"mode {mode!r}: only 'w' is known here")
    output = OutputFile(path, private=private)
    text = io.TextIOWrapper(output.file, encoding="utf-8", newline="\n", write_through=True)
    try:
        yield text
        text.flush()
        output.commit()
    finally:
        output.discard()


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
