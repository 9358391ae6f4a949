"""A dump of `ip xfrm state` explained line by line: the kernel's attribute of each word, and what it changes.

dump_words.py has the words. The reader that decap uses finds the SAs of the text. Unknown words, and lines that belong
to no SA (a policy, a prompt), are named as passed over. Keys are not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from espsim.core.echo import HIDDEN, hide_keys, hide_words, printable
from espsim.core.errors import InputError
from espsim.explain.dump_words import MEANINGS, SELECTOR, TOP, Meaning
from espsim.text.found import ParsedSa, Unmodelled
from espsim.text.lexer import logical_lines
from espsim.text.notes import Notes
from espsim.text.pieces import Block, blocks, text_pieces
from espsim.text.reader import Reader

PASSED_OVER = "passed over"
_HIDDEN = HIDDEN.replace(" ", "\0")
"""HIDDEN as one word. A NUL can't be in the text."""
_LIMITS = re.compile(r"\s*(?:limit:|expire (?:add|use):|\d+\(bytes\))")
_COMMANDS = frozenset({"ip", "xfrm", "state", "add", "update", "sudo", "#", "$"})


@dataclass(frozen=True, slots=True)
class Told:
    """A word with its values, the attribute that has it, and what it changes."""

    word: str
    reads: str
    changes: str


@dataclass(frozen=True, slots=True)
class DumpLine:
    """One line of the text, without keys."""

    line: int
    text: str
    words: tuple[Told, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        words = [{"word": w.word, "reads": w.reads, "changes": w.changes} for w in self.words]
        return {"line": self.line, "text": self.text, "words": words}


def explain_dump(text: str, where: str | None = None) -> list[DumpLine]:
    """Every line that is not empty. InputError: no SA in it, or a damaged key."""
    reader, told, states = Reader(where, Notes()), [], 0
    for block in blocks(text_pieces(text, where)):
        found = list(reader.read(block))
        states += len(found)
        sas = [one for one in found if isinstance(one, ParsedSa | Unmodelled)]
        why = "" if sas else "a state of another protocol" if found else PASSED_OVER
        unused = {one.line: one for one in sas if isinstance(one, Unmodelled)}
        told += list(_block(block, why, unused))
    if not states:
        raise InputError("no SA in it; give what `ip xfrm state` prints", where=where)
    return told


def _block(block: Block, why: str, unused: dict[int, Unmodelled]) -> Iterator[DumpLine]:
    """A block's lines. `why`: the reason if it is not an SA. `unused`: unusable SAs by their first line."""
    section = TOP
    for line in logical_lines(block.text, block.line):
        for row, number in line.rows:
            # A limit, 5(bytes), looks like an algorithm's name, after which the next word would be hidden as a key.
            shown = hide_keys(row).split() if _LIMITS.match(row) else hide_words(row.split())
            if not shown:
                continue
            indent = row[: len(row) - len(row.lstrip())].expandtabs(8)
            text = printable(indent + " ".join(shown))
            if why:
                yield DumpLine(number, text, (Told(_first(shown), "-", why),))
                continue
            words, section = _words(shown, section)
            if number in unused:
                what = printable(unused[number].what)
                words.insert(0, Told("this SA", "-", f"not used: no packet runs under {what} here"))
            yield DumpLine(number, text, tuple(words))


def _first(words: list[str]) -> str:
    return printable(" ".join(words[:2]))


def _words(words: list[str], section: int) -> tuple[list[Told], int]:
    """The words of a row, and the section in which the next row starts."""
    text = " ".join(word.replace(HIDDEN, _HIDDEN) for word in words)
    section = _of_row(text, section)
    told: list[Told] = []
    while text:
        meaning = _meaning(text, section)
        if meaning is None:
            word, _, rest = text.partition(" ")
            section = TOP if section == SELECTOR else section
            if word not in _COMMANDS and word.strip(","):
                told.append(Told(_shown(word), "-", PASSED_OVER))
            text = rest.lstrip(", ")
            continue
        match = meaning.pattern.match(text)
        size = match.end() if match is not None else len(text)
        if meaning.changes:
            told.append(Told(_shown(text[:size]), meaning.reads, meaning.changes))
        text = text[size:].lstrip(", ")
        section = meaning.opens if meaning.opens is not None else section
    return told, TOP if section == SELECTOR else section


def _shown(word: str) -> str:
    return printable(word.replace(_HIDDEN, HIDDEN))


def _of_row(text: str, section: int) -> int:
    """The section of a row. If its first word is not one of the current section, that section has ended."""
    return section if _meaning(text, section) is not None else TOP


def _meaning(text: str, section: int) -> Meaning | None:
    return next((m for m in MEANINGS if m.section == section and m.pattern.match(text)), None)
