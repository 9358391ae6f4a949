"""Outputs at their edges: late failures, what is complete before what, modes, standard output, terminals."""

from __future__ import annotations

import errno
import os
import pty
import resource
import stat
import subprocess
import sys

import pytest

from espsim.core.errors import InputError
from espsim.io import atomic
from espsim.io.atomic import OutputFile, Outputs, atomic_output
from espsim.io.capture import CaptureWriter


@pytest.fixture(autouse=True)
def _no_litter(tmp_path):
    yield
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".espsim")]


def written(path, data=b"data", **options):
    output = OutputFile(str(path), **options)
    output.file.write(data)
    output.commit()
    return path.read_bytes()


@pytest.fixture(params=["nameless", "late", "hidden"])
def way(request, monkeypatch):
    """How a file gets its name: by link; by a copy, because linking fails; /proc was never there."""
    if request.param == "late":

        def refused(*_args, **_options):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(os, "link", refused)
    elif request.param == "hidden":
        monkeypatch.setattr(atomic, "_LINKS", "/nowhere/fd")
    return request.param


def test_new_and_old_files_in_every_way(tmp_path, way):
    path = tmp_path / "file"
    assert written(path, b"one") == b"one"
    path.chmod(0o640)
    assert written(path, b"another" * 100_000) == b"another" * 100_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    output = OutputFile(str(path))
    output.file.write(b"forgotten")
    output.discard()
    assert path.read_bytes().startswith(b"another")


def test_proc_hidden_after_opening(tmp_path, monkeypatch):
    output = OutputFile(str(tmp_path / "file"))
    output.file.write(b"data")
    monkeypatch.setattr(atomic, "_LINKS", "/nowhere/fd")
    output.commit()
    assert (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o600, 0o400])
def test_keys_are_their_owner_s_alone_also_in_an_old_file(tmp_path, way, mode):
    path = tmp_path / "keys"
    path.write_bytes(b"old")
    path.chmod(mode)
    if mode == 0o400 and os.geteuid() != 0:
        pytest.skip("only root may write it")
    written(path, private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_s_file_stays_his(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 5678)
    written(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)


def test_bytes_are_on_the_disk_before_they_have_a_name(tmp_path, monkeypatch):
    told = []
    sync, link, replace = os.fsync, os.link, os.replace

    def fsync(fd):
        told.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"sync {os.fstat(fd).st_size}")
        sync(fd)

    def named(how, function):
        def tell(*args, **options):
            told.append(how)
            function(*args, **options)

        return tell

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", named("named", link))
    monkeypatch.setattr(os, "replace", named("renamed", replace))
    written(tmp_path / "file", b"12345")
    assert told == ["sync 5", "named", "folder"]
    told.clear()
    written(tmp_path / "file", b"123456")
    assert told == ["sync 6", "named", "renamed", "folder"]
    told.clear()
    with Outputs() as outputs:
        for number in range(3):
            outputs.open(str(tmp_path / f"{number}")).file.write(bytes(number))
        outputs.commit()
    assert told[:3] == ["sync 0", "sync 1", "sync 2"]
    assert told[3:].count("named") == 3


def test_of_two_outputs_neither_is_there_where_one_fails(tmp_path):
    (tmp_path / "second").write_bytes(b"old")
    with pytest.raises(InputError, match="/dev/full: cannot be written: No space left"), Outputs() as outputs:  # noqa: PT012
        outputs.open(str(tmp_path / "first")).file.write(b"new")
        outputs.text(str(tmp_path / "second")).write("new")
        outputs.text("/dev/full").write("new")
        outputs.commit()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second"]
    assert (tmp_path / "second").read_bytes() == b"old"


def test_outputs_that_are_left_are_forgotten(tmp_path):
    with pytest.raises(KeyError), Outputs() as outputs:  # noqa: PT012
        outputs.open(str(tmp_path / "first")).file.write(b"new")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_sync_that_fails_is_a_failure(tmp_path, monkeypatch):
    def fsync(_fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError, match="file: cannot be written: Input/output error"):
        written(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_sync_is_none(tmp_path, monkeypatch):
    def fsync(_fd):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    assert written(tmp_path / "file") == b"data"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_be_written_and_not_read(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o300)
    try:
        assert written(folder / "file") == b"data"
    finally:
        folder.chmod(0o700)


def test_a_file_that_grows_too_large(tmp_path):
    """RLIMIT_FSIZE: the write is refused (EFBIG), nothing is left. -B: bytecode would be cut at the limit as well."""
    program = (
        "import sys\nfrom espsim.io.atomic import OutputFile\nfrom espsim.core.errors import InputError\n"
        "output = OutputFile(sys.argv[1])\n"
        "try:\n    output.file.write(bytes(300_000)); output.commit()\nexcept InputError as error: print(error)\n"
    )
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, path], capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


IN_A_MOUNT = """
mount -t tmpfs -o size=100k none "$1" && cd "$1" && head -c 40000 /dev/zero > old && "$2" -c "$3"; ls -A; stat -c %s old
"""
TWO_OUTPUTS = """
from espsim.io.atomic import Outputs
from espsim.core.errors import InputError
try:
    with Outputs() as outputs:
        outputs.text("first").write("new")
        outputs.open("old").file.write(bytes(300_000))
        outputs.commit()
except InputError as error: print(error)
"""


def test_a_full_disk(tmp_path):
    """A small file system: what was there stays, and of the other output nothing comes."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", IN_A_MOUNT, "sh", tmp_path, sys.executable, TWO_OUTPUTS],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["old: cannot be written: No space left on device", "old", "40000"]


def test_a_capture_is_not_written_to_a_terminal():
    master, slave = pty.openpty()
    try:
        with (
            pytest.raises(InputError, match="a capture is not written to a terminal"),
            CaptureWriter(os.ttyname(slave)),
        ):
            pytest.fail("it opened")
        with atomic_output(os.ttyname(slave)) as text:  # text may be
            text.write("hi\n")
        assert os.read(master, 100) == b"hi\r\n"
    finally:
        os.close(master)
        os.close(slave)


CHILD = """
import sys
from espsim.io.atomic import Outputs
print("before")
with Outputs() as outputs:
    outputs.text(sys.argv[1]).write("written\\n")
    outputs.commit()
print("after")
"""


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_goes_on_where_it_is(tmp_path, name):
    """Also where it is a file, which others hold open: it is not replaced."""
    path = tmp_path / "out"
    path.write_text("older\n")
    with path.open("a") as out:
        subprocess.run([sys.executable, "-c", CHILD, name], stdout=out, check=True)
        out.write("last\n")
    assert path.read_text() == "older\nbefore\nwritten\nafter\nlast\n"


def test_what_a_signal_tore_away_is_forgotten_at_the_end(tmp_path):
    program = (
        "import sys\nfrom espsim.io import atomic\natomic._LINKS = '/nowhere'\n"
        "output = atomic.OutputFile(sys.argv[1])\noutput.file.write(bytes(100_000))\ndel output\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "file"], check=True)
    assert list(tmp_path.iterdir()) == []
