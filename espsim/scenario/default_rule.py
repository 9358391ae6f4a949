"""Which rule should be the default? (`espsim run default`): each default, with and without a toggle, for each party.

Steffen Klassert's question. Under a default a party works unchanged, works with one line changed, or breaks. Each
answer comes from a run of the party's scenario, and names that scenario. A toggle is for the whole host: once it is
set, every other party lives under the toggle's rule, too.

    yes      works unchanged                     dir      one line: its requests say dir in and dir out
    toggle   one line: the host sets the toggle  no: ...  breaks, and where
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from espsim.scenario import android_marvell
from espsim.scenario.android_marvell import second_fate
from espsim.scenario.cell import Cell
from espsim.scenario.matrix import run_named

NAME = "default"
QUESTION = "Which rule of SPI uniqueness should be the default, with a toggle or without: who works, who breaks?"
DEFAULTS = ("rfc2401", "rfc4301", "sa-dir", "split", "full-4301")
TOGGLES = ("none", "rfc2401", "rfc4301")


@dataclass(frozen=True, slots=True)
class Party:
    """One party. `unchanged` and `changed` name (scenario, variant) pairs that must all pass `test`.

    `test` says where a cell breaks, None where it does not; `model` is the hardware that the scenario runs on.
    """

    name: str
    unchanged: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str], ...]
    test: Callable[[Cell], str | None]
    model: str = ""


def _all_granted(cell: Cell) -> str | None:
    """Every request succeeds."""
    return next((f"{asked.verb} {asked.errno}" for asked in cell.facts.requests if asked.errno), None)


def _one_granted(cell: Cell) -> str | None:
    """An SPI belongs to one inbound SA: the second request for it is refused."""
    granted = [asked for asked in cell.facts.requests if asked.errno is None]
    return f"{granted[-1].verb} twice" if len(granted) > 1 else None


def _no_wrong_key(cell: Cell) -> str | None:
    """No packet meets another SA's keys, and no add is refused by the driver."""
    fate = second_fate(cell)
    return {"silent": "wrong key", "flagged": "wrong key", "no SA": "no SA", "refused": "driver's errno"}.get(fate)


_BOTH = android_marvell.NAME
PARTIES = (
    Party("Android", (("s02", "no dir"),), (("s02", "dirs"),), _all_granted),
    Party("IKE daemons", (("s04", "no dir"),), (("s04", "dirs"),), _all_granted),
    Party("SPI-only NIC", ((_BOTH, "no dir"),), ((_BOTH, "dir"),), _no_wrong_key, "marvell-cn10k-linux-v5"),
    Party("triple NIC", ((_BOTH, "no dir"),), ((_BOTH, "dir"),), _no_wrong_key, "nvidia-mlx5-linux-packet"),
    Party("RFC 4301", (("s01", "no dir"), ("s21", "NEWSA")), (("s01", "dir in"), ("s21", "NEWSA in")), _one_granted),
    Party("scripts", (("s21", "NEWSA"),), (("s21", "NEWSA out"),), _all_granted),
)


@dataclass(frozen=True, slots=True)
class PartyFit:
    """How one party fares. `answer`: yes, dir, toggle or no; `where`: where it breaks; `by`: the runs that show it."""

    default: str
    toggle: str
    party: str
    answer: str
    where: str
    by: str

    @property
    def text(self) -> str:
        """For a table."""
        return f"no: {self.where}" if self.answer == "no" else self.answer

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "default": self.default, "toggle": self.toggle, "party": self.party, "answer": self.answer,
            "where": self.where or None, "by": self.by,
        }  # fmt: skip


def run(seed: int = 1) -> list[PartyFit]:
    """Every default with every toggle for every party, in the order of DEFAULTS, TOGGLES and PARTIES."""
    cells = _cells(seed)
    pairs = [(default, toggle) for default in DEFAULTS for toggle in TOGGLES if toggle != default]
    return [_fit(cells, default, toggle, party) for default, toggle in pairs for party in PARTIES]


def conclude(fits: Sequence[PartyFit]) -> list[str]:
    """Sentences: under which default no one breaks, and who breaks under each without a toggle."""
    sentences = []
    for default in DEFAULTS:
        plain = [fit for fit in fits if (fit.default, fit.toggle) == (default, "none")]
        breaks = [f"{fit.party} ({fit.where})" for fit in plain if fit.answer == "no"]
        lines = [f"{fit.party} ({fit.answer})" for fit in plain if fit.answer == "dir"]
        text = f"{default}: {'breaks ' + ', '.join(breaks) if breaks else 'breaks no one'}"
        text += f"; one line changes for {', '.join(lines)}" if lines else ""
        helped = []
        for toggle in TOGGLES:
            names = [f.party for f in fits if (f.default, f.toggle, f.answer) == (default, toggle, "toggle")]
            if names:
                helped.append(f"a toggle to {toggle} helps {', '.join(names)}")
        sentences.append("; ".join([text, *helped]) + ".")
    return sentences


def _cells(seed: int) -> dict[tuple[str, str, str, str], Cell]:
    """The cell of each (scenario, variant, policy, model) that a party needs."""
    policies = tuple(dict.fromkeys((*DEFAULTS, *(toggle for toggle in TOGGLES if toggle != "none"))))
    names = [name for party in PARTIES for name, _ in (*party.unchanged, *party.changed) if name != _BOTH]
    cells = [cell for answered in run_named(names, policies, seed=seed) for cell in answered.cells]
    found = {(cell.scenario, cell.variant, cell.policy, ""): cell for cell in cells}
    models = [party.model for party in PARTIES if party.model]
    for cell in android_marvell.run(policies, models, seed=seed).cells:
        found[cell.scenario, cell.variant, cell.policy, cell.model] = cell
    return found


def _fit(cells: dict[tuple[str, str, str, str], Cell], default: str, toggle: str, party: Party) -> PartyFit:
    def breaks(policy: str, wanted: Sequence[tuple[str, str]]) -> str:
        found = (party.test(cells[name, variant, policy, party.model]) for name, variant in wanted)
        return next((where for where in found if where is not None), "")

    def by(policy: str, wanted: Sequence[tuple[str, str]]) -> str:
        return "; ".join(f"{name} {variant} {policy} {party.model}".strip() for name, variant in wanted)

    where = breaks(default, party.unchanged)
    if not where:
        return PartyFit(default, toggle, party.name, "yes", "", by(default, party.unchanged))
    if toggle != "none" and not breaks(toggle, party.unchanged):
        return PartyFit(default, toggle, party.name, "toggle", "", by(toggle, party.unchanged))
    if not breaks(default, party.changed):
        return PartyFit(default, toggle, party.name, "dir", "", by(default, party.changed))
    return PartyFit(default, toggle, party.name, "no", where, by(default, party.unchanged))
