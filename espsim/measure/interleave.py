"""Two programs on the same work in one run, turn by turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

import contextlib
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ratio:
    """Packets a second of ours and of the peer (medians), and their ratio: min, median, max over the rounds."""

    ours: float
    peer: float
    low: float
    median: float
    high: float


def interleave(ours: Callable[[], int], peer: Callable[[], int], *, rounds: int = 9) -> Ratio:
    """Run both `rounds` times in turn, after one call of each to warm up. A call returns its number of packets."""
    ours()
    peer()
    rates = [(_rate(ours), _rate(peer)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in rates)
    return Ratio(
        statistics.median(a for a, _ in rates),
        statistics.median(b for _, b in rates),
        ratios[0],
        statistics.median(ratios),
        ratios[-1],
    )


def _rate(run: Callable[[], int]) -> float:
    start = time.perf_counter()
    done = run()
    return done / (time.perf_counter() - start)


def machine() -> str:
    """The CPU's name, for records."""
    with contextlib.suppress(OSError):  # no /proc
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
