"""Runs many ALLOCSPI under one policy, in a process of its own so that memory can be measured. Prints one JSON line.

`python -m espsim.measure.allocspi POLICY REQUESTS`
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest

LOW, HIGH = 0x100, 0xFFFFFFFF
OUR_ADDRESSES = [bytes((10, 0, 0, n)) for n in range(1, 6)]


def resident() -> int:
    """Resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def requests(count: int) -> Iterator[SpiRequest]:
    """Requests for larval states: five local addresses, and another peer for each request."""
    for n in range(count):
        yield SpiRequest((0x0B000000 + n).to_bytes(4), OUR_ADDRESSES[n % 5], 50, LOW, HIGH, reqid=n)


def run(policy: str, count: int) -> dict[str, object]:
    """Microseconds of a request in the first and in the last tenth of the run, and bytes of a larval state."""
    before = resident()
    netns = Netns(policy, seed=1)
    chunk = max(count // 10, 1)
    times = []
    start = time.perf_counter()
    for n, request in enumerate(requests(count), 1):
        netns.allocspi(request)
        if n % chunk == 0:
            times.append((time.perf_counter() - start) / chunk * 1e6)
            start = time.perf_counter()
    return {
        "policy": policy,
        "states": len(netns.sad),
        "first_us": times[0],
        "last_us": times[-1],
        "state_bytes": (resident() - before) // count,
    }


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
