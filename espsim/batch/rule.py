"""The rule of columns: who may write what, declared here and with each stage, and checked.

1. Each column of a batch is defined by one stage, each column of the SAs that packets move by one stage too.
2. What a stage writes of another one's column stands in REDO, with the reason. Nothing else may.
3. A verdict is written once, by the first stage that objects; a row that has one keeps it.

`Stage` is a stage and what it declares. `in_order` refuses a list of stages that breaks 1 or 2 by what it declares.
`run_stages(..., debug=True)` compares every column before and after each stage, of rows that have a verdict too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np

_B = TypeVar("_B")
_C = TypeVar("_C")
_NONE: frozenset[str] = frozenset()

REDO: dict[str, frozenset[str]] = {
    # the flag OWN: who sent a packet is known when its SA is
    "lookup": frozenset({"flags"}),
    "lookup by a device": frozenset({"flags"}),
    # plaintext where the ciphertext was
    "open": frozenset({"arena"}),
    # TRAILER for what the engine has opened
    "trailer": frozenset({"opened"}),
    # the second look at the window, in arrival order: opened again under another number, or only now
    "settle": frozenset({"seq64", "replay", "arena", "opened", "payload", "pad", "next_header", "odd_padding"}),
    # the IP headers move to the packet inside
    "decap": frozenset({"arena"}),
    # ciphertext and ICV, then UDP's checksum, in the packets that encap laid out
    "seal": frozenset({"out"}),
    "checksum": frozenset({"out"}),
}
"""By the name of a stage, the columns of a batch that earlier stages define and that it writes as well."""

REDO_SAS: dict[str, frozenset[str]] = {
    # an SA that becomes the reference path's in mid-batch: its counts are handed over, its packets no longer looked up
    "lookup by a device": frozenset({"counts", "standing", "own.standing"}),
}
"""The same for columns of the SAs."""


@dataclass(frozen=True, slots=True)
class Stage(Generic[_B, _C]):
    """A stage by its name, and the columns that it defines: of the batch, and of the SAs (`own.sent`: nested ones).

    `objects`: it may give a verdict to a row that has none.
    """

    name: str
    run: Callable[[_B, _C], None]
    defines: frozenset[str] = _NONE
    sas: frozenset[str] = _NONE
    objects: bool = True


def in_order(*stages: Stage[_B, _C]) -> tuple[Stage[_B, _C], ...]:
    """The stages as they are. AssertionError: two define one column, or one redoes what none before it defines."""
    defined = {"arena"}  # the source's
    moved: set[str] = set()
    for stage in stages:
        both = stage.defines & defined | {f"SAs' {name}" for name in stage.sas & moved}
        if both:
            raise AssertionError(f"{stage.name} defines {', '.join(sorted(both))}, which has its stage already")
        early = REDO.get(stage.name, _NONE) - defined
        if early:
            raise AssertionError(f"{stage.name} redoes {', '.join(sorted(early))}, which no stage before it defines")
        defined |= stage.defines
        moved |= stage.sas
    return stages


def run_stages(
    stages: Sequence[Stage[_B, _C]], batch: _B, columns: _C, *, debug: bool, which: slice = slice(None)
) -> None:  # fmt: skip
    """Run stages in their order, all or some; `debug` checks each."""
    if debug:
        in_order(*stages)
    for stage in stages[which]:
        if debug:
            checked(stage, batch, columns)
        else:
            stage.run(batch, columns)


def checked(stage: Stage[_B, _C], batch: _B, columns: _C) -> None:
    """Run a stage, and raise AssertionError where it wrote what is not its own, or another verdict over one."""
    may = stage.defines | REDO.get(stage.name, _NONE) | {"verdict"}
    moves = stage.sas | REDO_SAS.get(stage.name, _NONE)
    verdict: Any = batch.verdict  # type: ignore[attr-defined]
    before, judged = _copies(batch, may), verdict.copy()
    sas = _copies(columns, moves)
    stage.run(batch, columns)
    wrote = _changed(batch, before) + [f"the SAs' {name}" for name in _changed(columns, sas)]
    if wrote:
        raise AssertionError(f"{stage.name} wrote {', '.join(wrote)}")
    if stage.defines >= {"family"}:  # the first stage: what stood in the column is of another batch
        return
    kept = judged != 0
    if not np.array_equal(verdict[kept], judged[kept]):
        raise AssertionError(f"{stage.name} wrote a verdict over another one")
    if not stage.objects and not np.array_equal(verdict, judged):
        raise AssertionError(f"{stage.name} gave a verdict, and may not object")


def _copies(holder: object, left_out: frozenset[str]) -> dict[str, Any]:
    return {name: column.copy() for name, column in _columns(holder) if name not in left_out}


def _changed(holder: object, before: dict[str, Any]) -> list[str]:
    return [name for name, now in _columns(holder) if name in before and not np.array_equal(before[name], now)]


def _columns(holder: object, nested: str = "") -> Iterable[tuple[str, Any]]:
    """Every array that a batch or the SAs' columns have, by name; `out` of an outbound batch is a property."""
    for name, value in _attributes(holder):
        if isinstance(value, np.ndarray):
            yield nested + name, value
        elif is_dataclass(value) and not isinstance(value, type):
            yield from _columns(value, f"{nested}{name}.")
    if not nested and hasattr(holder, "out"):
        yield "out", holder.out


def _attributes(holder: object) -> Iterator[tuple[str, Any]]:
    if is_dataclass(holder) and not isinstance(holder, type):
        yield from ((field.name, getattr(holder, field.name)) for field in fields(holder))
    else:
        yield from vars(holder).items()
