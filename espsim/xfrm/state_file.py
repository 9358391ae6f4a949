"""A namespace in a file: a first line with the length and the hash of the rest, then JSON.

The file is written under another name and then renamed, so it is whole or not there. Only its owner can read it,
because it holds keys. A file that was cut short or changed by hand is refused.

What this does not do: save fragments and IP-TFS packets that wait.
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
    """A place to save to. InputError where nothing can be written there, before anything else is done."""
    return OutputFile(path, private=True)


def save_netns(netns: Netns, output: OutputFile) -> None:
    """Write a namespace to a file from `open_state`, whole or not at all. InputError: the disk is full."""
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
    """The namespace of a file. None: there is no such file. InputError: it is cut short, or not a saved state.

    `kernel`, `options` and `seed`, where given, replace the saved ones.
    """
    read = _read(path)
    if read is None:
        return None
    head, body = read
    found = _HEAD.fullmatch(head)
    if found is None:
        raise InputError("not a saved state: its first line is another", where=path, line=1)
    size = int(found[1])
    if len(body) != size:
        cut = f"cut short: {len(body)} bytes of {size}"
        what = cut if len(body) < size else f"longer than it was written: {size} bytes"
        raise InputError(f"the saved state is {what}", where=path)
    if hashlib.sha256(body).hexdigest() != found[2].decode():
        raise InputError("the saved state was changed after it was written", where=path)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("not a saved state: what follows its first line is not JSON", where=path) from None
    try:
        return unpack(values, kernel=kernel, options=options, seed=seed)
    except InputError as error:
        raise InputError(f"not a saved state of this version of espsim: {error.what}", where=path) from None


def _read(path: str) -> tuple[bytes, bytes] | None:
    """The first line, and of the rest at most a little more than it states: `/dev/zero` has no end."""
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
