"""A namespace in a file: one line that says how long and what the rest is, then JSON.

It is written beside its place and renamed into it, readable by its owner alone, because there are keys in it. A file
that was cut short, or changed by hand, is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection

from espsim.core.errors import EspsimError, InputError
from espsim.io.atomic import OutputFile
from espsim.sad.netns import Netns
from espsim.sad.saved import pack, unpack

_FORMAT = "espsim xfrm state 1"


def open_state(path: str) -> OutputFile:
    """A place to save to. InputError, before anything is done, where nothing can be written there."""
    return OutputFile(path, private=True)


def save_netns(netns: Netns, output: OutputFile) -> None:
    """Put a namespace into a file that `open_state` opened, whole or not at all. InputError: the disk is full."""
    body = json.dumps(pack(netns), indent=1).encode() + b"\n"
    digest = hashlib.sha256(body).hexdigest()
    try:
        output.file.write(f"{_FORMAT} {len(body)} {digest}\n".encode())
        output.file.write(body)
        output.commit()
    finally:
        output.discard()


def load_netns(
    path: str, *, kernel: str | None = None, options: Collection[str] | None = None, seed: int | None = None
) -> Netns | None:
    """The namespace of a file, None where there is no such file. InputError: it is cut short, or no such thing.

    `kernel`, `options` and `seed` put others in the place of its own.
    """
    data = _read(path)
    if data is None:
        return None
    head, _, body = data.partition(b"\n")
    words = head.decode("utf-8", "replace").rsplit(" ", 2)
    if len(words) != 3 or words[0] != _FORMAT or not words[1].isdecimal():
        raise InputError("no saved state: its first line is not one's", where=path, line=1)
    if len(body) != int(words[1]):
        what = "cut short" if len(body) < int(words[1]) else "longer than it was written"
        raise InputError(f"the saved state is {what}: {len(body)} bytes of {words[1]}", where=path)
    if hashlib.sha256(body).hexdigest() != words[2]:
        raise InputError("the saved state is not as it was written", where=path)
    try:
        return unpack(json.loads(body), kernel=kernel, options=options, seed=seed)
    except (ValueError, TypeError, KeyError, AttributeError, EspsimError):
        raise InputError("no saved state of this version of espsim", where=path) from None


def _read(path: str) -> bytes | None:
    try:
        if os.path.isdir(path):
            raise InputError("cannot be read: Is a directory", where=path)
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be read: {reason}", where=path) from None
