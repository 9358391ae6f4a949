"""An audit as one dictionary: what `--json` prints and what the reports show."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from espsim.analysis.advice import advice
from espsim.analysis.audit import FATES, Audit, Finding, Inventory
from espsim.analysis.occupancy import shared, shared_across
from espsim.analysis.odds import Chance, Range, chances
from espsim.core.errors import InputError, UnknownReached
from espsim.core.verdict import Surfacing
from espsim.offload.model import Model
from espsim.xfrm.survey import Survey

_DRAWN_UP_TO = 1000
"""SAs up to which odds without a closed form are drawn."""


def summary(inventory: Inventory, audits: Sequence[Audit], *, seed: int = 0) -> dict[str, Any]:
    """Everything that an audit found. Chances are of the range that the present SPIs span."""
    survey, sas = inventory.survey, len(inventory.offered)
    spis = Range(*inventory.span)
    times = Counter(survey.spi[i] for i in inventory.offered)
    groups = inventory.destinations()
    return {
        "dump": survey.where,
        "sas": len(survey),
        "inbound": sas,
        "inbound_undirected": inventory.undirected,
        "outbound": inventory.outbound,
        "left_out": dict(inventory.left_out),
        "spi_range": {"low": spis.low, "high": spis.high, "size": len(spis)},
        "shared_spis": sum(n > 1 for n in times.values()),
        "destinations": len(groups),
        "odds": [_odds(sas, groups, spis), _odds(10 * sas, [10 * n for n in groups], spis)],
        "models": [_model(inventory, audit, spis, seed) for audit in audits],
        "collision": any(audit.collides for audit in audits),
    }


def _odds(sas: int, groups: Sequence[int], spis: Range) -> dict[str, Any]:
    """The chance that two SAs have one SPI, whatever the device: `checked` where a destination gets none twice."""
    return {
        "sas": sas, "duplicate_unchecked": shared(sas, len(spis)),
        "duplicate_checked_per_destination": shared_across(list(groups), len(spis)),
    }  # fmt: skip


def _model(inventory: Inventory, audit: Audit, spis: Range, seed: int) -> dict[str, Any]:
    model, sas, survey = audit.device.model, len(inventory.offered), inventory.survey
    listed = Counter(finding.fate for finding in audit.findings)
    return {
        "model": model.id,
        "assumptions": audit.device.assumptions,
        "hidden_keys": audit.hidden,
        "fates": {fate: audit.fates[fate] for fate in FATES},
        "collision": audit.collides,
        "traffic": [
            {
                "fate": fate, "add": errno or "0", "outcome": outcome.name, "surfacing": surfacing.name, "sas": n,
                "silent": silent(fate, errno, surfacing),
            }
            for (fate, errno, outcome, surfacing), n in audit.traffic.most_common()
        ],
        "refused": [
            {"errno": r.errno, "why": r.why, "sas": r.sas, "first": _named(survey, r.first)} for r in audit.refused
        ],
        "findings": [_finding(survey, finding) for finding in audit.findings],
        "findings_left_out": {f: audit.fates[f] - listed[f] for f in FATES[1:] if audit.fates[f] > listed[f]},
        "table": {**_table(model), "used": len(audit.places)},
        "advice": advice(inventory, audit),
        "odds": [
            {"sas": n, **_chances(model, n, spis, seed)} for n in (sas, 10 * sas)
        ],
    }  # fmt: skip


def silent(fate: str, errno: str | None, surfacing: Surfacing) -> bool:
    """Whether nothing says that an SA is not what it seems: no errno when it was added, or its packets marked good."""
    return surfacing is Surfacing.SILENT or (errno is None and fate in ("collides", "aliases", "overflows"))


def _finding(survey: Survey, finding: Finding) -> dict[str, Any]:
    return {
        **_named(survey, finding.sa), "fate": finding.fate, "add": finding.errno or "0",
        "meets": _named(survey, finding.other) if finding.other >= 0 else None, "outcome": finding.outcome.name,
        "surfacing": finding.surfacing.name, "silent": silent(finding.fate, finding.errno, finding.surfacing),
    }  # fmt: skip


def _named(survey: Survey, index: int) -> dict[str, Any]:
    return {"sa": survey.name(index), "line": survey.line[index]}


def _table(model: Model) -> dict[str, Any]:
    first = model.spec.inbound.lookup[0]
    ways = first.ways if first.kind == "hash" and isinstance(first.ways, int) else 1
    return {"kind": first.kind, "capacity": first.capacity, "ways": ways}


def _chances(model: Model, sas: int, spis: Range, seed: int) -> dict[str, Any]:
    """The chances in the device; `any` is None where they are not known: what the audit did not need may be unknown."""
    found: dict[str, Chance] | None = None
    with contextlib.suppress(UnknownReached, InputError):
        found = chances(model, sas, spis, seed=seed, draw=sas <= _DRAWN_UP_TO)
    return {name: chance.as_dict() for name, chance in found.items()} if found is not None else {"any": None}


class Cells(NamedTuple):
    """A key table drawn in cells of `per_cell` places: how many are written, how many of these another SA wanted."""

    size: int
    per_cell: int
    used: list[int]
    wanted: list[int]


def cells(audit: Audit, most: int = 4096) -> Cells:
    """The occupancy of a device in at most `most` cells, by place; of a table without an end, as far as it is used."""
    first = audit.device.model.spec.inbound.lookup[0]
    last = audit.places[-1][0] + 1 if audit.places else 0
    size = max(last, first.capacity if isinstance(first.capacity, int) else 0)
    per_cell = max(1, -(-size // most))
    used, wanted = [0] * -(-size // per_cell), [0] * -(-size // per_cell)
    for place, lost in audit.places:
        used[place // per_cell] += 1
        wanted[place // per_cell] += bool(lost)
    return Cells(size, per_cell, used, wanted)
