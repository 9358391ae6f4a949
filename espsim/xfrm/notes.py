"""What a reader passed over, grouped: a paste of a thousand policies is one line, not a thousand.

A note is a sentence and the lines that it is about. The same sentence again only counts up, so that memory stays small
whatever the text is. No sentence holds a word that could be a key: who makes one shows words with `lexer.shown`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_KINDS = 200
_SHOWN = 20


@dataclass(slots=True)
class Note:
    """One sentence about `count` places, the first and the last at these lines."""

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

    def add(self, what: str, line: int) -> None:
        """One more place that a sentence is about."""
        note = self._notes.get(what)
        if note is not None:
            note.count += 1
            note.last = line
        elif len(self._notes) < _KINDS:
            self._notes[what] = Note(what, line, line)
        else:
            self._more += 1

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes.values())

    def __len__(self) -> int:
        return len(self._notes)

    def lines(self, most: int = _SHOWN) -> list[str]:
        """At most `most` lines and one that counts the rest: `line 12: ...`."""
        notes = list(self)
        shown = [str(note) for note in notes[:most]]
        more = sum(note.count for note in notes[most:]) + self._more
        return [*shown, f"and {more} more notes of other kinds"] if more else shown
