"""The thread's two parties on one host: Android's calls, and hardware that finds an SA by its SPI.

`espsim run android-and-marvell`. The scenario's cells say what happens under each policy, on each model, with and
without a direction from the key manager. This module chooses each model's offload mode and draws the conclusion: who
is fixed, whose packets meet a wrong key, how often, and what each party would have to change. Every sentence is
computed from the cells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from espsim.core.address import parse_address
from espsim.core.errors import XfrmError
from espsim.core.numbers import DIR_IN, PROTO_ESP
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest
from espsim.offload.model import Model, load_model, parse_assumptions
from espsim.scenario.cell import Cell
from espsim.scenario.matrix import Answered, run_named
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import load_scenario
from espsim.scenario.traffic import expand

NAME = "android-and-marvell"
Chance = Callable[[list[int], int], float]
"""The chance that two SAs have one SPI: SAs on each address, and how many SPIs there are to draw from."""

_IN, _OUT, _SECOND, _UPDATE_SECOND = 0, 1, 2, 5
"""The scenario's requests, by index."""

RANGES = (
    ("Marvell's reproducer, three SPIs", 0x10000000, 0x10000002),
    ("one byte of SPIs", 0x100, 0x1FF),
    ("strongSwan's default", 0xC0000000, 0xCFFFFFFF),
)
_SIZES = (2, 5, 20, 100, 1000, 10_000)
_ADDRESSES = 5
_RUNS = 200
_SURE, _SHOWN = 0.9995, 1e-6
"""Bounds of chances: from the first on a chance counts as certain; below the second it gets no sentence."""
_MOST_DRAWN = 20_000
"""Most SAs in all runs of one line; lines that would need more are computed, not run."""


@dataclass(frozen=True, slots=True)
class Odds:
    """How often two SAs get one SPI where only the triple must differ: computed, and seen in `runs` runs."""

    what: str
    spis: int
    sas: int
    chance: float
    runs: int = 0
    seen: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "range": self.what, "spis": self.spis, "sas": self.sas, "addresses": _ADDRESSES, "chance": self.chance,
            "runs": self.runs, "seen": self.seen if self.runs else None,
        }  # fmt: skip


def run(
    policies: Sequence[str] = (), models: Sequence[str] = (), assume: Sequence[str] = (), seed: int = 1
) -> Answered:
    """Every cell: policies by models by (no direction, direction). Raises as `run_scenario`."""
    scenario, where, _text = load_scenario(NAME)
    loaded = [load_model(name) for name in models or scenario.models]
    cells = []
    for directed in ("no dir", "dir"):
        for policy in policies or scenario.policies:
            for model in loaded:
                variant = next(v for v in scenario.variants if v.name == f"{directed}, {_mode(model)}")
                variant = variant.model_copy(update={"name": directed})
                groups = expand(scenario, where, variant.words)
                assumed = parse_assumptions(model, assume or ("model",), loaded)
                cells.append(
                    run_cell(
                        scenario, groups, policy, model=model, assume=assumed, seed=seed, variant=variant, where=where
                    )
                )
    return Answered(scenario, cells)


def _mode(model: Model) -> str:
    """The offload mode that SAs ask for: packet where the driver takes nothing else or the model's name says so."""
    offload = model.spec.caps.offload
    only_packet = isinstance(offload, list) and "packet" in offload
    return "packet" if only_packet else "crypto"


def intended_api(policies: Sequence[str]) -> set[str]:
    """The policies under which S04 succeeds: ALLOCSPI for the inbound SPI, NEWSA for the peer's."""
    cells = [cell for answered in run_named(["s04"], policies) for cell in answered.cells]
    failing = {cell.policy for cell in cells if any(asked.errno for asked in cell.facts.requests)}
    return {cell.policy for cell in cells} - failing


# -- the conclusion ---------------------------------------------------------------------------------------------------


def second_fate(cell: Cell) -> str:
    """What becomes of the second connection's inbound SA and its packet.

    `not given`: ALLOCSPI refuses its SPI. `refused`: the driver refuses the SA, so UPDSA fails. `silent`, `flagged`:
    packets of one SA meet the other one's keys. `no SA`: the device finds nothing for its packets. `own`: both work.
    """
    requests = cell.facts.requests
    if requests[_SECOND].errno is not None:
        return "not given"
    if requests[_UPDATE_SECOND].errno is not None:
        return "refused"
    return "own" if all(packet.good for packet in cell.facts.packets) else _wrong(cell)


def _wrong(cell: Cell) -> str:
    lost = next(packet for packet in cell.facts.packets if not packet.good)
    if lost.device not in ("WRONG_SA", "SHADOWED"):
        return "no SA"
    return "silent" if lost.surfacing == "SILENT" else "flagged"


def conclude(cells: Sequence[Cell], odds: Sequence[Odds], intended: Collection[str]) -> list[tuple[str, str]]:
    """(topic, sentences). `intended`: the policies under which S04 succeeds."""
    return [
        ("Android", " ".join(_android(cells))),
        ("duplicates", " ".join(_duplicates(cells))),
        ("hardware", " ".join(_hardware(cells))),
        ("how often", " ".join(_how_often(odds))),
        ("what to change", " ".join(_changes(cells, intended))),
    ]


def _android(cells: Sequence[Cell]) -> Iterator[str]:
    def good(cell: Cell) -> bool:
        return all(cell.facts.requests[n].errno is None for n in (_IN, _OUT))

    always, directed, never = _by_direction(cells, good)
    if always:
        yield (
            f"Android's two ALLOCSPI, one SPI on its own address and on the peer's, both succeed under {_list(always)}."
        )
    if directed:
        yield f"Under {_list(directed)} they succeed only where the requests carry a direction."
    for errno in dict.fromkeys(_first_errno(cells, policy) for policy in never):
        names = [policy for policy in never if _first_errno(cells, policy) == errno]
        yield f"Under {_list(names)} the second gets {errno}, and the connection fails."


def _first_errno(cells: Sequence[Cell], policy: str) -> str:
    return next(str(c.facts.requests[_OUT].errno) for c in cells if c.policy == policy and c.facts.requests[_OUT].errno)


def _duplicates(cells: Sequence[Cell]) -> Iterator[str]:
    def given(cell: Cell) -> bool:
        return cell.facts.requests[_SECOND].errno is None

    always, directed, never = _by_direction(cells, given)
    undirected = [p for p in directed if all(given(c) for c in cells if c.policy == p and c.variant == "no dir")]
    if always:
        yield f"ALLOCSPI gives one SPI to two local addresses under {_list(always)}."
    if undirected:
        yield f"Under {_list(undirected)} it does so only where the requests carry no direction."
    others = [*never, *(p for p in directed if p not in undirected)]
    if others:
        yield f"Under {_list(others)} the second address does not get it."


def _hardware(cells: Sequence[Cell]) -> Iterator[str]:
    """What each device does with two SAs of one SPI, from the cells in which both were allocated."""
    both = [cell for cell in cells if second_fate(cell) != "not given"]
    models: dict[str, set[str]] = {}
    for cell in both:
        models.setdefault(cell.model, set()).add(second_fate(cell))
    texts = {
        "silent": "{models}: one SA's packets meet the other one's keys, and nothing reports it.",
        "flagged": "{models}: one SA's packets meet the other one's keys, flagged to the host.",
        "refused": "{models}: the driver refuses the second SA, so its connection fails with an errno.",
        "no SA": "{models}: packets are steered to a place without their SA.",
        "own": "{models}: both SAs work.",
    }
    for fate, text in texts.items():
        names = sorted(model for model, fates in models.items() if fate in fates)
        if names:
            yield text.format(models=_list(names))


def _how_often(odds: Sequence[Odds]) -> Iterator[str]:
    if not odds:
        return
    yield f"Where only the triple must differ, two SAs on {_ADDRESSES} local addresses have the same SPI this often:"
    for what in dict.fromkeys(line.what for line in odds):
        lines = [line for line in odds if line.what == what and line.chance >= _SHOWN]
        last = next((n for n, line in enumerate(lines) if line.chance >= _SURE), len(lines))
        texts = [f"{percent(line.chance)} of hosts with {line.sas:,} SAs" for line in lines[: last + 1]]
        yield f"{what}: {', '.join(texts)}."
    rare = max((line for line in odds if line.chance < 0.01), key=lambda line: line.sas, default=None)
    sure = min((line for line in odds if line.chance >= _SURE), key=lambda line: line.sas, default=None)
    if rare is not None and sure is not None:
        yield (
            f"So {sure.sas:,} SAs of {sure.spis:,} SPIs show the fault every time, and {rare.sas:,} SAs of"
            f" {rare.spis:,} SPIs in {percent(rare.chance)} of hosts: a key manager's usual range does not show it."
        )


def percent(chance: float) -> str:
    """A chance for people: `100%`, `17%`, `0.0018%`."""
    if chance >= _SURE:
        return "100%"
    return f"{100 * chance:.0f}%" if chance >= 0.1 else f"{100 * chance:.2g}%"


def _changes(cells: Sequence[Cell], intended: Collection[str]) -> Iterator[str]:
    """Who has to change what, policy by policy; under `intended` a peer's SPI can be installed with NEWSA (S04)."""
    policies = list(dict.fromkeys(cell.policy for cell in cells))
    failing = {c.policy for c in cells if c.facts.requests[_OUT].errno is not None}
    wrong = {c.policy for c in cells if _bad(c)}
    directed = [c for c in cells if c.variant == "dir"]
    fixed = {p for p in failing if not any(c.policy == p and c.facts.requests[_OUT].errno for c in directed)}
    spared = {p for p in wrong if not any(c.policy == p and _bad(c) for c in directed)}
    says = {
        "no one has to change anything": set(policies) - wrong - failing,
        "Android changes nothing, and an IKE daemon beside such hardware has to say `dir in`": spared - failing,
        "Android changes nothing, and such hardware's driver has to look at the destination too, or to refuse the"
        " second SA": wrong - spared - failing,
        "Android has to say `dir in` and `dir out`": fixed,
        "Android has to give up ALLOCSPI for the peer's SPI (NEWSA takes it, S04), and to draw again at ENOENT": {
            p for p in failing - fixed if p in intended
        },
        "Android cannot be served: NEWSA refuses the peer's SPI too (S04)": {
            p for p in failing - fixed if p not in intended
        },
    }
    for text, which in says.items():
        names = [policy for policy in policies if policy in which]
        if names:
            yield f"Under {_list(names)} {text}."


def _bad(cell: Cell) -> bool:
    return second_fate(cell) in ("silent", "flagged", "refused", "no SA")


def _by_direction(cells: Iterable[Cell], good: Callable[[Cell], bool]) -> tuple[list[str], list[str], list[str]]:
    """Policies whose cells are all good, good in one variant alone, never good."""
    found: dict[str, dict[str, bool]] = {}
    for cell in cells:
        variants = found.setdefault(cell.policy, {})
        variants[cell.variant] = variants.get(cell.variant, True) and good(cell)
    always = [policy for policy, variants in found.items() if all(variants.values())]
    never = [policy for policy, variants in found.items() if not any(variants.values())]
    return always, [policy for policy in found if policy not in (*always, *never)], never


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- how often --------------------------------------------------------------------------------------------------------


def odds_of(chance: Chance, seed: int = 1) -> list[Odds]:
    """The chance of a duplicate for each range and number of SAs, and how often real runs of ALLOCSPI saw one."""
    result = []
    for what, low, high in RANGES:
        spis = high - low + 1
        for sas in _SIZES:
            per = [len(range(n, sas, _ADDRESSES)) for n in range(_ADDRESSES)]
            if max(per) > spis:
                continue
            runs = _RUNS if sas * _RUNS <= _MOST_DRAWN else 0
            seen = sum(_one_run(sas, low, high, seed + n) for n in range(runs)) / runs if runs else 0.0
            result.append(Odds(what, spis, sas, chance([n for n in per if n], spis), runs, seen))
    return result


def _one_run(sas: int, low: int, high: int, seed: int) -> bool:
    """Whether two of `sas` SAs on five addresses get one SPI from rfc2401's ALLOCSPI."""
    netns = Netns("rfc2401", seed=seed)
    src = parse_address("198.51.100.9")
    given = set()
    for n in range(sas):
        dst = parse_address(f"192.0.2.{1 + n % _ADDRESSES}")
        try:
            view = netns.allocspi(SpiRequest(src, dst, PROTO_ESP, low, high, reqid=n + 1, dir=DIR_IN))
        except XfrmError:  # every draw met an SPI of this address
            continue
        if view.sa.spi in given:
            return True
        given.add(view.sa.spi)
    return False
