"""The captures and SADs that ship in the package (`espsim/samples/`), copied to where a user wants to try them."""

from __future__ import annotations

import os
from importlib import resources

from espsim.core.errors import InputError
from espsim.io.atomic import OutputFile


def write_samples(folder: str) -> list[str]:
    """Copy every sample into a folder, which is made where it is missing; the names of the files.

    InputError, before anything is written: the folder can't be made, or a file there holds something else.
    """
    shipped = resources.files("espsim") / "samples"
    files = {item.name: item.read_bytes() for item in shipped.iterdir() if item.is_file()}
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "no folder has such a name"
        raise InputError(f"the folder cannot be made: {reason}", where=folder) from None
    for name, data in files.items():
        path = os.path.join(folder, name)
        if os.path.lexists(path) and not _holds(path, data):
            raise InputError("a file of this name holds something else: name another folder", where=path)
    for name, data in files.items():
        output = OutputFile(os.path.join(folder, name))
        try:
            output.file.write(data)
            output.commit()
        finally:
            output.discard()
    return sorted(files)


def _holds(path: str, data: bytes) -> bool:
    """Whether a regular file has exactly these bytes."""
    try:
        if not os.path.isfile(path) or os.path.getsize(path) != len(data):
            return False
        with open(path, "rb") as file:
            return file.read() == data
    except OSError:
        return False
