"""Runs: many states of a dump one after the other, of one form or of two in turn, found in one step.

A key manager makes SAs in pairs. So a dump of a busy host is one form again and again, or two in turn. `Run.find` lets
one regular expression find all of them in a text. That takes half the time of a match for each state.

What this does not do: read anything else. `scan` reads state by state where a run finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from espsim.text.forms import Form

_ENOUGH = 4
"""So many states that were read one by one begin a run."""
_NAMED = re.compile(r"\(\?P<\w+>")
_START = "\nsrc "
_FIRST = re.compile("src [0-9a-f:.]")

Groups = list[tuple[str, ...]]
"""Of each text what the groups of its form's pattern match."""


class Run:
    """`forms`: one form, or two that follow each other in turn."""

    def __init__(self, forms: Sequence[Form]) -> None:
        self.forms = forms
        self._lines = sum(form.lines for form in forms)
        patterns = "".join(form.pattern.pattern for form in forms)
        self._pattern = re.compile("^" + _NAMED.sub("(", patterns), re.MULTILINE)

    def find(self, text: str, at: int) -> tuple[list[Groups], int]:
        """The states from `at` on, form by form, and where they end. [] where one of them has another form.

        The last state of the text is left out, because it may go on.
        """
        end = text.rfind(_START, at) + 1
        lines = text.count("\n", at, end)
        if len(self.forms) > 1 and lines % self._lines == self.forms[0].lines:  # an odd number of states
            lines -= self.forms[0].lines
            end = text.rfind(_START, at, end - 1) + 1
        if end <= at or not _FIRST.match(text, end):
            return [], at
        found: Groups = self._pattern.findall(text, at, end)
        # Matches are whole lines and don't overlap. If they have as many lines as the text, nothing else is in it.
        if len(found) * self._lines != lines:
            return [], at
        if len(self.forms) == 1:
            return [found], end
        first = self.forms[0].pattern.groups
        return [[groups[:first] for groups in found], [groups[first:] for groups in found]], end


class Runs:
    """The run that a dump is in, if it is in one."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def seen(self, forms: Sequence[Form]) -> None:
        """Take note of states that were read one by one, in their order."""
        for turn in (forms[:1], forms[:2]):
            parts = [(form, forms[n :: len(turn)]) for n, form in enumerate(turn)]
            if len(forms) >= _ENOUGH and all(part.count(form) == len(part) for form, part in parts):
                self._runs = [Run(turn)] if len(turn) == 1 else [Run(turn), Run(turn[::-1])]
                return
        self._runs = []

    def find(self, text: str, at: int) -> tuple[Sequence[Form], list[Groups], int]:
        """The states from `at` on (`Run.find`), and their forms. ((), [], at): no run has them."""
        for run in self._runs:
            if run.forms[0].run.match(text, at):
                found, end = run.find(text, at)
                if found:
                    return run.forms, found, end
                break
        self._runs = []
        return (), [], at
