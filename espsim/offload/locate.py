"""The place of each key in a TOML text, and the comment beside it.

`tomllib` gives values without places. This walks a text that tomllib has already accepted, so it checks nothing; it
only counts lines. The comments matter because in hwmodels/ they carry the source of each value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
"""A key as pydantic reports it: ("inbound", "lookup", 0, "miss")."""

_SPACE = " \t\r\n"


@dataclass(slots=True)
class KeyPlace:
    """One key: the line of its value (from 1), and the comment beside it or, without one, directly above it."""

    line: int
    comment: str = ""


def locate(text: str) -> dict[Path, KeyPlace]:
    """The place of every table, key, array element and inline key of a valid TOML text."""
    scanner = _Scanner(text)
    scanner.run()
    return scanner.places


def nearest(places: dict[Path, KeyPlace], path: Path) -> KeyPlace | None:
    """The place of `path` or of the innermost thing around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return None


def clean_path(loc: Path, raw: Any) -> Path:
    """A place of pydantic's in `raw`, without the names of union members that pydantic puts between the keys."""
    path: Path = ()
    at = raw
    for n, part in enumerate(loc):
        last = n == len(loc) - 1
        if isinstance(at, dict) and isinstance(part, str) and (part in at or last):
            at = at.get(part)
        elif isinstance(at, list) and isinstance(part, int) and part < len(at):
            at = at[part]
        else:
            continue
        path += (part,)
    return path


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.places: dict[Path, KeyPlace] = {}
        self._arrays: dict[Path, int] = {}  # arrays of tables: the index of the one being filled
        self._ended: tuple[Path, int] | None = None  # the last value, and the line on which it ended
        self._above: list[str] = []  # comment lines directly above the next key
        self._above_ends = 0

    def run(self) -> None:
        """Walk the text from start to end."""
        table: Path = ()
        while self._skip():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    # -- the parts of a text ------------------------------------------------------------------------------------

    def _header(self) -> Path:
        double = self.text.startswith("[[", self.at)
        self._move(2 if double else 1)
        path = self._resolve(self._key())
        self._move(2 if double else 1)
        if double:
            self._arrays[path] = self._arrays.get(path, -1) + 1
            self.places.setdefault(path, KeyPlace(self.line))
            path += (self._arrays[path],)
        self._record(path, self.line, self._comment_above())
        return path

    def _resolve(self, key: Path) -> Path:
        """`a.b` inside an array of tables `a` means the one being filled: a, its index, b."""
        path: Path = ()
        for n, part in enumerate(key):
            path += (part,)
            if n < len(key) - 1 and path in self._arrays:
                path += (self._arrays[path],)
        return path

    def _pair(self, table: Path) -> None:
        line, above = self.line, self._comment_above()
        key = self._key()
        for n in range(1, len(key)):
            self.places.setdefault(table + key[:n], KeyPlace(line))
        self._move(1)  # the equals sign
        self._skip()
        self._value(table + key, above)

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip()
            if self.text[self.at] in "\"'":
                start = self.at
                self._string()
                parts.append(self.text[start + 1 : self.at - 1])
            else:
                start = self.at
                while self.text[self.at] not in " \t.=]":
                    self._move(1)
                parts.append(self.text[start : self.at])
            self._skip()
            if self.text[self.at] != ".":
                return tuple(parts)
            self._move(1)

    def _value(self, path: Path, above: str) -> None:
        line, character = self.line, self.text[self.at]
        if character == "[":
            self._array(path)
        elif character == "{":
            self._inline_table(path)
        elif character in "\"'":
            self._string()
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self._move(1)
        self._record(path, line, above)

    def _array(self, path: Path) -> None:
        self._move(1)
        index = 0
        self._skip()
        while self.text[self.at] != "]":
            self._value((*path, index), self._comment_above())
            index += 1
            self._skip()
            if self.text[self.at] == ",":
                self._move(1)
                self._skip()
        self._move(1)

    def _inline_table(self, path: Path) -> None:
        self._move(1)
        self._skip()
        while self.text[self.at] != "}":
            self._pair(path)
            self._skip()
            if self.text[self.at] == ",":
                self._move(1)
                self._skip()
        self._move(1)

    def _string(self) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self._move(3)
            while not self.text.startswith(quote * 3, self.at):
                self._move(2 if quote == '"' and self.text[self.at] == "\\" else 1)
            self._move(3)
            while self.at < len(self.text) and self.text[self.at] == quote:  # up to two more may end the string
                self._move(1)
            return
        self._move(1)
        while self.text[self.at] != quote:
            self._move(2 if quote == '"' and self.text[self.at] == "\\" else 1)
        self._move(1)

    # -- moving on ----------------------------------------------------------------------------------------------

    def _record(self, path: Path, line: int, comment: str) -> None:
        self.places[path] = KeyPlace(line, comment)
        self._ended = (path, self.line)

    def _comment_above(self) -> str:
        """The comment lines that end just above this one. They are given once."""
        comment = " ".join(self._above) if self._above_ends == self.line - 1 else ""
        self._above = []
        return comment

    def _skip(self) -> bool:
        """Over white space and comments; False at the end of the text."""
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "#":
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                self._comment(self.text[self.at + 1 : end].strip())
                self.at = end
            elif character in _SPACE:
                self._move(1)
            else:
                return True
        return False

    def _comment(self, text: str) -> None:
        if self._ended and self._ended[1] == self.line:
            self.places[self._ended[0]].comment = text
            return
        if self._above_ends != self.line - 1:
            self._above = []
        self._above.append(text)
        self._above_ends = self.line

    def _move(self, count: int) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count
