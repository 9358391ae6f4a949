"""A namespace in a file: one line that says how long and what the rest is, then JSON.

It is written beside its place and renamed into it, readable by its owner alone, because there are keys in it. A file
that was cut short, or changed by hand, is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection

from espsim.core.errors import InputError
from espsim.io.atomic import OutputFile
from espsim.netlink.netns import Netns
from espsim.netlink.saved import pack, unpack

_FORMAT = "espsim xfrm state 1"
_HEAD = re.compile(rf"{_FORMAT} ([0-9]{{1,10}}) ([0-9a-f]{{64}})\n".encode())
_LONGEST_HEAD = 200
_PIECE = 1 << 20


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
    read = _read(path)
    if read is None:
        return None
    head, body = read
    found = _HEAD.fullmatch(head)
    if found is None:
        raise InputError("no saved state: its first line is not one's", where=path, line=1)
    size = int(found[1])
    if len(body) != size:
        cut = f"cut short: {len(body)} bytes of {size}"
        what = cut if len(body) < size else f"longer than it was written: {size} bytes"
        raise InputError(f"the saved state is {what}", where=path)
    if hashlib.sha256(body).hexdigest() != found[2].decode():
        raise InputError("the saved state is not as it was written", where=path)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("no saved state: what follows its first line is not JSON", where=path) from None
    try:
        return unpack(values, kernel=kernel, options=options, seed=seed)
    except InputError as error:
        raise InputError(f"no saved state of this version of espsim: {error.what}", where=path) from None


def _read(path: str) -> tuple[bytes, bytes] | None:
    """The first line, and of the rest not much more than it says: `/dev/zero` has no end."""
    try:
        if os.path.isdir(path):
            raise InputError("cannot be read: Is a directory", where=path)
        with open(path, "rb") as file:
            head = file.readline(_LONGEST_HEAD)
            found = _HEAD.fullmatch(head)
            body = bytearray()
            while found and len(body) <= int(found[1]) and (piece := file.read(_PIECE)):
                body += piece
            return head, bytes(body)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be read: {reason}", where=path) from None
