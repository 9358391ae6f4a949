"""No two places in espsim/ share twelve or more equal lines of code: what is said twice belongs into one function."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "espsim"
LINES = 12
_DOCSTRINGS = re.compile(r'""".*?"""', re.DOTALL)
_IMPORTS = re.compile(r"^ *(?:from [\w.]+ )?import (?:\([^)]*\)|.*)", re.MULTILINE)
_COMMENTS = re.compile(r"(^|\s)# .*", re.MULTILINE)


def code_of(path: Path) -> list[tuple[int, str]]:
    """(number, text) of each line that says something: no comments, docstrings, imports, blanks, brackets alone."""
    source = path.read_text(encoding="utf-8")
    for passed in (_DOCSTRINGS, _IMPORTS, _COMMENTS):
        source = passed.sub(lambda found: "\n" * found[0].count("\n"), source)
    said = ((number, line.strip()) for number, line in enumerate(source.splitlines(), 1))
    return [(number, line) for number, line in said if re.search(r"\w", line)]


def test_no_two_places_share_twelve_lines():
    places: dict[tuple[str, ...], list[tuple[str, int, int]]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        code = code_of(path)
        for at in range(len(code) - LINES + 1):
            window = code[at : at + LINES]
            name = path.relative_to(PACKAGE).as_posix()
            places[tuple(line for _, line in window)].append((name, window[0][0], at))
    found = set()
    for alike in places.values():
        for other, (name, number, at) in enumerate(alike):
            for first, line, begin in alike[:other]:
                apart = first != name or at - begin >= LINES  # a list of equal lines is no repeat of itself
                if apart:
                    found.add(f"{first}:{line} and {name}:{number}")
    assert not sorted(found)
