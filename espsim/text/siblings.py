"""A fast reader for `add` commands that differ only in addresses, SPI, reqid, keys and their selector's addresses.

A kind is a command's words with blanks for what varies. The parser reads the first command of a kind; of the others
only the blanks are read. The parser's answer holds for all, because the patterns here take no value that the parser
would refuse or read differently.

What this does not do: read a command that fits no kind or no pattern. The parser reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from espsim.aead.suites import Algorithm
from espsim.core.address import packed
from espsim.sad.association import SecurityAssociation, Selector
from espsim.text.found import ParsedSa
from espsim.text.lexer import SaEntry

_MOST = 8
"""How many kinds are kept, the latest first. A script alternates between few: in and out, transport and tunnel."""

_VARIES = ("src", "dst", "spi", "reqid")
_KEYED = frozenset({"aead", "auth-trunc", "auth", "enc"})
_SPI = re.compile(r"0x[0-9a-f]{1,8}")
_REQID = re.compile(r"0|[1-9][0-9]{0,8}")
_KEY = re.compile(r"0x((?:[0-9a-f]{2})+)")


@dataclass(frozen=True, slots=True, repr=False)
class _Kind:
    """`first` is the SA that was read, `blank` its words, with None for those that vary.

    Places are indices of `blank`. `at`: those of src, dst, spi and reqid (-1: not given). `keys`: an algorithm's key,
    and its length in characters. `prefixes`: an address of the selector, "src" or "dst", and its prefix length ("/32").
    """

    first: ParsedSa
    blank: list[str | None]
    at: tuple[int, int, int, int]
    keys: tuple[tuple[int, int], ...]
    prefixes: tuple[tuple[int, str, str], ...]


class Siblings:
    """The kinds of commands that were read last. It has no repr: it holds keys."""

    def __init__(self) -> None:
        self._kinds: list[_Kind] = []

    def find(self, entry: SaEntry) -> ParsedSa | None:
        """The SA of a command of a known kind. None: only the parser can read it."""
        words = [word.text for word in entry.words]
        for place, kind in enumerate(self._kinds):
            if len(words) == len(kind.blank) and entry.verb == kind.first.verb:
                sa = _sibling(kind, words)
                if sa is not None:
                    if place:
                        self._kinds.insert(0, self._kinds.pop(place))
                    return ParsedSa(sa, entry.line, kind.first.verb)
        return None

    def learn(self, entry: SaEntry, found: ParsedSa) -> None:
        """Keep the kind of a command that the parser has read without a note."""
        kind = _kind_of(entry, found)
        if kind is not None:
            self._kinds = [kind, *self._kinds[: _MOST - 1]]


def _kind_of(entry: SaEntry, found: ParsedSa) -> _Kind | None:
    """The kind of a command. None: other commands can't be read by it, as where a key is hidden or not plain hex."""
    words = [word.text for word in entry.words]
    # The first src and dst are the SA's: after `sel` they are the selector's.
    at = tuple(words.index(name) + 1 if name in words else -1 for name in _VARIES)
    keys = tuple((n + 2, len(words[n + 2])) for n, word in enumerate(words[:-2]) if word in _KEYED)
    if min(at[:3]) < 0 or len(keys) != len(found.sa.algorithms) or max(at) >= len(words):
        return None
    prefixes = tuple(_prefixes(words))
    varies = [*at, *(n for n, _ in keys), *(n for n, *_ in prefixes)]
    kind = _Kind(found, _blanked(words, varies), (at[0], at[1], at[2], at[3]), keys, prefixes)
    return kind if _sibling(kind, words) == found.sa else None


def _prefixes(words: list[str]) -> Iterator[tuple[int, str, str]]:
    """The addresses of a selector that says `src ADDR/PLEN` or `dst ADDR/PLEN`, once each."""
    begin = words.index("sel") if "sel" in words else len(words)
    for name in ("src", "dst"):
        if words[begin:].count(name) == 1 and (n := words.index(name, begin) + 1) < len(words):
            _, slash, length = words[n].partition("/")
            if slash and length.strip("0"):  # an address of length 0 states only its family
                yield n, name, slash + length


def _blanked(words: list[str], varies: Iterable[int]) -> list[str | None]:
    blank: list[str | None] = list(words)
    for n in varies:
        if n >= 0:
            blank[n] = None
    return blank


def _sibling(kind: _Kind, words: list[str]) -> SecurityAssociation | None:
    """The SA of these words. None: they are of another kind, or don't fit the patterns."""
    # Word by word: equal words are often one object, and then cheap to compare.
    if any(have is not None and have != word for have, word in zip(kind.blank, words, strict=True)):
        return None
    first, (src_at, dst_at, spi_at, reqid_at) = kind.first.sa, kind.at
    src, dst = packed(words[src_at]), packed(words[dst_at])
    spi = _SPI.fullmatch(words[spi_at])
    reqid = _REQID.fullmatch(words[reqid_at]) if reqid_at >= 0 else None
    algorithms = _algorithms(kind, words)
    selector = _selector(kind, words)
    if spi is None or algorithms is None or selector is None or (reqid is None and reqid_at >= 0):
        return None
    if src is None or dst is None or not len(src) == len(dst) == len(first.dst):
        return None
    number = first.reqid if reqid is None else int(reqid[0])
    return replace(first, src=src, dst=dst, spi=int(spi[0], 16), reqid=number, algorithms=algorithms, selector=selector)


def _selector(kind: _Kind, words: list[str]) -> Selector | None:
    """The first SA's selector with these addresses. None: another family or prefix length."""
    selector = kind.first.sa.selector
    for n, name, length in kind.prefixes:
        text = words[n]
        address = packed(text[: -len(length)]) if text.endswith(length) else None
        if address is None or len(address) != len(selector.src if name == "src" else selector.dst):
            return None
        selector = replace(selector, src=address) if name == "src" else replace(selector, dst=address)
    return selector


def _algorithms(kind: _Kind, words: list[str]) -> tuple[Algorithm, ...] | None:
    """The first SA's algorithms with these keys. None: another length, or not plain hex."""
    result = []
    for algorithm, (n, size) in zip(kind.first.sa.algorithms, kind.keys, strict=True):
        key = _KEY.fullmatch(words[n])
        if key is None or len(words[n]) != size:
            return None
        result.append(Algorithm(algorithm.kind, algorithm.name, bytes.fromhex(key[1]), algorithm.bits))
    return tuple(result)
