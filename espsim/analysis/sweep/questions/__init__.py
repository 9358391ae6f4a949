"""The kinds of questions that a study may ask, by name."""

from __future__ import annotations

from espsim.analysis.sweep.questions import allocspi, audit, odds, scenario, storm, window
from espsim.analysis.sweep.questions.kind import QuestionKind

KINDS: dict[str, QuestionKind] = {
    kind.name: kind for kind in (audit.KIND, odds.KIND, window.KIND, allocspi.KIND, scenario.KIND, storm.KIND)
}
