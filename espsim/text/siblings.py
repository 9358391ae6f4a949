"""A fast reader for `add` commands that differ only in addresses, SPI, reqid, if_id, keys and selector addresses.

A kind is a command's words with blanks for what varies. The parser reads the first command of a kind; of the others
only the blanks are read. The parser's answer holds for all, because the patterns here take no value that the parser
would refuse or read differently.

A form is one way to write a kind: a regular expression for the whole line, so that its words are never made. Of a line
of an unknown form the words are made, and compared with the kinds.

What this does not do: read a command that fits no kind or no pattern. The parser reads it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from espsim.aead.suites import Algorithm, SuiteKeys
from espsim.core.address import AF_INET, Address, family
from espsim.core.mould import Mould
from espsim.sad.association import SecurityAssociation
from espsim.text.found import ParsedSa
from espsim.text.lexer import SaEntry

_MOST = 8
"""How many kinds and forms are kept, the latest first. A script alternates between few: in and out, and their modes."""
_MOST_MADE = 64
"""How many kinds, and how many forms, are made for one text. If no two lines are alike, they do not pay."""

_MOST_KNOWN = 256
"""How many addresses of the last SAs are known."""

_NUMBERS = ("reqid", "if_id")
"""Words whose value is a number, a field of the SA."""
_KEYED = frozenset({"aead", "auth-trunc", "auth", "enc"})
_ADDRESS = r"[0-9a-f:.]{2,45}"
_SPI = r"0x[0-9a-f]{1,8}"
_NUMBER = r"(?:0|[1-9][0-9]{0,8}|0x[0-9a-f]{1,8})"
_KEY = r"0x(?:[0-9a-f]{2})+"
_PLAIN_LINE = re.compile(r"(?:[^\n\\\"#$%>;|&`\x80-\U0010ffff]|\\\n)*(?:\n|\Z)")
"""A line, with its continuations, in which only quotes around a word mean something to a shell."""
_WORD = re.compile(r"[^\s\\]+")


class _Place(NamedTuple):
    """A value that varies: the number of its word, the pattern of its values, and the text that follows it there."""

    word: int
    pattern: str
    tail: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class _Kind:
    """`first` is the SA that was read, `blank` its words, with None for those that vary.

    `places` are those of src, dst, SPI, keys, the selector's addresses and numbers, in the order in which `maker` takes
    these values. `patterns` has a pattern for each of them.
    """

    first: ParsedSa
    blank: tuple[str | None, ...]
    places: tuple[_Place, ...]
    patterns: tuple[re.Pattern[str], ...]
    maker: _Maker

    def of(self, words: Sequence[str]) -> SecurityAssociation | None:
        """The SA of a command's words. None: they are of another kind, or don't fit the patterns."""
        # Word by word: equal words are often one object, and then cheap to compare.
        if any(have is not None and have != word for have, word in zip(self.blank, words, strict=True)):
            return None
        texts = [words[place.word] for place in self.places]
        if not all(pattern.fullmatch(text) for pattern, text in zip(self.patterns, texts, strict=True)):
            return None
        return self.maker.make(texts)


@dataclass(frozen=True, slots=True, repr=False)
class _Form:
    """One way to write a kind. `pattern` takes the whole line with its end.

    `values` are the numbers of its groups, in the order of the kind's places. `below`: how many lines after the first
    one the command's first word is; the SA's line is that word's.
    """

    pattern: re.Pattern[str]
    values: tuple[int, ...]
    below: int
    kind: _Kind


class Siblings:
    """The kinds of commands that were read last. It has no repr: it holds keys."""

    def __init__(self) -> None:
        self._kinds: list[_Kind] = []
        self._forms: list[_Form] = []
        self._made = [0, 0]

    def read(self, text: str, line: int) -> tuple[ParsedSa, int] | None:
        """The SA of the command that a text begins with, and where its line ends. None: the form is not known.

        `line` is the number of the text's first line.
        """
        for form in self._forms:
            match = form.pattern.match(text)
            if match is not None:
                sa = form.kind.maker.make(match.group(*form.values))
                if sa is not None:
                    return ParsedSa(sa, line + form.below, form.kind.first.verb), match.end()
        return None

    def find(self, entry: SaEntry, text: str = "", line: int = 0) -> ParsedSa | None:
        """The SA of a command of a known kind. None: only the parser can read it.

        `text` begins with the command, on the line `line`, and shows its form; it is empty where this is not known.
        """
        words = [word.text for word in entry.words]
        for place, kind in enumerate(self._kinds):
            if len(words) == len(kind.blank) and entry.verb == kind.first.verb:
                sa = kind.of(words)
                if sa is not None:
                    if place:
                        self._kinds.insert(0, self._kinds.pop(place))
                    self._learn_form(kind, entry, words, text, line)
                    return ParsedSa(sa, entry.line, kind.first.verb)
        return None

    def learn(self, entry: SaEntry, found: ParsedSa, text: str = "", line: int = 0) -> None:
        """Keep the kind of a command that the parser has read without a note. `text` and `line` as `find` has them."""
        words = [word.text for word in entry.words]
        kind = _kind_of(words, found) if self._made[0] < _MOST_MADE else None
        if kind is not None:
            self._made[0] += 1
            self._kinds = [kind, *self._kinds[: _MOST - 1]]
            self._learn_form(kind, entry, words, text, line)

    def _learn_form(self, kind: _Kind, entry: SaEntry, words: list[str], text: str, line: int) -> None:
        if self._made[1] < _MOST_MADE and text and not entry.commented:
            form = _form_of(kind, entry, words, text, line)
            if form is not None:
                self._made[1] += 1
                self._forms = [form, *self._forms[: _MOST - 1]]


class _Maker:
    """Makes the SAs of a kind from the words that vary. It has no repr: it holds keys."""

    __slots__ = ("_cuts", "_families", "_first", "_keys", "_known", "_moulds", "_numbers", "_suite")

    def __init__(
        self, first: SecurityAssociation, words: Sequence[str], places: Sequence[_Place], sides: Sequence[str],
        numbers: Sequence[str],
    ) -> None:  # fmt: skip
        """`sides`: the addresses of the selector that vary, src and dst. `numbers`: the fields that do."""
        self._first = first
        self._numbers = -len(numbers)
        self._families = _socket_family(first.dst), _socket_family(first.selector.src or first.selector.dst)
        self._keys = tuple(Mould(algorithm, "key") for algorithm in first.algorithms)
        self._suite = None if first.keys is None else Mould(first.keys, "secret", "auth_key")
        inner = places[3 + len(first.algorithms) :][: len(sides)]
        self._cuts = tuple(-len(place.tail) for place in inner)
        self._moulds = (
            Mould(first, "src", "dst", "spi", "algorithms", "selector", "keys", *numbers),
            Mould(first.selector, *sides),
        )
        # Many SAs share an address with the first one, or with one shortly before, and then share its object.
        self._known: tuple[dict[str, Address], dict[str, Address]] = (
            {words[places[0].word]: first.src, words[places[1].word]: first.dst},
            {words[at.word][: -len(at.tail)]: getattr(first.selector, n) for at, n in zip(inner, sides, strict=True)},
        )

    def make(self, texts: Sequence[str]) -> SecurityAssociation | None:
        """The SA of these values, which fit their patterns. None: one is not an address of the first SA's family."""
        count, first, (outer, inner), (known, seen) = len(self._keys), self._first, self._families, self._known
        try:
            src = known.get(texts[0]) or _packed(known, outer, texts[0])
            dst = known.get(texts[1]) or _packed(known, outer, texts[1])
            ends = [
                seen.get(end := text[:cut]) or socket.inet_pton(inner, end)
                for text, cut in zip(texts[3 + count :], self._cuts, strict=False)
            ]
        except OSError:
            return None
        algorithms = tuple(
            [mould.make(bytes.fromhex(text[2:])) for mould, text in zip(self._keys, texts[3:], strict=False)]
        )
        selector = self._moulds[1].make(*ends) if ends else first.selector
        numbers = [int(text, 0) for text in texts[self._numbers :]] if self._numbers else ()
        keys = None if self._suite is None else self._suite_of(self._suite, algorithms)
        return self._moulds[0].make(src, dst, int(texts[2], 16), algorithms, selector, keys, *numbers)

    def _suite_of(self, mould: Mould[SuiteKeys], algorithms: tuple[Algorithm, ...]) -> SuiteKeys:
        """`aead.suites.resolve` of algorithms that differ from the first ones only in the bytes of their keys."""
        secret = auth_key = b""
        for algorithm in algorithms:
            if algorithm.kind in ("aead", "enc"):
                secret = algorithm.key
            else:
                auth_key = algorithm.key
        return mould.make(secret, auth_key)


def _packed(known: dict[str, Address], kind: int, text: str) -> Address:
    """An address that is not known yet. OSError: the text is none of this kind."""
    if len(known) >= _MOST_KNOWN:
        known.clear()
    address = known[text] = socket.inet_pton(kind, text)
    return address


def _socket_family(address: Address) -> int:
    return socket.AF_INET if family(address) == AF_INET else socket.AF_INET6


def _kind_of(words: list[str], found: ParsedSa) -> _Kind | None:
    """The kind of a command. None: other commands can't be read by it, as where a key is hidden or not plain hex."""
    # The first src and dst are the SA's: after `sel` they are the selector's. Of a number given twice the last counts.
    at = [words.index(name) + 1 if name in words else len(words) for name in ("src", "dst", "spi")]
    numbers = [name for name in _NUMBERS if words.count(name) == 1]
    keys = [
        _Place(n + 2, f"0x[0-9a-f]{{{len(words[n + 2]) - 2}}}") for n, word in enumerate(words[:-2]) if word in _KEYED
    ]
    sides = dict(_sides(words))
    places = (
        _Place(at[0], _ADDRESS), _Place(at[1], _ADDRESS), _Place(at[2], _SPI), *keys, *sides.values(),
        *(_Place(words.index(name) + 1, _NUMBER) for name in numbers),
    )  # fmt: skip
    if max(place.word for place in places) >= len(words) or len(keys) != len(found.sa.algorithms):
        return None
    if not all(re.fullmatch(_KEY, words[key.word]) for key in keys):
        return None
    if not all(getattr(found.sa.selector, side) for side in sides):
        return None
    blank: list[str | None] = list(words)
    for place in places:
        blank[place.word] = None
    patterns = tuple(re.compile(place.pattern + re.escape(place.tail)) for place in places)
    kind = _Kind(found, tuple(blank), places, patterns, _Maker(found.sa, words, places, [*sides], numbers))
    return kind if kind.of(words) == found.sa else None


def _sides(words: list[str]) -> Iterator[tuple[str, _Place]]:
    """The addresses of a selector that says `src ADDR/PLEN` or `dst ADDR/PLEN`, once each."""
    begin = words.index("sel") if "sel" in words else len(words)
    for name in ("src", "dst"):
        if words[begin:].count(name) == 1 and (n := words.index(name, begin) + 1) < len(words):
            _, slash, length = words[n].partition("/")
            if slash and length.strip("0"):  # an address of length 0 states only its family
                yield name, _Place(n, _ADDRESS, slash + length)


def _form_of(kind: _Kind, entry: SaEntry, words: list[str], text: str, line: int) -> _Form | None:
    """The form of a command that is the first line of a text. None: the line is not plain, or another one."""
    plain = _PLAIN_LINE.match(text)
    if plain is None:
        return None
    raw = plain[0]
    found = list(_WORD.finditer(raw))[-len(words) :]
    if len(found) != len(words):
        return None
    if any(not _says(m[0], word) for m, word in zip(found, words, strict=True)):
        return None
    pattern, at = "", 0
    groups: dict[_Place, int] = {}
    for place in sorted(kind.places):
        start = found[place.word].start() + found[place.word][0].index(words[place.word])
        pattern += f"{re.escape(raw[at:start])}({place.pattern}{re.escape(place.tail)})"
        at = start + len(words[place.word])
        groups[place] = len(groups) + 1
    pattern += re.escape(raw[at:].removesuffix("\n")) + r"(?:\n|\Z)"
    form = _Form(re.compile(pattern), tuple(groups[place] for place in kind.places), entry.line - line, kind)
    return form if _reads(form, raw) == kind.of(words) is not None else None


def _reads(form: _Form, raw: str) -> SecurityAssociation | None:
    match = form.pattern.fullmatch(raw)
    return None if match is None else form.kind.maker.make(match.group(*form.values))


def _says(raw: str, word: str) -> bool:
    """Whether it is the word, bare or in single quotes."""
    return raw == word or (raw == f"'{word}'" and "'" not in word)
