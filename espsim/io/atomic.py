"""Output files that appear whole or not at all: written beside their place, named at the end.

Until then the file has no name where the system can do that (O_TMPFILE), so that not even a run that is killed leaves
anything. Its bytes are on the disk before it gets its name. What was there before stays untouched when a run fails.
What can't be replaced (a pipe, /dev/null, a terminal, `-`) is written directly; a symbolic link stays one.

Forked processes may write one output together, each at offsets of its own (OutputPlace).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import io
import mmap
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, TextIO

from espsim.core.closing import Closing
from espsim.core.errors import InputError
from espsim.core.inputs import STANDARD
from espsim.core.stopping import uncut
from espsim.io.places import descriptor

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NAMELESS = os.O_RDWR | getattr(os, "O_TMPFILE", 0) | os.O_CLOEXEC
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC
_LINKS = "/proc/self/fd"  # the path of a nameless file, for linkat
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)  # file systems that have no fsync
_PIECE = 1 << 20
_MOUNTS = "/proc/self/mountinfo"  # proc(5)
_POPULATE_WRITE = 23  # madvise(2), Linux 5.14; Python has no name for it


class _Raw(io.FileIO):
    """An output whose failures (a full disk) name the path that the user gave. `ours`: a new file, which we made."""

    def __init__(self, fd: int, where: str, *, ours: bool = False) -> None:
        super().__init__(fd, "wb")
        self._where = where
        self.ours = ours

    def write(self, data: object) -> int:
        """As FileIO; InputError where the system refuses. BrokenPipeError where the reader has gone away."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            # Without an errno: click takes a BrokenPipeError with EPIPE for its own output's, and ends with status 1.
            raise BrokenPipeError(f"{self._where}: no one reads it") from None
        except OSError as error:
            raise _unwritable(self._where, error) from None

    def put(self, data: memoryview, at: int) -> None:
        """Write all of it at an offset of a regular file; the file's own position stays. Raises as `write`."""
        try:
            while data:
                done = os.pwrite(self.fileno(), data, at)
                data, at = data[done:], at + done
        except OSError as error:
            raise _unwritable(self._where, error) from None

    def grow(self, size: int) -> None:
        """Make the file `size` bytes long. Raises as `write`."""
        try:
            os.ftruncate(self.fileno(), size)
        except OSError as error:
            raise _unwritable(self._where, error) from None


class OutputPlace:
    """Where the next byte of an output goes. Forked processes then write with `put`, each at offsets of its own.

    `end` sets where the output goes on after all of them.

    Linux lets one process at a time write into a file (it holds the inode's lock). After `share` processes store into
    mappings of the file instead, which they do side by side. Only a new file of ours in a tmpfs is mapped: a mapping
    needs a file that is long enough, and a file of the user's may have bytes after ours, or be read meanwhile. On a
    disk a store would be slower (ext4: 10 times), and could fail. Storing where there is no room would kill the process
    (SIGBUS), so the system is asked for the pages first. What it refuses is written as before.
    """

    def __init__(self, file: io.BufferedWriter, raw: _Raw) -> None:
        self._file, self._raw = file, raw
        self._maps = False
        self.at = file.tell()
        """Bytes from the file's start."""

    def share(self) -> None:
        """Before processes are forked: let them map the file, if it can be mapped."""
        self._maps = self._raw.ours and _in_memory(self._raw.fileno())

    def reserve(self, end: int) -> None:
        """Before bytes up to `end` are put: make a mapped file so long. One process at a time; `end` only grows.

        Raises as `put`.
        """
        if self._maps:
            self._raw.grow(end)

    def put(self, data: memoryview, at: int) -> None:
        """Write all of it at an offset. InputError where the system refuses."""
        if not data:  # there is no mapping of no bytes
            return
        # What can't be mapped once (an older kernel, another system, no room) is not tried again.
        self._maps = self._maps and self._store(data, at)
        if not self._maps:
            self._raw.put(data, at)

    def _store(self, data: memoryview, at: int) -> bool:
        """`put` through a mapping. False: the system refuses it; nothing was stored."""
        start = at & -mmap.ALLOCATIONGRANULARITY
        try:
            with mmap.mmap(self._raw.fileno(), at - start + len(data), offset=start) as memory:
                memory.madvise(_POPULATE_WRITE)
                memory[at - start :] = data
        except OSError:
            return False
        return True

    def end(self, at: int) -> None:
        """All bytes before `at` have been put."""
        self._file.seek(at)


def place_of(file: IO[bytes]) -> OutputPlace | None:
    """The position of a file; None where it has none: a pipe, or a file that is only appended to."""
    raw = getattr(file, "raw", None)
    if not isinstance(raw, _Raw) or not isinstance(file, io.BufferedWriter):
        return None
    file.flush()
    status = os.fstat(raw.fileno())
    appends = fcntl.fcntl(raw.fileno(), fcntl.F_GETFL) & os.O_APPEND
    return None if not stat.S_ISREG(status.st_mode) or appends else OutputPlace(file, raw)


class OutputFile:
    """One output, open for bytes in `file`. `commit` puts it into its place, `discard` forgets it; both may repeat.

    Raises InputError at construction where the path can't be written (a directory, no permission, no such folder).
    `private`: only the owner may read the file, even if it replaces one that others could read.
    """

    def __init__(self, path: str, *, private: bool = False) -> None:
        self.path = path
        self._temporary: str | None = None
        self._nameless = self._finished = False
        self._target = ""
        try:
            raw = self._open(private)
        except (OSError, ValueError) as error:
            raise _unwritable(path, error) from None
        self.file = io.BufferedWriter(raw, buffer_size=1 << 16)

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self, private: bool) -> io.RawIOBase:
        if self.path == STANDARD:
            return _standard_output()
        number = descriptor(self.path)
        if number is not None:  # /dev/stdout: go on at its position
            return _Raw(os.dup(number), self.path)
        self._target = os.path.realpath(self.path)
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is not None and not stat.S_ISREG(found.st_mode):
            # A directory fails here, as it should; a pipe or a device must not be renamed over.
            return _Raw(os.open(self.path, os.O_WRONLY | os.O_CLOEXEC), self.path)
        if found is not None and not os.access(self.path, os.W_OK):
            raise PermissionError(0, "Permission denied")
        if not self.path or self.path.endswith(os.sep):
            raise IsADirectoryError(0, "Is a directory" if self.path else "No such file or directory")
        with uncut():
            raw = self._create(0o600 if private else 0o666)
        if found is not None:
            _become(raw.fileno(), found, 0o600 if private else stat.S_IMODE(found.st_mode))
        return raw

    def _create(self, mode: int) -> _Raw:
        folder = os.path.dirname(self._target)
        fd = -1
        if _NAMELESS & ~(os.O_RDWR | os.O_CLOEXEC) and os.path.isdir(_LINKS):
            with contextlib.suppress(OSError):  # some file systems can't
                fd = os.open(folder, _NAMELESS, mode)
        self._nameless = fd >= 0
        temporary = os.path.join(folder, f".espsim-{secrets.token_hex(8)}.tmp")
        if fd < 0:
            fd = os.open(temporary, _CREATE, mode)
        self._temporary = temporary
        _unfinished.add(self)
        return _Raw(fd, self.path, ours=True)

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """End of writing: all bytes go to the disk, and whatever can fail is done, but for the name.

        InputError where the system refuses; the output is forgotten then.
        """
        if self._finished or self.file.closed:
            return
        with self._or_forgotten():
            self.file.flush()
            if self._temporary is not None:
                _sync(self.file.fileno())
                if self._nameless and not os.path.exists(f"{_LINKS}/{self.file.fileno()}"):
                    self._copy()
        self._finished = True

    def commit(self) -> None:
        """Everything written is in its place from here on. InputError where the system refuses."""
        self.finish()
        with self._or_forgotten():
            if self._temporary is not None:
                with uncut():
                    self._place()
                    self._temporary = None
                    _unfinished.discard(self)
                _sync_folder(os.path.dirname(self._target))
            self.file.close()

    def discard(self) -> None:
        """As if nothing had been written; after `commit` it does nothing."""
        with uncut():
            with contextlib.suppress(OSError, InputError):
                self.file.close()
            if self._temporary is not None and not self._nameless:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary)
            self._temporary = None
            _unfinished.discard(self)

    @contextlib.contextmanager
    def _or_forgotten(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self.discard()
            raise
        except OSError as error:
            self.discard()
            raise _unwritable(self.path, error) from None
        except InputError:
            self.discard()
            raise

    def _place(self) -> None:
        """Give the file its name. A nameless file gets it at once if it is free, else a temporary one."""
        temporary = self._temporary or ""
        if self._nameless:
            try:
                if not os.path.lexists(self._target) and self._link(self._target):
                    return
                self._link(temporary)
                self._nameless = False
            except OSError:  # hidden /proc, a folder that can't be searched, a file system that links nothing
                self._copy()
        os.replace(self._temporary or "", self._target)

    def _link(self, name: str) -> bool:
        """Give the nameless file a name; False where that is taken."""
        at = os.open(_LINKS, getattr(os, "O_PATH", 0) | _FOLDER)
        try:
            # With a folder's descriptor the system follows the link to the open file (linkat, AT_SYMLINK_FOLLOW).
            os.link(str(self.file.fileno()), name, src_dir_fd=at)
        except FileExistsError:
            return False
        finally:
            os.close(at)
        return True

    def _copy(self) -> None:
        """Copy a nameless file that can't be named into one with a name."""
        fd = self.file.fileno()
        with uncut():
            temporary = self._temporary or ""
            copy = _Raw(os.open(temporary, _CREATE, 0o600), self.path)
            self._nameless = False
        with copy:
            at = 0
            while piece := os.pread(fd, _PIECE, at):
                at += copy.write(piece)
            _become(copy.fileno(), os.fstat(fd), stat.S_IMODE(os.fstat(fd).st_mode))
            _sync(copy.fileno())


class ByteSpool(Closing):
    """Bytes that wait until what comes before them is known: `file` takes them, `pour` gives them to another.

    They lie in a file without a name: in the folder of `path` where that names a file, else in the system's folder for
    temporary files. InputError names `path`, also where the disk is full.
    """

    def __init__(self, path: str) -> None:
        folder = os.path.dirname(os.path.realpath(path)) if _is_plain(path) else None
        try:
            self._kept = tempfile.TemporaryFile(dir=folder, prefix=".espsim-", buffering=0)  # noqa: SIM115 - see close
            raw = _Raw(os.dup(self._kept.fileno()), path, ours=True)
            self.file = io.BufferedWriter(raw, buffer_size=1 << 16)
        except OSError as error:
            raise _unwritable(path, error) from None

    def pour(self, into: IO[bytes]) -> None:
        """Write them all."""
        self.file.flush()
        at = 0
        while piece := os.pread(self._kept.fileno(), _PIECE, at):
            at += into.write(piece)

    def close(self) -> None:
        """Forget them. A second call does nothing."""
        with contextlib.suppress(OSError, InputError):
            self.file.close()
        self._kept.close()


def _is_plain(path: str) -> bool:
    """Whether a path names a file, or nothing yet."""
    if path == STANDARD or descriptor(path) is not None:
        return False
    return os.path.isfile(path) or not os.path.exists(path)


class Outputs(Closing):
    """Outputs that come into their places together: all are complete before one is named.

    with Outputs() as outputs:
        file = outputs.open(path).file
        ...
        outputs.commit()
    """

    def __init__(self) -> None:
        self._all: list[OutputFile] = []
        self._texts: list[TextIO] = []  # a collected wrapper would close its file
        self._spools: list[ByteSpool] = []

    def open(self, path: str, *, private: bool = False) -> OutputFile:
        """As OutputFile."""
        output = OutputFile(path, private=private)
        self._all.append(output)
        return output

    def text(self, path: str, *, private: bool = False) -> TextIO:
        """As OutputFile, for text in UTF-8."""
        text = _as_text(self.open(path, private=private))
        self._texts.append(text)
        return text

    def spool(self, path: str) -> ByteSpool:
        """A file without a name, for what goes to the output `path` later."""
        spool = ByteSpool(path)
        self._spools.append(spool)
        return spool

    def commit(self) -> None:
        """Every output is in its place from here on. InputError where the system refuses; then usually none is."""
        for text in self._texts:
            text.flush()
        for output in self._all:
            output.finish()
        with uncut():
            for output in self._all:
                output.commit()

    def close(self) -> None:
        """Forget what was not committed."""
        for output in self._all:
            output.discard()
        for spool in self._spools:
            spool.close()


@contextlib.contextmanager
def atomic_output(path: str, *, private: bool = False) -> Iterator[IO[str]]:
    """A text file (UTF-8) that is put into its place on a clean exit and forgotten on an exception.

    Raises InputError before anything is done where the path can't be written, and where the disk fills up.
    """
    with Outputs() as outputs:
        yield outputs.text(path, private=private)
        outputs.commit()


def _as_text(output: OutputFile) -> TextIO:
    return io.TextIOWrapper(output.file, encoding="utf-8", newline="\n", write_through=True)


def _standard_output() -> io.RawIOBase:
    """Standard output, after what was printed already."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    sys.stdout.flush()
    try:
        return _Raw(os.dup(sys.stdout.fileno()), STANDARD)
    except io.UnsupportedOperation:
        return _Borrowed(sys.stdout.buffer)


class _Borrowed(io.RawIOBase):
    """A test's standard output, which has no descriptor. Closing leaves it open."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Everything, at once."""
        return self._stream.write(data)


def _in_memory(fd: int) -> bool:
    """Whether a file lies in a tmpfs of Linux."""
    device = os.fstat(fd).st_dev
    number = b"%d:%d" % (os.major(device), os.minor(device))
    try:
        with open(_MOUNTS, "rb") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return False
    return any(mount[2] == number and mount[mount.index(b"-", 6) + 1] == b"tmpfs" for mount in mounts)


def _become(fd: int, found: os.stat_result, mode: int) -> None:
    """Give a file the owner and the mode of the one that it replaces, as far as permissions allow."""
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
        with contextlib.suppress(OSError):
            os.fchown(fd, found.st_uid, found.st_gid)
    with contextlib.suppress(OSError):
        os.fchmod(fd, mode)


def _sync(fd: int) -> None:
    """Put the bytes on the disk, before the file gets its name."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise


def _sync_folder(folder: str) -> None:
    """Put the name on the disk too. A folder that may be written and not read can't be synced."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | _FOLDER)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _unwritable(path: str, error: OSError | ValueError) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, OSError) and error.errno == errno.EBADF:
        reason = "it is closed, or not open for writing"
    return InputError(f"cannot be written: {reason}", where=path)


_unfinished: set[OutputFile] = set()


@atexit.register
def _forget() -> None:
    """Delete outputs that a signal kept their own code from deleting."""
    for output in list(_unfinished):
        output.discard()
