r"""Text to entries: which words belong to one SA, and on which line each stands.

Three forms may be mixed in one file:

    command   [ip] [-options] xfrm state add|update ID ...     one line, or several joined by a backslash at the end
    bare      src A dst B proto esp spi X ...                  the same words without the command
    dump      src A dst B, then indented lines                 what `ip xfrm state` prints; with -o one line, cut by `\`

Words may stand in shell quotes; `#` starts a comment at the start of a word; blank lines count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from espsim.core.errors import InputError

MAX_LINE = 65536
"""Characters. An SA of a window of 4096 takes about two thousand."""

_WORD = re.compile(r"""\s++|(\#.*)|((?:[^\s'"\\]++|\\.|'[^']*+'|"(?:[^"\\]++|\\.)*+")++)""", re.DOTALL)
_PIECE = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_ESCAPED = re.compile(r'\\([\\"$`])')
ONELINE = re.compile(r"\\\s+proto\s")
"""What a line of `ip -o` has in it: there a backslash ends a row, not a line."""


class Form(Enum):
    """How an SA is written."""

    COMMAND = "command"
    BARE = "bare"
    DUMP = "dump"


class Word(NamedTuple):
    """One word without its quotes. `line` counts from 1; `row` tells a dump's lines apart, though -o join them."""

    text: str
    line: int
    row: int


@dataclass(slots=True, repr=False)
class Entry:
    """The words of one SA. `verb` is add, update or dump. It has no repr: there are keys in it."""

    form: Form
    verb: str
    line: int
    words: list[Word]


def shown(text: str) -> str:
    """A word as an error may show it: what could be (a part of) a key is told by its length alone.

    Keys are 16 bytes and more; 15 plain characters that are not a run of hex digits can't be one.
    """
    plain = len(text) <= 15 and text.isascii() and text.isprintable()
    if plain and not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{6,}", text):
        return repr(text)
    return f"of {len(text)} characters"


def split_entries(text: str, where: str | None) -> Iterator[Entry]:
    """The SAs of a text, in its order. InputError with the line for what belongs to none, or can't be text at all."""
    entry: Entry | None = None
    for words, oneline in _logical_lines(text, where):
        if not words:
            continue
        first = words[0].text
        if first in ("ip", "xfrm", "sudo"):
            if entry is not None:
                yield entry
            yield _command(words, where)
            entry = None
        elif first in ("src", "dst"):
            if entry is not None:
                yield entry
            header = len(words) == 4 and words[2].text in ("src", "dst")
            entry = Entry(Form.DUMP if oneline or header else Form.BARE, "dump", words[0].line, words)
            if entry.form is Form.BARE:
                entry.verb = "add"
        elif entry is not None:
            entry.words += words
        else:
            raise InputError(f"unknown word {shown(first)}: an SA starts with `src`", where=where, line=words[0].line)
    if entry is not None:
        yield entry


def _logical_lines(text: str, where: str | None) -> Iterator[tuple[list[Word], bool]]:
    """Words of a line with its continuations, and whether `ip -o` wrote it."""
    pending: list[Word] = []
    row = 0
    joined = False
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.rstrip("\r")
        _check(line, where, number)
        if not joined:
            row += 1
        if ONELINE.search(line):
            pieces = line.split("\\")
            yield [Word(w, number, row + i) for i, piece in enumerate(pieces) for w in piece.split()], True
            row += len(pieces)
            continue
        joined = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        pending += _words(line[:-1] if joined else line, number, row, where)
        if not joined:
            yield pending, False
            pending = []
    if joined:
        yield pending, False


def _check(line: str, where: str | None, number: int) -> None:
    if len(line) > MAX_LINE:
        raise InputError(f"a line of {len(line)} characters; {MAX_LINE} is the limit", where=where, line=number)
    if "\0" in line:
        raise InputError("a NUL byte: this is no text", where=where, line=number)


def _words(line: str, number: int, row: int, where: str | None) -> list[Word]:
    if not any(c in line for c in "'\"\\#"):
        return [Word(w, number, row) for w in line.split()]
    words = []
    at = 0
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            raise InputError("a quote that nothing closes", where=where, line=number)
        if found[2] is not None:
            words.append(Word(_unquote(found[2]), number, row))
        at = found.end()
    return words


def _unquote(word: str) -> str:
    return "".join(
        single + _ESCAPED.sub(r"\1", double) + escaped + bare for single, double, escaped, bare in _PIECE.findall(word)
    )


_VERBS = (
    ("add", "add"), ("update", "update"), ("allocspi", ""), ("delete", ""), ("deleteall", ""), ("delall", ""),
    ("list", ""), ("show", ""), ("lst", ""), ("get", ""), ("flush", ""), ("count", ""), ("help", ""),
)  # fmt: skip
_OPTIONS_WITH_VALUE = ("-netns", "-family", "-loops", "-rcvbuf", "-batch")


def _command(words: list[Word], where: str | None) -> Entry:
    """The head of a command line, with iproute2's abbreviations (`ip x s a`): the first that a word is a prefix of."""
    at = 0

    def word() -> Word | None:
        return words[at] if at < len(words) else None

    def refuse(what: str) -> InputError:
        return InputError(what, where=where, line=words[min(at, len(words) - 1)].line)

    if words[0].text == "sudo":
        at = 1
    if (here := word()) and here.text == "ip":
        at += 1
        while (here := word()) and here.text.startswith("-"):
            option = here.text.replace("--", "-", 1)
            takes = len(option) > 1 and option != "-r" and any(o.startswith(option) for o in _OPTIONS_WITH_VALUE)
            at += 2 if takes else 1
    for name, others in (("xfrm", ("xfrm",)), ("state", ("state", "sa"))):
        here = word()
        if here is None or not here.text or not any(o.startswith(here.text) for o in others):
            raise refuse(f"only `ip xfrm state add` and `update` make SAs; expected `{name}`")
        at += 1
    here = word()
    verb = next((v for full, v in _VERBS if here is not None and here.text and full.startswith(here.text)), "")
    if not verb:
        raise refuse("only `ip xfrm state add` and `ip xfrm state update` make SAs")
    return Entry(Form.COMMAND, verb, words[0].line, words[at + 1 :])
