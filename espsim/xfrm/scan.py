"""A dump of any size into a `Survey`: read by pieces, SA by SA, by its form where that is known, else by the parser."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from espsim.core.errors import InputError
from espsim.xfrm.forms import Form, Forms
from espsim.xfrm.lexer import ONELINE
from espsim.xfrm.parse import Ignored, parse_entries
from espsim.xfrm.survey import Survey

_CHUNK = 1 << 20
_MAX_ENTRY = 1 << 20

_START = re.compile(r"^[ \t]*(?:src|dst|ip|xfrm|sudo)(?=[ \t])", re.MULTILINE)
_ENDINGS = ("anti-replay", "sel src", "lifetime config:", "lifetime current:", "stats:")
"""Lines that iproute2 prints for every SA or for none: what all others have, the last one has, if it is whole.

(Of `sel` that is nearly true: it is left out where it is all zeros, which af-unspec makes possible.)
"""

_FIRST_ROWS = frozenset({"src", "proto", "replay-window", "flag", "mark", "output-mark"})


class _Block(NamedTuple):
    text: str
    line: int


def survey_file(path: str) -> Survey:
    """The SAs of a file, in the words of `parse`; hidden keys are passed over.

    InputError with file and line: what `parse` refuses, a dump that ends in the middle of an SA, and no SA at all.
    """
    return _survey(_blocks(path), path)


class _Reader:
    """Blocks into a survey; remembers the forms it has met."""

    def __init__(self, where: str) -> None:
        self.survey = Survey(where)
        self.common: frozenset[str] | None = None
        self.last: tuple[_Block, frozenset[str]] | None = None
        self._where = where
        self._forms = Forms()
        self._places: dict[Form, tuple[int, frozenset[str]]] = {}

    def read(self, block: _Block) -> None:
        """One block: an SA in most cases."""
        if not self._glance(block):
            self._parse(block)

    def _glance(self, block: _Block) -> bool:
        """Whether the block is an SA of a form that is known, or could be learnt; then it is in the survey."""
        known = self._forms.read(_unfolded(block.text))
        if known is None:
            return False
        form, numbers = known
        place = self._places.get(form)
        if place is None:
            place = (self.survey.number_of(form.template), _endings(form.text))
            self._places[form] = place
        self._ended(block, place[1])
        self.survey.add(place[0], block.line, *numbers)
        return True

    def _parse(self, block: _Block) -> None:
        """The long way. A block without an SA is a comment, or an error."""
        try:
            for found in parse_entries(block.text, self._where, keys_needed=False):
                line = block.line + found.line - 1
                if isinstance(found, Ignored):
                    self.survey.ignored[found.proto] += 1
                else:
                    self.survey.add_parsed(found, line)
                if isinstance(found, Ignored) or found.verb == "dump":
                    self._ended(block, _endings(block.text))
        except InputError as error:
            raise InputError(error.what, where=self._where, line=block.line + (error.line or 1) - 1) from None

    def _ended(self, block: _Block, endings: frozenset[str]) -> None:
        """A dump's state is over: `common` is what all before it end with."""
        if self.last is not None:
            before = self.last[1]
            if self.common is None:
                self.common = before
            elif self.common is not before:
                self.common &= before
        self.last = (block, endings)


def _survey(blocks: Iterator[_Block], where: str) -> Survey:
    reader = _Reader(where)
    for block in blocks:
        reader.read(block)
    survey = reader.survey
    if not len(survey):
        others = f" ({survey.ignored.total()} states of other protocols were ignored)" if survey.ignored else ""
        raise InputError(f"no SA in it{others}", where=where)
    if reader.last is not None:
        _refuse_cut(reader.last[0], reader.last[1], reader.common or frozenset(), where)
    survey.refuse_twins()
    return survey


def _refuse_cut(last: _Block, endings: frozenset[str], common: frozenset[str], where: str) -> None:
    """InputError where the last state of a dump lacks what every state has, or what it began to say."""
    missing = next((ending for ending in _ENDINGS if ending in common - endings), None)
    text = _unfolded(last.text)
    if missing is not None and not (missing == "sel src" and "af-unspec" in text):
        raise _cut(f"every other one has a line `{missing}`", last, where)
    rows = {line.split()[0] for line in text.splitlines() if line.strip()}
    if not rows - _FIRST_ROWS:
        raise _cut("nothing follows its first lines", last, where)
    if "esn context:" in text and "replay_window" not in text:
        raise _cut("its window is missing", last, where)
    if not last.text.endswith("\n") and "\n\tsel src" not in text:
        raise _cut("its last line has no line feed", last, where)


def _cut(why: str, block: _Block, where: str) -> InputError:
    return InputError(f"the dump ends in the middle of this SA: {why}", where=where, line=block.line)


def _unfolded(text: str) -> str:
    """A line of `ip -o` as the rows that it stands for."""
    return text.rstrip("\n").replace("\\", "\n") if ONELINE.search(text) else text


def _endings(text: str) -> frozenset[str]:
    return frozenset(ending for ending in _ENDINGS if ending in text)


# -- a file, by pieces ------------------------------------------------------------------------------------------------


def _blocks(path: str) -> Iterator[_Block]:
    """The text from each line that starts an SA to the next such line. What stands before the first is a block too."""
    line, held = 1, ""
    for piece in _pieces(path):
        held += piece
        starts = _starts(held)
        for begin, end in zip([0, *starts], starts, strict=False):
            if end:
                text = held[begin:end]
                yield _Block(text, line)
                line += text.count("\n")
        held = held[starts[-1] :] if starts else held
        if len(held) > _MAX_ENTRY + len(piece):
            raise InputError("no SA starts or ends within a megabyte: this is no dump of SAs", where=path, line=line)
    if held:
        yield _Block(held, line)


def _starts(text: str) -> list[int]:
    """Where SAs start. A backslash at the end of the line before makes one line of two, but for `ip -o`."""
    found = [match.start() for match in _START.finditer(text)]
    return [at for at in found if not _joined(text, at)] if "\\\n" in text else found


def _joined(text: str, at: int) -> bool:
    if text[max(0, at - 2) : at] != "\\\n":
        return False
    before = text[text.rfind("\n", 0, at - 1) + 1 : at - 1]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1 and not ONELINE.search(before)


def _pieces(path: str) -> Iterator[str]:
    """A file's text in whole lines. InputError with the line for a NUL byte or bytes that are no UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line, held = 1, ""
    try:
        with open(path, "rb") as file:
            while True:
                data = file.read(_CHUNK)
                nul = data.find(b"\0")
                if nul >= 0:
                    at = line + held.count("\n") + data.count(b"\n", 0, nul)
                    raise InputError("a NUL byte: this is no text", where=path, line=at)
                try:
                    held = (held + decoder.decode(data, final=not data)).replace("\r\n", "\n")
                except UnicodeDecodeError as error:
                    at = line + held.count("\n") + error.object.count(b"\n", 0, error.start)
                    raise InputError("not text (it is not UTF-8)", where=path, line=at) from None
                cut = held.rfind("\n") + 1 if data else len(held)
                yield held[:cut]
                line += held.count("\n", 0, cut)
                held = held[cut:]
                if not data:
                    return
                if len(held) > _MAX_ENTRY:
                    raise InputError("a line of more than a megabyte: this is no dump", where=path, line=line)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from None
    except ValueError:
        raise InputError("no file has such a name", where=repr(path)) from None
