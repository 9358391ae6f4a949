"""Outputs that several processes map: what is mapped, what the system may refuse, and how long the file is then."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import subprocess
import sys

import pytest

from espsim.core.errors import InputError
from espsim.io import atomic
from espsim.io.atomic import OutputFile, place_of

HEAD = b"head of the file"
SIZES = [1, 5000, 4096 * 2 - 5001 - len(HEAD), 8192, 0, 100, 70_001]
"""Of parts: within a page, across pages, whole pages, and nothing where a page begins."""
PARTS = [bytes([65 + n]) * size for n, size in enumerate(SIZES)]


class Refused(mmap.mmap):
    """The system refuses the pages."""

    reason = errno.EINVAL
    tried: list[int] = []  # noqa: RUF012 - emptied by the fixture

    def madvise(self, option, *_range):
        self.tried.append(option)
        raise OSError(self.reason, os.strerror(self.reason))


@pytest.fixture
def refused(monkeypatch):
    monkeypatch.setattr(mmap, "mmap", Refused)
    monkeypatch.setattr(Refused, "tried", [])
    return Refused


@pytest.fixture
def in_memory(monkeypatch):
    monkeypatch.setattr(atomic, "_in_memory", lambda _fd: True)


@pytest.fixture
def no_pwrite(monkeypatch):
    def pwrite(*_arguments):
        raise OSError(errno.EIO, "written, not mapped")

    monkeypatch.setattr(os, "pwrite", pwrite)


def shared(path):
    """An output with a head, and its place, which processes may map."""
    output = OutputFile(str(path))
    output.file.write(HEAD)
    place = place_of(output.file)
    assert place is not None
    place.share()
    return output, place


def put_all(output, place):
    """Put the parts, the last ones first; the bytes before the end, and the file's size then."""
    at, places = place.at, []
    for part in PARTS:
        places.append(at)
        at += len(part)
        place.reserve(at)
    for part, where in reversed(list(zip(PARTS, places, strict=True))):
        place.put(memoryview(part), where)
    place.end(at)
    output.file.write(b"tail")
    output.commit()


@pytest.mark.parametrize("named", [False, True])
def test_parts_are_mapped_and_the_length_is_exact(tmp_path, monkeypatch, in_memory, no_pwrite, named):
    if named:  # a file system without O_TMPFILE
        monkeypatch.setattr(atomic, "_NAMELESS", os.O_RDWR | os.O_CLOEXEC)
    put_all(*shared(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == HEAD + b"".join(PARTS) + b"tail"


def test_a_system_that_does_not_know_the_advice_is_asked_once(tmp_path, in_memory, refused):
    put_all(*shared(tmp_path / "file"))
    assert refused.tried == [23]  # MADV_POPULATE_WRITE
    assert (tmp_path / "file").read_bytes() == HEAD + b"".join(PARTS) + b"tail"


@pytest.mark.parametrize("reason", [errno.EFAULT, errno.ENOSPC])
def test_pages_that_are_refused_are_an_input_error_like_a_write(tmp_path, monkeypatch, in_memory, refused, reason):
    def pwrite(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(refused, "reason", reason)
    monkeypatch.setattr(os, "pwrite", pwrite)
    output, place = shared(tmp_path / "file")
    place.reserve(10_000)
    with pytest.raises(InputError, match="file: cannot be written: No space left on device"):
        place.put(memoryview(b"part"), place.at)
    assert refused.tried
    output.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_mapping_that_is_refused_is_written(tmp_path, monkeypatch, in_memory):
    def no_mapping(*_arguments, **_options):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(mmap, "mmap", no_mapping)
    put_all(*shared(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == HEAD + b"".join(PARTS) + b"tail"


def test_a_file_of_the_users_is_neither_mapped_nor_longer(tmp_path, in_memory, refused):
    """A descriptor, like /dev/stdout: bytes after ours stay, and its length changes by writing alone."""
    (tmp_path / "file").write_bytes(b"-" * 50)
    with (tmp_path / "file").open("r+b") as file:
        output, place = shared(f"/dev/fd/{file.fileno()}")
        place.reserve(40)
        place.put(memoryview(b"part"), place.at)
        place.end(place.at + 4)
        output.commit()
        place.reserve(1000)
    assert not refused.tried
    assert (tmp_path / "file").read_bytes() == HEAD + b"part" + b"-" * 30


def mounted(tmp_path, kind):
    """A /proc/self/mountinfo with the file system of `tmp_path`."""
    device = tmp_path.stat().st_dev
    rows = [
        "22 27 0:21 / /proc rw - proc proc rw", "23 27 0:22 / /sys rw - tmpfs tmpfs rw",
        f"24 22 {os.major(device)}:{os.minor(device)} / /\xe9 rw,relatime shared:1 master:2 - {kind} tmpfs rw",
    ]  # fmt: skip
    (tmp_path / "mounts").write_text("".join(f"{row}\n" for row in rows), encoding="latin-1")
    return str(tmp_path / "mounts")


@pytest.mark.parametrize(("kind", "mapped"), [("tmpfs", True), ("ext4", False), (None, False)])
def test_only_a_tmpfs_is_mapped(tmp_path, monkeypatch, refused, kind, mapped):
    monkeypatch.setattr(atomic, "_MOUNTS", mounted(tmp_path, kind) if kind else str(tmp_path / "none"))
    output, place = shared(tmp_path / "file")
    place.reserve(5000)
    assert output.file.raw.seek(0, os.SEEK_END) == (5000 if mapped else len(HEAD))
    place.put(memoryview(b"part"), place.at)
    assert bool(refused.tried) == mapped
    output.discard()


def test_a_place_that_is_not_shared_is_not_mapped(tmp_path, in_memory, refused):
    output = OutputFile(str(tmp_path / "file"))
    place = place_of(output.file)
    assert place is not None
    place.reserve(5000)
    place.put(memoryview(b"part"), 0)
    output.commit()
    assert not refused.tried
    assert (tmp_path / "file").read_bytes() == b"part"


PROGRAM = """
import sys
from espsim.core.errors import InputError
from espsim.io import atomic
atomic._in_memory = lambda fd: True
output = atomic.OutputFile(sys.argv[1])
place = atomic.place_of(output.file)
place.share()
try:
    for at in range(0, 300_000, 1000):
        place.reserve(at + 1000)
        place.put(memoryview(bytes(1000)), at)
except InputError as error: print(at, error)
output.discard()
"""


def test_a_file_that_grows_too_large(tmp_path):
    """RLIMIT_FSIZE: InputError as for a write, not a signal. -B: bytecode would be cut at the limit as well."""
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, path], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert done.stdout == f"100000 {path}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_full_tmpfs(tmp_path):
    """A store would end in SIGBUS. 25 pages hold 102,400 bytes."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    script = 'mount -t tmpfs -o size=100k none "$1" && cd "$1" && "$2" -c "$3" file; echo $?; ls -A'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", tmp_path, sys.executable, PROGRAM],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["102000 file: cannot be written: No space left on device", "0"]
