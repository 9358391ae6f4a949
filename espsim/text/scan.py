"""The reader for a million SAs that are counted and compared: a dump of any size into a `Survey`.

1. Consecutive SAs of known forms (forms.py) are read from the text, all at once where they are alike (runs.py).
2. Everything else goes block by block through `reader.Reader`, which also settles what all of it means together.

What this does not do: keep keys, or give SAs that packets can run through (parse.py does).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from espsim.text.forms import Form, Forms
from espsim.text.found import Ignored
from espsim.text.parse import no_sa
from espsim.text.pieces import MAX_BLOCK, ONELINE, START, Block, file_pieces, is_joined
from espsim.text.reader import Ending, Reader, ending_of
from espsim.text.runs import Runs
from espsim.text.survey import Columns, Survey


def survey_file(path: str) -> Survey:
    """The SAs of a file, or of standard input for `-`. Takes what `parse` takes.

    InputError with file and line: no SA at all, one SA with two keys, a damaged key, a file that is not text.
    """
    return survey_pieces(file_pieces(path), path)


def survey_pieces(pieces: Iterable[str], where: str | None) -> Survey:
    """As `survey_file`, of a text in whole lines."""
    scan = _Scan(where)
    for piece in pieces:
        scan.feed(piece)
    return scan.finish()


class _Scan:
    """Reads whole lines into a survey."""

    def __init__(self, where: str | None) -> None:
        self.survey = Survey(where)
        self._where = where
        self._reader = Reader(where, self.survey.notes)
        self._forms = Forms()
        self._runs = Runs()
        self._next: dict[Form, Form] = {}
        self._places: dict[Form, tuple[int, Ending]] = {}
        self._held = ""
        self._line = 1

    def feed(self, piece: str) -> None:
        """Read more lines. The last block is held: it may continue in the next piece."""
        text = self._held + piece
        at = self._in_runs(text)
        while True:
            at = self._run(text, at)
            end = _next_start(text, at + 1)
            if end < 0:
                break
            self._block(text[at:end])
            at = end
        if len(text) - at > MAX_BLOCK:  # no next start within MAX_BLOCK: cut at a line
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

    def _in_runs(self, text: str) -> int:
        """Read the SAs that a text begins with, if they go on as those before. Returns where the others start."""
        forms, found, end = self._runs.find(text, 0)
        columns = [form.columns(groups) for form, groups in zip(forms, found, strict=True)]
        if not found or None in columns:
            return 0
        rows = {form: range(n, len(forms) * len(found[0]), len(forms)) for n, form in enumerate(forms)}
        self._add(rows, columns, [form.lines for form in forms] * len(found[0]), forms[-1])
        return end

    def _run(self, text: str, at: int) -> int:
        """Read consecutive SAs of the last forms met. Returns where the next block starts."""
        found: list[re.Match[str]] = []
        forms: list[Form] = []
        form = before = self._forms.latest[0] if self._forms.latest else None
        while form is not None and before is not None:
            match = form.run.match(text, at)
            if match is None:
                form, match = self._forms.other(form, text, at)
                if form is None or match is None:
                    break
            found.append(match)
            forms.append(form)
            at = match.end()
            self._next[before] = before = form
            form = self._next.get(form, form)  # the form that followed last time: SAs in and out alternate
        if found:
            kept = self._add_rows(forms, [match.groups() for match in found])
            at = found[kept].start() if kept < len(found) else at
            self._runs.seen(forms)
        return at

    def _add_rows(self, forms: list[Form], found: list[tuple[str, ...]]) -> int:
        """Add SAs to the survey, up to the first with a number out of range. Returns how many it added."""
        numbers: dict[Form, list[int]] = {}
        for row, form in enumerate(forms):
            numbers.setdefault(form, []).append(row)
        rows: dict[Form, Sequence[int]] = {**numbers}
        columns = [form.columns([found[row] for row in of]) for form, of in rows.items()]
        if None in columns:
            kept = next(n for n, groups in enumerate(found) if forms[n].columns([groups]) is None)
            return self._add_rows(forms[:kept], found[:kept]) if kept else 0
        self._add(rows, columns, [form.lines for form in forms], forms[-1])
        return len(found)

    def _add(
        self, rows: Mapping[Form, Sequence[int]], columns: Sequence[Columns | None], counts: list[int], last: Form
    ) -> None:
        """Add SAs to the survey: of each form its rows and columns. `counts`: lines of each SA; `last`: its form."""
        lines = list(itertools.accumulate(counts, initial=self._line))
        places = [self._place(form)[0] for form in rows]
        self.survey.extend(places, list(rows.values()), lines[:-1], [c for c in columns if c is not None])
        for form in sorted(rows, key=lambda form: form is last):
            of = rows[form]
            self._note(form, lines[of[0]], lines[of[-1]], len(of))
            self._reader.ended(self._place(form)[1], count=len(of))
        self._line = lines[-1]

    def _block(self, text: str) -> None:
        """Read one block. Most blocks are one SA."""
        if text and not self._glance(text):
            self._parse(text)
        self._line += text.count("\n")

    def _glance(self, text: str) -> bool:
        """Add the block if it is an SA of a known form, or of one that can be learnt; whether it was added."""
        rows = _unfolded(text)
        known = self._forms.read(rows)
        if known is None:
            return False
        form, columns = known
        if form.notes and rows is not text:  # notes count rows, and the text of `ip -o` has them on one line
            return False
        number, ending = self._place(form)
        self.survey.extend([number], [[0]], [self._line], [columns])
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
        """Add a form's notes for each of its SAs."""
        for what, offset in form.notes:
            self.survey.notes.add(what, first + offset, last + offset, count)

    def _parse(self, text: str) -> None:
        """Read a block with the parser."""
        for found in self._reader.read(Block(text, self._line)):
            if isinstance(found, Ignored):
                self.survey.ignored[found.proto] += 1
            else:
                self.survey.add_parsed(found, found.line)


def _next_start(text: str, at: int) -> int:
    """Where the next block starts, at or after `at`; -1 where none does."""
    while (found := START.search(text, at)) is not None:
        if not is_joined(text, found.start()):
            return found.start()
        at = found.end()
    return -1


def _unfolded(text: str) -> str:
    """A line of `ip -o`, cut into rows."""
    return text.rstrip("\n").replace("\\", "\n") if ONELINE.search(text) else text
