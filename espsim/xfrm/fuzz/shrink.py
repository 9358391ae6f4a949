"""Shrinks a batch that is answered differently: fewer lines, fewer words, simpler values.

1. Drop everything after the first line that differs.
2. Drop lines, in halves, quarters and so on down to single ones, until no more can be dropped.
3. Drop words of each line, one or two at a time.
4. Put in simpler values, everywhere at once: an address, an SPI, a mark; IPv4 for IPv6.

Each try runs both sides, so the number of tries is bounded. The order of tries is fixed, so the same difference always
shrinks to the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from espsim.core.errors import InputError
from espsim.xfrm.fuzz.sides import DIFFERS, Compare, ComparedLine

SIMPLER = (
    ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.2"),
    ("2001:db8::1", "2001:db8::2", "2001:db8:1::2"),
    ("0x1000", "0x1001", "4096", "4097", "5", "255", "65535", "65536", "4294967295"),
    ("1/0xff", "2/0xff", "5/0xff", "0x105/0xff"),
)
"""Values that may replace each other, the simplest first."""

_FIRST = {"requests": 1, "commands": 0}
"""How many words at the start of a line stay: a request's verb."""


class Shrinker:
    """Shrinks batches of one language (`requests`, `commands`). `more()`: whether there is time for another try."""

    def __init__(self, compare: Compare, language: str, more: Callable[[], bool], *, tries: int = 600) -> None:
        self._compare = compare
        self._keep = _FIRST[language]
        self._more = more
        self.tries_left = tries

    def shrink(self, answered: list[ComparedLine]) -> list[ComparedLine]:
        """Both answers to the smallest batch found. `answered`: those to the batch that was drawn."""
        best = _until_difference(answered)
        changed = True
        while changed and self.tries_left and self._more():
            changed = False
            for smaller in (self._fewer_lines, self._fewer_words, self._simpler_values):
                found = smaller(best)
                if found is not None:
                    best, changed = found, True
        return best

    def _differs(self, lines: Sequence[str]) -> list[ComparedLine] | None:
        """The answers up to the first that differs. None: none differs, or no try is left."""
        if not lines or not self.tries_left or not self._more():
            return None
        self.tries_left -= 1
        answered = self._compare(lines)
        return _until_difference(answered) if any(each.verdict == DIFFERS for each in answered) else None

    def _fewer_lines(self, best: list[ComparedLine]) -> list[ComparedLine] | None:
        start, size = best, max(len(best) // 2, 1)
        while size:
            at = 0
            while at < len(best):
                found = self._differs([each.line for n, each in enumerate(best) if not at <= n < at + size])
                if found is None:
                    at += size
                else:
                    best = found
            size //= 2
        return best if len(best) < len(start) else None

    def _fewer_words(self, best: list[ComparedLine]) -> list[ComparedLine] | None:
        start = best
        for n in range(len(start)):
            at = self._keep
            while n < len(best):
                words = best[n].line.split()
                if at >= len(words):
                    break
                found = None
                for count in (2, 1):
                    rest = words[:at] + words[at + count :]
                    if len(rest) < len(words) and rest:
                        found = self._with_line(best, n, rest)
                    if found is not None:
                        break
                if found is None:
                    at += 1
                else:
                    best = found
        return best if best is not start else None

    def _with_line(self, best: list[ComparedLine], n: int, words: Sequence[str]) -> list[ComparedLine] | None:
        lines = [each.line for each in best]
        lines[n] = " ".join(words)
        return self._differs_alike(lines)

    def _differs_alike(self, lines: Sequence[str]) -> list[ComparedLine] | None:
        """As `_differs`. A line that is no longer a request is not a difference."""
        try:
            return self._differs(lines)
        except InputError:
            return None

    def _simpler_values(self, best: list[ComparedLine]) -> list[ComparedLine] | None:
        start = best
        for swaps in _swaps():
            lines = [each.line for each in best]
            changed = [_swapped(line, swaps) for line in lines]
            if changed != lines:
                best = self._differs_alike(changed) or best
        return best if best is not start else None


def _until_difference(answered: Sequence[ComparedLine]) -> list[ComparedLine]:
    """The answers up to the first that differs."""
    end = next(n for n, each in enumerate(answered) if each.verdict == DIFFERS)
    return list(answered[: end + 1])


def _swaps() -> Iterator[dict[str, str]]:
    """The replacements of each try: first every IPv6 address at once, then one value at a time."""
    v4, v6 = SIMPLER[:2]
    yield dict(zip(v6, v4, strict=False))
    yield dict(zip(v6, v4[1:], strict=False))
    for values in SIMPLER:
        for n, old in enumerate(values):
            for new in values[:n]:
                yield {old: new}


def _swapped(line: str, swaps: Mapping[str, str]) -> str:
    """A line with other values. A value is a whole word, or follows `key=`."""
    words = []
    for word in line.split(" "):
        key, equals, value = word.partition("=")
        words.append(f"{key}={swaps.get(value, value)}" if equals else swaps.get(word, word))
    return " ".join(words)
