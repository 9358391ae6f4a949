"""Converts times to cycles of the time-stamp counter, the unit in which DPDK's programs report."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Clock:
    """`mhz`: the counter's frequency, None where it is not known. `source`: where the frequency comes from."""

    mhz: float | None
    source: str

    def cycles(self, ns: float) -> float | None:
        """Nanoseconds as cycles."""
        return None if self.mhz is None else ns * self.mhz / 1e3


@functools.cache
def clock(cpuinfo: str = "/proc/cpuinfo") -> Clock:
    """The frequency of the time-stamp counter, in whose cycles DPDK's programs count. A core may run faster.

    Linux sets x86's loops_per_jiffy from that counter (arch/x86/kernel/tsc.c), so BogoMIPS is twice its frequency.
    """
    try:
        text = Path(cpuinfo).read_text(encoding="utf-8")
    except OSError:
        text = ""
    bogomips = re.search(r"^bogomips\s*: ([\d.]+)", text, re.MULTILINE)
    if bogomips and re.search(r"^flags\s*:.* constant_tsc\b", text, re.MULTILINE):
        return Clock(float(bogomips[1]) / 2, "TSC, half of /proc/cpuinfo's bogomips")
    mhz = re.search(r"^cpu MHz\s*: ([\d.]+)", text, re.MULTILINE)
    if mhz:
        return Clock(float(mhz[1]), "/proc/cpuinfo's cpu MHz, as it was when the run began")
    return Clock(None, "not known")
