"""A path of the batch pipeline and its packets, a batch at a time: what a pass costs, as a whole and stage by stage.

One batch's memory takes chunk after chunk of packets, as it does when a capture is read. Putting a chunk there is not
counted: its packets are in the cache then, as a NIC leaves them; SAs are where many other SAs leave them.
"""

from __future__ import annotations

import abc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

STAGED = 0.01
"""Seconds of stages that a round looks at, at least."""


class PathWork(abc.ABC):
    """`chunks` of packets, `rows` in all; `stages` are called with `batch` and `columns`, as `run` does."""

    rows: int
    chunks: int
    batch: Any
    columns: Any
    stages: Sequence[Callable[[Any, Any], None]]

    @abc.abstractmethod
    def fill(self, chunk: int) -> None:
        """Put a chunk into the batch; the first one begins anew."""

    @abc.abstractmethod
    def run(self) -> None:
        """The batch through the path."""

    @property
    @abc.abstractmethod
    def bytes_per_sa(self) -> float:
        """Of columns and table, with the engine's line and without its key schedule."""

    def prove(self, verdicts: npt.NDArray[np.int64]) -> None:
        """Run all once, and raise AssertionError where a packet got another verdict."""
        if not (self._verdicts() == verdicts).all():
            raise AssertionError("the path gave other verdicts than it should")

    def prove_delivered(self, delivered: npt.NDArray[np.bool_]) -> None:
        """Run all once, and raise AssertionError where others were delivered."""
        if not ((self._verdicts() == 0) == delivered).all():
            raise AssertionError("the path delivered other packets than it should")

    def _verdicts(self) -> npt.NDArray[np.uint8]:
        found = []
        for chunk in range(self.chunks):
            self.fill(chunk)
            self.run()
            found.append(self.batch.verdict.copy())
        return np.concatenate(found)

    def once(self) -> tuple[int, float]:
        """All packets: how many, and the seconds that the path took."""
        spent = 0.0
        for chunk in range(self.chunks):
            self.fill(chunk)
            start = time.perf_counter()
            self.run()
            spent += time.perf_counter() - start
        return self.rows, spent

    def staged(self) -> dict[str, float]:
        """Nanoseconds a packet of each stage, the median of some passes."""
        passes: dict[str, list[float]] = {stage.__name__: [] for stage in self.stages}
        until = time.perf_counter() + STAGED
        while not passes[self.stages[0].__name__] or time.perf_counter() < until:
            spent = dict.fromkeys(passes, 0)
            for chunk in range(self.chunks):
                self.fill(chunk)
                for stage in self.stages:
                    start = time.perf_counter_ns()
                    stage(self.batch, self.columns)
                    spent[stage.__name__] += time.perf_counter_ns() - start
            for name, ns in spent.items():
                passes[name].append(ns / self.rows)
        return {name: statistics.median(each) for name, each in passes.items()}
