r"""Text to lines, and lines to words.

A backslash at the end of a command line joins the next line to it. `ip -o` prints a state on one line, with a backslash
between its rows. Words may have shell quotes. A `#` at the start of a word starts a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from espsim.text.pieces import ONELINE

MAX_LINE = 65536
"""Characters. An SA with a window of 4096 takes about two thousand."""

_WORD = re.compile(r"""\s++|(\#.*)|((?:[^\s'"\\]++|\\.|'[^']*+'|"(?:[^"\\]++|\\.)*+")++)""", re.DOTALL)
_PIECE = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_QUOTED = re.compile(r"""'[^'"]+'|"[^'"]+\"""")
_ESCAPED = re.compile(r'\\([\\"$`])')


class Style(Enum):
    """The form in which an SA is written."""

    COMMAND = "command"  # [ip] [-options] xfrm state add|update ID ...
    BARE = "bare"  # src A dst B proto esp spi X ...: the same words without the command
    DUMP = "dump"  # src A dst B, then rows: what `ip xfrm state` prints; with -o one line, `\` between its rows
    SETKEY_DUMP = "setkey -D"  # A B, then rows
    SETKEY_ADD = "setkey -c"  # add A B esp X ... ;
    ESP_SA = "esp_sa"  # a row of Wireshark's table
    SECRETS = "secrets"  # a row in a capture's secrets block

    @property
    def printed(self) -> bool:
        """Whether a system printed it. Otherwise it asks a system for an SA."""
        return self in (Style.DUMP, Style.SETKEY_DUMP, Style.ESP_SA, Style.SECRETS)

    @property
    def typed(self) -> bool:
        """Whether a user wrote it in iproute2's words. A mistake in it is then an error, not a note."""
        return self in (Style.COMMAND, Style.BARE)


class Word(NamedTuple):
    """One word without its quotes. `line` counts from 1. `row` numbers a dump's rows, also where -o joins them."""

    text: str
    line: int
    row: int


class Line(NamedTuple):
    """One line with its continuations. `number` is the number of the first."""

    text: str
    number: int
    rows: list[tuple[str, int]]
    oneline: bool

    def words(self, text: str | None = None) -> list[Word]:
        """The words of the line, or of `text`, which is the rest of the line after a prompt."""
        if text is not None and len(self.rows) == 1:
            return words_of(text, self.number, self.number)
        return [word for n, (row, at) in enumerate(self.rows) for word in self._row(row, at, n)]

    def _row(self, row: str, at: int, n: int) -> list[Word]:
        if self.oneline:
            return [Word(word, at, self.number + n) for word in row.split()]
        return words_of(row, at, self.number)


@dataclass(slots=True, repr=False)
class SaEntry:
    """The words of one SA. `verb` is add, update or dump. It has no repr: it holds keys.

    `commented`: a lone # precedes the command; it starts a comment, or is root's prompt. `text`: the lines as they are,
    for the forms of setkey and Wireshark.
    """

    style: Style
    verb: str
    line: int
    words: list[Word]
    commented: bool = False
    text: str = ""


def shown(text: str) -> str:
    """A word as an error may show it. For a word that may be a key, or a part of one, only its length is shown.

    Keys have 16 bytes or more, so 15 plain characters that are not a run of hex digits are no key.
    """
    plain = len(text) <= 15 and text.isascii() and text.isprintable()
    if plain and not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{6,}", text):
        return repr(text)
    return f"of {len(text)} characters"


def logical_lines(text: str, first: int) -> Iterator[Line]:
    """The lines of a text, each with its continuations. `first` is the number of the first line."""
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
    """The words of a line as a shell splits it. If a quote is not closed, the line is split at spaces."""
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
    """The words of a line whose quotes each hold one plain word, as 'rfc4106(gcm(aes))'. None: the line is harder."""
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
