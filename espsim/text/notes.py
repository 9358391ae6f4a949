"""What a reader passed over, grouped: a thousand pasted policies give one line, not a thousand.

A note is a sentence, the first and last line that it is about, and a count. The same sentence again only counts up, so
memory stays small for any text. No sentence may hold a word that could be a key: use `lexer.shown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from espsim.core.echo import message
from espsim.core.errors import InputError

_PASSED = re.compile("[,;] (?:passed over|the later one counts).*")
_KINDS = 200
_SHOWN = 20


@dataclass(slots=True)
class Note:
    """One sentence about `count` places, from the line `first` to the line `last`."""

    what: str
    first: int
    last: int
    count: int = 1

    def __str__(self) -> str:
        if self.count == 1:
            return f"line {self.first}: {self.what}"
        return f"line {self.first}: {self.what} ({self.count} times, the last on line {self.last})"


class Notes:
    """The notes of a text, in the order in which each sentence came first."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}
        self._more = 0
        self.places = 0
        """The places of all sentences together."""

    def add(self, what: str, line: int, last: int = 0, count: int = 1) -> None:
        """Add a place that a sentence is about, or `count` places from `line` to `last`."""
        what = message(what)
        self.places += count
        note = self._notes.get(what)
        if note is not None:
            note.count += count
            note.last = last or line
        elif len(self._notes) < _KINDS:
            self._notes[what] = Note(what, line, last or line, count)
        else:
            self._more += count

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes.values())

    def __len__(self) -> int:
        return len(self._notes)

    def lines(self, most: int = _SHOWN) -> list[str]:
        """At most `most` lines such as `line 12: ...`, and one that counts the rest."""
        notes = list(self)
        shown = [str(note) for note in notes[:most]]
        more = sum(note.count for note in notes[most:]) + self._more
        return [*shown, f"and {more} more notes of other kinds"] if more else shown


class Refuse(Notes):
    """The notes of a text that must hold one SA: the first note is raised as an error."""

    def __init__(self, where: str | None) -> None:
        super().__init__()
        self._where = where

    def add(self, what: str, line: int, last: int = 0, count: int = 1) -> None:
        """Raises InputError."""
        raise InputError(_PASSED.sub("", what), where=self._where, line=line)
