"""The secrets that a capture contains, read before it is opened.

    secrets = read_secrets(path)            the blocks before the first frame
    with open_capture(path) as reader: ...  the capture from its start, also where it is a pipe

What was read of a pipe is kept for the next `open_input`, because a pipe can be read only once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from espsim.core.errors import InputError
from espsim.core.inputs import STANDARD, hand_on, open_input
from espsim.io.pcapng import SECTION_MAGIC, Pcapng
from espsim.io.secrets import MOST_SECRETS, SecretsBlock
from espsim.io.source import ByteSource

_MOST_KEPT = 2 * MOST_SECRETS
_BUFFER = 1 << 16


@dataclass(frozen=True, slots=True)
class Secrets:
    """ESP's secrets of a capture: `text` is rows of `esp_sa` of all `blocks` before the first frame, with keys.

    `faults`: why some blocks are missing from it. `comments`: those of the blocks.
    """

    text: str = field(repr=False)
    blocks: int
    faults: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()


def read_secrets(path: str) -> Secrets:
    """The secrets of a capture (`-`: standard input) before its first frame; none where it is not a pcapng.

    InputError: it can't be read, or it is damaged or cut before there is a secret.
    """
    raw = open_input(path, buffering=0)
    try:
        if raw.seekable():
            start = raw.tell()
            blocks = _blocks(io.BufferedReader(_Again(raw, path), _BUFFER), path)
            raw.seek(start)
            kept = b""
        else:
            again = _Again(raw, path, keep=True)
            blocks = _blocks(io.BufferedReader(again, _BUFFER), path)
            kept = bytes(again.kept)
    except BaseException:
        raw.close()
        raise
    if raw.seekable() and not (path == STANDARD and isinstance(raw, io.BytesIO)):
        raw.close()
    else:
        hand_on(path, raw, kept)
    return _joined(blocks)


def _joined(blocks: list[SecretsBlock]) -> Secrets:
    texts = [block.text.decode("utf-8", "surrogateescape") for block in blocks]
    text = "".join(t if t.endswith("\n") or not t else f"{t}\n" for t in texts)
    faults = tuple(block.fault for block in blocks if block.fault)
    return Secrets(text, len(blocks), faults, tuple(comment for block in blocks for comment in block.comments))


def _blocks(file: BinaryIO, path: str) -> list[SecretsBlock]:
    source = ByteSource(file, path)
    if source.read(4) != SECTION_MAGIC:
        return []  # the reader of its frames says whether it is a capture at all
    form = Pcapng(source, lambda _file, order: (order, True))  # its clocks are not needed
    form.room = MOST_SECRETS
    try:
        for _ in _until_frame(form):
            pass
    except InputError:
        if not form.secrets:
            raise
    return form.secrets


def _until_frame(form: Pcapng) -> Iterator[None]:
    for record in form.steps():
        if record is not None:
            return
        yield


class _Again(io.RawIOBase):
    """A file that is read again later; `kept` is what was read, where it is kept. Closing it closes nothing."""

    def __init__(self, raw: BinaryIO, path: str, *, keep: bool = False) -> None:
        super().__init__()
        self._path = path
        self._raw = raw
        self._keep = keep
        self.kept = bytearray()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """As the file."""
        return self._raw.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As the file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As the file."""
        return self._raw.tell()

    def readinto(self, buffer: object) -> int | None:
        """As the file. InputError where more would be kept than is sensible."""
        got = cast(io.RawIOBase, self._raw).readinto(buffer)  # type: ignore[arg-type]
        if self._keep and got:
            self.kept += memoryview(buffer)[:got]  # type: ignore[arg-type]
            if len(self.kept) > _MOST_KEPT:
                what = f"more than {_MOST_KEPT:,} bytes before the first frame: save it to a file first"
                raise InputError(what, where=self._path)
        return got
