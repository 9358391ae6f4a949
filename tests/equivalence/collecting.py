"""Runs a capture through the batch path and collects what a test needs of each piece, in order of arrival."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from espsim.batch.run import capture as run_capture
from espsim.batch.run.capture import run
from espsim.io import ranges


class Collecting:
    """A taker that writes nothing. `facts(piece)` runs in the workers; its results are in `found`, piece by piece."""

    def __init__(self, facts: Callable[[Any], Any]) -> None:
        self.found: list[Any] = []
        self._facts = facts

    def order(self, piece, ask):
        return self._facts(piece)

    def place(self):
        return None

    def room(self, piece):
        return 0

    def records(self, piece):
        return iter(())

    def write(self, data):
        raise AssertionError

    def answer(self, request):
        raise AssertionError

    def heard(self, note, at):
        if note is not None:
            self.found.append(note)


@dataclass(frozen=True)
class Way:
    """How `in_batches` and `run` are called."""

    workers: int = 1
    engine: str = "cryptography"
    insists: bool = True


def collect(reader, lane, workers, facts, begin=lambda now: None):
    """The result of `facts` for each piece."""
    taker = Collecting(facts)
    run(reader, lane, taker, Way(workers), begin)
    return taker.found


def cut(patch, rows, arena=None):
    """Pieces of so many rows, and ranges that are small as well; after one batch, ranges are tried."""
    patch.setattr(run_capture, "ROWS", rows)
    patch.setattr(ranges, "SIZE", 64 * rows)
    patch.setattr(run_capture, "ENOUGH", 3)
    if arena is not None:
        patch.setattr(run_capture, "ARENA", arena)
