"""Machine code on disk: kept, found again, and compiled again where a file or the folder is not what it should be."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import pytest

from espsim.jit import cache, sources
from espsim.jit import folder as places
from espsim.jit.compiling import kernel

BYTES = np.arange(10, dtype=np.uint8)


def total(values):
    count = 0
    for value in values:
        count += value
    return count


@pytest.fixture
def where(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    monkeypatch.setattr(places, "_said", set())
    return tmp_path


def run():
    """What a new process does: the answer, and how often the machine code came from a file."""
    fresh: Any = kernel(total)
    assert fresh(BYTES) == 45
    return sum(fresh.stats.cache_hits.values())


def the_file(where):
    (path,) = where.glob("*.kernel")
    return path


def test_code_is_kept_and_found(where, capsys):
    assert [run(), run()] == [0, 1]
    assert the_file(where).name.startswith("test_cache.total-")
    assert os.listdir(where) == [the_file(where).name]
    assert capsys.readouterr() == ("", "")


def test_another_type_is_another_file(where):
    run()
    assert kernel(total)(BYTES.astype(np.int64)) == 45
    assert len(list(where.glob("*.kernel"))) == 2
    assert run() == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
    ],
    ids=["empty", "head", "half", "last byte", "longer", "one bit"],
)
def test_a_damaged_file_is_compiled_again(where, capsys, damage):
    run()
    path = the_file(where)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert run() == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert str(path) in said[0]
    assert said[0].endswith("(cut or damaged); compiling it again")
    assert run() == 1, "the file is whole again"


def test_a_file_under_another_kernels_name_is_not_run(where, capsys):
    run()
    kernel(total)(BYTES.astype(np.int64))
    one, other = where.glob("*.kernel")
    one.write_bytes(other.read_bytes())
    other.write_bytes(one.read_bytes())
    fresh = kernel(total)
    assert (fresh(BYTES), fresh(BYTES.astype(np.int64))) == (45, 45)
    assert "of another kernel" in capsys.readouterr().err


def test_a_file_that_cannot_be_read(where, capsys):
    run()
    path = the_file(where)
    path.unlink()
    path.mkdir()
    assert run() == 0
    assert len(capsys.readouterr().err.splitlines()) == 2, "it could not be read, and could not be written"


@pytest.mark.parametrize("call", ["write", "replace"])
def test_a_full_disk(where, capsys, monkeypatch, call):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "replace":
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(tempfile, "mkstemp", full)
    assert [run(), run()] == [0, 0]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "compiled code cannot be kept (No space left on device)" in said[0]
    assert os.listdir(where) == []


def test_a_folder_that_was_cleaned_up_meanwhile(where, monkeypatch, capsys):
    inner = where / "key"
    monkeypatch.setattr(cache, "folder", lambda: inner)
    assert [run(), run()] == [0, 1]
    assert capsys.readouterr().err == ""


def test_nothing_is_kept_of_sources_that_changed_during_the_run(where, monkeypatch, capsys):
    monkeypatch.setattr(sources, "unchanged", lambda: False)
    assert [run(), run()] == [0, 0]
    assert os.listdir(where) == []
    assert "espsim was changed while it ran" in capsys.readouterr().err


def test_nothing_is_kept_of_a_function_that_closes_over_something(where):
    for step in (1, 2):

        def add(values):
            return values[0] + step  # noqa: B023 - the point of it

        assert kernel(add)(BYTES) == step
    assert os.listdir(where) == []


def test_what_the_dispatcher_asks_of_a_cache(where):
    run()
    fresh: Any = kernel(total)
    fresh(BYTES)
    assert fresh.stats.cache_path == str(where)
    fresh.recompile()
    assert fresh(BYTES) == 45
    assert sum(fresh.stats.cache_misses.values()) == 1
    fresh._cache.disable()
    assert fresh._cache.cache_path is None


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from espsim.jit.compiling import kernel
import test_cache
test_cache.BYTES = np.arange(10, dtype=np.uint8)
print(test_cache.run())
"""


def test_code_is_loaded_without_numbas_compiler(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    script = SCRIPT.format(here=os.path.dirname(__file__)) + 'print("numba.np.linalg" in sys.modules)\n'
    command = [sys.executable, "-c", script]
    done = [subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert done == ["0\nTrue\n", "1\nFalse\n"]


@pytest.mark.long
def test_two_processes_compile_at_once(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT.format(here=os.path.dirname(__file__))]
    both = [subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=100) for process in both]
    assert all(out in ("0\n", "1\n") and err == "" for out, err in answers), answers
    (path,) = tmp_path.rglob("*.*")
    assert path.suffix == ".kernel"
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout == "1\n"
