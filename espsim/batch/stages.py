"""The rule of columns: which stage may write what. It is declared here and with each stage, and checked.

1. One stage defines each column of a batch, and each column of the SAs that packets change.
2. REDO lists, with the reason, what a stage writes of columns that other stages define. It may write nothing else.
3. The first stage that objects gives a row its verdict. A row that has a verdict keeps it.

`Stage` is a stage and what it declares. `in_order` refuses a list of stages whose declarations break 1 or 2.
`run_stages(..., debug=True)` compares every column before and after each stage, in all rows, those with a verdict too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np

_B = TypeVar("_B")
_C = TypeVar("_C")
_NONE: frozenset[str] = frozenset()

REDO: dict[str, frozenset[str]] = {
    # the flag OWN: whether this host sent a packet is known with its SA
    "lookup": frozenset({"flags"}),
    "lookup by a device": frozenset({"flags"}),
    # plaintext replaces ciphertext
    "open": frozenset({"arena"}),
    # TRAILER where the engine opened the row
    "trailer": frozenset({"opened"}),
    # the window is asked again, in arrival order: a row may be opened now, or again under another number
    "settle": frozenset({"seq64", "replay", "arena", "opened", "payload", "pad", "next_header", "odd_padding"}),
    # transport mode: the IP headers move up to the payload
    "decap": frozenset({"arena"}),
    # the trailer of a packet that is sealed where it was read
    "encap": frozenset({"arena"}),
    # ciphertext and ICV, then UDP's checksum, in packets that encap wrote
    "seal": frozenset({"out"}),
    "checksum": frozenset({"out"}),
}
"""The columns of a batch that a stage writes though an earlier stage defines them, by the stage's name."""

REDO_SAS: dict[str, frozenset[str]] = {
    # the reference path takes an SA over in the middle of a batch: its counts are written back, its standing changes
    "lookup by a device": frozenset({"counts", "standing", "own.standing"}),
}
"""The same for columns of the SAs."""


@dataclass(frozen=True, slots=True)
class Stage(Generic[_B, _C]):
    """A stage: its name, and the columns that it defines, of the batch and of the SAs (`own.sent`: a nested one).

    `objects`: it may give a verdict to a row that has none.
    """

    name: str
    run: Callable[[_B, _C], None]
    defines: frozenset[str] = _NONE
    sas: frozenset[str] = _NONE
    objects: bool = True


def in_order(*stages: Stage[_B, _C]) -> tuple[Stage[_B, _C], ...]:
    """The stages, unchanged. AssertionError: two define one column, or one redoes what no stage before it defines."""
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
    """Run stages in their order, all or those of `which`; `debug` checks each."""
    if debug:
        in_order(*stages)
    for stage in stages[which]:
        if debug:
            checked(stage, batch, columns)
        else:
            stage.run(batch, columns)


def checked(stage: Stage[_B, _C], batch: _B, columns: _C) -> None:
    """Run a stage. AssertionError: it wrote a column that it may not write, or changed a verdict."""
    may = stage.defines | REDO.get(stage.name, _NONE) | {"verdict"}
    moves = stage.sas | REDO_SAS.get(stage.name, _NONE)
    verdict: Any = batch.verdict  # type: ignore[attr-defined]
    before, judged = _copies(batch, may), verdict.copy()
    sas = _copies(columns, moves)
    stage.run(batch, columns)
    wrote = _changed(batch, before) + [f"the SAs' {name}" for name in _changed(columns, sas)]
    if wrote:
        raise AssertionError(f"{stage.name} wrote {', '.join(wrote)}")
    if stage.defines >= {"family"}:  # the first stage: the verdicts before it are of an earlier batch
        return
    kept = judged != 0
    if not np.array_equal(verdict[kept], judged[kept]):
        raise AssertionError(f"{stage.name} wrote a verdict over another one")
    if not stage.objects and not np.array_equal(verdict, judged):
        raise AssertionError(f"{stage.name} gave a verdict, and may not object")


def _copies(holder: object, left_out: frozenset[str]) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """The shape and the bytes of each column. Bytes are copied and compared much faster than small arrays are."""
    return {name: (column.shape, column.tobytes()) for name, column in _columns(holder) if name not in left_out}


def _changed(holder: object, before: dict[str, tuple[tuple[int, ...], bytes]]) -> list[str]:
    return [name for name, now in _columns(holder) if name in before and (now.shape, now.tobytes()) != before[name]]


def _columns(holder: object, nested: str = "") -> Iterable[tuple[str, Any]]:
    """Every array of a batch or of the SAs' columns, by name. `out` of an outbound batch is a property."""
    for name, value in _attributes(holder):
        if isinstance(value, np.ndarray):
            yield nested + name, value
        elif _field_names(type(value)) is not None:
            yield from _columns(value, f"{nested}{name}.")
    if not nested and hasattr(holder, "out"):
        yield "out", holder.out


def _attributes(holder: object) -> Iterable[tuple[str, Any]]:
    names = _field_names(type(holder))
    return vars(holder).items() if names is None else [(name, getattr(holder, name)) for name in names]


@functools.cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    """The fields of a dataclass; None for another class."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
