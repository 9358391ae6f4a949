"""Where machine code is kept: one folder a key, in the user's cache folder.

    $NUMBA_CACHE_DIR/espsim-kernels/KEY                    where NUMBA_CACHE_DIR is set
    $XDG_CACHE_HOME/espsim/kernels/KEY                     else; $HOME/.cache where XDG_CACHE_HOME is not set
    /tmp/espsim-UID/KEY                                    where that is not there, not ours, or cannot be written

A file of the cache is code that this process will run. So a folder must belong to the user who runs it, and no one else
may write in it: root with another user's HOME keeps nothing there and takes nothing from there. A folder that the user
names in NUMBA_CACHE_DIR is used as it is.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import re
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from espsim.jit import sources
from espsim.jit.key import key

KEPT = 8
"""How many folders of other keys stay, the ones used last. A process that loses its folder compiles again."""

_KEY = re.compile(r"[0-9a-f]{32}")
_said: set[str] = set()


def say(kind: str, text: str) -> None:
    """One line on standard error, once a process for each kind."""
    if kind not in _said and sys.stderr is not None:
        _said.add(kind)
        with contextlib.suppress(OSError, ValueError):  # closed, or full: the work goes on
            sys.stderr.write(f"espsim: {text}\n")
            sys.stderr.flush()


def tell_wait() -> None:
    """Explain the wait to a person at a terminal: kernels are being compiled. Programs get no such line."""
    if sys.stderr is not None and sys.stderr.isatty():
        say(
            "wait",
            "compiling kernels for this machine, once after an installation or upgrade: 10 to 20 seconds",
        )


@functools.cache
def folder() -> Path | None:
    """This process's folder, made and tried; None where nothing can be kept. Old keys are cleaned up."""
    name = key()
    if name is None:
        say("folder", "the source of compiled code cannot be read: what is compiled is not kept for the next run")
        return None
    if not sources.unchanged():
        say("folder", "espsim was changed while it started: what is compiled is not kept")
        return None
    wanted, reason = _wanted()
    if wanted is not None:
        try:
            return _opened(wanted, name, trusted=bool(os.environ.get("NUMBA_CACHE_DIR")))
        except OSError as error:
            reason = f"{wanted} cannot be used ({error.strerror or error})"
    return _private(name, reason)


def _wanted() -> tuple[Path | None, str]:
    """The folder of all keys, or None and why there is none."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return Path(named).absolute() / "espsim-kernels", ""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):  # the specification: a relative path is ignored
        return Path(cache) / "espsim" / "kernels", ""
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            return None, "there is no home folder"
    if not os.path.isdir(home):
        return None, f"the home folder {home} is not there"
    return Path(home) / ".cache" / "espsim" / "kernels", ""


def _private(name: str, reason: str) -> Path | None:
    """A folder of the user's own among the temporary files; where its name is taken, one for this process alone."""
    try:
        base = Path(tempfile.gettempdir()) / f"espsim-{os.geteuid()}"
        try:
            found = _opened(base, name)
        except OSError:
            base = Path(tempfile.mkdtemp(prefix="espsim-"))
            atexit.register(_remove, base, os.getpid())
            found = _opened(base, name)
    except OSError as error:
        say("folder", f"{reason}, nor can a temporary folder ({error.strerror or error}): each run compiles again")
        return None
    say("folder", f"{reason}: compiled code is kept in {base}")
    return found


def _opened(base: Path, name: str, *, trusted: bool = False) -> Path:
    """The folder of one key under `base`, made if need be and tried. Raises OSError."""
    if not trusted:
        _check_root(base.parent)
    base.parent.mkdir(parents=True, exist_ok=True)
    found = base / name
    for path in (base, found):
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            if path is found:
                _clean(base, found)
        if not trusted:
            _check_owner(path)
    with tempfile.TemporaryFile(dir=found):
        os.utime(found)  # the time of its last use
    return found


def _check_owner(path: Path) -> None:
    """Raises PermissionError where another user owns or may write a folder."""
    entry = path.lstat()
    if not stat.S_ISDIR(entry.st_mode) or entry.st_uid != os.geteuid() or entry.st_mode & 0o022:
        raise PermissionError(1, "it is not a folder of this user alone")


def _check_root(path: Path) -> None:
    """Raises PermissionError where root would make folders in another user's home (sudo may keep HOME)."""
    while not path.exists():
        path = path.parent
    if os.geteuid() == 0 and path.stat().st_uid != 0:
        raise PermissionError(1, f"{path} is another user's")


def _clean(base: Path, ours: Path) -> None:
    """Remove the folders of other keys, but those used last."""
    with contextlib.suppress(OSError):
        others = [path for path in base.iterdir() if _KEY.fullmatch(path.name) and path != ours]
        others.sort(key=lambda path: path.lstat().st_mtime, reverse=True)
        for path in others[KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


def _remove(base: Path, pid: int) -> None:
    """Remove the folder at the end of the process that made it, not of a forked worker."""
    if os.getpid() == pid:
        shutil.rmtree(base, ignore_errors=True)
