"""Running the stages of a path over a batch, and the check that each writes its own columns only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

_B = TypeVar("_B")
_C = TypeVar("_C")


def run_stages(
    stages: Iterable[tuple[Callable[[_B, _C], None], frozenset[str]]], batch: _B, columns: _C, *, debug: bool
) -> None:
    """Run stages in their order, each with the columns of the batch that it writes; `debug` checks that."""
    for stage, writes in stages:
        if debug:
            checked(stage, writes, batch, columns)
        else:
            stage(batch, columns)


def checked(stage: Callable[[_B, _C], None], writes: frozenset[str], batch: _B, columns: _C) -> None:
    """Run a stage, and raise AssertionError where it wrote a column of the batch that isn't its own."""
    before = {name: column.copy() for name, column in _columns(batch) if name not in writes}
    stage(batch, columns)
    changed = [name for name, now in _columns(batch) if name in before and not np.array_equal(before[name], now)]
    if changed:
        raise AssertionError(f"{stage.__name__} wrote {', '.join(changed)}")


def _columns(batch: object) -> Iterable[tuple[str, Any]]:
    """Every array that a batch has, by name; `out` of an outbound one is a property."""
    yield from ((name, value) for name, value in vars(batch).items() if isinstance(value, np.ndarray))
    if hasattr(batch, "out"):
        yield "out", batch.out
