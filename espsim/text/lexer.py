r"""Text to lines, and lines to words.

A line of commands may go on on the next one, after a backslash at its end; a line of `ip -o` has a backslash between
its rows. Words may stand in shell quotes; `#` starts a comment at the start of a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from espsim.text.pieces import ONELINE

MAX_LINE = 65536
"""Characters. An SA of a window of 4096 takes about two thousand."""

_WORD = re.compile(r"""\s++|(\#.*)|((?:[^\s'"\\]++|\\.|'[^']*+'|"(?:[^"\\]++|\\.)*+")++)""", re.DOTALL)
_PIECE = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_QUOTED = re.compile(r"""'[^'"]+'|"[^'"]+\"""")
_ESCAPED = re.compile(r'\\([\\"$`])')


class Style(Enum):
    """How an SA is written."""

    COMMAND = "command"  # [ip] [-options] xfrm state add|update ID ...
    BARE = "bare"  # src A dst B proto esp spi X ...: the same words without the command
    DUMP = "dump"  # src A dst B, then rows: what `ip xfrm state` prints; with -o one line, cut by `\`
    SETKEY_DUMP = "setkey -D"  # A B, then rows
    SETKEY_ADD = "setkey -c"  # add A B esp X ... ;
    ESP_SA = "esp_sa"  # a row of Wireshark's table
    SECRETS = "secrets"  # the same in a capture's secrets block

    @property
    def printed(self) -> bool:
        """Whether it is what a system printed of its SAs, not what someone asks of it."""
        return self in (Style.DUMP, Style.SETKEY_DUMP, Style.ESP_SA, Style.SECRETS)

    @property
    def typed(self) -> bool:
        """Whether a user wrote it in iproute2's words: then a mistake in it is an error."""
        return self in (Style.COMMAND, Style.BARE)


class Word(NamedTuple):
    """One word without its quotes. `line` counts from 1; `row` tells a dump's lines apart, though -o join them."""

    text: str
    line: int
    row: int


class Line(NamedTuple):
    """One line with its continuations. `number` is that of the first."""

    text: str
    number: int
    rows: list[tuple[str, int]]
    oneline: bool

    def words(self, text: str | None = None) -> list[Word]:
        """The words, or those of `text`, an end of the line."""
        if text is not None and len(self.rows) == 1:
            return words_of(text, self.number, self.number)
        return [word for n, (row, at) in enumerate(self.rows) for word in self._row(row, at, n)]

    def _row(self, row: str, at: int, n: int) -> list[Word]:
        if self.oneline:
            return [Word(word, at, self.number + n) for word in row.split()]
        return words_of(row, at, self.number)


@dataclass(slots=True, repr=False)
class Entry:
    """The words of one SA. `verb` is add, update or dump. It has no repr: there are keys in it.

    `commented`: a lone # is before the command, which is a comment, or the prompt of root. `text` is what the forms of
    setkey and Wireshark are read from.
    """

    style: Style
    verb: str
    line: int
    words: list[Word]
    commented: bool = False
    text: str = ""


def shown(text: str) -> str:
    """A word as an error may show it: what could be (a part of) a key is told by its length alone.

    Keys are 16 bytes and more; 15 plain characters that are not a run of hex digits can't be one.
    """
    plain = len(text) <= 15 and text.isascii() and text.isprintable()
    if plain and not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{6,}", text):
        return repr(text)
    return f"of {len(text)} characters"


def logical_lines(text: str, first: int) -> Iterator[Line]:
    """The lines of a text whose first line has the number `first`, each with what continues it."""
    pending: list[tuple[str, int]] = []
    for number, line in enumerate(text.split("\n"), first):
        if not pending and ONELINE.search(line):
            yield Line(line, number, [(row, number) for row in line.split("\\")], True)
            continue
        if line.endswith("\\") and (len(line) - len(line.rstrip("\\"))) % 2 == 1:
            pending.append((line[:-1], number))
            continue
        pending.append((line, number))
        yield Line(line if len(pending) == 1 else " ".join(row for row, _ in pending), pending[0][1], pending, False)
        pending = []
    if pending:
        yield Line(" ".join(row for row, _ in pending), pending[0][1], pending, False)


def words_of(line: str, number: int, row: int) -> list[Word]:
    """The words of a line as a shell has them; where a quote is not closed, the words as they are."""
    plain = _plain_words(line)
    if plain is not None:
        return [Word(w, number, row) for w in plain]
    words = []
    at = 0
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            return [Word(w, number, row) for w in line.split()]
        if found[2] is not None:
            words.append(Word(_unquote(found[2]), number, row))
        at = found.end()
    return words


def _plain_words(line: str) -> list[str] | None:
    """The words of a line whose quotes each hold one word and nothing odd, as 'rfc4106(gcm(aes))'; None: not so."""
    if "\\" in line or "#" in line:
        return None
    words = line.split()
    if "'" in line or '"' in line:
        for n, word in enumerate(words):
            if "'" in word or '"' in word:
                if _QUOTED.fullmatch(word) is None:
                    return None
                words[n] = word[1:-1]
    return words


def _unquote(word: str) -> str:
    return "".join(
        single + _ESCAPED.sub(r"\1", double) + escaped + bare for single, double, escaped, bare in _PIECE.findall(word)
    )
