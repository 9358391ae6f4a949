"""Where machine code is kept: the user's cache folder, or a private temporary one, and never another user's."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from espsim.jit import folder as places
from espsim.jit import sources

KEY = "0123456789abcdef" * 2
ROOT = os.geteuid() == 0
PACKAGE = Path(places.__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder of its own, a folder for temporary files, no other setting, and a key that is known."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(places, "key", lambda: KEY)
    monkeypatch.setattr(places, "_said", set())
    return tmp_path / "home"


def folder():
    """As the first call in a process."""
    return places.folder.__wrapped__()


def private(home):
    return home.parent / "tmp" / f"espsim-{os.geteuid()}" / KEY


def test_the_users_cache_folder(home, capsys):
    assert folder() == home / ".cache/espsim/kernels" / KEY
    assert folder().stat().st_mode & 0o777 == 0o700
    assert capsys.readouterr() == ("", "")


def test_xdg_cache_home(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert folder() == home / "elsewhere/espsim/kernels" / KEY
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert folder() == home / ".cache/espsim/kernels" / KEY


def test_numba_cache_dir_comes_first(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home / "named"))
    assert folder() == home / "named/espsim-kernels" / KEY
    assert os.listdir(home) == ["named"]


def test_no_home_in_the_environment_is_the_one_of_the_password_file(home, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir=str(home)))
    assert folder() == home / ".cache/espsim/kernels" / KEY


def no_home(home, monkeypatch):
    def unknown(_uid):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def home_missing(home, _monkeypatch):
    home.rmdir()


def file_in_the_way(home, _monkeypatch):
    (home / ".cache").write_text("")


def read_only(home, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/espsim")


def others_may_write(home, _monkeypatch):
    (home / ".cache/espsim/kernels").mkdir(parents=True)
    (home / ".cache/espsim/kernels").chmod(0o777)


def a_link(home, _monkeypatch):
    (home / ".cache/espsim").mkdir(parents=True)
    (home / ".cache/espsim/kernels").symlink_to(home)


@pytest.mark.parametrize("trouble", [no_home, home_missing, file_in_the_way, read_only, others_may_write, a_link])
def test_a_private_temporary_folder_and_one_line(home, monkeypatch, capsys, trouble):
    trouble(home, monkeypatch)
    assert folder() == private(home)
    assert folder() == private(home)
    assert private(home).parent.stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert re.fullmatch(f"espsim: .*: compiled code is kept in {private(home).parent}", said[0])


def test_a_temporary_folder_that_another_made_is_not_used(home, monkeypatch, capsys):
    home_missing(home, monkeypatch)
    private(home).mkdir(parents=True)
    private(home).parent.chmod(0o777)
    found = folder()
    assert found is not None
    assert found.parent != private(home).parent
    assert found.parent.stat().st_mode & 0o777 == 0o700
    places._remove(found.parent, os.getpid() + 1)
    assert found.exists(), "a worker does not remove it"
    places._remove(found.parent, os.getpid())
    assert not found.parent.exists()


def test_who_sits_at_a_terminal_is_told_once_what_the_silence_is(monkeypatch, capsys):
    monkeypatch.setattr(places, "_said", set())
    places.tell_wait()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    places.tell_wait()
    places.tell_wait()
    assert capsys.readouterr().err.startswith("espsim: compiling kernels for this machine, once")
    assert capsys.readouterr().err == ""


def test_nowhere_at_all(home, monkeypatch, capsys):
    home_missing(home, monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", "/proc/espsim")
    assert folder() is None
    assert "each run compiles again" in capsys.readouterr().err


def test_sources_that_cannot_be_read(home, monkeypatch, capsys):
    monkeypatch.setattr(places, "key", lambda: None)
    assert folder() is None
    assert "cannot be read" in capsys.readouterr().err


def test_sources_that_changed_while_the_process_started(home, monkeypatch, capsys):
    monkeypatch.setattr(sources, "unchanged", lambda: False)
    assert folder() is None
    assert "changed while it started" in capsys.readouterr().err


def test_old_keys_go_and_the_last_used_stay(home):
    base = home / ".cache/espsim/kernels"
    for n in range(12):
        (base / f"{n:032x}").mkdir(parents=True)
        (base / f"{n:032x}/x.kernel").write_text("")
        os.utime(base / f"{n:032x}", (1000 + n, 1000 + n))
    (base / "a user's own").mkdir()
    base.chmod(0o700)
    folder()
    left = {path.name for path in base.iterdir()}
    assert left == {f"{n:032x}" for n in range(4, 12)} | {KEY, "a user's own"}


@pytest.mark.skipif(not ROOT, reason="only root can be another user")
def test_root_keeps_nothing_in_another_users_home(home):
    os.chown(home, 65534, 65534)
    assert folder() == private(home)
    assert list(home.iterdir()) == []


AS_ANOTHER = """
import os, sys, numba, numpy as np
sys.path.insert(0, "lib")
from espsim.batch.inbound.trailer import judge_trailers as trailer
numba.njit(lambda x: x + 1)(np.zeros(1))  # loads the rest of numba, which may lie where only root may look
os.setgroups([]), os.setgid(65534), os.setuid(65534)
verdict, zero = np.zeros(1, np.uint8), np.zeros(1, np.int32)
trailer(verdict, zero.astype(np.int64), zero, verdict, zero, verdict.copy(), verdict.copy(), verdict.copy())
print(verdict[0] > 0, sum(trailer.stats.cache_hits.values()))
"""


@pytest.mark.long
@pytest.mark.skipif(not ROOT, reason="only root can be another user")
def test_another_user_with_a_read_only_installation():
    """Package and HOME belong to root; what is compiled lies in a folder of the user."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        shutil.copytree(PACKAGE / "espsim", top / "lib/espsim", ignore=shutil.ignore_patterns("__pycache__"))
        (top / "tmp").mkdir()
        (top / "tmp").chmod(0o1777)
        env = {"PATH": os.environ["PATH"], "HOME": name, "TMPDIR": str(top / "tmp")}
        for hits in (0, 1):
            command = [sys.executable, "-B", "-c", AS_ANOTHER]
            done = subprocess.run(command, cwd=top, env=env, capture_output=True, text=True, check=False)
            assert done.stdout == f"True {hits}\n", done.stderr
            assert done.stderr == (
                f"espsim: {name}/.cache/espsim/kernels cannot be used (Permission denied): "
                f"compiled code is kept in {top / 'tmp' / 'espsim-65534'}\n"
            )
