r"""A text of any size in blocks. A block reaches from a line that starts an SA or a command to the next such line.

    file_pieces     bytes -> whole lines of plain text, a megabyte at a time
    blocks          whole lines -> blocks, each with the number of its first line

What terminals, mailers and Windows add to a paste is taken off here: carriage returns, colours, no-break spaces,
UTF-16. Bytes that are not UTF-8 stay as they are (surrogateescape): a key may have them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from espsim.core.errors import InputError
from espsim.core.inputs import read_pieces

_MAX_LINE = 1 << 20
MAX_BLOCK = 1 << 18
"""Characters after which a block is cut at a line, though none starts there: no SA is that long."""

_ADDR = r"(?=[0-9a-fA-F]*[.:])[0-9a-fA-F:.]{2,45}(?:%[\w.-]+)?(?:\[\d{1,5}\])?"
SETKEY_HEAD = re.compile(rf"[ \t]*({_ADDR})[ \t]+({_ADDR})[ \t]*")
"""The first line of an SA of `setkey -D`: source and destination, with ports where ESP is in UDP."""

START = re.compile(
    r"^[ \t>]*(?:(?:src|dst)[ \t]+[0-9a-fA-F:.]|(?:ip|xfrm|sudo)[ \t]|\"IPv[46]\","
    r"|add[ \t]+[^\n]*?[ \t](?:esp|ah|ipcomp)[ \t]" + rf"|{_ADDR}[ \t]+{_ADDR}[ \t]*$)",
    re.MULTILINE,
)
ONELINE = re.compile(r"\\\s*proto\s")
"""What marks a line of `ip -o`: in it a backslash ends a row and joins no lines."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>()][0-9A-B]?)")
_RETURNS = re.compile(r"\r+\n?")
_SPACES = {0xA0: " ", 0x202F: " ", 0x2007: " ", 0x200B: None, 0xFEFF: None}
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Block(NamedTuple):
    """Some whole lines; `line` is the number of the first."""

    text: str
    line: int


NOT_TEXT = "this is not text; is it a capture? Give the SAs or policies here"


def plain(text: str) -> str:
    """A text without what terminals and mailers add to it."""
    if "\r" in text:
        text = _RETURNS.sub("\n", text)
    if text.isascii():
        return _ESCAPES.sub("", text) if "\x1b" in text else text
    return _ESCAPES.sub("", text).translate(_SPACES)


def file_pieces(path: str) -> Iterator[str]:
    """The text of a file, or of standard input for `-`, in whole lines.

    InputError with the line for a NUL byte (not text) and for a line of more than a megabyte. InputError also where the
    file can't be read.
    """
    decoder: codecs.IncrementalDecoder | None = None
    line, held, wide = 1, "", False
    for data in _bytes(path):
        if decoder is None:
            wide = data[:2] in _MARKS
            decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8")(
                "replace" if wide else "surrogateescape"
            )
        nul = -1 if wide else data.find(b"\0")
        if nul >= 0:
            at = line + held.count("\n") + data.count(b"\n", 0, nul)
            raise InputError(f"a NUL byte: {NOT_TEXT}", where=path, line=at)
        held += decoder.decode(data, final=not data)
        cut = held.rfind("\n") + 1 if data else len(held)
        if not cut and len(held) > _MAX_LINE and "\r" in held:  # lines that end in a carriage return alone
            cut = held.rfind("\r", 0, -1) + 1
        if cut:
            piece = plain(held[:cut])
            yield piece
            line += piece.count("\n")
            held = held[cut:]
        if len(held) > _MAX_LINE:
            raise InputError("a line of more than a megabyte: this is not a dump of SAs", where=path, line=line)


def _bytes(path: str) -> Iterator[bytes]:
    """A file's bytes in pieces; the last piece is empty."""
    yield from read_pieces(path)
    yield b""


def text_pieces(text: str, where: str | None) -> Iterator[str]:
    """A text as one piece. InputError for a NUL."""
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError("a NUL byte: this is not text", where=where, line=line)
    yield plain(text)


def blocks(pieces: Iterable[str]) -> Iterator[Block]:
    """The blocks of a text. Lines before the first start are a block too. A block over MAX_BLOCK is cut at a line."""
    line, held = 1, ""
    for piece in pieces:
        held += piece
        starts = find_starts(held)
        for begin, end in zip([0, *starts], starts, strict=False):
            if end:
                text = held[begin:end]
                yield Block(text, line)
                line += text.count("\n")
        held = held[starts[-1] :] if starts else held
        if len(held) > MAX_BLOCK:
            cut = held.rfind("\n") + 1
            yield Block(held[:cut], line)
            line += held.count("\n", 0, cut)
            held = held[cut:]
    if held:
        yield Block(held, line)


def find_starts(text: str) -> list[int]:
    """Where blocks start. A line that continues the one before starts none (see `is_joined`)."""
    found = [match.start() for match in START.finditer(text)]
    return [at for at in found if not is_joined(text, at)] if "\\\n" in text else found


def is_joined(text: str, at: int) -> bool:
    """Whether the line that starts here continues the one before: that ends in a backslash and is not `ip -o`'s."""
    if text[max(0, at - 2) : at] != "\\\n":
        return False
    before = text[text.rfind("\n", 0, at - 1) + 1 : at - 1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1 and not ONELINE.search(before)
