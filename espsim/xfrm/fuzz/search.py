"""Draws random batches until one is answered differently; then shrinks it, and prints it as a script.

Each batch is drawn from the seed and its own number, so `--seed` finds the same difference again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from espsim.xfrm.fuzz.as_ip import as_ip
from espsim.xfrm.fuzz.draw import a_command, a_near_request, a_request
from espsim.xfrm.fuzz.shrink import Shrinker
from espsim.xfrm.fuzz.sides import DIFFERS, NOT_COMPARABLE, Compare, ComparedLine

_DRAWS: tuple[tuple[str, Callable[[random.Random], str], int], ...] = (
    ("requests", a_near_request, 25), ("requests", a_request, 40), ("commands", a_command, 25),
)  # fmt: skip
"""Kinds of batches, used in turn: the language, the function that draws a line, and how many lines a batch has."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The smallest batch found that both sides answer differently. Only its last line differs."""

    language: str
    batch: int
    drawn: int
    lines: list[ComparedLine]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        lines = [
            {"line": each.line, "ip": ip_line(self.language, each.line), "verdict": each.verdict, "left": each.left,
             "right": each.right}
            for each in self.lines
        ]  # fmt: skip
        return {"language": self.language, "batch": self.batch, "drawn": self.drawn, "lines": lines}


@dataclass(slots=True)
class SearchResult:
    """The results of a search: how many batches and lines were compared, how many can't be, and the difference."""

    left: str
    right: str
    seed: int
    batches: int = 0
    lines: int = 0
    not_comparable: int = 0
    difference: Difference | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON. `script` is the text for a mail."""
        result: dict[str, Any] = {
            "left": self.left, "right": self.right, "seed": self.seed, "batches": self.batches, "lines": self.lines,
            "not_comparable": self.not_comparable,
        }  # fmt: skip
        different = self.difference
        result["difference"] = None if different is None else different.as_dict()
        result["script"] = None if different is None else script(self)
        return result


def search(found: SearchResult, sides: Mapping[str, Compare], more: Callable[[], bool]) -> SearchResult:
    """Draw and compare until there is a difference, or `more` returns False. `sides`: how each language is compared.

    `more` is called before every try. The last batch is always compared whole.
    """
    while found.batches == 0 or more():
        language, draw, length = _DRAWS[found.batches % len(_DRAWS)]
        number = found.batches = found.batches + 1
        rng = random.Random(f"{found.seed} {number}")
        lines = [draw(rng) for _ in range(length)]
        answered = sides[language](lines)
        found.lines += len(answered)
        found.not_comparable += sum(each.verdict == NOT_COMPARABLE for each in answered)
        if any(each.verdict == DIFFERS for each in answered):
            smallest = Shrinker(sides[language], language, more).shrink(answered)
            found.difference = Difference(language, number, len(lines), smallest)
            break
    return found


def ip_line(language: str, line: str) -> str | None:
    """The line as `ip` takes it. None: `ip` has no words for it."""
    if language == "commands":
        return f"ip {line}"
    return as_ip(line)


def script(found: SearchResult) -> str:
    """The difference as a shell script: each command, followed by both answers."""
    different = found.difference
    if different is None:
        return ""
    width = max(len(found.left), len(found.right))
    rows = [
        "#!/bin/sh",
        f"# {found.left} and {found.right} answer the last line differently.",
        f"# Found by espsim xfrm --fuzz, seed {found.seed}, batch {different.batch}: {different.drawn} lines, shrunk to"
        f" {len(different.lines)}.",
        "# In a new network namespace (unshare -n):",
    ]  # fmt: skip
    for each in different.lines:
        rows.append("")
        line = ip_line(different.language, each.line)
        if line is None:
            rows.append("# only netlink can say this (espsim xfrm --requests):")
            line = f"# {each.line}"
        rows.append(line)
        if each.left == each.right:
            rows.append(f"#   both: {each.left}")
        else:
            rows += [f"#   {name.ljust(width)}: {text}" for name, text in ((found.left, each.left),
                                                                            (found.right, each.right))]  # fmt: skip
    return "\n".join(rows) + "\n"
