"""SAs from text in the words of `ip xfrm state`: dumps, `add` and `update` lines, and the bare words of either.

Everything that ip/xfrm_state.c takes and ip/ipxfrm.c prints (iproute2 5.x to 6.1x) is understood. An SA that espsim
can't run is `Unmodelled`, one SA and not the end; an SA without its keys is `ParsedSa` with `hidden`. What is no part
of an SA is passed over with a note. What stops: no SA at all, one SA with two keys, a damaged key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from espsim.core.errors import InputError
from espsim.sad.association import SecurityAssociation
from espsim.xfrm.algorithms import Hidden
from espsim.xfrm.cursor import Cursor
from espsim.xfrm.lexer import split_entries
from espsim.xfrm.notes import Notes
from espsim.xfrm.words import read_words

Verb: TypeAlias = Literal["add", "update", "dump"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ParsedSa:
    """An SA with the line that it starts on. `verb` is dump where `ip xfrm state` printed it.

    A dump's SA without algorithms is larval, but where `hidden` names them: keys that were not printed can be passed
    over (`keys_needed=False`), and then the SA has no keys. A dump lists the newest SA first (xfrm_state_walk).
    """

    sa: SecurityAssociation
    line: int
    verb: Verb
    hidden: tuple[Hidden, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """A state that is no SA of IPsec: IP in IP beside IPComp (4, 41), Mobile IPv6 (43, 60). `proto` is its number."""

    proto: int
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: a state of protocol {self.proto}, ignored"


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """An SA of ESP, AH or IPComp that espsim can't run, and `what` is why (`mode iptfs`, `enc cbc(des3_ede)`).

    `sa` is a stand-in: addresses, SPI, protocol, reqid, mark, dir, offload, window and flags as far as they make an SA,
    without algorithms, in transport mode. `mode` is the text's own word.
    """

    sa: SecurityAssociation
    mode: str
    what: str
    line: int
    verb: Verb

    @property
    def name(self) -> str:
        """As `SecurityAssociation.name`."""
        return self.sa.name


@dataclass(slots=True)
class SadText:
    """What a text holds, in the order of the text.

    `sas`: the SAs that can be used, larval ones too. `hidden`: SAs whose keys the text does not show (no use to decap).
    `unmodelled`: SAs that espsim can't run. `ignored`: states of other protocols. `notes`: what was passed over.
    """

    sas: list[ParsedSa] = field(default_factory=list)
    hidden: list[ParsedSa] = field(default_factory=list)
    unmodelled: list[Unmodelled] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)


def read_sad_file(path: str) -> list[ParsedSa]:
    """The SAs of a file. InputError with the line for anything wrong; "no SA in it" where there is none."""
    return read_sad(path).sas


def parse_sad_text(text: str, where: str | None = None) -> list[ParsedSa]:
    """The SAs of a text; `where` is its name in errors. Raises as `read_sad_file`."""
    return parse_sad(text, where).sas


def parse_sa_line(text: str, where: str | None = None, line: int | None = None) -> SecurityAssociation:
    """The one SA of a text that a user wrote inside another file, at its line `line`. Raises InputError."""
    try:
        parsed = parse_sad(text, where, strict=True).sas
    except InputError as error:
        at = error.line if line is None else line + (error.line or 1) - 1
        raise InputError(error.what, where=where, line=at) from None
    if len(parsed) > 1:
        raise InputError(f"one SA is wanted here, not {len(parsed)}", where=where, line=line)
    return parsed[0].sa


def read_sad(path: str) -> SadText:
    """A file's SAs and what was ignored in it. Raises as `read_sad_file`; an unreadable file is an InputError too."""
    data = _read(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not text (it is not UTF-8)", where=path, line=line) from None
    return parse_sad(text, path)


def parse_sad(text: str, where: str | None = None, *, keys_needed: bool = True, strict: bool = False) -> SadText:
    """A text's SAs and what was ignored in it. Raises as `read_sad_file`; `strict`: for what is not modelled too."""
    result = SadText()
    triples = _Triples(where)
    for found in parse_entries(text, where, keys_needed=keys_needed, strict=strict):
        if isinstance(found, Ignored):
            result.ignored.append(found)
        elif isinstance(found, Unmodelled):
            result.unmodelled.append(found)
        else:
            triples.add(found)
            (result.hidden if found.hidden else result.sas).append(found)
    if not (result.sas or result.hidden or result.unmodelled):
        others = f" ({len(result.ignored)} states of other protocols were ignored)" if result.ignored else ""
        raise InputError(f"no SA in it{others}", where=where)
    return result


def parse_entries(
    text: str, where: str | None = None, *, keys_needed: bool = True, strict: bool = False
) -> Iterator[ParsedSa | Unmodelled | Ignored]:
    """The states of a text one by one, each judged alone, none compared with another. InputError with the line.

    `strict`: an SA that espsim can't run is an InputError.
    """
    for entry in split_entries(text, where):
        cursor = Cursor(entry, where, keys_needed=keys_needed)
        draft = read_words(cursor)
        if draft.ignored:
            yield Ignored(draft.proto or 0, entry.line)
            continue
        verb = cast(Verb, entry.verb)
        what = "" if strict else draft.unmodelled
        if what:
            yield Unmodelled(draft.stand_in(), draft.mode, what, entry.line, verb)
        else:
            yield ParsedSa(draft.build(entry, where), entry.line, verb, draft.all_hidden)


class _Triples:
    """Which triples (daddr, SPI, protocol) were seen, under which marks: SPI 0 is never found, so it may repeat."""

    def __init__(self, where: str | None) -> None:
        self._where = where
        self._seen: dict[object, dict[tuple[int, int], int]] = {}

    def add(self, parsed: ParsedSa) -> None:
        """InputError where the SA would be the second under one mark, or `add` could not install it (EEXIST)."""
        sa, mark = parsed.sa, parsed.sa.mark
        if not sa.spi or parsed.verb == "update":  # an update is of an SA that is there
            return
        marks = self._seen.setdefault(sa.triple, {})
        for (value, mask), line in marks.items():
            same = (value, mask) == (mark.value, mark.mask)
            # A dump is no sequence of requests: the kernel took its SAs in an order of its own.
            taken = parsed.verb != "dump" and mark.value & mark.mask & mask == value
            if same or taken:
                why = "with the same mark" if same else "and its mark takes this one too"
                raise InputError(f"{sa.name} is on line {line} already, {why}", where=self._where, line=parsed.line)
        marks[mark.value, mark.mask] = parsed.line


def _read(path: str) -> bytes:
    """A file's bytes, but for one that is no text: then not all of it (`/dev/zero` has no end)."""
    chunks: list[bytes] = []
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                nul = chunk.find(b"\0")
                if nul >= 0:
                    line = sum(c.count(b"\n") for c in chunks) + chunk.count(b"\n", 0, nul) + 1
                    raise InputError("a NUL byte: this is no text", where=path, line=line)
                chunks.append(chunk)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from None
    except ValueError:
        raise InputError("no file has such a name", where=repr(path)) from None
    return b"".join(chunks)
