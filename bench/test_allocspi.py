"""A million ALLOCSPI under every policy: `pytest bench/test_allocspi.py`.

Prints microseconds of a request in the first and last tenth (equal: the cost does not grow with the SAD) and the memory
of a larval state. The kernel's own walk under rfc4301 grows with the SAD: 0.13 to 0.86 ms from 0 to 16,000 states on
6.18.44. ESPSIM_ALLOCSPI sets another number of requests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from espsim.measure.interleave import machine
from espsim.sad.spi import SPI_RULES

REQUESTS = int(os.environ.get("ESPSIM_ALLOCSPI", "1000000"))


@pytest.mark.parametrize("policy", list(SPI_RULES))
def test_many_allocspi(policy, capsys):
    command = [sys.executable, "-m", "espsim.measure.allocspi", policy, str(REQUESTS)]
    done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert done["states"] == REQUESTS
    with capsys.disabled():
        print(
            f"\n{policy:12} {REQUESTS:,} ALLOCSPI: {done['first_us']:.0f} us each in the first tenth,"
            f" {done['last_us']:.0f} in the last; {done['state_bytes']} bytes a larval state; {machine()}"
        )
