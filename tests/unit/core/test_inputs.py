"""Files and `-`: the bytes that come, in which pieces, and the line that a failure gives."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from espsim.core.errors import InputError
from espsim.core.inputs import open_input, read_pieces, read_whole


def test_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abcdefgh")
    with open_input(str(path)) as file:
        assert file.read() == b"abcdefgh"
    assert list(read_pieces(str(path), 3)) == [b"abc", b"def", b"gh"]
    assert read_whole(str(path), most=8) == b"abcdefgh"


def test_more_than_allowed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abcdefgh")
    with pytest.raises(InputError, match="is longer than 7 bytes"):
        read_whole(str(path), most=7)
    with pytest.raises(InputError, match="/dev/zero: is longer than 1,000 bytes"):
        read_whole("/dev/zero", most=1000)


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "No such file or directory"), (".", "Is a directory"), ("a\0b", "no file has such a name")],
)
def test_unreadable(tmp_path, name, said):
    for function in (open_input, lambda path: read_whole(path, most=9)):
        with pytest.raises(InputError, match=said):
            function(f"{tmp_path}/{name}")


def test_standard_input_in_memory(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abc")))
    with open_input("-") as file:
        assert file.read() == b"abc"


def test_no_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match=r"^-: cannot be read: standard input is closed$"):
        open_input("-")


CHILD = """
import sys
from espsim.core.inputs import open_input, read_pieces
print([piece.decode() for piece in read_pieces("-", 4)])
open_input("-").close()
print(sys.stdin.closed, sys.stdin.read())
"""


def test_standard_input_of_a_process():
    done = subprocess.run([sys.executable, "-c", CHILD], input="abcdef", capture_output=True, text=True, check=True)
    assert done.stdout == "['abcd', 'ef']\nFalse \n"
