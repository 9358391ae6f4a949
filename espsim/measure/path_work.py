"""A path of the batch pipeline and its packets, one batch at a time: the cost of a pass, whole and stage by stage.

The memory of one batch takes chunk after chunk of packets, as when a capture is read. Filling it is not timed. It
leaves the packets in the cache, as a NIC does; SAs are in the cache only if few other SAs came between.
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
"""Least seconds of stages that are measured."""


class PathWork(abc.ABC):
    """`chunks` of packets, `rows` in all. `stages`: called with `batch` and `columns`, as `run` calls them."""

    rows: int
    chunks: int
    batch: Any
    columns: Any
    stages: Sequence[Callable[[Any, Any], None]]

    @abc.abstractmethod
    def fill(self, chunk: int) -> None:
        """Put a chunk into the batch. The first chunk resets what a pass changed."""

    @abc.abstractmethod
    def run(self) -> None:
        """Take the batch through the path."""

    @property
    @abc.abstractmethod
    def bytes_per_sa(self) -> float:
        """Bytes of an SA: columns, table and the engine's line, without its key schedule."""

    def prove(self, verdicts: npt.NDArray[np.int64]) -> None:
        """Run all packets once. AssertionError: a packet has another verdict."""
        if not (self._verdicts() == verdicts).all():
            raise AssertionError("the path gave other verdicts than it should")

    def prove_delivered(self, delivered: npt.NDArray[np.bool_]) -> None:
        """Run all packets once. AssertionError: other packets were delivered."""
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
        """Run all packets. Returns their number and the seconds that the path took."""
        spent = 0.0
        for chunk in range(self.chunks):
            self.fill(chunk)
            start = time.perf_counter()
            self.run()
            spent += time.perf_counter() - start
        return self.rows, spent

    def staged(self) -> dict[str, float]:
        """Nanoseconds a packet of each stage: medians of some passes."""
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
