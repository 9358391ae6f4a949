"""A dump of any size into a `Survey`: SA by SA, by its form where that is known, else by the reader of pasted text.

Runs of SAs of one form are read off the text as it is; everything else goes by blocks through `reader.Reader`, which
also settles what all of it means together. Keys are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from espsim.xfrm.forms import Form, Forms
from espsim.xfrm.found import Ignored
from espsim.xfrm.parse import no_sa
from espsim.xfrm.pieces import MAX_BLOCK, ONELINE, START, Block, file_pieces, is_joined
from espsim.xfrm.reader import Ending, Reader, ending_of
from espsim.xfrm.survey import Survey


def survey_file(path: str) -> Survey:
    """The SAs of a file, or of standard input for `-`, in the words of `parse`.

    InputError with file and line: no SA at all, one SA with two keys, a damaged key, a file that is no text.
    """
    return survey_pieces(file_pieces(path), path)


def survey_pieces(pieces: Iterable[str], where: str | None) -> Survey:
    """As `survey_file`, of a text in whole lines."""
    scan = _Scan(where)
    for piece in pieces:
        scan.feed(piece)
    return scan.finish()


class _Scan:
    """Whole lines into a survey."""

    def __init__(self, where: str | None) -> None:
        self.survey = Survey(where)
        self._where = where
        self._reader = Reader(where, self.survey.notes)
        self._forms = Forms()
        self._places: dict[Form, tuple[int, Ending]] = {}
        self._held = ""
        self._line = 1

    def feed(self, piece: str) -> None:
        """Some more lines. What may go on in the next piece is held."""
        text = self._held + piece
        at = 0
        while True:
            at = self._run(text, at)
            end = _next_start(text, at + 1)
            if end < 0:
                break
            self._block(text[at:end])
            at = end
        if len(text) - at > MAX_BLOCK:  # junk without end
            cut = text.rfind("\n", at) + 1
            self._block(text[at:cut])
            at = cut
        self._held = text[at:]

    def finish(self) -> Survey:
        """The survey. InputError as `survey_file`."""
        if self._held:
            self._block(self._held)
        survey = self.survey
        gone = self._reader.settle(survey)
        survey.drop(gone)
        if not len(survey):
            raise no_sa(self._where, survey.ignored.total(), len(gone), survey.notes)
        return survey

    def _run(self, text: str, at: int) -> int:
        """SAs of the form that was met last, as many as follow each other; where the next block starts."""
        form = self._forms.latest
        if form is None:
            return at
        number, ending = self._place(form)
        start, line = at, self._line
        match, numbers, add = form.run.match, form.numbers, self.survey.add
        lines = form.lines
        while (found := match(text, at)) is not None:
            values = numbers(found)
            if values is None:
                break
            add(number, line, *values)
            line += lines
            at = found.end()
        if at > start:
            count = (line - self._line) // lines
            self._note(form, self._line, line - lines, count)
            self._reader.ended(ending, count=count)
            self._line = line
        return at

    def _block(self, text: str) -> None:
        """One block: an SA in most cases."""
        if text and not self._glance(text):
            self._parse(text)
        self._line += text.count("\n")

    def _glance(self, text: str) -> bool:
        """Whether the block is an SA of a form that is known, or could be learnt; then it is in the survey."""
        known = self._forms.read(_unfolded(text))
        if known is None:
            return False
        form, numbers = known
        number, ending = self._place(form)
        self.survey.add(number, self._line, *numbers)
        self._note(form, self._line, self._line, 1)
        self._reader.ended(ending)
        return True

    def _place(self, form: Form) -> tuple[int, Ending]:
        place = self._places.get(form)
        if place is None:
            place = (self.survey.number_of(form.template), ending_of(form.text.split()))
            self._places[form] = place
        return place

    def _note(self, form: Form, first: int, last: int, count: int) -> None:
        """What was passed over in each of the SAs of a form."""
        for what, offset in form.notes:
            self.survey.notes.add(what, first + offset, last + offset, count)

    def _parse(self, text: str) -> None:
        """The long way."""
        for found in self._reader.read(Block(text, self._line)):
            if isinstance(found, Ignored):
                self.survey.ignored[found.proto] += 1
            else:
                self.survey.add_parsed(found, found.line)


def _next_start(text: str, at: int) -> int:
    """Where the next block starts, at or after a place; -1 where none does."""
    while (found := START.search(text, at)) is not None:
        if not is_joined(text, found.start()):
            return found.start()
        at = found.end()
    return -1


def _unfolded(text: str) -> str:
    """A line of `ip -o` as the rows that it stands for."""
    return text.rstrip("\n").replace("\\", "\n") if ONELINE.search(text) else text
