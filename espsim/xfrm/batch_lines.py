r"""A batch's lines as `ip -batch` cuts them: `#` ends a line, `\` at the end joins the next, quotes keep a word whole.

InputError for a file that is not text and for a line that is too long.

What this does not do: look at what the words mean.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from espsim.core.echo import hide_keys
from espsim.core.errors import InputError
from espsim.text.iproute import Args, IpRefusal
from espsim.text.lexer import MAX_LINE

MAX_WORDS = 99
_BLANK = " \t\r\n"
_SHORT = 5
"""Characters. A hidden word this short is replaced in quotes only: elsewhere it is too likely to be another word."""


@dataclass(frozen=True, repr=False)
class BatchLine:
    """One command: its words and the number of its (last) line. It has no repr: it holds keys."""

    number: int
    words: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command as it may be shown, with every key replaced."""
        return " ".join(_requote(word) for word in self._seen)

    @functools.cached_property
    def _seen(self) -> list[str]:
        """Its words as they may be shown. A word next to a key that may be a part of it is replaced too."""
        args = Args(self.words)
        return [args.seen(word) for word in self.words]

    def hide(self, text: str) -> str:
        """A text about this line, without the line's keys."""
        for word, seen in sorted(zip(self.words, self._seen, strict=True), key=lambda pair: -len(pair[0])):
            if seen != word:
                text = text.replace(f'"{word}"', f'"{seen}"')
                if len(word) > _SHORT:
                    text = text.replace(word, seen)
        return hide_keys(text)


def read_batch(file: BinaryIO, where: str) -> Iterator[BatchLine]:
    """The commands of a batch, one at a time. InputError, with the line, where it can't be read on."""
    number = 0
    while (text := _logical(file, where, number)) is not None:
        line, lines = text
        number += lines
        try:
            words = split_words(line)
        except IpRefusal as refusal:
            raise InputError(refusal.text, where=where, line=number) from None
        if words:
            yield BatchLine(number, tuple(words))


def read_lines(file: BinaryIO, where: str) -> Iterator[str]:
    """The lines of a file one by one, unchanged. InputError, with the line, where one is not text or too long."""
    number = 0
    while (text := _physical(file, where, number := number + 1)) is not None:
        yield text.rstrip("\r\n")


def split_words(line: str) -> list[str]:
    """makeargs(): quotes count only at the start of a word, and nothing is escaped within them."""
    words: list[str] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _BLANK:
            at += 1
        if at == len(line):
            return words
        if len(words) == MAX_WORDS:
            raise IpRefusal("Too many arguments to command")
        if line[at] in "'\"":
            end = line.find(line[at], at + 1)
            if end < 0:
                raise IpRefusal("Unterminated quoted string")
            words.append(line[at + 1 : end])
            at = end + 1
            continue
        start = at
        while at < len(line) and line[at] not in _BLANK:
            at += 1
        words.append(line[start:at])


def _logical(file: BinaryIO, where: str, before: int) -> tuple[str, int] | None:
    """A line with its continuations, and the number of lines; None at the end."""
    parts: list[str] = []
    size = 0
    while True:
        number = before + len(parts) + 1
        raw = _physical(file, where, number)
        if raw is None:
            if parts:
                raise InputError("Missing continuation line", where=where, line=number - 1)
            return None
        text = raw.split("#", 1)[0]
        size += len(text)
        if size > MAX_LINE:
            raise _too_long(where, number)
        if not text.endswith("\\\n"):
            return "".join(parts) + text, len(parts) + 1
        parts.append(text[:-2])


def _physical(file: BinaryIO, where: str, number: int) -> str | None:
    try:
        data = file.readline(MAX_LINE + 2)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=where, line=number) from None
    if not data:
        return None
    if b"\0" in data:
        raise InputError("a NUL byte: this is not text", where=where, line=number)
    if len(data) > MAX_LINE and not data.endswith(b"\n"):
        raise _too_long(where, number)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InputError("not text (it is not UTF-8)", where=where, line=number) from None
    return text.removeprefix("\ufeff") if number == 1 else text


def _too_long(where: str, number: int) -> InputError:
    return InputError(f"a line of more than {MAX_LINE} characters", where=where, line=number)


def _requote(word: str) -> str:
    if word and not any(c in _BLANK for c in word) and word[0] not in "'\"":
        return word
    return f"'{word}'" if "'" not in word else f'"{word}"'
