"""From blocks of text to SAs, in two steps.

1. `Reader.read` reads one block after the other.
2. `Reader.settle` looks at all rows at the end. It finds SAs that a command removes, SAs that are in the text twice,
   and a dump that ends in the middle of an SA.

Both readers of SADs use it: `parse` (every field of every SA) and `scan` (a million SAs in columns). Each gives its SAs
to `settle` as a `SaRows`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias, cast

from espsim.core.errors import InputError
from espsim.text import esp_sa_read, setkey
from espsim.text.cursor import Contradiction, Cursor
from espsim.text.draft import Draft
from espsim.text.found import Ignored, ParsedSa, SaRows, Unmodelled, Verb, crypto
from espsim.text.lexer import SaEntry, Style
from espsim.text.notes import Notes
from espsim.text.paste import COMMENTED, Act, Paste
from espsim.text.pieces import Block
from espsim.text.removal import Removal, removal_of
from espsim.text.siblings import Siblings
from espsim.text.words import read_words

Found: TypeAlias = ParsedSa | Unmodelled | Ignored

TWICE = "an SA that is in the text before; the later one counts"
NOT_ADDED = "an `add` that the kernel refuses (EEXIST), because an SA above has its SPI and takes its mark, passed over"
_HIDDEN_KEY = "{} {}: the key is hidden, or not hex; print it with `ip xfrm state list`, as root, without nokeys"

ENDINGS = ("anti-replay", "sel")
"""Words of lines that iproute2 prints for every SA or for none. A last SA without a line that all others have is cut.
Lines after these are statistics.

`sel` has one exception: iproute2 leaves out a selector of zeros without a family, which af-unspec makes possible.
"""
_FIRST_ROWS = frozenset({"src", "proto", "replay-window", "flag", "mark", "output-mark"})


class Ending(NamedTuple):
    """What shows whether an SA of a dump is complete."""

    endings: frozenset[str]
    rows: frozenset[str]
    af_unspec: bool
    esn_cut: bool


class Reader:
    """A reader of one text. `strict`, for an SA in a user's own file: what is passed over else is an InputError."""

    def __init__(self, where: str | None, notes: Notes, *, strict: bool = False, rows: Style = Style.ESP_SA) -> None:
        self.where = where
        self.notes = notes
        self.strict = strict
        self.count = 0
        self._paste = Paste(notes, rows)
        self._siblings = Siblings()
        self._acts: list[tuple[int, Act, Removal]] = []
        self._commented: list[int] = []
        self._common: frozenset[str] | None = None
        self._last: tuple[int, Ending] | None = None

    def read(self, block: Block) -> Iterator[Found]:
        """What a block holds. Raises Contradiction, with the line."""
        text, line = block
        known = self._siblings.read(text, line) if not self.strict else None
        if known is not None:
            found, end = known
            self.count += 1
            self._last = None
            yield found
            line, text = line + text.count("\n", 0, end), text[end:]
        if text:
            yield from self._statements(text, line)

    def _statements(self, text: str, line: int) -> Iterator[Found]:
        """What a text holds, read word by word. `line` is the number of its first line."""
        first = text
        for statement in self._paste.statements(text, line):
            if isinstance(statement, Act):
                self._act(statement)
                continue
            found = self._judged(statement, first, line)
            first = ""
            row = _is_row(found)
            if row and statement.commented:
                self._commented.append(self.count)
            if statement.style is Style.DUMP:
                self.ended(ending_of([word.text for word in statement.words]), count=int(row))
            elif row:
                self.count += 1
                self._last = None
            if found is not None:
                yield found

    def _judged(self, entry: SaEntry, text: str, line: int) -> Found | None:
        """One SA from its words. `text`, which starts on the line `line`, begins with these words, or is empty."""
        if self.strict or entry.style is not Style.COMMAND:
            return judge(entry, self.where, self.notes, strict=self.strict)
        sibling = self._siblings.find(entry, text, line)
        if sibling is not None:
            return sibling
        said = self.notes.places
        found = judge(entry, self.where, self.notes)
        if isinstance(found, ParsedSa) and self.notes.places == said:
            self._siblings.learn(entry, found, text, line)
        return found

    def ended(self, ending: Ending, count: int = 1) -> None:
        """Note how the next `count` states of a dump end; they end alike. `_common`: the endings that all have so far.

        The last state is left out of `_common`: `settle` compares it with that of the others.
        """
        if self._last is not None:
            self._before(self._last[1].endings)
        if count > 1:
            self._before(ending.endings)
        self.count += count
        self._last = (self.count - 1 if count else -1, ending)

    def _before(self, endings: frozenset[str]) -> None:
        if self._common is None:
            self._common = endings
        elif self._common is not endings:
            self._common &= endings

    @property
    def inert(self) -> bool:
        """Whether nothing that was read so far affects other SAs."""
        return not self._acts and not self._paste.carries

    def _act(self, act: Act) -> None:
        removal = removal_of(act.words, setkey=act.setkey)
        if removal is None:
            self.notes.add(f"`{act.words[0]}` with words that are not understood, passed over", act.line)
        else:
            self._acts.append((self.count, act, removal))

    # -- all of it ----------------------------------------------------------------------------------------------------

    def settle(self, rows: SaRows) -> set[int]:
        """The rows that do not count: removed by a command, in a comment, or there twice. Raises Contradiction."""
        self._refuse_cut(rows)
        gone = self._comments(rows) | self._taken(rows)
        gone |= _twins(rows, gone, self.notes, self.where)
        return gone

    def _refuse_cut(self, rows: SaRows) -> None:
        if self._last is None or self.strict:
            return
        index, ending = self._last
        missing = next((e for e in ENDINGS if e in (self._common or frozenset()) - ending.endings), None)
        what = ""
        if missing is not None and not (missing == "sel" and ending.af_unspec):
            what = f"every other SA has a line with `{missing}`"
        elif not ending.rows - _FIRST_ROWS:
            what = "nothing follows its first lines"
        elif ending.esn_cut:
            what = "its window is missing"
        if what and index >= 0:
            rows.end_in_the_middle(index, f"the text ends in the middle of this SA: {what}")

    def _comments(self, rows: SaRows) -> set[int]:
        if not self._paste.script:
            return set()
        for index in self._commented:
            self.notes.add(COMMENTED, rows.line_of(index))
        self._acts = [kept for kept in self._acts if not kept[1].commented]
        return set(self._commented)

    def _taken(self, rows: SaRows) -> set[int]:
        """The rows that later commands remove: one pass over the rows for all commands."""
        if not self._acts:
            return set()
        by_key: dict[object, list[tuple[int, Removal]]] = defaultdict(list)
        broad: list[tuple[int, Removal]] = []
        for position, _, removal in self._acts:
            (broad if removal.key is None else by_key[removal.key]).append((position, removal))
        gone = set()
        for index in range(len(rows)):
            identity = rows.identity(index)
            for position, removal in (*by_key.get(identity[:3], ()), *broad):
                if index < position and removal.takes(identity, rows, index):
                    gone.add(index)
                    break
        return gone


def _is_row(found: Found | None) -> bool:
    return found is not None and not isinstance(found, Ignored)


def ending_of(words: Sequence[str]) -> Ending:
    """How an SA with these words ends."""
    seen = frozenset(words)
    rows = frozenset(word for word in seen if word in _FIRST_ROWS or word in _ROWS)
    esn_cut = ("esn", "context:") in itertools.pairwise(words) and "replay_window" not in seen
    # iproute2 prints no space before `extra_flag`, so with -s the word is af-unspecextra_flag.
    af_unspec = any(word.startswith("af-unspec") for word in seen)
    return Ending(seen & frozenset(ENDINGS), rows, af_unspec, esn_cut)


_ROWS = frozenset({
    "aead", "enc", "auth", "auth-trunc", "comp", "encap", "coa", "anti-replay", "crypto", "if_id", "tfcpad", "dir",
    "sel", "lifetime", "stats:", "lastused", "security", "pcpu-num", "replay_window", "seq-hi", "oseq-hi",
})  # fmt: skip


# -- one SA -----------------------------------------------------------------------------------------------------------

_READERS: dict[Style, Callable[[SaEntry, str | None, Notes], Draft]] = {
    Style.SETKEY_DUMP: setkey.read_dump, Style.SETKEY_ADD: setkey.read_add, Style.ESP_SA: esp_sa_read.read_row,
    Style.SECRETS: esp_sa_read.read_row,
}  # fmt: skip


def judge(entry: SaEntry, where: str | None, notes: Notes, *, strict: bool = False) -> Found | None:
    """One SA of a text, judged alone. None: it lacks an address, SPI or protocol; a note says so.

    Contradiction: no reader can know what the SA is, or a user typed it as a command that iproute2 would refuse.
    `strict`: InputError for everything that is not read or not modelled.
    """
    read = _READERS.get(entry.style)
    draft = read_words(Cursor(entry, where), notes) if read is None else read(entry, where, notes)
    verb = cast(Verb, entry.verb)
    if strict:
        return _strictly(draft, entry, where)
    if draft.ignored:
        return Ignored(draft.other_proto or draft.proto or 0, entry.line)
    if missing := draft.no_identity:
        notes.add(f"an incomplete SA ({missing}), passed over", entry.line)
        return None
    if not entry.style.typed:
        draft.hide_damaged_keys(notes)
    draft.note_empty_keys(notes)
    fault, what = draft.fault, draft.unmodelled
    if fault is None and not what:
        try:
            return ParsedSa(draft.build(entry, where), entry.line, verb, draft.all_hidden)
        except InputError as error:
            fault = error
    if fault is not None:
        if entry.style.typed:  # a user's mistake: without this SA the answer would be wrong
            raise Contradiction(fault.what, where=where, line=fault.line)
        what = fault.what
    return Unmodelled(draft.stand_in(), draft.mode, what, entry.line, verb, crypto(draft.algorithms, draft.hidden))


def _strictly(draft: Draft, entry: SaEntry, where: str | None) -> ParsedSa | Ignored:
    """The SA, or InputError."""
    if draft.fault is not None:
        raise draft.fault
    if draft.other_proto:
        raise InputError(f"unknown proto {draft.other_proto!r}", where=where, line=entry.line)
    if draft.ignored:
        return Ignored(draft.proto or 0, entry.line)
    for hidden in draft.hidden:
        raise InputError(_HIDDEN_KEY.format(hidden.kind, hidden.name), where=where, line=draft.algorithm_line)
    return ParsedSa(draft.build(entry, where), entry.line, cast(Verb, entry.verb))


# -- one SA twice -----------------------------------------------------------------------------------------------------


def _twins(rows: SaRows, gone: set[int], notes: Notes, where: str | None) -> set[int]:
    """The rows that repeat another row. Contradiction where the two have different keys or algorithms."""
    seen: dict[object, list[int]] = defaultdict(list)
    twice: set[int] = set()
    for index in rows.repeated():
        if index in gone or rows.verb_of(index) == "update":  # an update changes an SA that is there
            continue
        dst, spi, proto, mark = rows.identity(index)
        others = seen[dst, spi, proto]
        for other in list(others):
            theirs = rows.identity(other)[3]
            if theirs == mark:
                loser = _loser(rows, other, index, where)
                twice.add(loser)
                notes.add(NOT_ADDED if loser == index and rows.verb_of(index) == "add" else TWICE, rows.line_of(index))
                if loser == index:
                    break
                others.remove(other)
            # A dump is not a sequence of requests: its order is not that in which the kernel took its SAs.
            elif rows.verb_of(index) != "dump" and mark.value & mark.mask & theirs.mask == theirs.value:
                _compare(rows, other, index, where)
                twice.add(index)
                notes.add(NOT_ADDED, rows.line_of(index))
                break
        if index not in twice:
            others.append(index)
    return twice


def _loser(rows: SaRows, first: int, second: int, where: str | None) -> int:
    """Which of two rows of one SA does not count: the one without keys, else a second `add`, else the earlier."""
    _compare(rows, first, second, where)
    a, b = rows.crypto(first), rows.crypto(second)
    if bool(a.names) != bool(b.names):
        return second if a.names else first
    if (a.print is None) != (b.print is None):
        return first if a.print is None else second
    return second if rows.verb_of(second) == "add" else first


def _compare(rows: SaRows, first: int, second: int, where: str | None) -> None:
    a, b = rows.crypto(first), rows.crypto(second)
    if not a.names or not b.names:
        return
    if a.names != b.names or (a.print is not None and b.print is not None and a.print != b.print):
        what = "another key" if a.names == b.names else "other algorithms"
        raise Contradiction(
            f"{rows.name(second)} is on line {rows.line_of(first)} already, with {what}: an SA has one; take out"
            " the line that does not count",
            where=where, line=rows.line_of(second),
        )  # fmt: skip
