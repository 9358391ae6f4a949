"""The parts of a report: the question, the verdict, sections of sentences, tables and drawings, and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from espsim.report.html.charts import Drawing
from espsim.report.look import page


@dataclass(frozen=True, slots=True)
class HtmlWords:
    """A sentence or two. `look`: a class of the style sheet (n: a note; bad; ok; warn)."""

    kind: ClassVar[str] = "words"
    text: str
    look: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """Sentences in a list."""

    kind: ClassVar[str] = "items"
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class HtmlTable:
    """A table with its caption. The first cell of a row names the row. A table without rows is not shown."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(cls, caption: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> HtmlTable:
        """A table from cells of any type. A column that is empty in every row is left out."""
        names, cells = list(head), [[str(cell) for cell in row] for row in rows]
        kept = [at for at, name in enumerate(names) if not at or any(row[at] for row in cells)]
        return cls(caption, [names[at] for at in kept], [[row[at] for at in kept] for row in cells])


@dataclass(frozen=True, slots=True)
class HtmlFigure:
    """A drawing, and the numbers that it was drawn from."""

    kind: ClassVar[str] = "figure"
    drawing: Drawing
    table: HtmlTable | None = None


Part = HtmlWords | Items | HtmlTable | HtmlFigure


@dataclass(frozen=True, slots=True)
class Section:
    """Parts below a heading."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Made:
    """How a report was made: the machine and the versions as (what, value), and the command that makes it again."""

    facts: Sequence[tuple[str, str]] = ()
    command: str = ""

    def by(self, engine: Mapping[str, Any]) -> Made:
        """The same, and the engine that ran, from the JSON of a result."""
        isa = f"; {engine['engine_isa']}" if engine.get("engine_isa") else ""
        return replace(self, facts=[*self.facts, ("engine", f"{engine['engine']} ({engine['engine_version']}{isa})")])


@dataclass(frozen=True, slots=True)
class Report:
    """A whole page. `good` colours the verdict: True, False, or None if the verdict is neither good nor bad."""

    program: str
    question: str
    verdict: str
    good: bool | None
    sections: Sequence[Section]
    lead: Sequence[str] = ()
    assumptions: Sequence[str] = ()
    made_by: Made = Made()


def render(report: Report) -> str:
    """The page."""
    return page("report.html.j2", report=report)
