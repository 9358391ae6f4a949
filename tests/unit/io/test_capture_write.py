"""Captures and text out: whole or not at all; what must not be replaced is not replaced."""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from espsim.core.errors import InputError
from espsim.io.atomic import OutputFile, atomic_output
from espsim.io.capture import CaptureWriter, open_capture

V4 = bytes.fromhex("45000014000000004032000ac0000201c0000202")
HEADER = "d4c3b2a1 02000400 00000000 00000000 00000400 65000000"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(autouse=True)
def _no_litter(tmp_path):
    yield
    assert not [name for name in names(tmp_path) if name.startswith(".espsim")]


def write(path, *times, **options):
    with CaptureWriter(str(path), **options) as writer:
        for time in times:
            writer.write(V4, time)
        writer.commit()


def test_the_bytes_of_a_capture(tmp_path):
    path = tmp_path / "out.pcap"
    write(path, 1_700_000_000_123_456_789)
    frame = struct.pack("<IIII", 1_700_000_000, 123_456, 20, 20) + V4
    assert path.read_bytes() == bytes.fromhex(HEADER) + frame
    write(path, 1_700_000_000_123_456_789, nanosecond=True, linktype=276)
    data = path.read_bytes()
    assert (data[:4].hex(), struct.unpack_from("<I", data, 20)) == ("4d3cb2a1", (276,))
    assert struct.unpack_from("<II", data, 24) == (1_700_000_000, 123_456_789)


@pytest.mark.parametrize(
    ("time_ns", "kept_us", "kept_ns"),
    [
        (0, 0, 0),
        (-1, 0, 0),
        (-(10**30), 0, 0),
        (2**32 * 10**9 - 1, 2**32 * 10**9 - 1000, 2**32 * 10**9 - 1),
        (2**32 * 10**9, 2**32 * 10**9 - 1000, 2**32 * 10**9 - 1),
        (10**40, 2**32 * 10**9 - 1000, 2**32 * 10**9 - 1),
    ],
)
def test_times_at_the_edges_of_the_format(tmp_path, time_ns, kept_us, kept_ns):
    path = tmp_path / "out.pcap"
    for nanosecond, kept in ((False, kept_us), (True, kept_ns)):
        write(path, time_ns, nanosecond=nanosecond)
        with open_capture(str(path)) as reader:
            assert [f.time_ns for f in reader] == [kept]


def test_nothing_is_there_before_commit_nor_without_it(tmp_path):
    path = tmp_path / "out.pcap"
    with CaptureWriter(str(path)) as writer:
        writer.write(V4, 1)
        assert not path.exists()
    assert names(tmp_path) == []
    with pytest.raises(KeyError), CaptureWriter(str(path)) as writer:  # noqa: PT012
        writer.write(V4, 1)
        raise KeyError
    assert names(tmp_path) == []


def test_what_was_there_stays_until_commit(tmp_path):
    path = tmp_path / "out.pcap"
    path.write_bytes(b"precious")
    path.chmod(0o640)
    with CaptureWriter(str(path)) as writer:
        writer.write(V4, 1)
    assert path.read_bytes() == b"precious"
    write(path, 1)
    assert len(path.read_bytes()) == 24 + 16 + 20
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_output_may_be_the_input(tmp_path):
    path = str(tmp_path / "both.pcap")
    write(path, *range(1000, 3_000_000, 1000))
    with open_capture(path) as reader, CaptureWriter(path) as writer:
        for frame in reader:
            assert frame.ip is not None
            writer.write(frame.ip, frame.time_ns + 5000)
        writer.commit()
    with open_capture(path) as reader:
        assert [f.time_ns for f in reader] == list(range(6000, 3_005_000, 1000))


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "real.pcap", tmp_path / "link.pcap"
    link.symlink_to(target)
    write(link, 1)
    assert link.is_symlink()
    assert len(target.read_bytes()) == 60
    assert names(tmp_path / "there") == ["real.pcap"]


def test_what_cannot_be_written_is_said_at_opening(tmp_path):
    (tmp_path / "plain").write_text("x")
    for path, words in (
        (str(tmp_path), "directory"),
        (str(tmp_path / "none" / "out.pcap"), "No such file"),
        (str(tmp_path / "plain" / "out.pcap"), "Not a directory"),
        (f"{tmp_path}/new/", "directory"),
        ("", "No such file"),
        ("a\0b", "null"),
    ):
        with pytest.raises(InputError, match=words) as caught, CaptureWriter(path):
            pytest.fail("it opened")
        assert caught.value.where == path
        with pytest.raises(InputError, match=words), atomic_output(path):
            pytest.fail("it opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_permissions(tmp_path):
    path = tmp_path / "out.pcap"
    path.write_bytes(b"precious")
    path.chmod(0o400)
    with pytest.raises(InputError, match="Permission denied"), CaptureWriter(str(path)):
        pytest.fail("it opened")
    assert path.read_bytes() == b"precious"


def test_devices_and_pipes_are_written_directly(tmp_path):
    write("/dev/null", 1)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got = []
    thread = threading.Thread(target=lambda: got.append(path.read_bytes()))
    thread.start()
    write(path, 1)
    thread.join()
    assert len(got[0]) == 60
    assert path.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_input_error():
    with pytest.raises(InputError, match="No space left") as caught:
        write("/dev/full", *range(10000))
    assert caught.value.where == "/dev/full"
    with pytest.raises(InputError, match="No space left"), atomic_output("/dev/full") as file:
        file.write("x" * 10)


def test_a_reader_that_went_away_stays_a_broken_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.open("rb").close())
    thread.start()
    with pytest.raises(BrokenPipeError), CaptureWriter(str(path)) as writer:  # noqa: PT012
        thread.join()
        writer.write(bytes(200_000), 1)
        writer.commit()


def test_writing_outside_the_context_is_a_mistake_of_the_program(tmp_path):
    writer = CaptureWriter(str(tmp_path / "out.pcap"))
    for act in (writer.commit, lambda: writer.write(V4, 1)):
        with pytest.raises(RuntimeError):
            act()


def test_text(tmp_path):
    path = tmp_path / "lines.jsonl"
    with atomic_output(str(path)) as file:
        file.write("één\n")
        file.writelines(f"{n}\n" for n in range(3))
        assert not path.exists()
    assert path.read_bytes() == "één\n0\n1\n2\n".encode()
    with pytest.raises(KeyError), atomic_output(str(path)) as file:  # noqa: PT012
        file.write("other")
        raise KeyError
    assert path.read_text() == "één\n0\n1\n2\n"


def test_a_private_file_is_its_owner_s_alone(tmp_path):
    old = os.umask(0o022)
    try:
        for private, mode in ((True, 0o600), (False, 0o644)):
            path = tmp_path / f"{private}"
            with atomic_output(str(path), private=private) as file:
                file.write("key")
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(old)


def test_commit_and_discard_may_be_repeated(tmp_path):
    path = tmp_path / "out"
    output = OutputFile(str(path))
    output.file.write(b"x")
    output.commit()
    output.commit()
    output.discard()
    assert path.read_bytes() == b"x"


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path):
    """Not even SIGKILL leaves a file behind, where the file system keeps files without a name."""
    program = (
        "import os, signal, sys\nfrom espsim.io.atomic import OutputFile\n"
        "output = OutputFile(sys.argv[1])\noutput.file.write(bytes(1 << 20))\n"
        "print(output._nameless)\nsys.stdout.flush()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "out"], capture_output=True, text=True, check=False
    )
    if done.stdout != "True\n":
        pytest.skip("this file system has no O_TMPFILE")
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
