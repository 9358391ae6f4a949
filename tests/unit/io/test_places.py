"""Which paths name one place, before anything is opened."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from espsim.core.errors import InputError
from espsim.io.places import NamedPath, descriptor, is_standard_output, keep_apart


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a file by five names, a pipe, and two names of one folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    os.symlink("file", "link")
    os.symlink("link", "link2")
    os.link("file", "hard")
    os.mkdir("folder")
    os.symlink("folder", "same")
    os.symlink("folder/not-yet", "dangling")
    os.mkfifo("pipe")
    return tmp_path


@pytest.mark.parametrize("name", ["file", "./file", "folder/../file", "same/../file", "link", "link2", "hard"])
def test_an_output_is_an_input(here, name):
    with pytest.raises(InputError, match=r"^[^ ]+: -o and IN name the same file") as caught:
        keep_apart([NamedPath("--sad", "pipe"), NamedPath("IN", "file")], [NamedPath("-o", name)])
    assert "an output never replaces an input" in str(caught.value)
    with pytest.raises(InputError, match=rf"^file: -o and IN name the same file.*{name if name != 'file' else ''}"):
        keep_apart([NamedPath("IN", name)], [NamedPath("-o", "file")])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("new", "new"), ("new", "./new"), ("folder/new", "same/new"), ("folder/new", "folder/../same/new"),
        ("folder/not-yet", "dangling"), ("dangling", "same/not-yet"), ("file", "hard"), ("link", "link2"),
    ],
)  # fmt: skip
def test_two_outputs_are_one(here, first, second):
    with pytest.raises(InputError, match=r"--verdicts and -o name the same file.*each output needs a file of its own"):
        keep_apart([], [NamedPath("-o", first), NamedPath("--verdicts", second)])
    assert sorted(os.listdir("folder")) == []


def test_what_differs_is_let_pass(here):
    keep_apart(
        [NamedPath("IN", "file"), NamedPath("--sad", "none"), NamedPath("--model", "file")],
        [
            NamedPath("-o", "new"),
            NamedPath("--a", "folder/new"),
            NamedPath("--b", "none"),
            NamedPath("--c", "no/such/folder"),
        ],
    )
    keep_apart([NamedPath("IN", "a\0b"), NamedPath("IN", "folder")], [NamedPath("-o", "a\0b"), NamedPath("-o", "")])


@pytest.mark.parametrize("name", ["pipe", "/dev/null", "/dev/full"])
def test_pipes_and_devices_may_repeat(here, name):
    keep_apart(
        [NamedPath("IN", name), NamedPath("--sad", name)], [NamedPath("-o", name), NamedPath("--verdicts", name)]
    )


def test_a_standard_stream_has_one_user():
    with pytest.raises(InputError, match=r"^-: IN and --sad both read standard input: only one can$"):
        keep_apart([NamedPath("IN", "-"), NamedPath("--sad", "-")], [])
    with pytest.raises(InputError, match="IN and --sad both read standard input"):
        keep_apart([NamedPath("IN", "/dev/stdin"), NamedPath("--sad", "-")], [])
    with pytest.raises(InputError, match="FILE would twice read standard input"):
        keep_apart([NamedPath("FILE", "-"), NamedPath("FILE", "-")], [])
    with pytest.raises(InputError, match="-o and --verdicts both write standard output"):
        keep_apart([], [NamedPath("-o", "-"), NamedPath("--verdicts", "/dev/stdout")])
    keep_apart([NamedPath("IN", "-")], [NamedPath("-o", "-")])


def test_descriptors_by_other_names(here):
    read, write = os.pipe()
    try:
        os.symlink(f"/dev/fd/{write}", "there")
        assert descriptor(f"/dev/fd/{write}") == descriptor(f"/proc/self/fd/{write}") == descriptor("there") == write
    finally:
        os.close(read)
        os.close(write)
    assert descriptor("/dev/stdout") == 1
    assert descriptor("/dev/stdin") == 0
    for other in ("file", "link", "none", "/dev/null", "/proc/self/status", "", "a\0b", "/dev/fd"):
        assert descriptor(other) is None


CHILD = """
import sys
from espsim.io.places import NamedPath, is_standard_output, keep_apart
from espsim.core.errors import InputError
print([is_standard_output(path) for path in sys.argv[1:]], file=sys.stderr)
try:
    keep_apart([NamedPath("IN", "file")], [NamedPath("-o", "-")])
    keep_apart([NamedPath("IN", "-")], [NamedPath("-o", "file")])
except InputError as error:
    print(error, file=sys.stderr)
"""


def child(paths, **streams):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *paths], stderr=subprocess.PIPE, text=True, check=True, **streams
    )
    return done.stderr.splitlines()


def test_standard_output_that_is_a_file(here):
    with open("out", "wb") as out:
        said = child(["-", "/dev/stdout", "out", "file"], stdout=out)
    assert said == ["[True, True, True, False]"]
    with open("file", "ab") as out:
        said = child(["file", "hard"], stdout=out)
    assert said == [
        "[True, True]",
        "-: -o and IN name the same file, which is file too: an output never replaces an input",
    ]
    with open("file", "rb") as file:
        said = child([], stdin=file, stdout=subprocess.DEVNULL)
    assert said[1].startswith("file: -o and IN name the same file, which is standard input too")


def test_dev_null_is_no_standard_output(here):
    assert child(["/dev/null", "/dev/full"], stdout=subprocess.DEVNULL) == ["[False, False]"]
    assert not is_standard_output("none")
