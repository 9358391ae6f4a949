"""Which paths name one place: an output never replaces an input, or another output.

Regular files are compared by device and inode, through symbolic and hard links; places where no file is yet by their
folder and name. Pipes and devices hold nothing that could be lost, so they may be named twice. Nothing is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from espsim.core.errors import InputError
from espsim.core.inputs import STANDARD

_IN, _OUT = 0, 1
_MOST_LINKS = 40  # as the kernel follows


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A path and the option (or the argument's name) that gave it."""

    option: str
    path: str


def keep_apart(inputs: Sequence[NamedPath], outputs: Sequence[NamedPath]) -> None:
    """InputError where an output is an input, two outputs are one, or two places are one standard stream."""
    _refuse_twice([place for place in inputs if place.path == STANDARD or descriptor(place.path) == _IN], "read")
    written = [place for place in outputs if place.path == STANDARD or descriptor(place.path) == _OUT]
    if any(place.path == STANDARD for place in written):
        _refuse_twice(written, "write")
    read = {_file(place.path, _IN): place for place in reversed(inputs)}
    taken: dict[object, NamedPath] = {}
    for place in outputs:
        found = _file(place.path, _OUT)
        place_of_new = found or _new(place.path)
        other = (read.get(found) if found else None) or (taken.get(place_of_new) if place_of_new else None)
        if other is not None:
            raise _one(place, other, other not in outputs)
        taken[place_of_new] = place


def is_standard_output(path: str) -> bool:
    """Whether output there would mix with what the command prints: `-`, /dev/stdout, the same pipe or terminal."""
    if path == STANDARD or descriptor(path) == _OUT:
        return True
    try:
        found, standard = os.stat(path), os.fstat(_OUT)
        null = os.stat(os.devnull)
    except (OSError, ValueError):
        return False
    return os.path.samestat(found, standard) and not os.path.samestat(found, null)


def descriptor(path: str) -> int | None:
    """N where a path is another name of this process's /dev/fd/N, as /dev/stdout is of /dev/fd/1; else None."""
    mine = {f"/proc/{os.getpid()}/fd", f"/proc/{os.getpid()}/task/{os.getpid()}/fd"}
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        try:
            folder = os.path.realpath(folder or os.curdir)
            if folder in mine:
                return int(name)
            path = os.path.join(folder, os.readlink(os.path.join(folder, name)))
        except (OSError, ValueError):
            return None
    return None


def _file(path: str, standard: int) -> tuple[int, int] | None:
    """Device and inode of a regular file; None for anything else."""
    try:
        found = os.fstat(standard) if path == STANDARD else os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _new(path: str) -> tuple[int, int, str] | None:
    """The folder and the name of a file that is to be made; None where something is there, or it can't be made."""
    try:
        if path == STANDARD or os.path.exists(path):
            return None
        folder, name = os.path.split(os.path.realpath(path))
        found = os.stat(folder)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, name


def _refuse_twice(places: Sequence[NamedPath], verb: str) -> None:
    if len(places) > 1:
        first, second = places[0].option, places[1].option
        which = "input" if verb == "read" else "output"
        both = f"{first} and {second} both" if first != second else f"{first} would twice"
        raise InputError(f"{both} {verb} standard {which}: only one can", where=places[1].path)


def _one(output: NamedPath, other: NamedPath, replaces: bool) -> InputError:
    name = f"standard {'input' if replaces else 'output'}" if other.path == STANDARD else other.path
    also = "" if other.path == output.path else f", which is {name} too"
    what = "an output never replaces an input" if replaces else "each output needs a file of its own"
    return InputError(f"{output.option} and {other.option} name the same file{also}: {what}", where=output.path)
