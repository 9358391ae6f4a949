"""An audit as one dictionary: what `--json` prints and what the reports show."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from espsim.analysis.advice import advice
from espsim.analysis.audit import FATES, SEVERITY, WORKS, Audit, Finding, TrafficFate
from espsim.analysis.inventory import WAYS, Inventory
from espsim.analysis.occupancy import shared, shared_across
from espsim.analysis.odds import EVENTS, Chance, Range, chances, curve_where_it_changes
from espsim.core.errors import InputError, UnknownReached
from espsim.core.verdict import DeviceOutcome, Surfacing, Verdict
from espsim.offload.model import Model
from espsim.text.survey import Survey

_DRAWN_UP_TO = 1000
"""Odds without a closed form are drawn for at most so many SAs."""
_ADDS = 6000
"""How many adds all draws make together: enough for a first look. `espsim spi` makes more."""
_CURVED_UP_TO, _CURVE = 1000, 24
"""A curve of the odds is made for at most so many SAs, and has at most so many places."""
_OWN = 20
"""How many of the host's own addresses are named. The count is of all."""


def summary(inventory: Inventory, audits: Sequence[Audit], *, seed: int = 0, odds: bool = True) -> dict[str, Any]:
    """Everything that an audit found. Chances are for the range that the present SPIs span; none without `odds`."""
    survey, sas = inventory.survey, len(inventory.offered)
    spis = Range(*inventory.span) if inventory.span is not None else None
    times = np.unique(inventory.spis(), return_counts=True)[1]
    groups = inventory.destinations()
    return {
        "dump": survey.where,
        "sas": inventory.sas,
        "inbound": sas,
        "inbound_undirected": inventory.undirected,
        "outbound": inventory.outbound,
        "left_out": dict(inventory.left_out),
        "directions": {way: inventory.ways[way] for way in WAYS},
        "local": [{"address": own.address, "why": own.why} for own in inventory.own[:_OWN]],
        "local_count": len(inventory.own),
        "lost": max((audit.lost for audit in audits), default=0),
        "spi_range": {"low": spis.low, "high": spis.high, "size": len(spis)} if spis is not None else None,
        "shared_spis": int((times > 1).sum()),
        "destinations": len(groups),
        "odds": [
            _odds(sas, groups, spis), _odds(10 * sas, [10 * n for n in groups], spis)
        ] if spis is not None and odds else [],
        "models": [_model(inventory, audit, spis if odds else None, seed) for audit in audits],
        "collision": any(audit.collides for audit in audits),
        "notes": survey.notes.lines(),
    }  # fmt: skip


def _odds(sas: int, groups: Sequence[int], spis: Range) -> dict[str, Any]:
    """The chance that two SAs have one SPI, for any device. `checked`: if no destination gets an SPI twice."""
    return {
        "sas": sas, "duplicate_unchecked": shared(sas, len(spis)),
        "duplicate_checked_per_destination": shared_across(list(groups), len(spis)),
    }  # fmt: skip


def _model(inventory: Inventory, audit: Audit, spis: Range | None, seed: int) -> dict[str, Any]:
    model, sas, survey = audit.device.model, len(inventory.offered), inventory.survey
    listed = Counter(finding.fate for finding in audit.findings)
    rows = sorted(audit.traffic.items(), key=lambda row: (SEVERITY[row[0].works], -row[1]))
    return {
        "model": model.id,
        "inbound": sas,
        **{works: audit.works[works] for works in WORKS},
        "assumptions": audit.device.assumptions,
        "hidden_keys": audit.hidden,
        "fates": {fate: audit.fates[fate] for fate in FATES},
        "collision": audit.collides,
        "traffic": [_traffic(traffic, n) for traffic, n in rows],
        "refused": [
            {
                "errno": r.errno, "why": r.why, "sas": r.sas, "lost": r.lost, "change": r.change,
                "first": _named(survey, r.first),
            }
            for r in audit.refused
        ],
        "unknown_keys": [
            {"key": key, "sas": n, "first": _named(survey, first), "assume": model.how_to_assume(key)}
            for key, (n, first) in audit.unknown.items()
        ],
        "findings": [_finding(survey, finding) for finding in audit.findings],
        "findings_left_out": {
            fate: n - listed[fate] for fate, n in audit.fates.items() if fate != "installed" and n > listed[fate]
        },
        "table": {**_table(model), "used": len(audit.places)},
        "advice": advice(inventory, audit),
        "odds": [{"sas": n, **_chances(model, n, spis, seed)} for n in (sas, 10 * sas)] if spis is not None else [],
    }  # fmt: skip


def _traffic(row: TrafficFate, sas: int) -> dict[str, Any]:
    return {
        "works": row.works, "fate": row.fate, "add": _add(row.fate, row.errno),
        "outcome": row.outcome.name if row.outcome is not None else "UNKNOWN",
        "surfacing": row.surfacing.name if row.surfacing is not None else "UNKNOWN",
        "counter": _counter(row), "sas": sas, "silent": silent(row.fate, row.errno, row.surfacing),
    }  # fmt: skip


def _add(fate: str, errno: str | None) -> str:
    return "UNKNOWN" if fate == "unknown" and errno is None else errno or "0"


def _counter(row: TrafficFate) -> str | None:
    """The Linux counter that moves on the host. None: none moves."""
    if row.surfacing not in (Surfacing.COUNTED, Surfacing.FLAGGED) or row.works not in ("lost", "wrong_sa"):
        return None
    absent = row.works == "lost" and row.surfacing is Surfacing.COUNTED
    return Verdict.NO_SA.counter if absent else Verdict.INTEGRITY.counter if row.works == "wrong_sa" else None


def silent(fate: str, errno: str | None, surfacing: Surfacing | None) -> bool:
    """Whether nothing shows that an SA does not work: no errno when it was added, or its packets are marked good."""
    return surfacing is Surfacing.SILENT or (errno is None and fate in ("collides", "aliases", "overflows"))


def _finding(survey: Survey, finding: Finding) -> dict[str, Any]:
    outcome: DeviceOutcome | None = finding.outcome
    return {
        **_named(survey, finding.sa), "fate": finding.fate, "works": finding.works,
        "add": _add(finding.fate, finding.errno),
        "meets": _named(survey, finding.other) if finding.other >= 0 else None,
        "outcome": outcome.name if outcome is not None else "UNKNOWN",
        "surfacing": finding.surfacing.name if finding.surfacing is not None else "UNKNOWN",
        "silent": silent(finding.fate, finding.errno, finding.surfacing),
    }  # fmt: skip


def _named(survey: Survey, index: int) -> dict[str, Any]:
    return {"sa": survey.name(index), "line": survey.line[index]}


def _table(model: Model) -> dict[str, Any]:
    first = model.spec.inbound.lookup[0]
    ways = first.ways if first.kind == "hash" and isinstance(first.ways, int) else 1
    return {"kind": first.kind, "capacity": first.capacity, "ways": ways}


def _chances(model: Model, sas: int, spis: Range, seed: int) -> dict[str, Any]:
    """The chances in the device. `any` is None where they need a value that is not public (the audit may not)."""
    found: dict[str, Chance] | None = None
    with contextlib.suppress(UnknownReached, InputError):
        draws = max(30, _ADDS // max(1, sas))
        found = chances(model, sas, spis, seed=seed, draws=draws, draw=sas <= _DRAWN_UP_TO)
    return {name: chance.as_dict() for name, chance in found.items()} if found is not None else {"any": None}


def odds_curve(
    audit: Audit, inventory: Inventory, *, seed: int = 0
) -> dict[str, list[tuple[int, float, float, float]]]:
    """(SAs, chance, low, high) of each event in a device, up to four times the SAs. Empty where it costs too much.

    The SPIs are drawn from the range that the present ones span.
    """
    if inventory.span is None or len(inventory.offered) > _CURVED_UP_TO:
        return {}
    most = max(16, 4 * len(inventory.offered))
    with contextlib.suppress(UnknownReached, InputError):
        found = curve_where_it_changes(
            audit.device.model, most, Range(*inventory.span), points=_CURVE, seed=seed, draws=max(30, _ADDS // most)
        )
        return {
            event: [(sas, row[event].value, row[event].low, row[event].high) for sas, row in found.items()]
            for event in EVENTS
        }
    return {}


class Cells(NamedTuple):
    """A key table in cells of `per_cell` places: how many places are written, and how many of these another SA lost."""

    size: int
    per_cell: int
    used: list[int]
    wanted: list[int]


def cells(audit: Audit, most: int = 4096) -> Cells:
    """The occupancy of a device in at most `most` cells, by place. Of a table without a size, the used part."""
    first = audit.device.model.spec.inbound.lookup[0]
    last = audit.places[-1][0] + 1 if audit.places else 0
    size = max(last, first.capacity if isinstance(first.capacity, int) else 0)
    per_cell = max(1, -(-size // most))
    used, wanted = [0] * -(-size // per_cell), [0] * -(-size // per_cell)
    for place, lost in audit.places:
        used[place // per_cell] += 1
        wanted[place // per_cell] += bool(lost)
    return Cells(size, per_cell, used, wanted)
